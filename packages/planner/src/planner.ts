/** The contract of a planner: from a task to a plan, within a budget. */
import type { PlanningTask, WorkPlan } from '@distredge/core';

export interface PlannerOptions {
  /** Wall-clock budget in ms; a planner that needs no search ignores it. */
  readonly budgetMs?: number;
  readonly seed?: number;
  /** Stops the search; the best plan so far is returned. */
  readonly signal?: { readonly aborted: boolean };
  readonly onProgress?: (progress: PlannerProgress) => void;
  /** Plans to start from, for example the one that runs now. */
  readonly start?: readonly WorkPlan[];
  /** What searches of the same task that run at the same time have found: none goes on for what would be no gain to all. */
  readonly together?: SharedBest;
}

/** The best of several searches at once: one number in shared memory, in ms or as the objective has it; Infinity at first. */
export type SharedBest = Float64Array<SharedArrayBuffer>;

/** Room for the best of several searches. */
export function sharedBest(): SharedBest {
  return new Float64Array(new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT)).fill(Number.POSITIVE_INFINITY);
}

export interface PlannerProgress {
  /** 0 … 1. */
  readonly done: number;
  readonly bestMs: number;
  readonly note: string;
}

export interface Planned {
  readonly plan: WorkPlan;
  /** Simulated latency of one image, ms. */
  readonly latencyMs: number;
  /** Plans simulated. */
  readonly evaluations: number;
}

export interface Planner {
  readonly name: string;
  /** Paper or idea, in one line. */
  readonly source: string;
  plan(task: PlanningTask, options?: PlannerOptions): Promise<Planned>;
}
