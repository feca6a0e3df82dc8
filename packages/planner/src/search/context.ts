/** What every move of the search is given beside the plan that it changes. */
import type { Place } from './critical.js';
import type { Geometry } from './geometry.js';
import type { SearchVolume } from './parts.js';
import type { PlanForm, PlanState } from './plan-state.js';
import type { Random } from './random.js';

export interface MoveContext {
  readonly geometry: Geometry;
  readonly random: Random;
  readonly form: PlanForm;
  /** Devices that may be given work. */
  readonly devices: readonly number[];
  /** Other good plans, whose beginnings and ends may be taken over. */
  readonly others?: readonly PlanState[];
  /** Parts that hold the plan up, to begin with; it may have changed since. */
  readonly critical?: readonly Place[];
}

/** Share of the moves that begin at a part that holds the plan up. */
const CRITICAL = 0.5;

/** Where a move begins: index of a volume, index among its parts. */
export function somePlace({ volumes }: PlanState, { random, critical = [] }: MoveContext): Place {
  if (critical.length > 0 && random.next() < CRITICAL) {
    const place = random.pick(critical);
    if (place[1] < (volumes[place[0]]?.parts.length ?? 0)) return place;
  }
  const v = random.below(volumes.length);
  return [v, random.below((volumes[v] as SearchVolume).parts.length)];
}
