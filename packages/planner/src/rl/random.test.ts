import { describe, expect, it } from 'vitest';
import { RandomSource } from './random.js';

const draw = (count: number, next: () => number): number[] => Array.from({ length: count }, next);

describe('random numbers', () => {
  it('are the same for the same seed, and others for its neighbour', () => {
    const of = (seed: number): number[] => {
      const random = new RandomSource(seed);
      return draw(50, () => random.uniform() + random.normal());
    };
    expect(of(7)).toEqual(of(7));
    expect(of(7).filter((value) => of(8).includes(value))).toEqual([]);
  });

  it('fill [0, 1) evenly', () => {
    const random = new RandomSource(1);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 20_000; i++) {
      const cell = random.below(10);
      counts[cell] = (counts[cell] as number) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });

  it('have the moments of a normal distribution', () => {
    const random = new RandomSource(2);
    const values = draw(40_000, () => random.normal());
    const moment = (power: number): number => values.reduce((sum, value) => sum + value ** power, 0) / values.length;
    expect(moment(1)).toBeCloseTo(0, 1);
    expect(moment(2)).toBeCloseTo(1, 1);
    expect(Math.abs(moment(3))).toBeLessThan(0.1);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.2);
  });
});
