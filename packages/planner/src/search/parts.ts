/** Volumes and parts as the search holds them: by op indices, with a key that orders the parts in time. */
import type { PlanPart } from '@distredge/core';

export interface SearchPart extends PlanPart {
  /** Parts run by ascending key, but none before what it reads. All 0 after the first volume is depth first. */
  readonly key: number;
}

export interface SearchVolume {
  /** First op. */
  readonly start: number;
  /** Last op. */
  readonly end: number;
  readonly parts: readonly SearchPart[];
}

/** Cuts every part into chunks of a height of two rows at least. */
export function inChunks(parts: readonly SearchPart[], chunks: number): readonly SearchPart[] {
  if (chunks === 1) return parts;
  return parts.flatMap((part) => {
    const height = part.to - part.from;
    const n = Math.min(chunks, Math.max(1, Math.floor(height / 2)));
    const cuts = Array.from({ length: n + 1 }, (_, i) => part.from + Math.round((height * i) / n));
    return cuts.slice(1).map((to, i): SearchPart => ({ ...part, from: cuts[i] as number, to }));
  });
}
