/**
 * Which of the partitions that LC-PSS finds to split: LC-PSS scores them without knowing devices and links, so several
 * weights α are tried, and the partitions they lead to compete. All begin with the same shares; variations of the best
 * strategies are simulated, and the worse half of the partitions is dropped, again and again. No network is trained here.
 */
import type { PlanSimulator } from '@distredge/core';
import type { LcPssPartition } from '../lc-pss.js';
import { RandomSource } from '../rl/random.js';
import { Geometry } from '../search/geometry.js';
import { SplitEnvironment } from './environment.js';
import { Elite, type Strategy, varied } from './exploration.js';
import { initialStrategies } from './initial.js';

export interface Candidate {
  readonly environment: SplitEnvironment;
  readonly partition: LcPssPartition;
  readonly bestMs: number;
  /** The strategies it began with, and the best seen, to be remembered by an agent. */
  readonly strategies: readonly Strategy[];
}

export interface RaceOptions {
  /** Row algebra to share. */
  readonly geometry?: Geometry;
  /** Episodes of all candidates together, strategies to begin with not counted. */
  readonly episodes: number;
  readonly seed: number;
  /** Strategies for every candidate to begin with, besides its own. */
  readonly given?: (environment: SplitEnvironment) => readonly Strategy[];
  readonly stop?: (episode: number) => boolean;
}

/** Latencies closer than this, relatively, differ by rounding. */
const SAME = 1e-9;

interface Runner {
  readonly environment: SplitEnvironment;
  readonly partition: LcPssPartition;
  readonly elite: Elite;
  readonly initial: readonly Strategy[];
}

/** The best candidate first. */
export function racePartitions(
  simulator: PlanSimulator,
  partitions: readonly LcPssPartition[],
  { geometry = new Geometry(simulator.task), episodes, seed, given, stop }: RaceOptions,
): Candidate[] {
  const random = new RandomSource(seed);
  let episode = 0;
  const all = partitions.map((partition): Runner => {
    const environment = new SplitEnvironment(simulator, partition.ends, { geometry });
    const elite = new Elite();
    const initial: Strategy[] = [];
    for (const strategy of given?.(environment) ?? []) {
      initial.push(strategy);
      elite.offer(strategy, environment.episode(strategy));
    }
    // Every candidate begins somewhere, whether time is up or not.
    for (const { strategy, ms } of initialStrategies(environment)) {
      initial.push(strategy);
      elite.offer(strategy, ms);
    }
    return { environment, partition, elite, initial };
  });
  const rounds = Math.ceil(Math.log2(Math.max(1, all.length)));
  let running = all;
  for (let round = 0; round < rounds; round++) {
    const until = (episodes * (round + 1)) / rounds;
    while (episode < until && stop?.(episode) !== true) {
      const { environment, elite } = running[episode % running.length] as Runner;
      episode += 1;
      if (elite.size === 0) continue;
      const strategy = varied(elite.pick(random), environment.rows, random);
      elite.offer(strategy, environment.episode(strategy));
    }
    running = [...running].sort(better).slice(0, Math.ceil(running.length / 2));
  }
  return [...all].sort(better).map(({ environment, partition, elite, initial }) => ({
    environment,
    partition,
    bestMs: elite.bestMs,
    strategies: [...initial, ...elite.strategies],
  }));
}

/**
 * By the best strategy; where it is as good (often that of one provider alone, for which the partition does not matter), by
 * what is kept besides it, and then by the number of volumes.
 */
function better(a: Runner, b: Runner): number {
  const near = (x: number, y: number): boolean => x === y || Math.abs(x - y) <= SAME * Math.abs(x);
  if (!near(a.elite.bestMs, b.elite.bestMs)) return a.elite.bestMs - b.elite.bestMs;
  if (a.elite.size > 0 && !near(a.elite.meanMs, b.elite.meanMs)) return a.elite.meanMs - b.elite.meanMs;
  return a.environment.steps - b.environment.steps;
}
