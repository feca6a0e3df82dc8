import { describe, expect, it } from 'vitest';
import { workloadOf } from '../cost/build-workload.js';
import { loadGraph } from '../graph/load.js';
import { encodeModelProto } from '../onnx/wire.js';
import { analyse } from '../rows/analysis.js';
import { node, same, value, weight } from './fixtures.js';
import { modelIdentity } from './identity.js';
import { opModel, partWriter } from './part-model.js';

/** conv+relu, two equal convs one after another, a squeeze over the image, a head. */
function model(height = 32) {
  const bytes = encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'small',
      input: [value('x', [1, 3, height, 16])],
      output: [value('y', [1, 5])],
      initializer: [
        weight('w1', [8, 3, 3, 3]),
        weight('w2', [8, 8, 3, 3]),
        weight('w3', [8, 8, 3, 3]),
        weight('w4', [8, 5]),
      ],
      node: [
        node('Conv', ['x', 'w1'], ['c1'], same),
        node('Relu', ['c1'], ['r1']),
        node('Conv', ['r1', 'w2'], ['c2'], same),
        node('Conv', ['c2', 'w3'], ['c3'], same),
        node('GlobalAveragePool', ['c3'], ['s']),
        node('Mul', ['c3', 's'], ['m']),
        node('GlobalAveragePool', ['m'], ['g']),
        node('Flatten', ['g'], ['f']),
        node('MatMul', ['f', 'w4'], ['y']),
      ],
    },
  });
  const analysis = analyse(loadGraph(bytes));
  return { analysis, workload: workloadOf(analysis, 'small') };
}

describe('partWriter', () => {
  const { analysis, workload } = model();
  const writer = partWriter(analysis, workload);
  const opsOf = (bytes: Uint8Array): string[] =>
    loadGraph(bytes, { external: () => new Uint8Array(4096), size: { height: 8, width: 8 } }).nodes.map(({ op }) => op);
  const index = (name: string): number =>
    workload.ops.findIndex(({ outputs }) => workload.tensors[outputs[0] ?? -1]?.name === name);

  it('writes one op with what it is computed together with, for rows in the middle', () => {
    const part = opModel(analysis, workload, 0, 10);
    expect(part.inputs.map(({ shape, tensor, bytes }) => [shape, tensor, bytes])).toEqual([[[1, 3, 12, 16], 0, 2304]]);
    expect(part.outputs.map(({ shape, tensor }) => [shape, tensor])).toEqual([[[1, 8, 10, 16], 1]]);
    expect(part.rows).toEqual([10]);
    expect(opsOf(part.model.bytes)).toEqual(expect.arrayContaining(['Conv', 'Relu']));
  });

  it('writes runs of ops as one part, with the rows that each makes', () => {
    const part = writer.ops(0, 2, 10);
    expect(part.rows).toEqual([14, 12, 10]);
    expect(part.inputs[0]?.shape).toEqual([1, 3, 16, 16]);
    expect(writer.ops(0, 2, 32).rows).toEqual([32, 32, 32]);
  });

  it('tells equal ops by their identity, and unequal ones', () => {
    const [second, third] = [writer.ops(1, 1, 10), writer.ops(2, 2, 10)];
    expect(second.identity).toBe(third.identity);
    expect(second.identity).not.toBe(writer.ops(1, 1, 11).identity);
    expect(second.identity).not.toBe(writer.ops(0, 0, 10).identity);
    expect(second.identity).not.toBe(writer.ops(1, 2, 10).identity);
  });

  it('takes rows that ops have made in two pieces, as they come from two devices, and the image in one', () => {
    const part = writer.ops(1, 1, 10);
    expect(part.inputs.map(({ shape, tensor }) => [shape, tensor])).toEqual([
      [[1, 8, 11, 16], 1],
      [[1, 8, 1, 16], 1],
    ]);
    expect(opsOf(part.model.bytes)).toContain('Concat');
    expect(opsOf(writer.ops(0, 0, 10).model.bytes)).not.toContain('Concat');
  });

  it('leaves heights open: parts of several heights share a model', () => {
    expect(writer.ops(1, 1, 10).model.bytes).toEqual(writer.ops(1, 1, 3).model.bytes);
  });

  it('writes partial results of a global op, and readers of combined ones', () => {
    const squeeze = writer.ops(index('s'), index('s'), 10);
    expect(squeeze.inputs.map(({ shape }) => shape[2])).toEqual([9, 1]);
    expect(squeeze.outputs[0]?.shape[0]).toBe(1);
    const excite = writer.ops(index('m'), index('m'), 10);
    expect(excite.inputs.map(({ shape }) => shape.join())).toEqual(expect.arrayContaining(['1,8,9,16', '1,8,1,16']));
    expect(excite.inputs).toHaveLength(3);
  });

  it('writes the head by channels, the rest of it, and a part without ops', () => {
    expect(writer.headCut(2)?.outputs[0]?.shape).toEqual([1, 2]);
    expect(writer.headCut(5)?.outputs[0]?.shape).toEqual([1, 5]);
    expect(writer.headRest(false)?.outputs.map(({ shape }) => shape)).toEqual([[1, 5]]);
    expect(writer.headRest(true)).toBeUndefined();
    expect(writer.nothing().outputs[0]?.shape).toEqual([1, 3, 1, 16]);
  });

  it('refuses ops and rows that do not exist', () => {
    for (const [first, last, rows] of [
      [0, 99, 1],
      [-1, 0, 1],
      [1, 0, 1],
      [0, 0, 0],
      [0, 0, 33],
    ] as const) {
      expect(() => writer.ops(first, last, rows)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
    }
  });
});

describe('modelIdentity', () => {
  it('depends on shapes and not on weights', () => {
    expect(modelIdentity(model().analysis.graph)).toBe(modelIdentity(model().analysis.graph));
    expect(modelIdentity(model().analysis.graph)).not.toBe(modelIdentity(model(30).analysis.graph));
  });
});
