/**
 * Re-planning while the network changes: from the running plan and a few that did well before, within a fraction of a second.
 *
 * When new rates have been measured, every plan of a small pool is simulated on them and on rates that may follow
 * (`outlook.ts`), which takes about a millisecond each; `auto`'s annealing then goes on from the best of them for the rest of the
 * budget. The running plan is replaced only
 * where that pays (`pays` states the rule), so that noise in the measurements does not make plans flap, and a plan that was
 * left when rates changed is found again when they return. See docs/decisions/009-replanning.md.
 */
import { DistrEdgeError, type PlanningTask, type PlanSimulator, simulator, type WorkPlan } from '@distredge/core';
import { nowMs } from './clock.js';
import { expected, Outlook } from './outlook.js';
import type { Planned } from './planner.js';
import { type Annealed, anneal } from './search/anneal.js';
import { Evaluator } from './search/evaluator.js';
import { Geometry } from './search/geometry.js';
import { fromWorkPlan, type PlanForm, type PlanState } from './search/plan-state.js';
import { Random } from './search/random.js';

export interface AdaptOptions {
  /** Wall-clock time of one re-planning, ms. Default 80, or no limit where `maxEvaluations` is given. */
  readonly budgetMs?: number;
  /** Plans simulated in one re-planning at most. Where this ends the search, results depend on the seed alone. */
  readonly maxEvaluations?: number;
  readonly seed?: number;
  /** Plans remembered besides the running one. Default 8. */
  readonly poolSize?: number;
  /** Share by which images must be faster to be believed. Default 0.005. */
  readonly margin?: number;
  /** For how long no image is answered when plans are exchanged, ms. Default 0: both plans' programs are loaded. */
  readonly switchMs?: number;
  /** How long a network is expected to stay as it is, ms: in that time a switch must earn what it costs. Default 1000. */
  readonly horizonMs?: number;
  /** Plans of the classical form only. */
  readonly classical?: boolean;
  /** Earlier changes of rates that are expected once more. Default 2; 0: plans are judged by the rates measured alone. */
  readonly changes?: number;
  /** The clock that the budget is measured with; for tests. */
  readonly now?: () => number;
}

/** Latencies are expected ones, harmonic means over the rates measured and those that may follow. `latencyMs` is that of `plan`, the plan to run from now on. */
export interface Adapted extends Planned {
  /** Whether `plan` is another one than before. */
  readonly adopted: boolean;
  /** Of the plan that ran before, ms; Infinity where memory does not suffice. */
  readonly runningMs: number;
  /** Of the best plan found, ms, adopted or not. */
  readonly bestMs: number;
}

/** When a plan is worth a switch. */
export interface SwitchTerms {
  readonly margin: number;
  readonly switchMs: number;
  readonly horizonMs: number;
}

interface Remembered {
  readonly plan: WorkPlan;
  /** Where the search starts from: the plan without its gathers. */
  readonly state: PlanState;
  /** Number of the re-planning in which it last was the best of the pool, or came in. */
  usedAt: number;
}

const BUDGET_MS = 80;
const POOL_SIZE = 8;
const TERMS: SwitchTerms = { margin: 0.005, switchMs: 0, horizonMs: 1000 };
/** Temperatures of the annealing, as shares of the latency it starts from: low, since it starts near to a good plan. */
const HOT = 0.002;
const COLD = 0.0001;

/**
 * Whether images answered within the horizon, the time of the switch taken off it, are more by at least the margin:
 * (horizon − switch) / next > (1 + margin) · horizon / running.
 */
export function pays(runningMs: number, nextMs: number, { margin, switchMs, horizonMs }: SwitchTerms): boolean {
  if (!Number.isFinite(nextMs)) return false;
  if (!Number.isFinite(runningMs)) return true;
  return (horizonMs - switchMs) * runningMs > (1 + margin) * horizonMs * nextMs;
}

/** Holds the running plan of one model on one set of devices, and re-plans when the network or the devices' costs change. */
export class Adapter {
  readonly #options: AdaptOptions;
  readonly #terms: SwitchTerms;
  readonly #form: PlanForm;
  readonly #random: Random;
  #geometry: Geometry;
  #simulator: PlanSimulator;
  #running: Remembered;
  #pool: Remembered[] = [];
  #count = 0;
  readonly #outlook: Outlook;

  /** @param running plan that runs now, for this task; throws `PLAN_INVALID` where it cannot run */
  constructor(task: PlanningTask, running: WorkPlan, options: AdaptOptions = {}) {
    const {
      margin = TERMS.margin,
      switchMs = TERMS.switchMs,
      horizonMs = TERMS.horizonMs,
      poolSize = POOL_SIZE,
    } = options;
    const wrong = Object.entries({ margin, switchMs, horizonMs, poolSize }).find(([, value]) => !(value >= 0));
    if (wrong !== undefined) {
      throw new DistrEdgeError('USAGE', 'not a setting of re-planning', {
        where: wrong[0],
        expected: 'a number from 0 up',
        got: `${wrong[1]}`,
      });
    }
    this.#options = options;
    this.#terms = { margin, switchMs, horizonMs };
    this.#form = { classical: options.classical === true };
    this.#random = new Random(options.seed ?? 1);
    this.#geometry = new Geometry(task);
    this.#simulator = simulator(task);
    this.#simulator.latency(running);
    this.#outlook = new Outlook(task.network, options.changes);
    this.#running = this.#remembered(running);
  }

  /** The plan that runs. */
  get plan(): WorkPlan {
    return this.#running.plan;
  }

  /** Plans remembered besides the running one. */
  get remembered(): number {
    return this.#pool.length;
  }

  /** Makes a plan start to be weighed at the next re-planning, for example one from a long search in the background. */
  offer(plan: WorkPlan): void {
    this.#simulator.latency(plan);
    this.#keep(this.#remembered(plan));
  }

  /** Re-plans for rates or costs as they are now. Throws `USAGE` for another model or another number of devices. */
  adapt(task: PlanningTask): Adapted {
    this.#take(task);
    this.#count++;
    const { maxEvaluations, budgetMs = maxEvaluations === undefined ? BUDGET_MS : Number.POSITIVE_INFINITY } =
      this.#options;
    const judge = expected(this.#simulator, this.#outlook.after(task.network));
    const evaluator = new Evaluator(judge, this.#geometry, this.#form, {
      budgetMs,
      maxEvaluations: maxEvaluations ?? Number.POSITIVE_INFINITY,
      signal: undefined,
      now: this.#options.now ?? nowMs,
    });
    const before = this.#running;
    const runningMs = judge.latency(before.plan);
    let best = before;
    let bestMs = evaluator.costOf(before.plan);
    for (const other of this.#pool) {
      const ms = evaluator.costOf(other.plan);
      if (ms < bestMs) [best, bestMs] = [other, ms];
    }
    best.usedAt = this.#count;
    const found = this.#search({ state: best.state, cost: evaluator.cost(best.state) }, evaluator);
    if (evaluator.bestMs < bestMs && evaluator.bestPlan !== undefined) {
      best = { plan: evaluator.bestPlan, state: found.state, usedAt: this.#count };
      bestMs = evaluator.bestMs;
    }
    const adopted = best !== before && pays(runningMs, bestMs, this.#terms);
    if (adopted) {
      this.#pool = this.#pool.filter((other) => other !== best);
      this.#running = best;
      this.#keep(before);
    } else if (best !== before) this.#keep(best);
    return {
      plan: this.#running.plan,
      latencyMs: adopted ? bestMs : runningMs,
      evaluations: evaluator.evaluations,
      adopted,
      runningMs,
      bestMs: Math.min(bestMs, runningMs),
    };
  }

  #search(start: Annealed, evaluator: Evaluator): Annealed {
    const geometry = this.#geometry;
    const devices = geometry.task.costs.map((_, device) => device);
    evaluator.look();
    if (evaluator.done >= 1) return start;
    return anneal(
      start,
      evaluator,
      { geometry, random: this.#random, form: this.#form, devices },
      {
        until: 1,
        hot: HOT,
        cold: COLD,
      },
    );
  }

  /** Uses what is remembered of rows and times as long as only the network changes. */
  #take(task: PlanningTask): void {
    const { workload, costs } = this.#simulator.task;
    if (task.workload !== workload || task.costs.length !== costs.length) {
      throw new DistrEdgeError(
        'USAGE',
        'a plan is adapted to another network, not to another model or set of devices',
        {
          expected: `${workload.model} on ${costs.length} devices`,
          got: `${task.workload.model} on ${task.costs.length}`,
          hint: 'plan anew, and adapt that plan',
        },
      );
    }
    if (task.costs.some((cost, device) => cost !== costs[device])) this.#geometry = new Geometry(task);
    this.#simulator = simulator(task, this.#simulator);
  }

  #remembered(plan: WorkPlan): Remembered {
    return { plan, state: fromWorkPlan(plan, this.#geometry), usedAt: this.#count };
  }

  /** Keeps a plan; the one that has not been the best for longest makes room. */
  #keep(entry: Remembered): void {
    if (this.#pool.includes(entry)) return;
    this.#pool.push(entry);
    const size = this.#options.poolSize ?? POOL_SIZE;
    while (this.#pool.length > size) {
      const oldest = this.#pool.reduce((a, b) => (b.usedAt < a.usedAt ? b : a));
      this.#pool = this.#pool.filter((other) => other !== oldest);
    }
  }
}
