/** Building networks by name, with weights and without. */
import { DistrEdgeError, floats, loadGraph, type Tensor } from '@distredge/core';
import { describe, expect, test } from 'vitest';
import { seededFiller } from './weights.js';
import { buildZooModel, zooNames } from './zoo.js';

/** The smallest file of the zoo with batch normalisation. */
const NAME = 'voxelnet';

function moments(tensor: Tensor | undefined): { mean: number; deviation: number } {
  const values = floats(tensor as Tensor);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(square) };
}

describe('weights', () => {
  const model = buildZooModel(NAME, { seed: 7 });
  const graph = loadGraph(model.bytes);

  test('are the same for the same seed, and others for another', () => {
    expect(Buffer.compare(buildZooModel(NAME, { seed: 7 }).bytes, model.bytes)).toBe(0);
    expect(Buffer.compare(buildZooModel(NAME, { seed: 8 }).bytes, model.bytes)).not.toBe(0);
  });

  test('are views of the file, so that they are in memory once', () => {
    for (const { dtype, data } of graph.constants.values()) {
      if (dtype === 'float32') expect(data.buffer).toBe(model.bytes.buffer);
    }
  });

  test('have the spread that keeps activations alive', () => {
    const kernel = moments(graph.constants.get('conv_2.weight'));
    expect(kernel.mean).toBeCloseTo(0, 3);
    expect(kernel.deviation).toBeCloseTo(Math.sqrt(2 / (64 * 27)), 3);
    const variance = floats(graph.constants.get('batchnormalization_1.running_var') as Tensor);
    expect(Math.min(...variance)).toBeGreaterThan(0.5);
    expect(Math.max(...variance)).toBeLessThan(1.5);
  });

  test('differ between filters of a tensor that is larger than the block they come from', () => {
    const [filters, row] = [512, 512 * 9];
    const bytes = new Uint8Array(4 * filters * row + 1).subarray(1);
    seededFiller(1)(bytes, { name: 'w', shape: [filters, row], mean: 0, deviation: 1 }, 3);
    const values = new Float32Array(bytes.slice().buffer);
    const begins = Array.from({ length: filters }, (_, at) => values.subarray(at * row, at * row + 8).join());
    expect(new Set(begins).size).toBe(filters);
    const { mean, deviation } = moments({ dtype: 'float32', shape: [values.length], data: bytes });
    expect(mean).toBeCloseTo(0, 2);
    expect(deviation).toBeCloseTo(1, 2);
  });
});

describe('without weights', () => {
  test.each(zooNames)('%s is a small file with the same nodes', (name) => {
    const model = buildZooModel(name, { weights: 'none' });
    expect(model.bytes.byteLength).toBeLessThan(100_000);
    expect(model.title).toMatch(/\S/);
    expect(model.source).toMatch(/arXiv/);
    expect(loadGraph(model.bytes, model).nodes.length).toBeGreaterThan(20);
  });

  test('the graph is that of the model with weights', () => {
    const [none, seeded] = [buildZooModel(NAME, { weights: 'none' }), buildZooModel(NAME)];
    const [a, b] = [loadGraph(none.bytes, none), loadGraph(seeded.bytes)];
    expect(a.nodes).toEqual(b.nodes);
    expect(a.types).toEqual(b.types);
    expect(seeded.external).toBeUndefined();
  });

  test('all weights share one block of zeros', () => {
    const model = buildZooModel('vgg16', { weights: 'none' });
    const { constants } = loadGraph(model.bytes, model);
    const buffers = [...constants.values()].filter(({ dtype }) => dtype === 'float32').map(({ data }) => data.buffer);
    expect(new Set(buffers).size).toBe(1);
  });
});

test('a name that the zoo does not have is told, with those that it has', () => {
  const build = (): unknown => buildZooModel('alexnet');
  expect(build).toThrow(DistrEdgeError);
  expect(build).toThrow(
    expect.objectContaining({
      code: 'USAGE',
      where: 'zoo:alexnet',
      got: 'alexnet',
      expected: expect.stringContaining('vgg16, resnet50'),
    }),
  );
});
