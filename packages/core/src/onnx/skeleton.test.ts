import { describe, expect, it } from 'vitest';
import { modelIdentity } from '../compile/identity.js';
import { loadGraph } from '../graph/load.js';
import { floatTensor, intTensor } from '../tensor.js';
import { placeholderWeights, withoutWeights } from './skeleton.js';
import { protoOf } from './tensor-proto.js';
import { encodeModelProto } from './wire.js';

const dim = (sizes: number[]) => ({ shape: { dim: sizes.map((size) => ({ dimValue: BigInt(size) })) } });

function model(): Uint8Array {
  const weights = floatTensor(
    Float32Array.from({ length: 16 * 16 * 9 }, (_, index) => index / 100),
    [16, 16, 3, 3],
  );
  return encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'g',
      input: [{ name: 'x', type: { tensorType: { elemType: 1, ...dim([1, 16, 8, 8]) } } }],
      output: [{ name: 'y', type: { tensorType: { elemType: 1 } } }],
      initializer: [protoOf('w', weights), protoOf('shape', intTensor([1, 1024]))],
      node: [
        {
          opType: 'Conv',
          name: 'c',
          input: ['x', 'w'],
          output: ['m'],
          attribute: [{ name: 'pads', type: 7, ints: [1n, 1n, 1n, 1n] }],
        },
        { opType: 'Reshape', name: 'r', input: ['m', 'shape'], output: ['y'] },
      ],
    },
  });
}

describe('a model without weights', () => {
  it('is smaller, and the same to its profiles', () => {
    const whole = model();
    const small = withoutWeights(whole);
    expect(small.byteLength).toBeLessThan(whole.byteLength / 10);
    const graph = loadGraph(small, { external: placeholderWeights() });
    expect(modelIdentity(graph)).toBe(modelIdentity(loadGraph(whole)));
    expect(graph.types.get('y')?.shape).toEqual([1, 1024]);
    expect(graph.constants.get('w')?.data.byteLength).toBe(16 * 16 * 9 * 4);
  });

  it('cannot be loaded without something in their place', () => {
    expect(() => loadGraph(withoutWeights(model()))).toThrow('another file');
  });

  it('does not ask for weights without a size', () => {
    expect(() => placeholderWeights()('w', 0, undefined)).toThrow('no length');
    expect(() => placeholderWeights()('w', 0, 2 ** 32)).toThrow('no length');
  });
});
