/** Tensors of the project as tensors of onnxruntime and back: views of the same bytes wherever those are aligned. */
import './no-telemetry.js';
import { byteLength, type DataType, DistrEdgeError, DTYPE_BYTES, type Tensor } from '@distredge/core';
import { Tensor as OrtTensor } from 'onnxruntime-node';

/** The typed array that onnxruntime-node takes for each data type. It has none for bfloat16. */
const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const;

type OrtDataType = keyof typeof ARRAYS;

function isOrtType(dtype: string): dtype is OrtDataType {
  return Object.hasOwn(ARRAYS, dtype);
}

/** The data type of an onnxruntime value. Throws `ENGINE_FAILED` for one that no `Tensor` can hold. */
export function dataType(type: string, where: string): DataType {
  if (isOrtType(type)) return type;
  throw new DistrEdgeError('ENGINE_FAILED', 'the engine cannot handle this data type', {
    where,
    expected: Object.keys(ARRAYS).join(', '),
    got: type,
  });
}

/** Bytes that onnxruntime can read as elements of this size: it takes neither shared memory nor unaligned views. */
function readable({ buffer, byteOffset, byteLength }: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  if (buffer instanceof ArrayBuffer && byteOffset % size === 0) return new Uint8Array(buffer, byteOffset, byteLength);
  return Uint8Array.from(new Uint8Array(buffer, byteOffset, byteLength));
}

/** Throws `ENGINE_FAILED` where type, shape and bytes of a tensor do not fit together (as with one that was moved away). */
export function checkTensor({ dtype, shape, data }: Tensor, where: string): void {
  const expected = byteLength(dataType(dtype, where), shape);
  if (data.byteLength === expected) return;
  throw new DistrEdgeError('ENGINE_FAILED', "a tensor's bytes do not fit its shape", {
    where,
    expected: `${expected} bytes for ${dtype}[${shape.join(', ')}]`,
    got: `${data.byteLength} bytes`,
  });
}

/** Views a tensor as onnxruntime's. Throws as `checkTensor` does. */
export function toOrt(tensor: Tensor, where: string): OrtTensor {
  checkTensor(tensor, where);
  const dtype = tensor.dtype as OrtDataType;
  const size = DTYPE_BYTES[dtype];
  const { buffer, byteOffset, byteLength } = readable(tensor.data, size);
  return new OrtTensor(dtype, new ARRAYS[dtype](buffer, byteOffset, byteLength / size), [...tensor.shape]);
}

/** Views an onnxruntime tensor as one of ours. Throws `ENGINE_FAILED` for strings and other types without fixed size. */
export function fromOrt(tensor: OrtTensor, where: string): Tensor {
  const dtype = dataType(tensor.type, where);
  return { dtype, shape: tensor.dims, data: bytesOf(tensor) };
}

/** The bytes of an onnxruntime tensor with elements of a fixed size. */
export function bytesOf(tensor: OrtTensor): Uint8Array {
  const data = tensor.data as ArrayBufferView;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
