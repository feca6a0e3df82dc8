/** The zoo as a user meets it: listed, written as files that onnxruntime runs, and named where a model is asked for. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildZooModel, zooNames } from '@distredge/zoo';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { distredge, failing, folder, json } from './support/cli.js';

const dir = folder();

/** The outputs of a model for an image of noise in [0, 1), by plain onnxruntime. */
async function run(bytes: Uint8Array): Promise<ReadonlyMap<string, Float32Array>> {
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  try {
    const [input] = session.inputMetadata;
    if (input?.isTensor !== true) throw new Error('the model takes no tensor');
    const shape = input.shape.map(Number);
    const count = shape.reduce((product, size) => product * size, 1);
    const noise = Float32Array.from({ length: count }, (_, at) => (at * 0.618_033_988_75) % 1);
    const outputs = await session.run({ [input.name]: new Tensor('float32', noise, shape) });
    return new Map(Object.entries(outputs).map(([name, { data }]) => [name, data as Float32Array]));
  } finally {
    await session.release();
  }
}

/** Finite, and neither dead nor exploded: a wrong row would be seen. */
function expectAlive(values: Float32Array | undefined): void {
  expect(values?.every(Number.isFinite)).toBe(true);
  const [low, high] = [values?.reduce((a, b) => Math.min(a, b)) ?? 0, values?.reduce((a, b) => Math.max(a, b)) ?? 0];
  expect(high - low).toBeGreaterThan(0.5);
  expect(high - low).toBeLessThan(200);
}

describe('zoo export', () => {
  test('writes a file that onnxruntime runs, the same for the same seed', async () => {
    const file = join(dir.path, 'net.onnx');
    const report = json(await distredge(['zoo', 'export', 'resnet50', '--out', file, '--seed', '5', '--json']));
    const bytes = readFileSync(file);
    expect(report).toEqual({ model: 'resnet50', file, bytes: bytes.byteLength, seed: 5, ok: true });
    expect(bytes.equals(buildZooModel('resnet50', { seed: 5 }).bytes)).toBe(true);
    const outputs = await run(bytes);
    expect([...outputs.keys()]).toEqual(['logits']);
    expectAlive(outputs.get('logits'));
  });

  test('of a name that there is not writes nothing and tells the names', async () => {
    const file = join(dir.path, 'none.onnx');
    const { code, error } = await failing(['zoo', 'export', 'alexnet', '--out', file]);
    expect([code, error['code']]).toEqual([2, 'USAGE']);
    for (const name of zooNames) expect(error['expected']).toContain(name);
    expect(existsSync(file)).toBe(false);
  });

  test('tells why the file cannot be written', async () => {
    const { code, error } = await failing(['zoo', 'export', 'voxelnet', '--out', join(dir.path, 'no', 'such.onnx')]);
    expect([code, error['code'], error['got']]).toEqual([1, 'FILE', 'ENOENT']);
  });
});

test('maps come out alive too: YOLOv2', async () => {
  const outputs = await run(buildZooModel('yolov2').bytes);
  expectAlive(outputs.get('detections'));
});

test('zoo list tells every network with its work and weights', async () => {
  const [data, text] = await Promise.all([distredge(['zoo', 'list', '--json']), distredge(['zoo', 'list'])]);
  const { models } = json(data) as { models: Record<string, unknown>[] };
  expect(models.map(({ name }) => name)).toEqual(zooNames);
  expect(models[0]).toMatchObject({ inputs: [[1, 3, 224, 224]], outputs: 1, weightBytes: 4 * 138_357_544 });
  expect(text.stdout).toMatch(/^vgg16 +VGG-16 +1×3×224×224 +1 +31\.0 GFLOP +553 MB /m);
});

describe('zoo:NAME as a model', () => {
  test('is inspected as the file would be', async () => {
    const report = json(await distredge(['inspect', 'zoo:vgg16', '--json']));
    expect(report).toMatchObject({ model: 'vgg16', opset: 17, weightBytes: 4 * 138_357_544 });
  });

  test('runs divided as exactly as unsplit', async () => {
    const report = json(await distredge(['verify', 'zoo:resnet50', '--workers', '2', '--json']));
    expect(report).toMatchObject({ model: 'resnet50', workers: 2, ok: true });
  });

  test('of a name that there is not is wrong usage', async () => {
    const { code, error } = await failing(['inspect', 'zoo:alexnet']);
    expect([code, error['code'], error['where']]).toEqual([2, 'USAGE', 'zoo:alexnet']);
    expect(error['expected']).toContain('ssd_resnet50');
  });
});
