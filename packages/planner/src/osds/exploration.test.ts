import { describe, expect, it } from 'vitest';
import { RandomSource } from '../rl/random.js';
import { Elite, varied } from './exploration.js';

const strategy = (value: number): Float32Array[] => [Float32Array.of(value)];

describe('the best strategies', () => {
  it('are kept from the best on, one of each latency, none that does not fit', () => {
    const elite = new Elite();
    for (const ms of [5, 3, 9, 3, 8, 7, 6, 4, 2, 10, 11]) elite.offer(strategy(ms / 100), ms);
    elite.offer(strategy(0), Number.POSITIVE_INFINITY);
    expect(elite.bestMs).toBe(2);
    expect(elite.size).toBe(8);
    expect(elite.strategies.map(([action]) => Math.round(100 * (action?.[0] ?? 0)))).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
    expect(elite.meanMs).toBe((2 + 3 + 4 + 5 + 6 + 7 + 8 + 9) / 8);
    const random = new RandomSource(1);
    const picks = Array.from({ length: 400 }, () => elite.strategies.indexOf(elite.pick(random)));
    expect(new Set(picks).size).toBe(8);
    expect(picks.filter((at) => at < 4).length).toBeGreaterThan(240);
  });
});

describe('a variation', () => {
  it('is near, sorted or not, in range, and moves a cut by a row', () => {
    const random = new RandomSource(3);
    const rows = [100, 14, 7];
    const from = [Float32Array.of(0.4, -0.2), Float32Array.of(-1, 1), Float32Array.of(0, 0)];
    const before = JSON.stringify(from);
    const onRows = (actions: readonly Float32Array[]): string =>
      actions
        .map((a, v) => [...a].sort((x, y) => x - y).map((x) => Math.round(((x + 1) / 2) * (rows[v] as number))))
        .join(';');
    let moved = 0;
    const touched = new Set<number>();
    for (let draw = 0; draw < 500; draw++) {
      const next = varied(from, rows, random);
      expect(next.map((action) => action.length)).toEqual([2, 2, 2]);
      expect(next.every((action) => action.every((cut) => cut >= -1 && cut <= 1))).toBe(true);
      if (onRows(next) !== onRows(from)) moved++;
      next.forEach((action, v) => {
        if (`${[...action].sort()}` !== `${[...(from[v] as Float32Array)].sort()}`) touched.add(v);
      });
    }
    expect(moved).toBeGreaterThan(490);
    expect(touched.size).toBe(3);
    expect(JSON.stringify(from)).toBe(before);
  });
});
