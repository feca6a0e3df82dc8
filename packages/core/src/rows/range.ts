/** Arithmetic on half-open ranges of rows. */
import type { Range } from '../ops/op.js';

export type { Range } from '../ops/op.js';

export function length(range: Range): number {
  return Math.max(0, range.to - range.from);
}

export function isEmpty(range: Range): boolean {
  return range.to <= range.from;
}

/** The smallest range that holds both. */
export function hull(a: Range | undefined, b: Range): Range {
  return a === undefined ? b : { from: Math.min(a.from, b.from), to: Math.max(a.to, b.to) };
}

export function intersect(a: Range, b: Range): Range {
  return { from: Math.max(a.from, b.from), to: Math.min(a.to, b.to) };
}

export function equal(a: Range, b: Range): boolean {
  return a.from === b.from && a.to === b.to;
}

/** What is left of a range without these others, in order. */
export function subtract(range: Range, others: readonly Range[]): Range[] {
  let left: Range[] = isEmpty(range) ? [] : [range];
  for (const other of others) {
    left = left.flatMap((piece) => {
      if (isEmpty(intersect(piece, other))) return [piece];
      return [
        { from: piece.from, to: other.from },
        { from: other.to, to: piece.to },
      ].filter((rest) => !isEmpty(rest));
    });
  }
  return left;
}

/**
 * The share of a value with `rows` rows that goes with `part` of a tensor with `height` rows: the same fraction, rounded
 * half up. Shares of parts that tile the tensor tile the value.
 */
export function share(part: Range, height: number, rows: number): Range {
  const at = (row: number): number => Math.floor((2 * row * rows + height) / (2 * height));
  return { from: at(part.from), to: at(part.to) };
}
