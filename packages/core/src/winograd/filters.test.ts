import { expect, test } from 'vitest';
import { expectedGain, INPUT_TAPS, PRODUCTS, TAPS, transformFilters } from './filters.js';

const random = (count: number, seed: number): Float32Array => {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 0x7fffffff - 0.5;
  });
};

/** Two sums along one axis: the outputs 0 and 1 of a tile, the sign of the last product being in the filters. */
const outputs = (products: readonly number[]): [number, number] => {
  const [a = 0, b = 0, c = 0, d = 0] = products;
  return [a + b + c, b - c + d];
};

test('sixteen products of a tile give its four outputs', () => {
  const [filters, channels] = [3, 2];
  const weights = random(filters * channels * TAPS * TAPS, 1);
  const tile = random(channels * PRODUCTS * PRODUCTS, 2);
  const scale = [1, -2, 0.5];
  const transformed = transformFilters(weights, filters, channels, scale);
  const at = (channel: number, row: number, column: number): number =>
    tile[(channel * PRODUCTS + row) * PRODUCTS + column] as number;
  for (let filter = 0; filter < filters; filter++) {
    const product = (i: number, j: number): number => {
      const [v, h] = [INPUT_TAPS[i], INPUT_TAPS[j]];
      let sum = 0;
      for (let channel = 0; channel < channels; channel++) {
        let input = 0;
        for (const a of [0, 1] as const)
          for (const b of [0, 1] as const)
            input +=
              (v?.factors[a] ?? 0) *
              (h?.factors[b] ?? 0) *
              at(channel, (v?.at ?? 0) + a * (v?.apart ?? 0), (h?.at ?? 0) + b * (h?.apart ?? 0));
        const matrix = (i * PRODUCTS + j) * filters * channels;
        sum += input * (transformed[matrix + filter * channels + channel] as number);
      }
      return sum;
    };
    const rows = Array.from({ length: PRODUCTS }, (_, i) => outputs([0, 1, 2, 3].map((j) => product(i, j))));
    const made = [0, 1].map((column) => outputs(rows.map((row) => row[column] as number)));
    for (const [row, column] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      let direct = 0;
      for (let channel = 0; channel < channels; channel++)
        for (let y = 0; y < TAPS; y++)
          for (let x = 0; x < TAPS; x++)
            direct +=
              at(channel, row + y, column + x) *
              (weights[((filter * channels + channel) * TAPS + y) * TAPS + x] as number);
      expect(made[column]?.[row]).toBeCloseTo(direct * (scale[filter] as number), 5);
    }
  }
});

test('is chosen where channels are many, and positions enough to share the filters but not more than caches keep', () => {
  expect(expectedGain(512, 512, 28, 28)).toBeGreaterThan(5e8);
  expect(expectedGain(256, 256, 14, 14)).toBeGreaterThan(0);
  expect(expectedGain(64, 64, 56, 56)).toBeGreaterThan(0);
  expect(expectedGain(64, 64, 256, 256)).toBe(0);
  expect(expectedGain(32, 32, 256, 256)).toBe(0);
  expect(expectedGain(16, 512, 56, 56)).toBe(0);
  expect(expectedGain(512, 512, 3, 7)).toBe(0);
  expect(expectedGain(512, 512, 1, 1)).toBe(0);
});
