import { spawnSync } from 'node:child_process';
import { floatTensor } from '@distredge/core';
import { expect, it } from 'vitest';
import { describeEngineCompliance } from './compliance.js';
import { vectorModel } from './fixtures.js';
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

/** Runs a script in a process of its own, on the build. */
function script(body: string): { status: number | null; stdout: string; stderr: string } {
  const source = `
    import { createOrtWorkerEngine } from ${JSON.stringify(new URL('../../dist/engine/ort-worker.js', import.meta.url))};
    const model = Uint8Array.from(${JSON.stringify([...model.model])});
    const engine = createOrtWorkerEngine();
    const handle = await engine.load({ model, weights: new Map() });
    const run = () => engine.run({
      model: handle,
      inputs: [{ name: 'x', tensor: { dtype: 'float32', shape: [1 << 20], data: new Uint8Array(4 << 20) } }],
      outputs: [{ name: 'y', fetch: true }],
    });
    await run();
    ${body}`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8', timeout: 30_000 });
}

it.each([
  ['an idle engine was forgotten', 'console.log("done")'],
  ['an engine is closed at the end', 'await engine.close(); console.log("done")'],
  ['the process exits in the middle of a run', 'void run(); setImmediate(() => process.exit(0)); console.log("done")'],
])('lets the process end when %s', (_, body) => {
  expect(script(body)).toMatchObject({ status: 0, stdout: 'done\n', stderr: '' });
});
