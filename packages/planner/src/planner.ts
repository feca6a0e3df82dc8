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
  /** Searches of the same task that run at the same time. */
  readonly together?: Together;
}

/** Several searches of one task, on a thread each, which share what there is to try and tell each other what they find. */
export interface Together {
  /** Which of them this one is, from 0 on. */
  readonly index: number;
  readonly count: number;
  /** Tells the others of a plan that is better than all that this search has told of. */
  tell(plan: WorkPlan): void;
  /** The plans that the others have told of since the last call. */
  heard(): readonly WorkPlan[];
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
