import { expect, it } from 'vitest';
import type { FixedCall } from './engine.js';
import { memoryFor } from './fixed.js';

const call = (slot: number, floats: number, more: { fetch?: boolean; release?: number[] } = {}): FixedCall => ({
  model: 1,
  inputs: [],
  outputs: [{ name: 'y', slot, fetch: more.fetch ?? false, dtype: 'float32', shape: [floats] }],
  release: more.release ?? [],
});

it('gives a released slot’s memory to a later one that it fits, and no other', () => {
  const memory = memoryFor([
    call(0, 100),
    call(1, 100, { release: [0] }),
    call(2, 60, { release: [1] }), // into slot 0's memory
    call(3, 10), // slot 1's memory is more than twice too large
    call(4, 101), // and too small here
    call(5, 99), // fits
  ]).map(([bytes]) => bytes as Uint8Array);
  expect(memory.map((bytes) => bytes.length)).toEqual([400, 400, 240, 40, 404, 396]);
  const buffers = memory.map((bytes) => bytes.buffer);
  expect(buffers[2]).toBe(buffers[0]);
  expect(buffers[5]).toBe(buffers[1]);
  expect(new Set(buffers).size).toBe(4);
});

it('keeps what is fetched to itself: it may still be leaving', () => {
  const memory = memoryFor([call(0, 100, { fetch: true }), call(1, 100, { release: [0] }), call(2, 100)]);
  expect(new Set(memory.map(([bytes]) => bytes?.buffer)).size).toBe(3);
});

it('refuses sizes that no device has', () => {
  expect(() => memoryFor([call(0, 2 ** 24), call(1, 2 ** 40)])).toThrow(
    expect.objectContaining({ code: 'ENGINE_FAILED' }),
  );
});
