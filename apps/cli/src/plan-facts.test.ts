import { describe, expect, test } from 'vitest';
import { devicesUsed, listed, verdict } from './plan-facts.js';

test('devices are used that compute a row, gather, or run some of the head', () => {
  const parts = [
    { device: 3, from: 0, to: 4 },
    { device: 1, from: 4, to: 4 },
  ];
  const volumes = [{ end: 0, parts }, { gather: 2 }];
  expect(devicesUsed({ volumes })).toEqual([2, 3]);
  expect(devicesUsed({ volumes, head: 0 })).toEqual([0, 2, 3]);
  const head = [
    { device: 4, from: 0, to: 0 },
    { device: 5, from: 0, to: 9 },
  ];
  expect(devicesUsed({ volumes, head })).toEqual([2, 3, 5]);
});

test('names are listed as in a sentence', () => {
  expect([listed([]), listed(['a']), listed(['a', 'b']), listed(['a', 'b', 'c'])]).toEqual([
    '',
    'a',
    'a and b',
    'a, b and c',
  ]);
});

describe('the verdict', () => {
  const alone = { device: 'a', latencyMs: 100 };
  test.each([
    [
      { latencyMs: 50, used: ['a', 'b'] },
      /^2 of 3 devices share the work \(a and b\): 2\.00× as fast as the best device/,
    ],
    [
      { latencyMs: 100, used: ['a'] },
      /^a alone, of 3 devices, computes everything: no division was found that is faster\.$/,
    ],
    [{ latencyMs: 80, used: ['a'] }, /in parts, so that it begins before the whole image is there: 1\.25× as fast/],
    [{ latencyMs: 100, used: ['a', 'b'] }, /: as fast as the best device/],
    [{ latencyMs: 120, used: ['a', 'b'] }, /: slower than the best device .*100\.0 ms/],
  ])('of %j', (facts, says) => {
    expect(verdict({ ...facts, devices: 3, alone })).toMatch(says);
  });

  test('where no device can do it alone', () => {
    expect(verdict({ latencyMs: 1, used: ['a', 'b'], devices: 2, alone: undefined })).toMatch(
      /no device has the memory to compute it alone/,
    );
  });
});
