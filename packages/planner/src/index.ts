/** The public face of @distredge/planner. */

export { type Adapted, Adapter, type AdaptOptions, pays, type SwitchTerms } from './adapt.js';
export { type AutoOptions, type AutoPlanned, auto } from './auto.js';
export { baselines } from './baselines/index.js';
export { type BoundOptions, type LowerBound, lowerBound } from './bound/bound.js';
export { type ExplainOptions, explain, type Reason } from './explain.js';
export { type LcPssOptions, type LcPssPartition, lcPss, lcPssSweep } from './lc-pss.js';
export { OSDS_DEFAULTS, OSDS_PUBLISHED, type OsdsParameters } from './osds/osds.js';
export { type OsdsOptions, type OsdsPlanned, type OsdsPlanner, osds } from './osds/planner.js';
export { decodeTrained, encodeTrained, type TrainedAgent } from './osds/trained.js';
export type {
  Planned,
  Planner,
  PlannerOptions,
  PlannerProgress,
  Together,
} from './planner.js';
export { baselineNames, createPlanner, type PlannerSettings, plannerNames } from './registry.js';
export { Actor, type ActorState } from './rl/actor.js';
export { type AgentOptions, DdpgAgent, type LearningReport } from './rl/agent.js';
export { type AgentState, actorOf } from './rl/agent-state.js';
export { decodeActor, decodeAgent, encodeActor, encodeAgent } from './rl/artifact.js';
export { DDPG_DEFAULTS, type Hyperparameters, type TaskSize } from './rl/ddpg.js';
export type { Transition } from './rl/replay.js';
export type { GraphRunner, GraphTensor, LoadedGraph } from './rl/runner.js';
