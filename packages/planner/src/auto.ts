/**
 * `auto`, this project's own planner: simulated annealing over general plans on the true simulator, from several starts
 * whose number is halved as the budget is used.
 */
import { type PlanningTask, type PlanSimulator, simulator, type WorkPlan } from '@distredge/core';
import { nowMs } from './clock.js';
import type { Planned, PlannerOptions } from './planner.js';
import { type Annealed, anneal, type MoveCounts } from './search/anneal.js';
import { Evaluator } from './search/evaluator.js';
import { Geometry } from './search/geometry.js';
import { isClassical, type MoveContext } from './search/moves.js';
import { cleaned, type PlanState } from './search/plan-state.js';
import { Random } from './search/random.js';
import { starts } from './search/starts.js';

export interface AutoOptions extends PlannerOptions {
  /** One part per device and volume, in the devices' order, the head on one device, the default schedule and order. */
  readonly classical?: boolean;
  /** Plans simulated at most. Where this rather than the time ends the search, the same seed gives the same plan. */
  readonly maxEvaluations?: number;
  /** The clock that the budget is measured with; for tests. */
  readonly now?: () => number;
  readonly simulator?: PlanSimulator;
  readonly counts?: MoveCounts;
  readonly tune?: Record<string, number>;
}

/** Share of the budget and number of starts of every round. */
const ROUNDS: readonly { readonly survivors: number; readonly share: number; readonly hot: number }[] = [
  { survivors: 6, share: 0.25, hot: 0.02 },
  { survivors: 3, share: 0.25, hot: 0.01 },
  { survivors: 1, share: 0.5, hot: 0.005 },
];

export async function auto(task: PlanningTask, options: AutoOptions = {}): Promise<Planned> {
  const geometry = new Geometry(task);
  const form = { classical: options.classical === true };
  const random = new Random(options.seed ?? 1);
  const evaluator = new Evaluator(options.simulator ?? simulator(task), geometry, form, {
    budgetMs: options.budgetMs ?? 2000,
    maxEvaluations: options.maxEvaluations ?? Number.POSITIVE_INFINITY,
    signal: options.signal,
    now: options.now ?? nowMs,
  });
  const context: MoveContext = { geometry, random, form, devices: task.costs.map((_, device) => device) };
  let pool: Annealed[] = [];
  for (const state of starts(geometry, form)) {
    if (form.classical && !isClassical(state)) continue;
    pool.push({ state, cost: evaluator.cost(state) });
    if (evaluator.done > 0.2) break;
  }
  const tune = (options.tune ?? {}) as Record<string, number>;
  const began = evaluator.done;
  let at = began;
  for (const { survivors, share, hot } of ROUNDS) {
    pool = distinct(pool).slice(0, Math.ceil(survivors * Number(tune['surv'] ?? 1)));
    const next: Annealed[] = [];
    const length = ((1 - began) * share) / pool.length;
    for (const start of pool) {
      at += length;
      next.push(
        anneal(
          start,
          evaluator,
          context,
          { until: at, hot: hot * Number(tune['hot'] ?? 1), cold: 0.0002 * Number(tune['cold'] ?? 1) },
          options.counts, tune,
        ),
      );
    }
    pool = [...next, ...pool];
  }
  return { plan: cleaned(evaluator.bestPlan as WorkPlan), latencyMs: evaluator.bestMs, evaluations: evaluator.evaluations };
}

/** By cost, those of equal cost once. */
function distinct(pool: readonly Annealed[]): Annealed[] {
  const sorted = [...pool].sort((a, b) => a.cost - b.cost);
  return sorted.filter((entry, i) => i === 0 || entry.cost > (sorted[i - 1] as Annealed).cost * (1 + 1e-9));
}

export type { PlanState };
