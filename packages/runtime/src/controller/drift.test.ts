import { describe, expect, it } from 'vitest';
import { type Drift, DriftWatch, median } from './drift.js';

const NONE: Drift = { kind: 'none' };

function feed(watch: DriftWatch, count: number, totalMs: number, computeMs: readonly number[]): Drift[] {
  return Array.from({ length: count }, () => watch.add({ totalMs, computeMs }));
}

describe('drift', () => {
  it('is none while devices compute as predicted', () => {
    const watch = new DriftWatch([40, 60, 0], { window: 3 });
    expect(feed(watch, 20, 110, [44, 55, 0]).every((drift) => drift.kind === 'none')).toBe(true);
    expect(watch.usualMs).toBe(110);
  });

  it('of a device that became slower is told once, with how much', () => {
    const watch = new DriftWatch([40, 60], { window: 3 });
    feed(watch, 3, 110, [40, 60]);
    const told = feed(watch, 4, 170, [40, 120]).filter(({ kind }) => kind !== 'none');
    expect(told).toEqual([{ kind: 'compute', factors: new Map([[1, 2]]) }]);
  });

  it('of images that take longer while devices compute as before is the network', () => {
    const watch = new DriftWatch([40, 60], { window: 3 });
    feed(watch, 3, 100, [40, 60]);
    const told = feed(watch, 4, 250, [40, 60]).filter(({ kind }) => kind !== 'none');
    expect(told).toEqual([{ kind: 'network', ratio: 2.5 }]);
  });

  it('does not take one slow image for a change', () => {
    const watch = new DriftWatch([40], { window: 5 });
    feed(watch, 5, 50, [40]);
    expect(feed(watch, 1, 500, [400])).toEqual([NONE]);
    expect(feed(watch, 2, 50, [40])).toEqual([NONE, NONE]);
  });

  it('does not look at fractions of a millisecond', () => {
    const watch = new DriftWatch([0.5], { window: 2 });
    expect(feed(watch, 6, 2, [1.5]).every((drift) => drift.kind === 'none')).toBe(true);
  });

  it('has a middle', () => {
    expect([median([3, 1, 2]), median([]), median([5])]).toEqual([2, 0, 5]);
  });
});
