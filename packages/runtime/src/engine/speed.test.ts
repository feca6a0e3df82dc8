import { expect, test } from 'vitest';
import { measureSpeed } from './speed.js';

test('what an engine computes in a second is more than a calculator does, and less than a supercomputer', async () => {
  const flops = await measureSpeed({ threads: 1 });
  expect(flops).toBeGreaterThan(1e6);
  expect(flops).toBeLessThan(1e13);
});

test('a bad number of threads is told', async () => {
  await expect(measureSpeed({ threads: 0 })).rejects.toMatchObject({ code: 'USAGE' });
});
