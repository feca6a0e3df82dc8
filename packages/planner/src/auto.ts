/**
 * `auto`, this project's own planner: simulated annealing over general plans on the true simulator, from many starts whose
 * number is halved as the budget is used. Plans of the published baselines and those given are among the starts, so that it
 * is never worse than the best of them.
 */
import { DistrEdgeError, type PlanningTask, type PlanSimulator, simulator, type WorkPlan } from '@distredge/core';
import { aofl } from './baselines/aofl.js';
import { coedge } from './baselines/coedge.js';
import { deeperthings } from './baselines/deeperthings.js';
import { mednn } from './baselines/mednn.js';
import { nowMs } from './clock.js';
import { untrainedPlan } from './osds/chosen-partition.js';
import type { Planned, PlannerOptions } from './planner.js';
import { type Annealed, annealing, inOrderOfReadiness } from './search/anneal.js';
import type { MoveContext } from './search/context.js';
import { Evaluator, type Objective } from './search/evaluator.js';
import { Geometry } from './search/geometry.js';
import { isClassical } from './search/moves.js';
import { cleaned, devicesOf, fromWorkPlan, type PlanForm, type PlanState } from './search/plan-state.js';
import { Random } from './search/random.js';
import { CLASSICAL_ROUNDS, MORE_ROUNDS, ROUNDS, type Round } from './search/rounds.js';
import { byUse, pipelines, starts } from './search/starts.js';

export interface AutoOptions extends PlannerOptions {
  /** One part per device and volume, in the devices' order, the head on one device, the default schedule and order. */
  readonly classical?: boolean;
  /** Latency of one image (default), or the time between images when several are under way. */
  readonly objective?: Objective;
  /** Plans simulated at most. Where this rather than the time ends the search, the same seed gives the same plan. */
  readonly maxEvaluations?: number;
  /** A latency in ms that no plan can beat: the search stops when it is as good as reached. */
  readonly lowerBoundMs?: number;
  /** The clock that the budget is measured with; for tests. */
  readonly now?: () => number;
  /** Judges plans; by default the simulator of the task. */
  readonly simulator?: PlanSimulator;
}

export interface AutoPlanned extends Planned {
  /** Least time between two images when they follow each other closely, ms. */
  readonly periodMs: number;
}

/** Time of the first search where the budget allows for more, ms: a share for each device, within limits. */
const FIRST_MS = { perDevice: 240, least: 600, most: 30_000 };
/** Budget where none is given: so many times that. Seldom used up, for the search ends where it gains little. */
const DEFAULT_BUDGET = 3;
/** What a search that goes on takes each time, as a share of the first one. */
const AGAIN = 0.3;
/** So often a search for classical plans begins anew, by chance elsewhere: what it ends in depends on that more than on its length. */
const CLASSICAL_TIMES = 4;
/**
 * In this one of those times, or the first where the budget is not enough for two, the published search takes part, without its agent;
 * where the budget is not even enough for one, it does not. Share of the budget that it may use, and its episodes.
 */
const OSDS_TIME = 1;
const OSDS_SHARE = 0.2;
const OSDS_EPISODES = { raceEpisodes: 4000, refineEpisodes: 8000 };
/** A stretch of that length that made the plan faster by less than this share was the last one … */
const WORTH = 0.003;
/** … unless fewer plans than this have been simulated: a machine that is slow or busy has hardly begun. */
const LEAST_PLANS = 12_000;
/** The same for classical plans, which are judged faster and need more of them. */
const LEAST_CLASSICAL_PLANS = 60_000;
/** Below this budget, in ms per device, the baselines are left out: their own searches would use most of it. */
const BASELINES_FROM = 20;
/** Most of the first search that looking for starts may take. */
const STARTS_SHARE = 0.2;
/** The same for starts and baselines together. */
const BASELINES_SHARE = 0.6;
/** The same where the budget is less than the first search should have: most of it is then for the search. */
const SHORT_BASELINES_SHARE = 0.35;

const COLD = 0.0002;
/** Searches side by side keep to themselves as long as more plans than this go on: what one finds early keeps the others from finding something else. */
const ALONE = 5;
/** Plans that a start is given in a round at least: with fewer of them, fewer starts go on. */
const LEAST_EACH = 200;
/** Plans simulated to see how many there will be time for; those of a search, which are like each other, take about half as long. */
const PROBES = 16;
const LIKE_EACH_OTHER = 2;
/** Starts of which the order of parts is mended before some are chosen, and the share of the first search that this may take. */
const ORDERED = 24;
const ORDER_SHARE = 0.05;
/** A plan with another number of devices goes on where it takes no more than so many times as long as the best one. */
const NEAR = 1.15;
/** Plans whose costs differ by a smaller share than this cost the same. */
const ROUNDING = 1e-9;
/** A plan this close to a bound is as good as optimal. */
const CLOSE = 1.0005;

/**
 * Plans. Where no plan was found that fits into the devices' memory, the latency is Infinity and the plan lacks least. Throws
 * `PLAN_INVALID` where the cluster has no device.
 */
export async function auto(task: PlanningTask, options: AutoOptions = {}): Promise<AutoPlanned> {
  const count = task.costs.length;
  if (count === 0) {
    throw new DistrEdgeError('PLAN_INVALID', 'the cluster has no device', { expected: 'one at least', got: 'none' });
  }
  const geometry = new Geometry(task);
  const form: PlanForm = { classical: options.classical === true };
  const { maxEvaluations = Number.POSITIVE_INFINITY } = options;
  const firstMs = Math.min(FIRST_MS.most, Math.max(FIRST_MS.least, FIRST_MS.perDevice * count));
  const counted = maxEvaluations < Number.POSITIVE_INFINITY;
  const budgetMs = options.budgetMs ?? (counted ? Number.POSITIVE_INFINITY : DEFAULT_BUDGET * firstMs);
  /** Share of the budget for the first search; a number of plans, if given, is used up. */
  const first = counted ? 1 : Math.min(1, firstMs / budgetMs);
  const judge = options.simulator ?? simulator(task);
  const evaluator = new Evaluator(judge, geometry, form, {
    budgetMs,
    maxEvaluations,
    signal: options.signal,
    now: options.now ?? nowMs,
    objective: options.objective ?? 'latency',
  });
  const random = new Random(options.seed ?? 1);
  const context: MoveContext = { geometry, random, form, devices: byUse(geometry) };
  const watch = new Watch(options);
  const { lowerBoundMs = 0 } = options;
  const limits = { starts: STARTS_SHARE * first, baselines: baselinesShare(budgetMs, firstMs, count) * first };
  let pool = await firstPool(evaluator, options, budgetMs, limits, watch);
  if (!form.classical) pool.push(...reordered(pool, evaluator, limits.starts + ORDER_SHARE * first));
  const company = new Company(evaluator, options);
  pool.push(...company.meet());
  /** Plans in the whole budget, as far as can be told. */
  let plans = counted ? maxEvaluations : probed(evaluator, pool);
  /** Anneals the best of the pool, round after round, until that share of the budget is used. */
  const search = async (rounds: readonly Round[], until: number): Promise<void> => {
    const began = evaluator.done;
    let at = began;
    for (const { survivors, share, hot } of rounds) {
      const span = (until - began) * share;
      pool = chosen(pool, Math.max(1, Math.min(survivors, Math.floor((span * plans) / LEAST_EACH))));
      const next: Entrant[] = [];
      const length = span / pool.length;
      const before = { done: evaluator.done, evaluations: evaluator.evaluations };
      for (const start of pool) {
        at += length;
        const others = [...next, ...pool].filter((other) => other !== start).map(({ state }) => state);
        const steps = annealing(start, evaluator, { ...context, others }, { until: at, hot, cold: COLD });
        let step = steps.next();
        while (step.done !== true && evaluator.bestMs > lowerBoundMs * CLOSE) {
          await watch.pause(evaluator);
          step = steps.next();
        }
        next.push({ ...step.value, family: start.family });
      }
      pool = [...next, ...(survivors <= ALONE ? company.meet() : []), ...pool];
      if (!counted && evaluator.done > before.done) {
        plans = (evaluator.evaluations - before.evaluations) / (evaluator.done - before.done);
      }
    }
  };
  const [rounds, times, least] = form.classical
    ? [CLASSICAL_ROUNDS, CLASSICAL_TIMES, LEAST_CLASSICAL_PLANS]
    : [ROUNDS, 1, LEAST_PLANS];
  const begin = pool;
  let end = 0;
  const withOsds = !form.classical || first === 1 ? -1 : 2 * first > 1 ? 0 : OSDS_TIME;
  for (let time = 0; time < times && end < 1; time++) {
    const joins = time === withOsds && (options.together?.index ?? 0) === 0;
    pool = joins ? [...begin, ...untrained(judge, evaluator, options)] : begin;
    // What looking for starts took is part of the first search; what OSDS took comes on top.
    end = Math.min(1, (joins ? Math.max(end, evaluator.done) : end) + first);
    await search(rounds, end);
    /** What comes before OSDS leaves it room. */
    const most = time < withOsds ? Math.max(end, 1 - OSDS_SHARE - first) : 1;
    while (end < most && evaluator.done < 1) {
      const before = leastOf(pool);
      end = Math.min(most, end + AGAIN * first);
      await search(MORE_ROUNDS, end);
      if (leastOf(pool) > before * (1 - WORTH) && evaluator.evaluations >= least) break;
    }
  }
  const plan = cleaned(evaluator.bestPlan as WorkPlan);
  return {
    plan,
    latencyMs: judge.latency(plan),
    periodMs: judge.loads(plan).periodMs,
    evaluations: evaluator.evaluations,
  };
}

/** Share of the first search after which no baseline is asked any more; 0: none is asked. */
function baselinesShare(budgetMs: number, firstMs: number, devices: number): number {
  if (budgetMs / devices < BASELINES_FROM) return 0;
  return budgetMs < firstMs ? SHORT_BASELINES_SHARE : BASELINES_SHARE;
}

/**
 * The plans given, those of the baselines and the starts of the search itself, judged.
 * @param until shares of the budget at which to stop looking for starts, and asking baselines
 */
async function firstPool(
  evaluator: Evaluator,
  { start: given = [], ...options }: AutoOptions,
  totalMs: number,
  until: { readonly starts: number; readonly baselines: number },
  watch: Watch,
): Promise<Entrant[]> {
  const { geometry, form } = evaluator;
  const pool: Entrant[] = [];
  const take = (plan: WorkPlan, family: string): void => {
    pool.push(...judged(plan, family, evaluator));
  };
  const stages = options.objective === 'throughput' ? [pipelines(geometry)] : [];
  for (const plan of given) {
    try {
      take(plan, 'given');
    } catch (error) {
      // A plan for a cluster as it was: devices have left since.
      if (!(error instanceof DistrEdgeError || error instanceof RangeError)) throw error;
    }
  }
  const side = options.together ?? { index: 0, count: 1 };
  for (const states of [...stages, starts(geometry, form, side)]) {
    let step = states.next(0);
    while (step.done !== true) {
      const { state, family, own } = step.value;
      let cost = Number.POSITIVE_INFINITY;
      if (!form.classical || isClassical(state)) {
        cost = evaluator.cost(state);
        if (own) pool.push({ state, cost, family });
        evaluator.look();
        if (evaluator.done > until.starts) break;
        await watch.pause(evaluator);
      }
      step = states.next(cost);
    }
  }
  // One of several searches tells the others of them.
  if (until.baselines === 0 || side.index > 0) return pool;
  for (const planner of [coedge, mednn, aofl, deeperthings]) {
    evaluator.look();
    if (evaluator.done > until.baselines) break;
    const budgetMs = (until.baselines - evaluator.done) * totalMs;
    const limit = budgetMs < Number.POSITIVE_INFINITY ? { budgetMs } : {};
    try {
      const { plan } = await planner.plan(geometry.task, {
        ...limit,
        ...(options.signal && { signal: options.signal }),
      });
      take(plan, 'baseline');
    } catch (error) {
      // Where memory is scarce a baseline may find nothing that fits; the search may all the same.
      if (!(error instanceof DistrEdgeError && error.code === 'PLAN_INVALID')) throw error;
    }
    await watch.pause(evaluator);
  }
  return pool;
}

/** What OSDS finds before anything is trained. */
function untrained(judge: PlanSimulator, evaluator: Evaluator, options: AutoOptions): Entrant[] {
  const begun = evaluator.done;
  const used = (): number => {
    evaluator.look();
    return (evaluator.done - begun) / OSDS_SHARE;
  };
  const plan = untrainedPlan(judge, OSDS_EPISODES, options, used, evaluator.geometry);
  return plan === undefined ? [] : judged(plan, 'osds', evaluator);
}

/** Judges a plan as it is, and as what the search can go on from, if it can: without gathers, in an order of its own. */
function judged(plan: WorkPlan, family: string, evaluator: Evaluator): Entrant[] {
  const { geometry, form } = evaluator;
  const state = fromWorkPlan(plan, geometry);
  if (!form.classical || fitsClassical(plan, state)) evaluator.costOf(plan);
  const whole = state.volumes.every(({ start, end, parts }) => parts.length < 2 || geometry.divisible(start, end));
  if (!whole || (form.classical && !isClassical(state))) return [];
  return [{ state, cost: evaluator.cost(state), family }];
}

/** The most promising of the pool with their parts in the order in which they are ready. */
function reordered(pool: readonly Entrant[], evaluator: Evaluator, until: number): Entrant[] {
  const found: Entrant[] = [];
  for (const entrant of chosen(pool, ORDERED)) {
    evaluator.look();
    if (evaluator.done > until) break;
    const ordered = inOrderOfReadiness(entrant, evaluator);
    if (ordered !== entrant) found.push({ ...ordered, family: entrant.family });
  }
  return found;
}

/** How many plans the whole budget is enough for, judged by the time that some of the pool take. */
function probed(evaluator: Evaluator, pool: readonly Entrant[]): number {
  evaluator.look();
  const before = evaluator.done;
  const some = chosen(pool, PROBES);
  for (const { state } of some) evaluator.cost(state);
  evaluator.look();
  const used = evaluator.done - before;
  return used > 0 ? (LIKE_EACH_OTHER * some.length) / used : Number.POSITIVE_INFINITY;
}

/** Whether a plan is of the classical form; a gather is, as MoDNN has it. */
function fitsClassical(plan: WorkPlan, state: PlanState): boolean {
  const { schedule, order, head } = plan;
  return schedule === undefined && order === undefined && !Array.isArray(head) && isClassical(state);
}

/** A plan that takes part in the search. */
interface Entrant extends Annealed {
  readonly family: string;
}

function leastOf(pool: readonly Entrant[]): number {
  return pool.reduce((least, { cost }) => Math.min(least, cost), Number.POSITIVE_INFINITY);
}

/**
 * The best so many, those of equal cost once: the best for every number of devices, if it is not far behind, then the best of every family,
 * then others.
 */
function chosen(pool: readonly Entrant[], count: number): Entrant[] {
  const sorted = [...pool].sort((a, b) => a.cost - b.cost);
  const distinct = sorted.filter(
    (entry, i) => i === 0 || entry.cost > (sorted[i - 1] as Entrant).cost * (1 + ROUNDING),
  );
  const families = new Set<string>();
  const sizes = new Set<number>();
  const ranks: Entrant[][] = [[], [], []];
  for (const entry of distinct) {
    const size = devicesOf(entry.state).length;
    const near = entry.cost < (distinct[0] as Entrant).cost * NEAR;
    const rank = near && !sizes.has(size) ? 0 : families.has(entry.family) ? 2 : 1;
    ranks[rank]?.push(entry);
    sizes.add(size);
    families.add(entry.family);
  }
  return ranks.flat().slice(0, count);
}

/** The searches beside this one. */
class Company {
  readonly #evaluator: Evaluator;
  readonly #options: AutoOptions;
  #knownMs = Number.POSITIVE_INFINITY;

  constructor(evaluator: Evaluator, options: AutoOptions) {
    this.#evaluator = evaluator;
    this.#options = options;
  }

  /** Tells the others of the best plan, if this search has found it since the last time, and judges what they have told of. */
  meet(): Entrant[] {
    const { together } = this.#options;
    const evaluator = this.#evaluator;
    if (together === undefined) return [];
    const { bestMs, bestPlan } = evaluator;
    if (bestPlan !== undefined && bestMs < this.#knownMs * (1 - ROUNDING)) together.tell(cleaned(bestPlan));
    const heard = together.heard().flatMap((plan) => judged(plan, 'others', evaluator));
    // What was heard is not told again.
    this.#knownMs = evaluator.bestMs;
    return heard;
  }
}

/** Lets others run between stretches of search, and tells how far it is. */
class Watch {
  readonly #options: AutoOptions;
  #paused: number = nowMs();

  constructor(options: AutoOptions) {
    this.#options = options;
  }

  async pause(evaluator: Evaluator): Promise<void> {
    if (nowMs() - this.#paused < 50) return;
    await breathe();
    this.#paused = nowMs();
    evaluator.look();
    this.#options.onProgress?.({
      done: Math.min(1, evaluator.done),
      bestMs: evaluator.bestMs,
      note: `${evaluator.evaluations} plans`,
    });
  }
}

/** Lets timers and messages be served. */
function breathe(): Promise<void> {
  const { setTimeout } = globalThis as unknown as { readonly setTimeout: (done: () => void, ms: number) => unknown };
  return new Promise((resolve) => {
    setTimeout(resolve, 0);
  });
}
