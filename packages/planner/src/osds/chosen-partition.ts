/** The partition that OSDS splits: those of LC-PSS with several weights, and of the network's branches, compete, and the best are refined. */
import type { PlanSimulator, WorkPlan } from '@distredge/core';
import { type LcPssOptions, lcPssSweep } from '../lc-pss.js';
import type { PlannerOptions } from '../planner.js';
import { withBranches } from '../search/branches.js';
import { Geometry } from '../search/geometry.js';
import type { SplitEnvironment } from './environment.js';
import type { Strategy } from './exploration.js';
import { racePartitions } from './partitions.js';
import { bestOf, refine } from './refinement.js';

/** Episodes in which partitions compete, where there are several. Nothing is trained in them, so they cost little. */
const RACE_EPISODES = 10_000;
/** Share of a budget that they may use. */
const RACE_SHARE = 0.25;
/** The same of refining the best of them. */
const REFINE_EPISODES = 20_000;
const REFINE_SHARE = 0.4;

export interface PartitionOptions {
  /** Weights α of LC-PSS to try; `[0.75]` is the published one. */
  readonly alphas?: readonly number[];
  readonly lcPss?: Omit<LcPssOptions, 'alpha'>;
  /** Episodes in which partitions compete before one is trained on. */
  readonly raceEpisodes?: number;
  /** Episodes in which the best of them are refined; none where `alphas` are given. */
  readonly refineEpisodes?: number;
}

export interface Chosen {
  readonly environment: SplitEnvironment;
  readonly strategies: readonly Strategy[];
  /** Latency of the best of them. */
  readonly startMs: number;
  readonly alphas: readonly number[];
  /** Plans simulated so far. */
  readonly evaluations: () => number;
}

/**
 * The partition that does best in a race and is refined, and the best strategies seen.
 * @param used share of the budget that has been used
 * @param geometry row algebra to share
 */
export function chosenPartition(
  judge: PlanSimulator,
  { alphas, lcPss, raceEpisodes = RACE_EPISODES, refineEpisodes = REFINE_EPISODES }: PartitionOptions,
  { seed = 1, start, signal }: PlannerOptions,
  used: () => number,
  geometry: Geometry = new Geometry(judge.task),
): Chosen {
  const found = lcPssSweep(judge.task, { ...lcPss, ...(alphas === undefined ? {} : { alphas }) });
  const partitions = alphas === undefined ? withBranches(found, geometry) : found;
  const candidates = racePartitions(judge, partitions, {
    geometry,
    episodes: partitions.length > 1 ? raceEpisodes : 0,
    seed,
    given: (candidate) => (start ?? []).map((plan) => candidate.actionsOf(plan)),
    stop: () => signal?.aborted === true || used() >= RACE_SHARE,
  });
  const from = used();
  const refined = refine(judge, candidates, {
    geometry,
    episodes: alphas === undefined ? refineEpisodes : 0,
    seed,
    used: () => (signal?.aborted === true ? 1 : (used() - from) / REFINE_SHARE),
  });
  const { environment, partition, strategies, bestMs } = refined.candidate;
  const environments = new Set([environment, ...candidates.map((candidate) => candidate.environment)]);
  const evaluations = (): number => [...environments].reduce((sum, one) => sum + one.evaluations, refined.episodes);
  return { environment, strategies, startMs: bestMs, alphas: partition.alphas, evaluations };
}

/** The best plan of these before anything is trained; undefined where none fits into memory. */
export function untrainedPlan(
  judge: PlanSimulator,
  partitions: PartitionOptions,
  { seed = 1, signal }: PlannerOptions,
  used: () => number,
  geometry?: Geometry,
): WorkPlan | undefined {
  const given = { seed, ...(signal && { signal }) };
  const { environment, strategies } = chosenPartition(judge, partitions, given, used, geometry);
  const ms = environment.episode(bestOf(environment, strategies));
  return ms === Number.POSITIVE_INFINITY ? undefined : environment.plan;
}
