import { type DataType, DTYPE_BYTES, floats, type Tensor } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { seededTensor } from './seeded.js';

/** The first numbers of sfc32(7) are these, by another implementation in arbitrary-precision integers. */
const SFC32_OF_7 = [3069104647, 3582417929, 1446471690, 4196707356, 3891143111, 2994695642];

function view(tensor: Tensor): DataView {
  return new DataView(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
}

describe('seededTensor', () => {
  it('makes float32 of the upper 24 bits of each number', () => {
    const tensor = seededTensor('float32', [2, 3], 7);
    expect(tensor.shape).toEqual([2, 3]);
    expect([...floats(tensor)]).toEqual(SFC32_OF_7.map((number) => Math.floor(number / 256) / 2 ** 24));
  });

  it('makes integers 0..9 and bits, little-endian', () => {
    const digits = SFC32_OF_7.map((number) => number % 10);
    expect(digits).toEqual([7, 9, 0, 6, 1, 2]);
    expect([...seededTensor('uint8', [6], 7).data]).toEqual(digits);
    const long = view(seededTensor('int64', [6], 7));
    expect(digits.map((_, at) => Number(long.getBigInt64(at * 8, true)))).toEqual(digits);
    const word = view(seededTensor('int32', [6], 7));
    expect(digits.map((_, at) => word.getInt32(at * 4, true))).toEqual(digits);
    expect([...seededTensor('bool', [6], 7).data]).toEqual([1, 1, 0, 1, 1, 1]);
  });

  it('makes float16 and bfloat16 of the upper 8 bits, as multiples of 1/256', () => {
    const wanted = SFC32_OF_7.map((number) => Math.floor(number / 2 ** 24) / 256);
    const half = view(seededTensor('float16', [6], 7));
    const halves = wanted.map((_, at) => {
      const bits = half.getUint16(at * 2, true);
      return (1 + (bits & 0x3ff) / 1024) * 2 ** ((bits >> 10) - 15);
    });
    expect(halves).toEqual(wanted);
    const brain = view(seededTensor('bfloat16', [6], 7));
    const wide = new DataView(new ArrayBuffer(4));
    const brains = wanted.map((_, at) => {
      wide.setUint32(0, brain.getUint16(at * 2, true) * 2 ** 16);
      return wide.getFloat32(0);
    });
    expect(brains).toEqual(wanted);
  });

  it('fills every type to its full length, and scalars and empty tensors too', () => {
    for (const dtype of Object.keys(DTYPE_BYTES) as DataType[]) {
      const tensor = seededTensor(dtype, [3, 50], 1);
      expect(tensor.data.length).toBe(150 * DTYPE_BYTES[dtype]);
      expect(tensor.data.subarray(-8 * DTYPE_BYTES[dtype]).some((byte) => byte !== 0)).toBe(true);
    }
    expect(seededTensor('float32', [], 1).data.length).toBe(4);
    expect(seededTensor('float32', [0, 4], 1).data.length).toBe(0);
  });

  it('is uniform over [0, 1), and another one for another seed', () => {
    const values = floats(seededTensor('float32', [100_000], 42));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.005);
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(new Set(values).size).toBeGreaterThan(99_000);
    expect([...floats(seededTensor('float32', [9], 43))]).not.toEqual([...values.slice(0, 9)]);
  });
});
