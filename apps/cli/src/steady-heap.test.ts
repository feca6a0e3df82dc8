import { expect, test } from 'vitest';
import { HeapKeeper } from './steady-heap.js';

test('a heap is collected when it has grown since it was smallest, and what is left then is its size', () => {
  let size = 20e6;
  let left = 15e6;
  const collected: number[] = [];
  const keeper = new HeapKeeper({
    size: () => size,
    collect() {
      collected.push(size);
      size = left;
    },
  });
  const look = (now: number): void => {
    size = now;
    keeper.look();
  };
  // Of the first size nothing is known; a smaller one is nearer to what is needed.
  for (const now of [20e6, 23e6, 15e6, 18.9e6]) look(now);
  expect(collected).toEqual([]);
  look(19.1e6);
  expect(collected).toEqual([19.1e6]);
  // A program has been loaded: that stays.
  left = 40e6;
  look(45e6);
  for (const now of [40e6, 43e6]) look(now);
  expect(collected).toEqual([19.1e6, 45e6]);
});
