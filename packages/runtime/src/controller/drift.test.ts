import { describe, expect, it } from 'vitest';
import { median } from '../median.js';
import { type Drift, DriftWatch } from './drift.js';

const none = ({ factors, network, sudden }: Drift): boolean =>
  factors.size === 0 && network === undefined && sudden === undefined;
const told = (drifts: readonly Drift[]): Drift[] => drifts.filter((drift) => !none(drift));

function feed(watch: DriftWatch, count: number, totalMs: number, computeMs: readonly number[]): Drift[] {
  return Array.from({ length: count }, () => watch.add({ totalMs, computeMs }));
}

describe('drift', () => {
  it('is none while devices compute as predicted', () => {
    const watch = new DriftWatch([40, 60, 0], 100, { window: 3 });
    expect(feed(watch, 20, 110, [44, 55, 0]).every(none)).toBe(true);
  });

  it('of a device that became slower is told once, with how much', () => {
    const watch = new DriftWatch([40, 60], 100, { window: 3 });
    feed(watch, 3, 110, [40, 60]);
    const changes = told(feed(watch, 4, 170, [40, 120]));
    expect(changes).toEqual([{ factors: new Map([[1, 2]]), network: undefined, sudden: undefined }]);
  });

  it('is not told by what little work takes', () => {
    const factorOf = (predicted: number, measured: number) =>
      told(feed(new DriftWatch([60, predicted], 100, { window: 3 }), 3, 100, [60, measured]))[0]?.factors.get(1);
    expect([factorOf(4, 9), factorOf(4, 12)]).toEqual([undefined, 3]);
    expect([factorOf(20, 5), factorOf(30, 15)]).toEqual([undefined, 0.5]);
  });

  it('of images that take longer while devices compute as before is the network', () => {
    const watch = new DriftWatch([40, 60], 100, { window: 3 });
    feed(watch, 3, 100, [40, 60]);
    const changes = told(feed(watch, 4, 150, [40, 60]));
    expect(changes.filter(({ network }) => network !== undefined)).toEqual([
      { factors: new Map(), network: 1.5, sudden: undefined },
    ]);
  });

  it('of a new plan is the network where images take much longer than predicted and devices do not', () => {
    const changes = told(feed(new DriftWatch([40, 60], 100, { window: 3 }), 3, 300, [40, 60]));
    expect(changes).toEqual([{ factors: new Map(), network: 3, sudden: undefined }]);
    expect(told(feed(new DriftWatch([40, 60], 100, { window: 3 }), 3, 300, [40, 250]))).toEqual([
      { factors: new Map([[1, 250 / 60]]), network: undefined, sudden: undefined },
    ]);
  });

  it('of a new plan is told after two images that take very much longer than predicted, or three that take much longer', () => {
    const watch = (): DriftWatch => new DriftWatch([40, 60], 100, { window: 5 });
    expect(told(feed(watch(), 2, 1300, [40, 60]))).toEqual([{ factors: new Map(), network: 13, sudden: undefined }]);
    expect(told(feed(watch(), 1, 1300, [40, 60]))).toEqual([]);
    expect(told(feed(watch(), 2, 250, [40, 60]))).toEqual([]);
    expect(told(feed(watch(), 3, 250, [40, 60]))).toEqual([{ factors: new Map(), network: 2.5, sudden: undefined }]);
    expect(told(feed(watch(), 4, 190, [40, 60]))).toEqual([]);
    // So few say nothing of what devices compute.
    expect(told(feed(watch(), 2, 1300, [10, 60]))).toEqual([{ factors: new Map(), network: 13, sudden: undefined }]);
    const one = watch();
    expect(told([...feed(one, 1, 1300, [40, 60]), ...feed(one, 3, 110, [40, 60])])).toEqual([]);
    // What devices compute explains it.
    expect(told(feed(watch(), 4, 1300, [40, 1250]))).toEqual([]);
  });

  it('while devices are busy with something else is told after two images that take very much longer than before', () => {
    const watch = new DriftWatch([40, 60], 100, { window: 3 });
    const disturbed = (totalMs: number, computeMs = [40, 60]) => watch.addDisturbed({ totalMs, computeMs });
    expect([disturbed(190), disturbed(900), disturbed(190), disturbed(300)]).toEqual(Array(4).fill(undefined));
    expect(disturbed(800)).toBe(3);
    watch.restart();
    expect([disturbed(250), disturbed(250), disturbed(250)]).toEqual([undefined, undefined, 2.5]);
    // What devices compute may explain it.
    watch.restart();
    expect([disturbed(800), disturbed(900, [40, 800])]).toEqual([undefined, undefined]);
    feed(watch, 3, 200, [40, 60]);
    expect([disturbed(550), disturbed(550)]).toEqual([undefined, undefined]);
    expect(disturbed(1000)).toBe(2.75);
  });

  it('may be of both at once', () => {
    const [change] = told(feed(new DriftWatch([40, 60], 100, { window: 3 }), 3, 330, [40, 120]));
    expect([change?.factors.get(1), (change?.network ?? 0) > 2]).toEqual([2, true]);
  });

  it('does not take one slow image for a change', () => {
    const watch = new DriftWatch([40], 45, { window: 5 });
    feed(watch, 5, 50, [40]);
    expect(feed(watch, 1, 500, [400])).toSatisfy((drifts: Drift[]) => drifts.every(none));
    expect(feed(watch, 2, 50, [40])).toSatisfy((drifts: Drift[]) => drifts.every(none));
  });

  it('is sudden after one image that took twice as long, two of half as much, three of a quarter', () => {
    for (const [totalMs, images] of [
      [250, 1],
      [150, 2],
      [130, 3],
    ] as const) {
      const watch = new DriftWatch([40, 60], 100, { window: 9 });
      feed(watch, 9, 100, [40, 60]);
      const drifts = feed(watch, images, totalMs, [40, 60]);
      expect(drifts.slice(0, -1).every(none)).toBe(true);
      expect(drifts.at(-1)?.sudden).toEqual({ factor: totalMs / 100, images });
    }
  });

  it('is not sudden where what devices compute explains most of it, nor where slow images are not in a row', () => {
    const watch = new DriftWatch([40, 60], 100, { window: 9 });
    feed(watch, 9, 100, [40, 60]);
    expect(none(watch.add({ totalMs: 300, computeMs: [200, 60] }))).toBe(true);
    for (let image = 0; image < 3; image++) {
      expect(none(watch.add({ totalMs: 150, computeMs: [40, 60] }))).toBe(true);
      expect(none(watch.add({ totalMs: 100, computeMs: [40, 60] }))).toBe(true);
    }
  });

  it('does not look at fractions of a millisecond', () => {
    const watch = new DriftWatch([0.5], 2, { window: 2 });
    expect(feed(watch, 6, 2, [1.5]).every(none)).toBe(true);
  });

  it('has a middle', () => {
    expect([median([3, 1, 2]), median([]), median([5])]).toEqual([2, 0, 5]);
  });
});
