/** What every move of the search is given beside the plan that it changes. */
import type { Geometry } from './geometry.js';
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
}
