/** Dense tensors as raw little-endian bytes, with typed views made on demand. */
import { DistrEdgeError } from './errors.js';

/** Bytes per element of every data type that can cross a link. `string` tensors cannot. */
export const DTYPE_BYTES = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  uint16: 2,
  uint32: 4,
  uint64: 8,
  bool: 1,
} as const;

/** Element type of a tensor, by its ONNX name in lower case (`float32` is ONNX's FLOAT, `float64` its DOUBLE). */
export type DataType = keyof typeof DTYPE_BYTES;

/** A dense tensor, row-major. `data` holds exactly `elements(shape) · DTYPE_BYTES[dtype]` bytes, little-endian. */
export interface Tensor {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Number of elements of a shape; 1 for a scalar. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** Bytes of a tensor of this type and shape. */
export function byteLength(dtype: DataType, shape: readonly number[]): number {
  return elements(shape) * DTYPE_BYTES[dtype];
}

/** The bytes at an offset that typed arrays can view: the same memory where aligned, else a copy. */
function aligned(data: Uint8Array, bytes: number): Uint8Array {
  // `slice` of a Node Buffer would be the same memory.
  return data.byteOffset % bytes === 0 ? data : new Uint8Array(data);
}

/** A float32 tensor's values as a view (a copy only where the bytes are not aligned). */
export function floats(tensor: Tensor): Float32Array {
  if (tensor.dtype !== 'float32') {
    throw new DistrEdgeError('INTERNAL', 'float values asked of another type', { got: tensor.dtype });
  }
  const data = aligned(tensor.data, 4);
  return new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4);
}

/** A float32 tensor over these values. */
export function floatTensor(values: Float32Array | readonly number[], shape: readonly number[]): Tensor {
  const array = values instanceof Float32Array ? values : Float32Array.from(values);
  return { dtype: 'float32', shape, data: new Uint8Array(array.buffer, array.byteOffset, array.byteLength) };
}

/** An int64 tensor over these whole numbers; one dimension unless a shape is given. */
export function intTensor(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
  const array = BigInt64Array.from(values, (value) => BigInt(value));
  return { dtype: 'int64', shape, data: new Uint8Array(array.buffer) };
}

/** Indices `from` (inclusive) to `to` (exclusive) of one axis: a view where they lie together, else a copy. */
export function sliceRows(tensor: Tensor, axis: number, range: { readonly from: number; readonly to: number }): Tensor {
  const shape = tensor.shape.map((dim, index) => (index === axis ? range.to - range.from : dim));
  const runs = rowRuns(tensor, axis, range);
  const [first = new Uint8Array(0)] = runs;
  if (runs.length <= 1) return { dtype: tensor.dtype, shape, data: first };
  const data = new Uint8Array(runs.length * first.byteLength);
  runs.forEach((run, index) => {
    data.set(run, index * first.byteLength);
  });
  return { dtype: tensor.dtype, shape, data };
}

/**
 * The bytes of `sliceRows` without a copy: one view for each run of them that lies together, in order. There are as many as
 * the product of the dimensions before the axis.
 */
export function rowRuns(
  tensor: Tensor,
  axis: number,
  range: { readonly from: number; readonly to: number },
): Uint8Array[] {
  const { outer, size, row } = strides(tensor, axis);
  return Array.from({ length: outer }, (_, index) =>
    tensor.data.subarray((index * size + range.from) * row, (index * size + range.to) * row),
  );
}

/** Writes a piece into the indices of one axis that begin at `from`: the inverse of `sliceRows`. */
export function pasteRows(target: Tensor, axis: number, from: number, piece: Tensor): void {
  const { outer, size, row } = strides(target, axis);
  const length = (piece.shape[axis] ?? 1) * row;
  for (let index = 0; index < outer; index++) {
    target.data.set(piece.data.subarray(index * length, (index + 1) * length), (index * size + from) * row);
  }
}

function strides(tensor: Tensor, axis: number): { outer: number; size: number; row: number } {
  return {
    outer: elements(tensor.shape.slice(0, axis)),
    size: tensor.shape[axis] ?? 1,
    row: elements(tensor.shape.slice(axis + 1)) * DTYPE_BYTES[tensor.dtype],
  };
}
