/**
 * A partition made better for the devices and links at hand: LC-PSS does not know them, and adds or takes away one cut at a time. From the
 * best partitions of a race, volumes are divided, joined and their ends moved, in turn with variations of how they are split, by
 * simulated annealing. No network is trained here.
 */
import type { PlanSimulator } from '@distredge/core';
import { requiredEnds } from '../lc-pss.js';
import { RandomSource } from '../rl/random.js';
import type { Geometry } from '../search/geometry.js';
import { SplitEnvironment } from './environment.js';
import { type Strategy, varied } from './exploration.js';
import type { Candidate } from './partitions.js';

export interface RefineOptions {
  readonly geometry: Geometry;
  /** Episodes of all partitions together. */
  readonly episodes: number;
  readonly seed: number;
  /** Share of the time there is that has been used. */
  readonly used?: () => number;
}

/** Partitions that are refined. */
const REFINED = 3;
/** Share of the episodes in which volumes change; in the others their splits do. */
const CHANGES = 0.5;
/** Of those: volumes are divided in this share, joined up to that one, and ends moved in the rest. */
const DIVIDES = 0.4;
const JOINS = 0.7;
/** What is slower by this share is gone on from in one of e cases: at first, and at last. */
const HOT = 0.004;
const COLD = 0.0001;
/** An end moves by so many ops at most; the second of two ends that come together lies so many ops behind the first. */
const NEAR = 4;

/** A partition, how it is split, and what that takes, ms. */
interface Split {
  readonly ends: readonly number[];
  readonly strategy: Strategy;
  readonly ms: number;
}

export interface Refined {
  /** The best of those refined; the first given where none became better. */
  readonly candidate: Candidate;
  readonly episodes: number;
}

/** Refines the best of these candidates, the best of which comes first. */
export function refine(
  simulator: PlanSimulator,
  candidates: readonly Candidate[],
  { geometry, episodes, seed, used = () => 0 }: RefineOptions,
): Refined {
  const random = new RandomSource(seed);
  const [first] = candidates as [Candidate];
  const { scale, referenceMs } = first.environment;
  const required = requiredEnds(simulator.task.workload);
  let done = 0;
  const environmentOf = (ends: readonly number[]): SplitEnvironment =>
    new SplitEnvironment(simulator, ends, { geometry, scale, referenceMs });
  let best: Split | undefined;
  const some = candidates.slice(0, REFINED).filter(({ strategies }) => strategies.length > 0);
  const share = (): number => (episodes === 0 ? 1 : Math.max(done / episodes, used()));
  for (const [turn, { environment, strategies, bestMs }] of some.entries()) {
    let now: Split = { ends: environment.ends, strategy: bestOf(environment, strategies), ms: bestMs };
    let own = environment;
    for (let part = share() * some.length - turn; part < 1; part = share() * some.length - turn) {
      done += 1;
      const other = random.uniform() < CHANGES ? changed(now, required, random) : undefined;
      const there = other === undefined ? own : environmentOf(other.ends);
      const next = other ?? { ends: now.ends, strategy: varied(now.strategy, own.rows, random) };
      const ms = there.episode(next.strategy);
      const temperature = HOT * (COLD / HOT) ** Math.max(0, part);
      if (random.uniform() >= Math.exp((1 - ms / now.ms) / temperature)) continue;
      now = { ...next, ms };
      own = there;
      if (ms < (best?.ms ?? first.bestMs)) best = now;
    }
  }
  if (best === undefined) return { candidate: first, episodes: done };
  const { ends, strategy, ms: bestMs } = best;
  const candidate = {
    environment: environmentOf(ends),
    partition: { ends, alphas: [] },
    bestMs,
    strategies: [strategy],
  };
  return { candidate, episodes: done };
}

/** The best of these strategies; at least one. */
export function bestOf(environment: SplitEnvironment, strategies: readonly Strategy[]): Strategy {
  const judged = strategies.map((strategy) => ({ strategy, ms: environment.episode(strategy) }));
  return judged.reduce((best, one) => (one.ms < best.ms ? one : best)).strategy;
}

/** The same with volumes divided, joined, or their ends moved, each split as the volume was of which it is; undefined where that leaves it as it is. */
function changed(
  { ends, strategy }: Pick<Split, 'ends' | 'strategy'>,
  required: readonly number[],
  random: RandomSource,
): Pick<Split, 'ends' | 'strategy'> | undefined {
  const last = ends.at(-1) as number;
  const next = new Set(ends);
  const free = ends.filter((end) => !required.includes(end));
  const kind = random.uniform();
  const one = free[random.below(free.length)];
  if (one !== undefined && kind >= DIVIDES) next.delete(one);
  if (one === undefined || kind < DIVIDES) {
    const end = random.below(last);
    next.add(end);
    if (random.uniform() < 0.5) next.add(Math.min(last, end + 1 + random.below(NEAR)));
  } else if (kind >= JOINS) {
    const end = one + (random.uniform() < 0.5 ? -1 : 1) * (1 + random.below(NEAR));
    next.add(Math.max(0, Math.min(last, end)));
  }
  const sorted = [...next].sort((a, b) => a - b);
  if (sorted.join() === ends.join()) return undefined;
  return { ends: sorted, strategy: sorted.map((end) => strategy[ends.findIndex((was) => was >= end)] as Float32Array) };
}
