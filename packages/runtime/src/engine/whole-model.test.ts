import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { floats, floatTensor, type Tensor } from '@distredge/core';
import { expect, it } from 'vitest';
import { onnxModel, vectorModel } from './fixtures.js';
import { createWholeModel } from './whole-model.js';

it('describes and runs a model given by its bytes', async () => {
  const bytes = onnxModel({
    nodes: [
      { op: 'Neg', inputs: ['x'], outputs: ['n'] },
      { op: 'Shape', inputs: ['x'], outputs: ['s'] },
    ],
    inputs: [{ name: 'x', type: 'float32', shape: [1, 'rows', 2] }],
    outputs: [
      { name: 'n', type: 'float32', shape: [1, 'rows', 2] },
      { name: 's', type: 'int64', shape: [3] },
    ],
  });
  const model = await createWholeModel(bytes, { threads: 2 });
  expect(model.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: [1, 'rows', 2] }]);
  expect(model.outputs).toEqual([
    { name: 'n', dtype: 'float32', shape: [1, 'rows', 2] },
    { name: 's', dtype: 'int64', shape: [3] },
  ]);
  const x = floatTensor([1, 2, 3, 4], [1, 2, 2]);
  const { outputs, start, end } = await model.run({ x });
  const { n, s } = outputs;
  expect([...floats(n as Tensor)]).toEqual([-1, -2, -3, -4]);
  expect([...new BigInt64Array(s?.data.buffer as ArrayBuffer)]).toEqual([1n, 2n, 2n]);
  expect(end).toBeGreaterThanOrEqual(start);
  expect(x.data.byteLength).toBe(16);
  await model.close();
  await model.close();
  await expect(model.run({ x })).rejects.toMatchObject({ code: 'ENGINE_FAILED', message: 'the model is closed' });
});

it('runs a model given by its file, with the external data next to it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'whole-model-'));
  const path = join(folder, 'model.onnx');
  const model = onnxModel({
    nodes: [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }],
    inputs: [{ name: 'x', type: 'float32', shape: [1] }],
    outputs: [{ name: 'y', type: 'float32', shape: [1] }],
    weights: [{ name: 'w', shape: [1], location: 'w.bin', offset: 4 }],
  });
  writeFileSync(path, model);
  writeFileSync(join(folder, 'w.bin'), floatTensor([1, 2], [2]).data);
  const whole = await createWholeModel(path);
  const { outputs } = await whole.run({ x: floatTensor([40], [1]) });
  expect(outputs).toEqual({ y: floatTensor([42], [1]) });
  await whole.close();
  rmSync(folder, { recursive: true });
});

it('says what is wrong in the words of the engine', async () => {
  await expect(createWholeModel('/no/such/model.onnx')).rejects.toMatchObject({
    code: 'ENGINE_FAILED',
    where: '/no/such/model.onnx',
    got: expect.stringMatching(/exist|failed/i),
  });
  const model = await createWholeModel(vectorModel('Neg', ['x'], 'y'));
  await expect(model.run({})).rejects.toMatchObject({ code: 'ENGINE_FAILED', got: expect.stringContaining("'x'") });
  await model.close();
});
