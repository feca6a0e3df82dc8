import { DistrEdgeError } from '@distredge/core';

/** The middle value; the mean of the two middle ones where there are two. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new DistrEdgeError('INTERNAL', 'a median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}
