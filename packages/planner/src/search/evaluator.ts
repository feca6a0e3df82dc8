/**
 * Judges states by simulation, counts and remembers the best, and says when a search must stop: when its time or its number
 * of plans is used up, or when someone asks for it.
 */
import type { PlanSimulator, SimulatedRun, WorkPlan } from '@distredge/core';
import type { Geometry } from './geometry.js';
import { type PlanForm, type PlanState, toWorkPlan } from './plan-state.js';
import { Scheduler } from './schedule.js';

/** Added to the cost of a plan that does not fit into memory, beside how much is missing; more than any latency. */
const TOO_LARGE = 1e12;
/** Weight of the latency where throughput counts: it decides between plans of equal period. */
const TIE = 1e-6;
/** Simulations between two looks at the clock. */
const CLOCK_EVERY = 4;

export type Objective = 'latency' | 'throughput';

export interface Limits {
  readonly budgetMs: number;
  readonly maxEvaluations: number;
  readonly signal: { readonly aborted: boolean } | undefined;
  /** Milliseconds that never go back. */
  readonly now: () => number;
  /** What is made small: the latency of one image (default), or the time between images that follow each other closely. */
  readonly objective?: Objective;
}

export class Evaluator {
  readonly simulator: PlanSimulator;
  readonly geometry: Geometry;
  readonly form: PlanForm;
  readonly #limits: Limits;
  readonly #started: number;
  readonly #scheduler: Scheduler;
  #done = 0;
  evaluations = 0;
  /** Least cost so far: with the default objective the latency in ms; Infinity while no plan fits into memory. */
  bestMs: number = Number.POSITIVE_INFINITY;
  bestPlan: WorkPlan | undefined;
  /** The state judged last, with its plan. */
  #last: { readonly state: PlanState; readonly plan: WorkPlan } | undefined;

  constructor(simulator: PlanSimulator, geometry: Geometry, form: PlanForm, limits: Limits) {
    this.simulator = simulator;
    this.geometry = geometry;
    this.form = form;
    this.#scheduler = new Scheduler(geometry);
    this.#limits = limits;
    this.#started = limits.now();
  }

  /** 0 … 1: how much of the budget is used; 1 and more means stop. */
  get done(): number {
    return this.#done;
  }

  /**
   * Cost of a state: latency in ms, or far more where a device's memory does not suffice.
   * @param bound as of `costOf`
   */
  cost(state: PlanState, bound?: number): number {
    return this.costOf(this.#planOf(state), bound);
  }

  /** Says that the states to be judged now are like this one: what they share with it is not worked out again. */
  keep(state: PlanState): void {
    const plan = this.#planOf(state);
    this.#scheduler.keep();
    this.simulator.keep?.(plan);
  }

  #planOf(state: PlanState): WorkPlan {
    if (this.#last?.state === state) return this.#last.plan;
    const plan = toWorkPlan(state, this.#scheduler, this.form);
    this.#last = { state, plan };
    return plan;
  }

  /** @param bound a cost from which on nothing more need be known: Infinity may then stand for it */
  costOf(plan: WorkPlan, bound: number = Number.POSITIVE_INFINITY): number {
    const bounded = bound < TOO_LARGE && this.#limits.objective !== 'throughput';
    let ms = bounded ? this.simulator.latency(plan, bound) : this.simulator.latency(plan);
    this.evaluations++;
    if (this.evaluations % CLOCK_EVERY === 0 || this.evaluations < CLOCK_EVERY) this.look();
    else if (this.#limits.maxEvaluations < Number.POSITIVE_INFINITY && this.#done < Number.POSITIVE_INFINITY) {
      this.#done = this.evaluations / this.#limits.maxEvaluations;
    }
    if (this.#limits.objective === 'throughput' && ms < Number.POSITIVE_INFINITY) {
      ms = this.simulator.loads(plan).periodMs + TIE * ms;
    }
    if (ms < this.bestMs || this.bestPlan === undefined) {
      this.bestMs = ms;
      this.bestPlan = plan;
    }
    if (bounded && ms === Number.POSITIVE_INFINITY) return ms;
    return ms < Number.POSITIVE_INFINITY ? ms : TOO_LARGE * (1 + this.#missing(plan));
  }

  run(state: PlanState): SimulatedRun {
    return this.simulator.run(this.#planOf(state));
  }

  /** Looks at the clock and at the signal. Where a number of plans is given, the clock can end the search but not steer it. */
  look(): void {
    const { budgetMs, maxEvaluations, signal, now } = this.#limits;
    const time = (now() - this.#started) / budgetMs;
    if (signal?.aborted === true || time >= 1) this.#done = Number.POSITIVE_INFINITY;
    else this.#done = maxEvaluations < Number.POSITIVE_INFINITY ? this.evaluations / maxEvaluations : time;
  }

  /** Share of its memory by which the devices are exceeded, summed. */
  #missing(plan: WorkPlan): number {
    const { memoryBytes } = this.simulator.run(plan);
    return this.geometry.task.costs.reduce(
      (sum, device, index) => sum + Math.max(0, (memoryBytes[index] ?? 0) / device.memoryBytes - 1),
      0,
    );
  }
}
