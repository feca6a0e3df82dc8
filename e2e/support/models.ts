/** Small ONNX models, written by hand: a few nodes in the right or the wrong order, with what surrounds them. */
import { type AttributeValue, attributeProto } from '../../packages/core/src/graph/graph.js';
import type {
  GraphProto,
  ModelProto,
  NodeProto,
  TensorProto,
  ValueInfoProto,
} from '../../packages/core/src/onnx/proto.js';
import { protoOf } from '../../packages/core/src/onnx/tensor-proto.js';
import { encodeModelProto } from '../../packages/core/src/onnx/wire.js';
import { floatTensor } from '../../packages/core/src/tensor.js';

const FLOAT = 1;

/** An input or output; a name as a dimension leaves it open. */
export function value(name: string, shape?: readonly (number | string)[], elemType: number = FLOAT): ValueInfoProto {
  const dim = shape?.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: BigInt(size) }));
  return { name, type: { tensorType: { elemType, ...(dim === undefined ? {} : { shape: { dim } }) } } };
}

export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  domain = '',
): NodeProto {
  const attribute = Object.entries(attributes).map(([name, item]) => attributeProto(name, item));
  return { opType, name: `make_${output[0]}`, input, output, attribute, ...(domain === '' ? {} : { domain }) };
}

/** A weight of small values that differ. */
export function weight(name: string, shape: readonly number[]): TensorProto {
  const count = shape.reduce((product, size) => product * size, 1);
  return protoOf(
    name,
    floatTensor(
      Float32Array.from({ length: count }, (_, at) => ((at * 7) % 11) / 11 - 0.4),
      shape,
    ),
  );
}

/** A weight whose values lie in a file. */
export function weightIn(location: string, name: string, shape: readonly number[], offset = 0): TensorProto {
  const { rawData, ...proto } = weight(name, shape);
  const externalData = [
    { key: 'location', value: location },
    { key: 'offset', value: String(offset) },
    { key: 'length', value: String(rawData?.byteLength ?? 0) },
  ];
  return { ...proto, dataLocation: 1, externalData };
}

export function model(graph: GraphProto, more: Partial<ModelProto> = {}): Uint8Array {
  return encodeModelProto({
    irVersion: 8n,
    producerName: 'by hand',
    opsetImport: [{ domain: '', version: 17n }],
    ...more,
    graph: { name: 'small', ...graph },
  });
}

const image = [1, 3, 24, 16];
const pads = { pads: [1, 1, 1, 1] };

/** Three convolutions and a head: everything that a plan tells apart, in a hundredth of a second. */
export function smallCnn(shape: readonly (number | string)[] = image): Uint8Array {
  return model({
    input: [value('x', shape)],
    output: [value('y')],
    initializer: [
      weight('w1', [8, 3, 3, 3]),
      weight('w2', [8, 8, 3, 3]),
      weight('w3', [4, 8, 3, 3]),
      weight('w4', [4, 5]),
    ],
    node: [
      node('Conv', ['x', 'w1'], ['c1'], pads),
      node('Relu', ['c1'], ['r1']),
      node('Conv', ['r1', 'w2'], ['c2'], pads),
      node('Relu', ['c2'], ['r2']),
      node('Conv', ['r2', 'w3'], ['c3'], { ...pads, strides: [2, 2] }),
      node('GlobalAveragePool', ['c3'], ['g']),
      node('Flatten', ['g'], ['f']),
      node('MatMul', ['f', 'w4'], ['y']),
    ],
  });
}

/** Enough work for seconds on one core, in many steps, from a file of some kilobytes. */
export function slowCnn(convolutions: number, channels = 64, side = 256): Uint8Array {
  const names = Array.from({ length: convolutions }, (_, at) => `v${at}`);
  return model({
    input: [value('x', [1, channels, side, side])],
    output: [value(names.at(-1) ?? 'x')],
    initializer: [weight('w', [channels, channels, 3, 3])],
    node: names.flatMap((name, at) => [
      node('Conv', [names[at - 1] ?? 'x', 'w'], [`${name}_c`], pads),
      // Keeps the values from growing without bound.
      node('Tanh', [`${name}_c`], [name]),
    ]),
  });
}

/** Where a model only makes a one-node graph: `y = op(x)`. */
export function oneNode(op: NodeProto, more: Partial<ModelProto> = {}): Uint8Array {
  return model({ input: [value('x', image)], output: [value('y', image)], node: [op] }, more);
}
