/** NumPy's array file, version 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
import { type DataType, DistrEdgeError, type Tensor } from '@distredge/core';

const DESCR: Partial<Record<DataType, string>> = {
  float16: '<f2',
  float32: '<f4',
  float64: '<f8',
  int8: '|i1',
  int16: '<i2',
  int32: '<i4',
  int64: '<i8',
  uint8: '|u1',
  uint16: '<u2',
  uint32: '<u4',
  uint64: '<u8',
  bool: '|b1',
};

/** A tensor as the bytes of an .npy file; its name is for messages. */
export function npy(name: string, { dtype, shape, data }: Tensor): Uint8Array {
  const descr = DESCR[dtype];
  if (descr === undefined) {
    throw new DistrEdgeError('FILE', 'NumPy has no such element type', {
      where: `output '${name}'`,
      got: dtype,
      hint: 'leave out --output',
    });
  }
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const head = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  const length = Math.ceil((10 + head.length + 1) / 64) * 64 - 10;
  const file = Buffer.alloc(10 + length + data.byteLength);
  file.write('\u0093NUMPY\u0001\u0000', 'latin1');
  file.writeUInt16LE(length, 8);
  file.write(`${head.padEnd(length - 1)}\n`, 10, 'latin1');
  file.set(data, 10 + length);
  return file;
}
