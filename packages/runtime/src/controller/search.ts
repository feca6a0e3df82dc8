/** A plan that is being looked for, until it is found or not wanted any more. */
import type { PlanningTask, WorkPlan } from '@distredge/core';
import type { PlanFunction } from './contract.js';

export class Search {
  /** Whether images wait for it. */
  readonly urgent: boolean;
  /** The plan; undefined where the search was ended. Rejects with what the planner throws. */
  readonly plan: Promise<WorkPlan | undefined>;
  readonly #stop = new AbortController();

  constructor(
    planner: PlanFunction,
    task: PlanningTask,
    { urgent, start }: { readonly urgent: boolean; readonly start: readonly WorkPlan[] },
  ) {
    this.urgent = urgent;
    const { signal } = this.#stop;
    const ended = new Promise<undefined>((resolve) => {
      signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    const found = (async () => planner(task, { urgent, start, signal }))();
    this.plan = Promise.race([found, ended]).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw error;
    });
  }

  /** It is not wanted any more: nobody waits for it from now on. */
  end(): void {
    this.#stop.abort();
  }
}
