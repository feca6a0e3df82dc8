import { spawnSync } from 'node:child_process';
import { floatTensor } from '@distredge/core';
import { expect, it } from 'vitest';
import { describeEngineCompliance } from './compliance.js';
import { onnxModel, vectorModel } from './fixtures.js';
import { createOrtWorkerEngine } from './ort-worker.js';

describeEngineCompliance('onnxruntime-node on a thread of its own', (options) => createOrtWorkerEngine(options));

/** A thread that does this whenever it is asked anything. */
const thread = (action: string): URL =>
  new URL(
    `data:text/javascript,import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { ${action} });`,
  );
const model = { model: vectorModel('Neg', ['x'], 'y'), weights: new Map() };

it.each([
  ['throws', "throw new Error('out of memory')", { got: 'out of memory' }],
  ['exits', 'process.exit(3)', { got: 'exit code 3' }],
])('rejects what is pending and what follows when the thread %s', async (_, action, facts) => {
  const engine = createOrtWorkerEngine({}, thread(action));
  const pending = [engine.load(model), engine.unload(1)];
  for (const call of pending) await expect(call).rejects.toMatchObject({ code: 'ENGINE_FAILED', ...facts });
  await expect(engine.clearSlots()).rejects.toMatchObject({ code: 'ENGINE_FAILED', ...facts });
  await engine.close();
});

it('rejects when the thread cannot start', async () => {
  const engine = createOrtWorkerEngine({}, new URL('missing.js', import.meta.url));
  await expect(engine.load(model)).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
  await engine.close();
});

it('moves input buffers to the thread, and copies views of larger ones', async () => {
  const engine = createOrtWorkerEngine();
  const handle = await engine.load(model);
  const run = (tensor: ReturnType<typeof floatTensor>) =>
    engine.run({ model: handle, inputs: [{ name: 'x', tensor }], outputs: [{ name: 'y', fetch: true }] });
  const whole = floatTensor([1, 2], [2]);
  await run(whole);
  expect(whole.data.byteLength).toBe(0);
  const part = floatTensor(new Float32Array(4).subarray(1, 3), [2]);
  await run(part);
  expect(part.data.byteLength).toBe(8);
  await engine.close();
});

it('starts and ends many times', async () => {
  for (let i = 0; i < 5; i++) {
    const engines = [createOrtWorkerEngine(), createOrtWorkerEngine()];
    await Promise.all(engines.map((engine) => engine.load(model)));
    await Promise.all(engines.map((engine) => engine.close()));
  }
});

/** Runs a script in a process of its own, on the build; `run` there takes some 100 ms. */
function script(body: string): { status: number | null; stdout: string; stderr: string } {
  const source = `
    import { createOrtWorkerEngine } from ${JSON.stringify(new URL('../../dist/engine/ort-worker.js', import.meta.url))};
    const model = Uint8Array.from(${JSON.stringify([...slowModel()])});
    const engine = createOrtWorkerEngine();
    const handle = await engine.load({ model, weights: new Map() });
    const tensor = () => ({ dtype: 'float32', shape: [1024, 1024], data: new Uint8Array(4 << 20) });
    const run = () => engine.run({
      model: handle,
      inputs: [{ name: 'x', tensor: tensor() }],
      outputs: [{ name: 'y', fetch: true }],
    });
    await run();
    ${body}`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8', timeout: 30_000 });
}

/** y = x · x · x · x, of square matrices. */
function slowModel(): Uint8Array {
  const names = ['x', 'a', 'b', 'y'];
  const nodes = names.slice(1).map((name, i) => ({ op: 'MatMul', inputs: [names[i] as string, 'x'], outputs: [name] }));
  const square = (name: string) => ({ name, type: 'float32', shape: ['n', 'n'] }) as const;
  return onnxModel({ nodes, inputs: [square('x')], outputs: [square('y')] });
}

it.each([
  ['an idle engine was forgotten', 'console.log("done")'],
  ['an engine is closed at the end', 'await engine.close(); console.log("done")'],
  ['it exits in the middle of a run', 'run(); run(); setTimeout(() => process.exit(0), 20); console.log("done")'],
  ['it throws in the middle of a run', 'run(); setTimeout(() => { process.exitCode = 0; throw 1 }, 20)', 1],
])('lets the process end as it is told to when %s', (_, body, status = 0) => {
  const ended = script(body);
  expect(ended).toMatchObject({ status, signal: null });
  expect(ended.stdout).toBe(status === 0 ? 'done\n' : '');
});
