import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { free } from './free.js';

it('gives memory back at once', async () => {
  await setImmediate();
  const bytes = new Uint8Array(2 ** 28).fill(1);
  const full = process.memoryUsage.rss();
  free(bytes);
  expect(full - process.memoryUsage.rss()).toBeGreaterThan(2 ** 27);
  expect(bytes.byteLength).toBe(0);
  free(bytes);
});

it('leaves alone what only views a part of its buffer, shared memory and pooled buffers', () => {
  for (const bytes of [
    new Uint8Array(8).subarray(4),
    new Uint8Array(new SharedArrayBuffer(8)),
    Buffer.from('pooled'),
  ]) {
    const { byteLength } = bytes;
    free(bytes);
    expect(bytes.byteLength).toBe(byteLength);
  }
});
