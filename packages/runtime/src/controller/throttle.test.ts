import { expect, it } from 'vitest';
import { Throttle } from './throttle.js';

it('lets a burst through, then some a second, and tells how many it held back', () => {
  let now = 0;
  const throttle = new Throttle({ burst: 3, perSecond: 2, now: () => now });
  const pass = (times: number) => Array.from({ length: times }, () => throttle.pass());
  expect(pass(5)).toEqual([0, 0, 0, undefined, undefined]);
  now = 499;
  expect(pass(1)).toEqual([undefined]);
  now = 500;
  expect(pass(2)).toEqual([3, undefined]);
  now = 60_000;
  expect(pass(4)).toEqual([1, 0, 0, undefined]);
});
