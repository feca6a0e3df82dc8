/** How far a split run's outputs are from the unsplit run's. */
import { type Tensor, numbers } from '@distredge/core';

export interface Difference {
  readonly name: string;
  readonly shape: readonly number[];
  readonly maxAbsError: number;
  /** `maxAbsError` over the range of the unsplit output's values. */
  readonly relError: number;
  /** Whether the largest value stands at the same place (or the same largest value, where several are equal). */
  readonly top1Equal: boolean;
}

/** The largest relative error that counts as exact. */
export const TOLERANCE = 1e-4;

/** Compares one output, element by element. Equal infinities and equal NaNs do not differ. */
export function compareOutput(name: string, expected: Tensor, got: Tensor): Difference {
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
  const relError = maxAbsError === 0 ? 0 : maxAbsError / range;
  return { name, shape: expected.shape, maxAbsError, relError, top1Equal: topA === topB || a[topA] === a[topB] };
}

export function isExact({ relError, top1Equal }: Difference): boolean {
  return relError <= TOLERANCE && top1Equal;
}
