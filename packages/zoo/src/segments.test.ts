import { describe, expect, it } from 'vitest';
import { diffSegments, type LineSegment, scaleSegments, segmentDistance } from './segments.js';

function line(x1: number, y1: number, x2: number, y2: number, score = 0.9): LineSegment {
  return { x1, y1, x2, y2, score };
}

const house: readonly LineSegment[] = [line(0, 0, 100, 0), line(0, 50, 100, 60, 0.5), line(10, 10, 10, 90, 0.3)];

describe('scaleSegments', () => {
  it('stretches each axis by its own factor', () => {
    const scaled = scaleSegments([line(10, 20, 30, 40)], { width: 100, height: 100 }, { width: 200, height: 50 });
    expect(scaled).toEqual([line(20, 10, 60, 20)]);
  });
});

describe('segmentDistance', () => {
  it('does not depend on which way round a line runs', () => {
    expect(segmentDistance(line(0, 0, 100, 0), line(100, 3, 0, 0))).toBe(3);
  });

  it('is the larger of both ends, so that a piece of a line is far from the whole', () => {
    expect(segmentDistance(line(0, 0, 100, 0), line(0, 0, 60, 0))).toBe(40);
  });
});

describe('diffSegments', () => {
  it('finds nothing between equal sets in any order', () => {
    expect(diffSegments(house, house.toReversed())).toEqual({ missing: [], extra: [], maxDistance: 0 });
  });

  it('names what each side lacks', () => {
    const other = line(70, 70, 99, 99);
    expect(diffSegments(house, [...house.slice(1), other])).toMatchObject({ missing: [house[0]], extra: [other] });
    expect(diffSegments(house, []).missing).toEqual(house);
  });

  it('accepts a peak that moved to the next pixel, and one that was kept twice', () => {
    const moved = line(0, 2, 100, 2);
    expect(diffSegments(house, [moved, ...house.slice(1)])).toEqual({ missing: [], extra: [], maxDistance: 2 });
    expect(diffSegments(house, [...house, moved])).toMatchObject({ missing: [], extra: [] });
  });

  it('does not accept a line that moved further, or another score', () => {
    expect(diffSegments(house, [line(0, 4.5, 100, 0), ...house.slice(1)]).missing).toHaveLength(1);
    expect(diffSegments(house, [line(0, 0, 100, 0, 0.89), ...house.slice(1)]).extra).toHaveLength(1);
  });

  it('excuses only what is right at a stated threshold', () => {
    const faint = line(0, 0, 100, 0, 0.2004);
    const short = line(0, 0, 25, 0);
    expect(diffSegments([faint], []).missing).toEqual([faint]);
    expect(diffSegments([faint], [], { minScore: 0.2 }).missing).toEqual([]);
    expect(diffSegments([short], []).missing).toEqual([short]);
    expect(diffSegments([short], [], { minLength: 20 }).missing).toEqual([]);
    expect(diffSegments([line(0, 0, 30, 0)], [], { minScore: 0.2, minLength: 20 }).missing).toHaveLength(1);
  });
});
