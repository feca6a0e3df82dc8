/** Straight line segments in a picture's plane: how to scale them, and how to compare two sets of them. */

/** A line segment with a score in 0..1; coordinates in pixels, (0, 0) being the picture's top left corner. */
export interface LineSegment {
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
  readonly score: number;
}

/** A picture's size in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** How far apart two segments may be and still be taken for the same one. */
export interface SegmentTolerance {
  /** Largest distance between matching end points, in pixels. Default 4. */
  readonly pixels?: number;
  /** Largest difference of scores. Default 0.001. */
  readonly score?: number;
  /** The score below which both sides dropped segments: one this close above it may be missing. Default: no such threshold. */
  readonly minScore?: number;
  /** The length below which both sides dropped segments, in pixels; likewise. Default: no such threshold. */
  readonly minLength?: number;
}

/** What two sets of segments do not have in common. */
export interface SegmentDiff {
  /** Segments of the first set without a counterpart in the second. */
  readonly missing: readonly LineSegment[];
  /** Segments of the second set without a counterpart in the first. */
  readonly extra: readonly LineSegment[];
  /** Largest distance between the end points of counterparts, in pixels; 0 where there are none. */
  readonly maxDistance: number;
}

/** The length of a segment, in the unit of its coordinates. */
export function segmentLength(segment: LineSegment): number {
  return Math.hypot(segment.x2 - segment.x1, segment.y2 - segment.y1);
}

/** The same segments in a picture stretched from one size to another; scores are kept. */
export function scaleSegments(segments: readonly LineSegment[], from: Size, to: Size): LineSegment[] {
  const [sx, sy] = [to.width / from.width, to.height / from.height];
  return segments.map(({ x1, y1, x2, y2, score }) => ({ x1: x1 * sx, y1: y1 * sy, x2: x2 * sx, y2: y2 * sy, score }));
}

/** The larger distance between paired end points, whichever way round the two segments run, in pixels. */
export function segmentDistance(a: LineSegment, b: LineSegment): number {
  const same = Math.max(Math.hypot(a.x1 - b.x1, a.y1 - b.y1), Math.hypot(a.x2 - b.x2, a.y2 - b.y2));
  const turned = Math.max(Math.hypot(a.x1 - b.x2, a.y1 - b.y2), Math.hypot(a.x2 - b.x1, a.y2 - b.y1));
  return Math.min(same, turned);
}

/**
 * Compares two detections of one picture where bit-exactness cannot be asked for. A detector keeps a pixel if
 * it *equals* the largest of its neighbourhood, so a difference of 1e-6 can move a peak to the next pixel, or
 * keep both; and a score or length right at the threshold can fall on either side. So each segment asks for
 * *a* counterpart within the tolerance on the other side, not for one of its own, and a segment within the
 * tolerance of a threshold asks for none. `missing` and `extra` both empty means: the same lines.
 */
export function diffSegments(
  first: readonly LineSegment[],
  second: readonly LineSegment[],
  tolerance: SegmentTolerance = {},
): SegmentDiff {
  const { pixels = 4, score = 0.001, minScore = -Infinity, minLength = -Infinity } = tolerance;
  let maxDistance = 0;
  const unmatched = (segments: readonly LineSegment[], others: readonly LineSegment[]): LineSegment[] =>
    segments.filter((segment) => {
      const distances = others
        .filter((other) => Math.abs(other.score - segment.score) <= score)
        .map((other) => segmentDistance(segment, other));
      const nearest = Math.min(...distances);
      if (nearest <= pixels) {
        maxDistance = Math.max(maxDistance, nearest);
        return false;
      }
      const borderline = segment.score - minScore <= score || segmentLength(segment) - minLength <= 2 * pixels;
      return !borderline;
    });
  const missing = unmatched(first, second);
  const extra = unmatched(second, first);
  return { missing, extra, maxDistance };
}
