/** What the planners of a run plan for a scenario. Planners that come to the same plan share one measurement. */
import { DistrEdgeError, type Plan, type PlanningTask, toPlan } from '@distredge/core';
import { createPlanner } from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';

export interface PlannedFor {
  readonly planners: readonly string[];
  readonly plan: Plan;
}

export interface NotPlanned {
  readonly planner: string;
  readonly error: unknown;
}

/** Plans with each planner in turn; those that find no plan are told with their reasons. */
export async function plansFor(
  task: PlanningTask,
  planners: readonly string[],
  options: { readonly budgetMs: number; readonly seed: number; readonly signal: AbortSignal },
  tell: (planner: string) => void,
): Promise<{ plans: PlannedFor[]; failed: NotPlanned[] }> {
  const plans = new Map<string, { planners: string[]; plan: Plan }>();
  const failed: NotPlanned[] = [];
  for (const planner of planners) {
    tell(planner);
    // The planners themselves do not let anything else happen while they search.
    await new Promise((resolve) => setImmediate(resolve));
    if (options.signal.aborted) throw new DistrEdgeError('CANCELLED', 'the testbed was ended');
    try {
      const planned = await createPlanner(planner, { runner: createOrtGraphRunner() }).plan(task, options);
      const plan = toPlan(task.workload, planned.plan, task.costs.length);
      const key = JSON.stringify(plan);
      const same = plans.get(key);
      if (same === undefined) plans.set(key, { planners: [planner], plan });
      else same.planners.push(planner);
    } catch (error) {
      failed.push({ planner, error });
    }
  }
  return { plans: [...plans.values()], failed };
}
