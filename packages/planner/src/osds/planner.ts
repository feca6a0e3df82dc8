/** LC-PSS and OSDS as a planner: partitions from LC-PSS with several weights, the best of them split by OSDS. */
import { DistrEdgeError, type PlanningTask, type PlanSimulator, simulator, type WorkPlan } from '@distredge/core';
import { nowMs } from '../clock.js';
import { requiredEnds } from '../lc-pss.js';
import type { Planned, Planner, PlannerOptions } from '../planner.js';
import type { AgentState } from '../rl/agent-state.js';
import type { GraphRunner } from '../rl/runner.js';
import { type Chosen, chosenPartition, type PartitionOptions } from './chosen-partition.js';
import { SplitEnvironment } from './environment.js';
import { initialStrategies } from './initial.js';
import { OSDS_DEFAULTS, type OsdsFound, type OsdsParameters, searchSplit } from './osds.js';
import type { TrainedAgent } from './trained.js';
import { transferAgent } from './transfer.js';

/** Episodes of going on from a trained agent. */
const FINE_TUNE_EPISODES = 400;
/** Its noise: the actor is near what is wanted. */
const FINE_TUNE_VARIANCE = 0.01;

export interface OsdsOptions extends Partial<OsdsParameters>, PartitionOptions {
  /** Computes the updates of the networks. */
  readonly runner: GraphRunner;
  /** Goes on from this agent, with its partition. */
  readonly trained?: TrainedAgent;
  /** What judges plans; by default the simulator. */
  readonly simulator?: (task: PlanningTask) => PlanSimulator;
}

export interface OsdsPlanned extends Planned {
  /** The agent, to be saved and to go on from; undefined for a single provider, which leaves nothing to decide. */
  readonly trained: TrainedAgent | undefined;
  /** Weights α whose partition was chosen; empty where it came with a trained agent or from the network's branches. */
  readonly alphas: readonly number[];
  /** What the kept actor does by itself, ms. */
  readonly actorMs: number;
  readonly episodes: number;
}

export interface OsdsPlanner extends Planner {
  plan(task: PlanningTask, options?: PlannerOptions): Promise<OsdsPlanned>;
}

export function osds(options: OsdsOptions): OsdsPlanner {
  return {
    name: 'osds',
    source: 'LC-PSS + OSDS: DistrEdge (IPDPS 2022), partition by layer configuration, split by DDPG',
    plan: (task, given = {}) => planByOsds(task, options, given),
  };
}

async function planByOsds(task: PlanningTask, options: OsdsOptions, given: PlannerOptions): Promise<OsdsPlanned> {
  const { trained } = options;
  const { seed = 1, signal, budgetMs, onProgress } = given;
  const judge = (options.simulator ?? simulator)(task);
  if (task.costs.length < 2) return alone(judge);
  const episodes = options.episodes ?? (trained === undefined ? OSDS_DEFAULTS.episodes : FINE_TUNE_EPISODES);
  const began = nowMs();
  const used = (): number => (budgetMs === undefined ? 0 : (nowMs() - began) / budgetMs);
  const { environment, strategies, startMs, alphas, evaluations } =
    trained === undefined ? chosenPartition(judge, options, given, used) : resumed(judge, trained, given.start);
  const from = trained === undefined ? undefined : agentFor(trained, task);
  onProgress?.({ done: 0, bestMs: startMs, note: `${environment.steps} volumes` });
  const report = Math.max(1, Math.floor(episodes / 100));
  const found: OsdsFound = await searchSplit(environment, options.runner, {
    ...options,
    ...(trained === undefined ? {} : { noiseVariance: options.noiseVariance ?? FINE_TUNE_VARIANCE }),
    episodes,
    seed,
    initial: (options.initialShares ?? OSDS_DEFAULTS.initialShares) ? strategies : [],
    ...(from === undefined ? {} : { from }),
    stop: () => signal?.aborted === true || used() >= 1,
    onEpisode: (episode, bestMs) => {
      if (episode % report !== 0) return;
      const done = Math.min(1, Math.max(episode / episodes, used()));
      onProgress?.({ done, bestMs, note: `episode ${episode} of ${episodes}` });
    },
  });
  let best: { readonly plan: WorkPlan; readonly latencyMs: number } = found;
  for (const plan of given.start ?? []) {
    const latencyMs = judge.latency(plan);
    if (latencyMs < best.latencyMs) best = { plan, latencyMs };
  }
  return {
    ...best,
    evaluations: evaluations() + (given.start?.length ?? 0),
    trained: {
      model: task.workload.model,
      devices: task.costs.map(({ id }) => id),
      ends: environment.ends,
      scale: environment.scale,
      agent: found.agent,
    },
    alphas,
    actorMs: found.actorMs,
    episodes: found.episodes,
  };
}

/** The environment of a trained agent in a new task. Throws `USAGE` where the agent is for another model. */
function resumed(judge: PlanSimulator, trained: TrainedAgent, start: readonly WorkPlan[] | undefined): Chosen {
  const { workload } = judge.task;
  if (trained.model !== workload.model || trained.ends.at(-1) !== workload.ops.length - 1) {
    throw new DistrEdgeError('USAGE', 'the agent was trained for another model', {
      expected: `'${workload.model}' with ${workload.ops.length} ops`,
      got: `'${trained.model}' with ${(trained.ends.at(-1) ?? -1) + 1} ops`,
      hint: 'train a new one',
    });
  }
  const environment = new SplitEnvironment(judge, trained.ends, { scale: trained.scale });
  const running = (start ?? []).map((plan) => environment.actionsOf(plan));
  const tried = [
    ...running.map((strategy) => ({ strategy, ms: environment.episode(strategy) })),
    ...initialStrategies(environment),
  ];
  return {
    environment,
    strategies: tried.map(({ strategy }) => strategy),
    startMs: Math.min(...tried.map(({ ms }) => ms)),
    alphas: [],
    evaluations: () => environment.evaluations,
  };
}

/** The trained agent, adapted where providers came or went; undefined where nothing of it can be kept. */
function agentFor({ agent, devices }: TrainedAgent, task: PlanningTask): AgentState | undefined {
  return transferAgent(
    agent,
    devices,
    task.costs.map(({ id }) => id),
  );
}

/** With one provider there is nothing to decide. */
function alone(judge: PlanSimulator): OsdsPlanned {
  const environment = new SplitEnvironment(judge, requiredEnds(judge.task.workload));
  const latencyMs = environment.episode(environment.ends.map(() => new Float32Array(environment.actionSize)));
  const { plan, evaluations } = environment;
  return { plan, latencyMs, evaluations, trained: undefined, alphas: [], actorMs: latencyMs, episodes: 0 };
}
