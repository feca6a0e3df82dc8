/** Everything that training goes on from, apart from the replay memory: eight vectors, and how many updates made them. */
import type { ActorState } from './actor.js';
import { parameterCount, type Widths } from './mlp.js';

/** The networks, their slowly following targets, and Adam's sums for either (see `adam`). */
export const AGENT_VECTORS = [
  'critic',
  'criticTarget',
  'criticGradients',
  'criticSquares',
  'actor',
  'actorTarget',
  'actorGradients',
  'actorSquares',
] as const;

export type AgentVector = (typeof AGENT_VECTORS)[number];

export interface AgentState {
  readonly stateSize: number;
  readonly actionSize: number;
  readonly actorHidden: readonly number[];
  readonly criticHidden: readonly number[];
  /** Updates so far. */
  readonly updates: number;
  readonly vectors: Readonly<Record<AgentVector, Float32Array>>;
}

export interface AgentWidths {
  readonly actor: Widths;
  readonly critic: Widths;
}

/** The widths of both networks. The actor maps a state to an action, the critic a state and an action to one value. */
export function agentWidths(agent: Omit<AgentState, 'updates' | 'vectors'>): AgentWidths {
  return {
    actor: [agent.stateSize, ...agent.actorHidden, agent.actionSize],
    critic: [agent.stateSize + agent.actionSize, ...agent.criticHidden, 1],
  };
}

export function vectorLength(name: AgentVector, widths: AgentWidths): number {
  return parameterCount(name.startsWith('actor') ? widths.actor : widths.critic);
}

/** The actor that an agent has become. */
export function actorOf({ stateSize, actionSize, actorHidden, vectors }: AgentState): ActorState {
  return { stateSize, actionSize, hidden: actorHidden, parameters: vectors.actor };
}
