/** The whole model on a thread of its own: kept for the next image, let go when none comes, replaced when it fails. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { floats, floatTensor, type Tensor } from '@distredge/core';
import { expect, it } from 'vitest';
import { onnxModel, vectorModel } from './fixtures.js';
import { createWholeRunner, runWholeModel } from './whole-run.js';

const model = vectorModel('Neg', ['x'], 'y');
const inputs = (...values: number[]) => ({ x: floatTensor(values, [values.length]) });
const answer = (result: { readonly outputs: Readonly<Record<string, Tensor>> }): number[] => [
  ...floats(result.outputs['y'] as Tensor),
];

it('runs images in their order, handed in at once or one by one', async () => {
  const runner = createWholeRunner(model);
  const results = await Promise.all([1, 2, 3].map((value) => runner.run(inputs(value))));
  expect(results.map(answer)).toEqual([[-1], [-2], [-3]]);
  expect(answer(await runner.run(inputs(4, 5)))).toEqual([-4, -5]);
  await runner.close();
  await expect(runner.run(inputs(1))).rejects.toMatchObject({ code: 'ENGINE_FAILED', message: 'the model is closed' });
});

it('finishes what was handed in before it closes', async () => {
  const runner = createWholeRunner(model);
  const last = runner.run(inputs(1));
  await runner.close();
  expect(answer(await last)).toEqual([-1]);
});

it('serves on after an image that it cannot run', async () => {
  const runner = createWholeRunner(model);
  expect(answer(await runner.run(inputs(1)))).toEqual([-1]);
  await expect(runner.run({ z: floatTensor([1], [1]) })).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
  expect(answer(await runner.run(inputs(2)))).toEqual([-2]);
  await runner.close();
});

it('says of every image what is wrong with a model that cannot be loaded', async () => {
  const runner = createWholeRunner(new Uint8Array([1, 2, 3]));
  for (let image = 0; image < 2; image++)
    await expect(runner.run(inputs(1))).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
  await runner.close();
  expect(() => createWholeRunner(model, { threads: 0 })).toThrow(expect.objectContaining({ code: 'USAGE' }));
});

it('loads once: a file that is gone meanwhile does not matter', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'whole-run-'));
  const path = join(folder, 'model.onnx');
  writeFileSync(
    path,
    onnxModel({
      nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'] }],
      inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
      outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
    }),
  );
  const runner = createWholeRunner(path);
  expect(answer(await runner.run(inputs(1)))).toEqual([-1]);
  rmSync(folder, { recursive: true });
  expect(answer(await runner.run(inputs(2)))).toEqual([-2]);
  await runner.close();
  await expect(runWholeModel(path, inputs(1))).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
});

it('lets the model go after a while without an image, and loads it for the next one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'whole-run-'));
  const path = join(folder, 'model.onnx');
  const runner = createWholeRunner(path, { idleMs: 20 });
  writeFileSync(path, vectorModel('Neg', ['x'], 'y'));
  expect(answer(await runner.run(inputs(1)))).toEqual([-1]);
  // Another model lies there now: who still has the first one answers as it does.
  writeFileSync(path, vectorModel('Identity', ['x'], 'y'));
  let last: number[] = [];
  for (let tries = 0; tries < 100 && last[0] !== 2; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    last = answer(await runner.run(inputs(2)));
  }
  expect(last).toEqual([2]);
  await runner.close();
  rmSync(folder, { recursive: true });
});
