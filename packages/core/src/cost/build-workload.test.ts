import { describe, expect, test } from 'vitest';
import { type AttributeValue, attributeProto } from '../graph/graph.js';
import { loadGraph } from '../graph/load.js';
import type { NodeProto, TensorProto, ValueInfoProto } from '../onnx/proto.js';
import { protoOf } from '../onnx/tensor-proto.js';
import { encodeModelProto } from '../onnx/wire.js';
import { analyse } from '../rows/analysis.js';
import { elements, floatTensor, intTensor } from '../tensor.js';
import { workloadOf } from './build-workload.js';
import type { Workload } from './workload.js';

type Attributes = Readonly<Record<string, AttributeValue>>;

function value(name: string, shape: readonly number[] = []): ValueInfoProto {
  const dim = shape.map((size) => ({ dimValue: BigInt(size) }));
  return { name, type: { tensorType: { elemType: 1, ...(shape.length === 0 ? {} : { shape: { dim } }) } } };
}

function node(opType: string, input: readonly string[], output: string, attributes: Attributes = {}): NodeProto {
  const attribute = Object.entries(attributes).map(([name, item]) => attributeProto(name, item));
  return { opType, name: `make_${output}`, input, output: output.split(' '), attribute };
}

function weight(name: string, ...shape: number[]): TensorProto {
  return protoOf(name, floatTensor(new Float32Array(elements(shape)).fill(0.5), shape));
}

function workload(
  shape: readonly number[],
  initializer: readonly TensorProto[],
  nodes: readonly NodeProto[],
  outputs: readonly string[],
): Workload {
  const bytes = encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'small',
      input: [value('x', shape)],
      output: outputs.map((name) => value(name)),
      initializer,
      node: nodes,
    },
  });
  return workloadOf(analyse(loadGraph(bytes)), 'small');
}

const same = { pads: [1, 1, 1, 1] };

/** Every op as "what it makes < what it reads". */
function shown({ ops, tensors }: Workload): string[] {
  const names = (indices: readonly number[]): string => indices.map((index) => tensors[index]?.name).join(' ');
  return ops.map((op) => `${names(op.outputs)} < ${names(op.reads.map(({ tensor }) => tensor))}`);
}

describe('groups', () => {
  test('an activation or batch norm behind a convolution is free, a bias in it counts once', () => {
    const made = workload(
      [1, 3, 8, 6],
      [weight('w', 4, 3, 3, 3), ...['s', 'b', 'm', 'v'].map((name) => weight(name, 4))],
      [
        node('Conv', ['x', 'w'], 'c', same),
        node('BatchNormalization', ['c', 's', 'b', 'm', 'v'], 'n'),
        node('Relu', ['n'], 'r'),
      ],
      ['r'],
    );
    expect(shown(made)).toEqual(['r < x']);
    expect(made.ops[0]).toMatchObject({
      type: 'Conv',
      rows: 8,
      width: 6,
      channels: 4,
      multiplyAdds: 27,
      weightBytes: (27 + 1) * 4 * 4,
    });
    expect(made.tensors).toEqual([
      { name: 'x', rows: 8, bytesPerRow: 3 * 6 * 4 },
      { name: 'r', rows: 8, bytesPerRow: 4 * 6 * 4 },
    ]);
    expect([...(made.ends ?? [])].map(([name, { op }]) => [name, op])).toEqual([
      ['c', 0],
      ['n', 0],
      ['r', 0],
    ]);
    expect(made).toMatchObject({ inputs: 1, outputs: [1], forced: [], head: undefined });
  });

  test('windows are clipped at the edges and follow strides', () => {
    const made = workload(
      [1, 1, 8, 8],
      [weight('w', 1, 1, 3, 3)],
      [node('Conv', ['x', 'w'], 'c', { ...same, strides: [2, 2] })],
      ['c'],
    );
    const [read] = made.ops[0]?.reads ?? [];
    expect([...(read?.from ?? [])]).toEqual([0, 1, 3, 5]);
    expect([...(read?.to ?? [])]).toEqual([2, 4, 6, 8]);
  });

  test('an activation behind a pooling is an op; an addition takes its activation along', () => {
    const made = workload(
      [1, 2, 8, 8],
      [weight('w', 2, 2, 3, 3)],
      [
        node('MaxPool', ['x'], 'p', { kernel_shape: [3, 3], ...same }),
        node('Relu', ['p'], 'a'),
        node('Conv', ['a', 'w'], 'c', same),
        node('Add', ['c', 'a'], 's'),
        node('Relu', ['s'], 'r'),
      ],
      ['r'],
    );
    expect(shown(made)).toEqual(['p < x', 'a < p', 'c < a', 'r < c a']);
    expect(made.ops.map(({ multiplyAdds }) => multiplyAdds)).toEqual([0, 0, 18, 0]);
  });

  test('an activation with a gate of its own is one activation', () => {
    const made = workload(
      [1, 2, 4, 4],
      [weight('w', 2, 2, 1, 1)],
      [node('Conv', ['x', 'w'], 'c'), node('Sigmoid', ['c'], 'g'), node('Mul', ['c', 'g'], 'y')],
      ['y'],
    );
    expect(shown(made)).toEqual(['y < x']);
  });

  test('a value that something else reads first ends its group', () => {
    const made = workload(
      [1, 2, 4, 4],
      [weight('w', 2, 2, 1, 1)],
      [
        node('Conv', ['x', 'w'], 'c'),
        node('Conv', ['c', 'w'], 'd'),
        node('Relu', ['c'], 'r'),
        node('Add', ['d', 'r'], 'y'),
      ],
      ['y'],
    );
    expect(shown(made)).toEqual(['c < x', 'd < c', 'r < c', 'y < d r']);
  });

  test('a group may make two tensors: a result and what an activation makes of it', () => {
    const made = workload(
      [1, 2, 4, 4],
      [weight('w', 2, 2, 1, 1)],
      [
        node('Conv', ['x', 'w'], 'c'),
        node('Relu', ['c'], 'r'),
        node('Conv', ['r', 'w'], 'd'),
        node('Add', ['d', 'c'], 'y'),
      ],
      ['y'],
    );
    expect(shown(made)).toEqual(['r c < x', 'd < r', 'y < d c']);
  });

  test('names and shapes are free, moves of bytes in a row are one op', () => {
    const made = workload(
      [1, 4, 4, 4],
      [
        weight('w', 4, 4, 1, 1),
        protoOf('split', intTensor([1, 2, 2, 4, 4])),
        protoOf('joined', intTensor([1, 4, 4, 4])),
      ],
      [
        node('Conv', ['x', 'w'], 'c'),
        node('Identity', ['c'], 'i'),
        node('Reshape', ['i', 'split'], 'g'),
        node('Transpose', ['g'], 't', { perm: [0, 2, 1, 3, 4] }),
        node('Reshape', ['t', 'joined'], 'y'),
      ],
      ['y'],
    );
    expect(shown(made)).toEqual(['g < x', 'y < g']);
    expect(made.ops[1]).toMatchObject({ type: 'Transpose', multiplyAdds: 0, weightBytes: 0 });
  });

  test('what no output depends on is left out', () => {
    const made = workload(
      [1, 1, 4, 4],
      [weight('w', 1, 1, 1, 1)],
      [node('Conv', ['x', 'w'], 'c'), node('Conv', ['x', 'w'], 'd')],
      ['d'],
    );
    expect(shown(made)).toEqual(['d < x']);
  });
});

describe('multiply-adds', () => {
  test('of a grouped and of a transposed convolution', () => {
    const grouped = workload(
      [1, 4, 4, 4],
      [weight('w', 4, 2, 3, 3)],
      [node('Conv', ['x', 'w'], 'y', { ...same, group: 2 })],
      ['y'],
    );
    expect(grouped.ops[0]?.multiplyAdds).toBe(18);
    // Every input pixel spreads over 2 × 2 output pixels that none else reaches.
    const spread = workload(
      [1, 4, 4, 4],
      [weight('w', 4, 3, 2, 2)],
      [node('ConvTranspose', ['x', 'w'], 'y', { strides: [2, 2] })],
      ['y'],
    );
    expect(spread.ops[0]).toMatchObject({ multiplyAdds: 4, rows: 8, width: 8, channels: 3 });
  });

  test('of a convolution over three axes: all axes but the rows are width', () => {
    const made = workload(
      [1, 2, 4, 20, 5],
      [weight('w', 3, 2, 3, 3, 3)],
      [node('Conv', ['x', 'w'], 'y', { pads: [1, 1, 1, 1, 1, 1] })],
      ['y'],
    );
    expect(made.ops[0]).toMatchObject({ multiplyAdds: 54, rows: 20, width: 20, channels: 3 });
  });
});

describe('the head', () => {
  test('begins with a global pooling at the end', () => {
    const made = workload(
      [1, 2, 8, 8],
      [weight('w', 4, 2, 1, 1), weight('f', 10, 4), weight('b', 10), weight('l', 3, 10), weight('d', 3)],
      [
        node('Conv', ['x', 'w'], 'c'),
        node('GlobalAveragePool', ['c'], 'g'),
        node('Flatten', ['g'], 'v'),
        node('Gemm', ['v', 'f', 'b'], 'h', { transB: 1 }),
        node('Relu', ['h'], 'a'),
        node('Gemm', ['a', 'l', 'd'], 'z', { transB: 1 }),
        node('Softmax', ['z'], 'y'),
      ],
      ['y'],
    );
    expect(shown(made)).toEqual(['c < x']);
    const { head } = made;
    expect(head).toMatchObject({ reads: [1], resultBytes: 12 });
    expect(head?.before.map(({ type, movedBytes }) => [type, movedBytes])).toEqual([
      ['GlobalAveragePool', (256 + 4) * 4],
    ]);
    expect(head?.cut).toMatchObject({ channels: 10, multiplyAdds: 4, fullyConnected: true, weightBytes: 5 * 10 * 4 });
    expect(head?.after.map(({ type, fullyConnected }) => [type, fullyConnected])).toEqual([
      ['Gemm', true],
      ['Softmax', false],
    ]);
  });
});

describe('what is combined from all rows', () => {
  const gate = (): Workload =>
    workload(
      [1, 2, 8, 8],
      [weight('w', 2, 2, 1, 1), weight('s', 2, 2, 1, 1)],
      [
        node('Conv', ['x', 'w'], 'c'),
        node('GlobalAveragePool', ['c'], 'g'),
        node('Conv', ['g', 's'], 'k'),
        node('Sigmoid', ['k'], 'h'),
        node('Mul', ['c', 'h'], 'm'),
        node('Conv', ['m', 'w'], 'y'),
      ],
      ['y'],
    );

  test('is a tensor of partial results that its first reader waits for', () => {
    const made = gate();
    expect(shown(made)).toEqual(['c < x', 'g < c', 'm < c g', 'y < m']);
    expect(made.forced).toEqual([2]);
    // Four parts' sums of two channels over eight rows.
    expect(made.tensors[2]).toEqual({ name: 'g', rows: 8, bytesPerRow: (4 * 2 * 4) / 8 });
    const read = made.ops[2]?.reads.find(({ tensor }) => tensor === 2);
    expect([...(read?.from ?? [])]).toEqual(new Array(8).fill(0));
    expect([...(read?.to ?? [])]).toEqual(new Array(8).fill(8));
    // The reader computes the gate for itself.
    expect(made.ops[2]?.weightBytes).toBe(16);
    expect(made.ends?.has('g')).toBe(false);
  });

  test('an op that cannot be divided stands alone', () => {
    const tall = { pads: [1, 0, 1, 0] };
    const made = workload(
      [1, 1, 8, 1],
      [weight('w', 1, 1, 3, 1)],
      [
        node('Conv', ['x', 'w'], 'c', tall),
        node('Softmax', ['c'], 'i', { axis: 2 }),
        node('Conv', ['i', 'w'], 'd', tall),
        node('Conv', ['d', 'w'], 'y', tall),
      ],
      ['y'],
    );
    expect(shown(made)).toEqual(['c < x', 'i < c', 'd < i', 'y < d']);
    expect(made.ops.map(({ whole }) => whole)).toEqual([false, true, false, false]);
    expect(made.forced).toEqual([1, 2]);
  });
});
