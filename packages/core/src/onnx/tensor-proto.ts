/** TensorProto ⇄ Tensor: every place ONNX may keep a tensor's values in, external files included. */
import { DistrEdgeError } from '../errors.js';
import { byteLength, type DataType, DTYPE_BYTES, type Tensor } from '../tensor.js';
import type { TensorProto } from './proto.js';

/** TensorProto.DataType numbers of the types that this project computes with. */
const DTYPE_OF: ReadonlyMap<number, DataType> = new Map([
  [1, 'float32'],
  [2, 'uint8'],
  [3, 'int8'],
  [4, 'uint16'],
  [5, 'int16'],
  [6, 'int32'],
  [7, 'int64'],
  [9, 'bool'],
  [10, 'float16'],
  [11, 'float64'],
  [12, 'uint32'],
  [13, 'uint64'],
  [16, 'bfloat16'],
]);
const NUMBER_OF = new Map([...DTYPE_OF].map(([number, dtype]) => [dtype, number]));

/** The data type behind an ONNX number; undefined for strings and the packed low-bit types. */
export function dtypeOf(elemType: number | undefined): DataType | undefined {
  return DTYPE_OF.get(elemType ?? 0);
}

/** ONNX's number for a data type. */
export function dtypeNumber(dtype: DataType): number {
  return NUMBER_OF.get(dtype) as number;
}

/** Finds the bytes that a model keeps outside its own file. */
export type ExternalData = (location: string, offset: number, length: number | undefined) => Uint8Array;

const EXTERNAL = 1;

function invalid(name: string, message: string, facts: { expected?: string; got?: string } = {}): DistrEdgeError {
  return new DistrEdgeError('MODEL_INVALID', message, { where: `tensor '${name}'`, ...facts });
}

function dimsOf(proto: TensorProto, name: string): number[] {
  return (proto.dims ?? []).map((dim) => {
    if (dim < 0n || dim > 0x7fffffffn)
      throw invalid(name, 'a tensor has an impossible dimension', { got: String(dim) });
    return Number(dim);
  });
}

/** The bytes of typed values given one by one, written in the element's own width. */
function packed(dtype: DataType, proto: TensorProto): Uint8Array {
  const { floatData, int32Data, int64Data, doubleData, uint64Data } = proto;
  switch (dtype) {
    case 'float32':
      return bytesOf(Float32Array.from(floatData ?? []));
    case 'float64':
      return bytesOf(Float64Array.from(doubleData ?? []));
    case 'int64':
      return bytesOf(BigInt64Array.from(int64Data ?? []));
    case 'uint64':
      return bytesOf(BigUint64Array.from(uint64Data ?? []));
    case 'uint32':
      return bytesOf(Uint32Array.from(uint64Data ?? [], Number));
    case 'int32':
      return bytesOf(Int32Array.from(int32Data ?? []));
    case 'int16':
      return bytesOf(Int16Array.from(int32Data ?? []));
    case 'uint16':
    case 'float16':
    case 'bfloat16':
      return bytesOf(Uint16Array.from(int32Data ?? []));
    case 'int8':
      return bytesOf(Int8Array.from(int32Data ?? []));
    case 'uint8':
    case 'bool':
      return Uint8Array.from(int32Data ?? []);
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function externalBytes(proto: TensorProto, name: string, external: ExternalData | undefined): Uint8Array {
  const entry = (key: string): string | undefined => proto.externalData?.find((item) => item.key === key)?.value;
  const location = entry('location');
  const offset = Number(entry('offset') ?? 0);
  const length = entry('length') === undefined ? undefined : Number(entry('length'));
  const whole = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
  if (location === undefined || !whole(offset) || (length !== undefined && !whole(length))) {
    throw invalid(name, 'the place of a tensor outside the file is not given rightly', {
      expected: 'location, offset, length',
    });
  }
  if (external === undefined) {
    throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'the model keeps weights in another file', {
      where: `tensor '${name}'`,
      got: location,
      hint: 'only the weights of the model itself can be in another file: export constants of nodes as initialisers',
    });
  }
  return external(location, offset, length);
}

/**
 * The tensor of a TensorProto, as a view of the model's bytes where they are raw. Returns undefined for element types that
 * cannot be split or sent (strings, packed low-bit types). Throws `MODEL_INVALID` where size and data disagree.
 */
export function tensorOf(proto: TensorProto, external?: ExternalData): Tensor | undefined {
  const name = proto.name ?? '';
  const dtype = dtypeOf(proto.dataType);
  if (dtype === undefined) return undefined;
  const shape = dimsOf(proto, name);
  const expected = byteLength(dtype, shape);
  const data =
    proto.dataLocation === EXTERNAL
      ? externalBytes(proto, name, external).subarray(0, expected)
      : (proto.rawData ?? packed(dtype, proto));
  if (data.byteLength !== expected) {
    throw invalid(name, 'a tensor does not hold as many values as its shape says', {
      expected: `${expected} bytes for ${dtype} [${shape.join(', ')}]`,
      got: `${data.byteLength} bytes`,
    });
  }
  return { dtype, shape, data };
}

/** A TensorProto that holds a tensor's bytes. */
export function protoOf(name: string, tensor: Tensor): TensorProto {
  return {
    name,
    dataType: dtypeNumber(tensor.dtype),
    dims: tensor.shape.map((dim) => BigInt(dim)),
    rawData: tensor.data,
  };
}

/** A TensorProto that names a blob kept elsewhere as its data. */
export function externalProtoOf(name: string, tensor: Tensor, location: string): TensorProto {
  return {
    name,
    dataType: dtypeNumber(tensor.dtype),
    dims: tensor.shape.map((dim) => BigInt(dim)),
    dataLocation: EXTERNAL,
    externalData: [
      { key: 'location', value: location },
      { key: 'offset', value: '0' },
      { key: 'length', value: String(tensor.data.byteLength) },
    ],
  };
}

/** Values of an integer or boolean tensor as numbers, 64-bit ones clamped to the safe range. Throws `OP_INVALID` for others. */
export function integers(tensor: Tensor): number[] {
  const { dtype, data } = tensor;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const count = data.byteLength / DTYPE_BYTES[dtype];
  const at = (read: (offset: number) => number): number[] =>
    Array.from({ length: count }, (_, index) => read(index * DTYPE_BYTES[dtype]));
  switch (dtype) {
    case 'int64':
      return at((offset) => clampBigInt(view.getBigInt64(offset, true)));
    case 'uint64':
      return at((offset) => clampBigInt(view.getBigUint64(offset, true)));
    case 'int32':
      return at((offset) => view.getInt32(offset, true));
    case 'uint32':
      return at((offset) => view.getUint32(offset, true));
    case 'int16':
      return at((offset) => view.getInt16(offset, true));
    case 'uint16':
      return at((offset) => view.getUint16(offset, true));
    case 'int8':
      return at((offset) => view.getInt8(offset));
    case 'uint8':
    case 'bool':
      return at((offset) => view.getUint8(offset));
    default:
      throw new DistrEdgeError('OP_INVALID', 'fractions stand where whole numbers belong', { got: dtype });
  }
}

/** Numbers of a tensor of any type, 64-bit whole ones clamped to the safe range. */
export function numbers(tensor: Tensor): number[] {
  const { dtype, data } = tensor;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const at = (read: (offset: number) => number): number[] =>
    Array.from({ length: data.byteLength / DTYPE_BYTES[dtype] }, (_, index) => read(index * DTYPE_BYTES[dtype]));
  switch (dtype) {
    case 'float32':
      return at((offset) => view.getFloat32(offset, true));
    case 'float64':
      return at((offset) => view.getFloat64(offset, true));
    case 'float16':
      return at((offset) => fromHalf(view.getUint16(offset, true)));
    case 'bfloat16': {
      // The upper half of a float32.
      const wide = new DataView(new ArrayBuffer(4));
      return at((offset) => {
        wide.setUint32(0, view.getUint16(offset, true) << 16);
        return wide.getFloat32(0);
      });
    }
    default:
      return integers(tensor);
  }
}

/** IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
function fromHalf(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** A bigint as a number, held inside ±(2^53 − 1). Exporters write INT64_MAX for "to the end". */
export function clampBigInt(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.MAX_SAFE_INTEGER;
  if (value < BigInt(Number.MIN_SAFE_INTEGER)) return Number.MIN_SAFE_INTEGER;
  return Number(value);
}
