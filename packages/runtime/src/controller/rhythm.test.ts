/** Images of a stream, at times that the tests choose. */
import { describe, expect, it } from 'vitest';
import { Rhythm } from './rhythm.js';

/** Feeds images that come so far apart, in ms; returns what was told, in order. */
function feed(rhythm: Rhythm, intervals: readonly number[], from = 0, busy = true): (number | undefined)[] {
  let at = from;
  return intervals.map((interval) => {
    at += interval;
    return rhythm.add(at, busy);
  });
}

const steady = (count: number, interval: number): number[] => new Array<number>(count).fill(interval);

describe('a rhythm', () => {
  it('tells once that images come less often than they did', () => {
    const told = feed(new Rhythm(4), [...steady(6, 50), ...steady(6, 150)]);
    expect(told.filter((factor) => factor !== undefined)).toEqual([3]);
  });

  it('says nothing while images come as they did, or more often', () => {
    expect(feed(new Rhythm(4), [...steady(20, 50), ...steady(20, 20)]).every((factor) => factor === undefined)).toBe(
      true,
    );
  });

  it('does not take a pause of the source for a slow cluster', () => {
    const rhythm = new Rhythm(4);
    feed(rhythm, steady(8, 50));
    expect(rhythm.add(8 * 50 + 40, false)).toBeUndefined();
    expect(feed(rhythm, [5000, 50, 50], 440)).toEqual([undefined, undefined, undefined]);
  });
});
