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
