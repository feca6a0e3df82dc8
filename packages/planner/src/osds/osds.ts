/**
 * OSDS, the optimal split decision search of DistrEdge (IPDPS 2022, arXiv 2202.01699, section V, algorithm 2): a DDPG agent
 * splits a partition's volumes one by one, in episode after episode; the best strategy seen is the answer, and the actor is
 * kept, to go on from when rates change. Reads from top to bottom: hyperparameters, one episode, the search.
 *
 * What the paper does not have, and a setting that switches it off: strategies to begin with (`initialShares`), episodes that vary
 * the best strategies seen (`variedShare`), a limit on updates per episode (`updatesPerEpisode`). docs/decisions/006-osds.md
 * says what each gains.
 */
import type { WorkPlan } from '@distredge/core';
import { type AgentOptions, DdpgAgent } from '../rl/agent.js';
import type { AgentState } from '../rl/agent-state.js';
import type { Hyperparameters } from '../rl/ddpg.js';
import { RandomSource } from '../rl/random.js';
import type { GraphRunner } from '../rl/runner.js';
import type { SplitEnvironment } from './environment.js';
import { Elite, type Strategy, varied } from './exploration.js';

export interface OsdsParameters {
  readonly episodes: number;
  /** Δε: a decision is explored with probability ε = 1 − (episode · Δε)², never after 1/Δε episodes. */
  readonly epsilonStep: number;
  /** Variance of the noise on an action; by default 0.1, and 1 from 16 providers on. */
  readonly noiseVariance: number | undefined;
  /** Whether strategies with equal and proportional shares are remembered first. False: as published. */
  readonly initialShares: boolean;
  /** Share of the episodes that vary one of the best strategies seen instead of asking the actor. 0: as published. */
  readonly variedShare: number;
  /** Updates of the networks per episode: one per decision, but at most so many. Infinity: as published. */
  readonly updatesPerEpisode: number;
  /** Of the agent; what is left out is as published. The default learns faster, with smaller networks. */
  readonly agent: Partial<Hyperparameters>;
}

export const OSDS_DEFAULTS: OsdsParameters = {
  episodes: 4000,
  epsilonStep: 1 / 250,
  noiseVariance: undefined,
  initialShares: true,
  variedShare: 0.5,
  updatesPerEpisode: 6,
  agent: {
    actorHidden: [128, 64],
    criticHidden: [128, 64],
    actorLearningRate: 1e-3,
    criticLearningRate: 3e-3,
    tau: 0.01,
  },
};

/** Without what the paper does not have. With `alphas: [0.75]`, all of it is as published. */
export const OSDS_PUBLISHED: OsdsParameters = {
  ...OSDS_DEFAULTS,
  initialShares: false,
  variedShare: 0,
  updatesPerEpisode: Number.POSITIVE_INFINITY,
  agent: {},
};

const MANY_PROVIDERS = 16;
const VARIANCE_FEW = 0.1;
const VARIANCE_MANY = 1;

export interface OsdsSearch extends Partial<OsdsParameters> {
  readonly seed?: number;
  /** Strategies whose episodes are remembered first. */
  readonly initial?: readonly Strategy[];
  /** Goes on from this agent. */
  readonly from?: NonNullable<AgentOptions['from']>;
  /** Asked before every episode; true ends the search. */
  readonly stop?: (episode: number) => boolean;
  readonly onEpisode?: (episode: number, bestMs: number) => void;
}

export interface OsdsFound {
  readonly plan: WorkPlan;
  readonly latencyMs: number;
  /** Episode that found it; 0 for one of the strategies to begin with. */
  readonly episode: number;
  readonly episodes: number;
  /** The agent whose actor, without noise, did best. */
  readonly agent: AgentState;
  /** What that actor does by itself, ms. */
  readonly actorMs: number;
}

/** Searches for the best split of the environment's volumes. At least two providers. */
export async function searchSplit(
  environment: SplitEnvironment,
  runner: GraphRunner,
  search: OsdsSearch = {},
): Promise<OsdsFound> {
  const settings = { ...OSDS_DEFAULTS, ...search };
  const { episodes, epsilonStep, variedShare, seed = 1 } = settings;
  const random = new RandomSource(seed);
  const { stateSize, actionSize, steps } = environment;
  const many = environment.task.costs.length >= MANY_PROVIDERS;
  const deviation = Math.sqrt(settings.noiseVariance ?? (many ? VARIANCE_MANY : VARIANCE_FEW));
  const agent = await DdpgAgent.create(runner, {
    stateSize,
    actionSize,
    seed,
    updatesPerStep: Math.min(1, settings.updatesPerEpisode / steps),
    ...settings.agent,
    ...(search.from === undefined ? {} : { from: search.from }),
  });
  try {
    const elite = new Elite();
    let best = { plan: environment.plan, latencyMs: Number.POSITIVE_INFINITY, episode: 0 };
    let kept = agent.state();
    let actorMs = Number.POSITIVE_INFINITY;

    /** One episode, remembered; `decide` is asked for every volume. */
    const run = (episode: number, decide: (state: Float32Array, volume: number) => Float32Array): number => {
      const strategy: Float32Array[] = [];
      let state = environment.reset();
      for (let volume = 0; volume < steps; volume++) {
        const action = decide(state, volume);
        const { state: nextState, reward, done } = environment.step(action);
        agent.remember({ state, action, reward, nextState, done });
        strategy.push(action);
        state = nextState;
      }
      const ms = environment.latencyMs;
      elite.offer(strategy, ms);
      if (ms < best.latencyMs || episode === 0) best = { plan: environment.plan, latencyMs: ms, episode };
      return ms;
    };
    /** What the actor does without noise; the best actor is kept. */
    const rollOut = (episode: number): void => {
      const ms = run(episode, (state) => agent.act(state));
      if (ms > actorMs) return;
      actorMs = ms;
      kept = agent.state();
    };

    for (const strategy of search.initial ?? []) run(0, (_, volume) => strategy[volume] as Float32Array);
    if (search.from !== undefined) rollOut(0);
    let episode = 0;
    while (episode < episodes && search.stop?.(episode) !== true) {
      episode += 1;
      const epsilon = Math.max(0, 1 - (episode * epsilonStep) ** 2);
      if (elite.size > 0 && random.uniform() < variedShare) {
        const strategy = varied(elite.pick(random), environment.rows, random);
        run(episode, (_, volume) => strategy[volume] as Float32Array);
      } else if (epsilon > 0) {
        run(episode, (state) => (random.uniform() < epsilon ? agent.explore(state, deviation) : agent.act(state)));
      } else rollOut(episode);
      await agent.learn();
      search.onEpisode?.(episode, best.latencyMs);
    }
    rollOut(episode);
    return { ...best, episodes: episode, agent: kept, actorMs };
  } finally {
    await agent.close();
  }
}
