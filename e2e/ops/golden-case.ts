/**
 * A golden case: one node with its operands and the results that onnxruntime gave for it, as JSON keeps it. Numbers that JSON
 * cannot write stand as strings ('NaN', 'Infinity', '-Infinity'); booleans are 0 and 1.
 */
import {
  type AttributeValue,
  attributeProto,
  type Graph,
  type TensorType,
} from '../../packages/core/src/graph/graph.js';
import { type AttributeProto, AttributeType } from '../../packages/core/src/onnx/proto.js';
import { numbers, protoOf } from '../../packages/core/src/onnx/tensor-proto.js';
import { type DataType, elements, type Tensor } from '../../packages/core/src/tensor.js';

export interface GoldenTensor {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
  /** A weight of the model; otherwise the caller feeds it. */
  readonly constant?: true;
}

export type GoldenAttribute = AttributeValue | { readonly tensor: GoldenTensor };

export interface GoldenCase {
  readonly name: string;
  readonly opset: number;
  readonly op: string;
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, GoldenAttribute>>;
  /** Null: an optional input that is not given. */
  readonly inputs: readonly (GoldenTensor | null)[];
  /** Row axis of each input; null: it has none. All null: only the shape, and the value where it can be folded, are tested. */
  readonly rowAxes: readonly (number | null)[];
  /** The kind of rule the op must give. */
  readonly kind?: 'local' | 'global' | 'whole';
  /** Whether `foldNode` must be able to compute it. */
  readonly folds?: true;
  /** Null: an optional output that is not asked for. */
  readonly outputs: readonly (GoldenTensor | null)[];
}

/** An operand; without `data` it is filled with seeded multiples of 1/64 in [-2, 2) (whole numbers for integer types). */
export interface Operand extends Omit<GoldenTensor, 'data'> {
  readonly data?: GoldenTensor['data'];
}

export interface CaseDefinition extends Omit<GoldenCase, 'inputs' | 'outputs'> {
  readonly inputs: readonly (Operand | null)[];
  /** How many outputs the node has, or which of them are asked for. Default 1. */
  readonly outputs?: number | readonly boolean[];
}

/** A float32 operand that the caller feeds. */
export function fed(shape: readonly number[], data?: readonly (number | string)[]): Operand {
  return { dtype: 'float32', shape, ...(data === undefined ? {} : { data }) };
}

/** A float32 weight. */
export function weight(shape: readonly number[], data?: readonly (number | string)[]): Operand {
  return { ...fed(shape, data), constant: true };
}

/** A constant list of int64. */
export function ints(data: readonly number[], shape: readonly number[] = [data.length]): Operand {
  return { dtype: 'int64', shape, data, constant: true };
}

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const;

/** The values of a golden tensor as bytes. */
export function toTensor({ dtype, shape, data }: Pick<GoldenTensor, 'dtype' | 'shape' | 'data'>): Tensor {
  if (data.length !== elements(shape)) throw new Error(`${data.length} values for shape [${shape.join(', ')}]`);
  if (dtype === 'int64' || dtype === 'uint64') {
    return { dtype, shape, data: new Uint8Array(BigInt64Array.from(data, (value) => BigInt(value)).buffer) };
  }
  const array = ARRAYS[dtype].from(data.map(Number));
  return { dtype, shape, data: new Uint8Array(array.buffer) };
}

/** A tensor as JSON keeps it, float32 values with as many digits as they need. */
export function toGolden(tensor: Tensor): GoldenTensor {
  const short =
    tensor.dtype === 'float32'
      ? (value: number): number => Number(value.toPrecision(9))
      : (value: number): number => value;
  const data = numbers(tensor).map((value) => (Number.isFinite(value) ? short(value) : String(value)));
  return { dtype: tensor.dtype, shape: tensor.shape, data };
}

function toAttribute(name: string, value: GoldenAttribute): AttributeProto {
  if (typeof value === 'object' && 'tensor' in value) {
    return { name, type: AttributeType.tensor, t: protoOf('', toTensor(value.tensor)) };
  }
  return attributeProto(name, value);
}

/** The graph of a case: its one node `node`, inputs `in0`, `in1`, … and outputs `out0`, … (types not inferred). */
export function graphOf(golden: Omit<GoldenCase, 'outputs'>, outputs: readonly (object | null)[]): Graph {
  const { name, op, opset, domain = '' } = golden;
  const constants = new Map<string, Tensor>();
  const types = new Map<string, TensorType>();
  golden.inputs.forEach((input, index) => {
    if (input === null) return;
    types.set(`in${index}`, { dtype: input.dtype, shape: input.shape });
    if (input.constant === true) constants.set(`in${index}`, toTensor(input));
  });
  const node = {
    name: 'node',
    op,
    domain,
    inputs: golden.inputs.map((input, index) => (input === null ? '' : `in${index}`)),
    outputs: outputs.map((output, index) => (output === null ? '' : `out${index}`)),
    captures: [],
    attributes: new Map(Object.entries(golden.attributes ?? {}).map(([key, value]) => [key, toAttribute(key, value)])),
  };
  const opsetImports = [{ domain: '', version: BigInt(opset) }, ...(domain === '' ? [] : [{ domain, version: 1n }])];
  return {
    name,
    opset,
    opsetImports,
    irVersion: 8,
    extras: [],
    nodes: [node],
    inputs: node.inputs.filter((input) => input !== '' && !constants.has(input)),
    outputs: node.outputs.filter((output) => output !== ''),
    types,
    constants,
  };
}
