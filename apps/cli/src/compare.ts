/** How far a split run's outputs are from the unsplit run's. */
import { numbers, type Tensor } from '@distredge/core';

export interface Difference {
  readonly name: string;
  readonly shape: readonly number[];
  readonly maxAbsError: number;
  /** What of `maxAbsError` is beyond the rounding of the op that made the output, over the range of the unsplit output's values. */
  readonly relError: number;
  /** Whether the largest value stands at the same place (or the same largest value, where several are equal). */
  readonly top1Equal: boolean;
  /** For an output behind a comparison or rounding: the values entering it, by which it is judged. */
  readonly comparedAt?: readonly string[];
  /** Share of such an output's elements that differ by more than the tolerance: those that flipped. */
  readonly flipped?: number;
}

/** The largest relative error that counts as exact. */
export const TOLERANCE = 1e-4;

/** An output behind a jump is right if what enters the jumps is, and little flipped. */
const MAX_FLIPPED = 1e-2;

/**
 * Compares one output, element by element. Equal infinities and equal NaNs do not differ; nor do values up to `resolution`,
 * the rounding of the op that made them (a logistic output of a picture without text has a range of a few such steps).
 */
export function compareOutput(name: string, expected: Tensor, got: Tensor, resolution = 0): Difference {
  const a = numbers(expected);
  const b = numbers(got);
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let maxAbsError = a.length === b.length ? 0 : Number.POSITIVE_INFINITY;
  let [topA, topB] = [0, 0];
  for (let index = 0; index < a.length; index++) {
    const x = a[index] as number;
    const y = b[index] as number;
    if (Number.isFinite(x)) {
      if (x < low) low = x;
      if (x > high) high = x;
    }
    if (!Object.is(x, y) && x !== y) {
      const error = Math.abs(x - y);
      if (!(error <= maxAbsError)) maxAbsError = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    }
    if (x > (a[topA] as number)) topA = index;
    if (y > (b[topB] as number)) topB = index;
  }
  const range = high > low ? high - low : Math.max(Math.abs(high), Number.MIN_VALUE);
  const relError = Math.max(0, maxAbsError - resolution) / range;
  return {
    name,
    shape: expected.shape,
    maxAbsError,
    relError,
    top1Equal: topA === topB || Math.abs((a[topA] as number) - (a[topB] as number)) <= resolution,
  };
}

/**
 * An output behind jumps: judged by the values that enter them, by their worst error. How much of the output itself flipped
 * is told beside it.
 */
export function compareBehindJumps(
  name: string,
  expected: Tensor,
  got: Tensor,
  entering: readonly Difference[],
): Difference {
  const own = compareOutput(name, expected, got);
  const flipped = flippedShare(expected, got);
  const worst = (key: 'maxAbsError' | 'relError'): number =>
    Math.max(0, ...entering.map((difference) => difference[key]));
  return {
    ...own,
    maxAbsError: worst('maxAbsError'),
    relError: worst('relError'),
    comparedAt: entering.map((difference) => difference.name),
    flipped,
  };
}

function flippedShare(expected: Tensor, got: Tensor): number {
  const [a, b] = [numbers(expected), numbers(got)];
  const finite = a.filter(Number.isFinite);
  const [low, high] = finite.reduce(
    ([min, max], value) => [Math.min(min, value), Math.max(max, value)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  const limit = TOLERANCE * Math.max(high - low, Number.MIN_VALUE);
  return (
    a.filter((value, index) => !(Math.abs(value - (b[index] as number)) <= limit) && !Object.is(value, b[index]))
      .length / Math.max(1, a.length)
  );
}

export function isExact({ relError, top1Equal, flipped = 0 }: Difference): boolean {
  return relError <= TOLERANCE && top1Equal && flipped <= MAX_FLIPPED;
}
