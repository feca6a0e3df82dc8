import { expect, test } from 'vitest';
import { floats, floatTensor, rowRuns, sliceRows } from './tensor.js';

test('values at any offset are read, whatever kind of bytes holds them', () => {
  const memory = new Uint8Array(13);
  new DataView(memory.buffer).setFloat32(5, 1.5, true);
  const bytes = memory.subarray(5, 9);
  for (const data of [bytes, Buffer.from(memory.buffer, 5, 4)]) {
    expect([...floats({ dtype: 'float32', shape: [1], data })]).toEqual([1.5]);
  }
});

test('rows as runs are the bytes of rows as a slice, and the memory of the tensor', () => {
  const tensor = floatTensor(
    Float32Array.from({ length: 2 * 3 * 5 * 4 }, (_, index) => index),
    [2, 3, 5, 4],
  );
  for (const [axis, runs] of [
    [0, 1],
    [1, 2],
    [2, 6],
    [3, 30],
  ] as const) {
    const range = { from: 1, to: 2 };
    const made = rowRuns(tensor, axis, range);
    expect(made).toHaveLength(runs);
    expect(Buffer.concat(made)).toEqual(Buffer.from(sliceRows(tensor, axis, range).data));
    expect(made.every(({ buffer }) => buffer === tensor.data.buffer)).toBe(true);
  }
});
