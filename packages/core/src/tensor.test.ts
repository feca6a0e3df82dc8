import { expect, test } from 'vitest';
import { floats } from './tensor.js';

test('values at any offset are read, whatever kind of bytes holds them', () => {
  const memory = new Uint8Array(13);
  new DataView(memory.buffer).setFloat32(5, 1.5, true);
  const bytes = memory.subarray(5, 9);
  for (const data of [bytes, Buffer.from(memory.buffer, 5, 4)]) {
    expect([...floats({ dtype: 'float32', shape: [1], data })]).toEqual([1.5]);
  }
});
