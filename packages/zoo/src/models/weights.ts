/**
 * Seeded weights, made as fast as memory is filled: one block of nearly Gaussian numbers for each seed, from which every
 * tensor takes its values, from a place of its own and scaled to its own spread. A tensor that is larger than the block
 * repeats it. The block's length is a prime, so no two filters of a tensor begin at the same place and none are equal.
 */
import type { WeightSpec } from './build.js';

/** The largest prime below 2¹⁸: a megabyte of numbers, which stays in the caches. */
const BLOCK = 262_139;
/** Distance between the places where successive tensors begin; a prime too, so that all differ. */
const STEP = 104_729;

/** Mulberry32, a 32-bit generator by Tommy Ettinger (public domain): whole numbers below 2³². */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/**
 * The block: sums of four uniform numbers, with mean 0 and variance 1. Nearly Gaussian, and exactly the same on every
 * machine, as logarithms and cosines are not.
 */
function gaussians(seed: number): Float32Array {
  const random = mulberry32(seed);
  const unit = Math.sqrt(3) / 2 ** 16;
  return Float32Array.from({ length: BLOCK }, () => {
    const [a, b] = [random(), random()];
    return ((a >>> 16) + (a & 0xffff) + (b >>> 16) + (b & 0xffff) - 2 * 0xffff) * unit;
  });
}

/** Fills the float32 values of tensors; `index` tells the tensors of a model apart. */
export type Filler = (bytes: Uint8Array, spec: WeightSpec, index: number) => void;

/** A filler for this seed. The bytes need not be aligned. */
export function seededFiller(seed: number): Filler {
  const block = gaussians(seed);
  return (bytes, { mean, deviation }, index) => {
    const count = Math.min(BLOCK, bytes.byteLength / 4);
    const start = (index * STEP) % BLOCK;
    const scaled = new Float32Array(count);
    for (let at = 0, from = start; at < count; at++, from++) {
      if (from === BLOCK) from = 0;
      scaled[at] = mean + deviation * (block[from] as number);
    }
    bytes.set(new Uint8Array(scaled.buffer));
    for (let done = scaled.byteLength; done < bytes.byteLength; done *= 2) {
      bytes.copyWithin(done, 0, Math.min(done, bytes.byteLength - done));
    }
  };
}
