/** Random tensors that are the same on every machine for the same seed: model input where there is no photo. */
import { byteLength, type DataType, elements, type Tensor } from '@distredge/core';

/** A source of whole numbers, uniform over 0..2³² − 1. */
type Source = () => number;

/**
 * sfc32, the 32-bit "small fast counting" generator of Chris Doty-Humphrey's PractRand (public domain): state
 * a = seed, b = c = 0, counter = 1, and the first 12 numbers are thrown away. Only 32-bit integer arithmetic,
 * so the same everywhere.
 */
function sfc32(seed: number): Source {
  let [a, b, c, counter] = [seed >>> 0, 0, 0, 1];
  const next = (): number => {
    const out = (a + b + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + out) >>> 0;
    return out;
  };
  for (let round = 0; round < 12; round += 1) next();
  return next;
}

/** Integers are 0..9, which every integer type holds. */
const INTEGERS = 10;

/** The bits of k / 256 as float16: exact, since its 11 significant bits hold any k below 256. */
function halfBits(k: number): number {
  const exponent = 31 - Math.clz32(k);
  return k === 0 ? 0 : ((exponent - 8 + 15) << 10) | ((k << (10 - exponent)) & 0x3ff);
}

/** The bits of k / 256 as bfloat16: exact, since its 8 significant bits hold any k below 256. */
function brainBits(k: number): number {
  const exponent = 31 - Math.clz32(k);
  return k === 0 ? 0 : ((exponent - 8 + 127) << 7) | ((k << (7 - exponent)) & 0x7f);
}

/** Writes one value of the type at a byte offset. */
function writer(dtype: DataType, view: DataView, next: Source): (at: number) => void {
  const unit = (): number => (next() >>> 8) / 2 ** 24;
  const small = (): number => next() % INTEGERS;
  switch (dtype) {
    case 'float32':
      return (at) => view.setFloat32(at, unit(), true);
    case 'float64':
      return (at) => view.setFloat64(at, unit(), true);
    case 'float16':
      return (at) => view.setUint16(at, halfBits(next() >>> 24), true);
    case 'bfloat16':
      return (at) => view.setUint16(at, brainBits(next() >>> 24), true);
    case 'int8':
    case 'uint8':
      return (at) => view.setUint8(at, small());
    case 'int16':
    case 'uint16':
      return (at) => view.setUint16(at, small(), true);
    case 'int32':
    case 'uint32':
      return (at) => view.setUint32(at, small(), true);
    case 'int64':
    case 'uint64':
      return (at) => view.setBigUint64(at, BigInt(small()), true);
    case 'bool':
      return (at) => view.setUint8(at, next() >>> 31);
  }
}

/**
 * A random tensor, one number of sfc32(seed) per element in row-major order. float32 and float64: uniform over
 * the multiples of 2⁻²⁴ in [0, 1). float16 and bfloat16: multiples of 2⁻⁸ in [0, 1). Integers: 0..9. bool: 0 or
 * 1. Of the seed the lower 32 bits count.
 */
export function seededTensor(dtype: DataType, shape: readonly number[], seed: number): Tensor {
  const data = new Uint8Array(byteLength(dtype, shape));
  const write = writer(dtype, new DataView(data.buffer), sfc32(seed));
  const count = elements(shape);
  const bytes = count === 0 ? 0 : data.length / count;
  for (let index = 0; index < count; index += 1) write(index * bytes);
  return { dtype, shape, data };
}
