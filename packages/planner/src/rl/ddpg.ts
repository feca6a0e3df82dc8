/**
 * Deep deterministic policy gradient, for actions of continuous numbers: Lillicrap et al., "Continuous control with deep
 * reinforcement learning" (ICLR 2016), Algorithm 1. Reads from top to bottom: hyperparameters, then one update; `agent.ts`
 * acts, remembers, and calls for updates.
 *
 * An engine that is given from outside computes the updates. A whole update is one ONNX graph; all that are due run in one
 * call (ONNX's Scan), so that parameters and moments, 3.5 MB, cross to the engine and back once and not once for each.
 */
import { AGENT_VECTORS, type AgentVector, agentWidths, vectorLength } from './agent-state.js';
import { GraphWriter, scanModel } from './graph-writer.js';
import { adam, forward, inputGradient, parameterGradient, towards } from './mlp-graph.js';

export interface Hyperparameters {
  /** Widths of the hidden layers. */
  readonly actorHidden: readonly number[];
  readonly criticHidden: readonly number[];
  readonly actorLearningRate: number;
  readonly criticLearningRate: number;
  readonly batchSize: number;
  /** γ: what a reward is worth one step earlier. */
  readonly discount: number;
  /** τ: the share of the way that the target networks go towards the learnt ones at each update. */
  readonly tau: number;
  /** Transitions that are remembered. */
  readonly replaySize: number;
  /** Transitions to remember before the first update. */
  readonly learningStarts: number;
  /** Updates for each remembered transition; ¼ updates after every fourth. */
  readonly updatesPerStep: number;
}

export const DDPG_DEFAULTS: Hyperparameters = {
  actorHidden: [400, 200, 100],
  criticHidden: [400, 200, 100, 100],
  actorLearningRate: 1e-4,
  criticLearningRate: 1e-3,
  batchSize: 64,
  discount: 0.99,
  tau: 1e-3,
  replaySize: 100_000,
  learningStarts: 64,
  updatesPerStep: 1,
};

/** What a task asks for: how many numbers describe a state, and how many make an action. */
export interface TaskSize {
  readonly stateSize: number;
  readonly actionSize: number;
}

/**
 * The model that makes one update for every batch it is given, in this order. It takes and gives the agent's vectors; the
 * other inputs are `batch` (rows of the replay memory) and `adam` (rate and epsilon, of the critic and of the actor).
 */
export function updateModel(sizes: TaskSize & Hyperparameters): Uint8Array {
  const { stateSize, actionSize, batchSize, discount, tau } = sizes;
  const widths = agentWidths(sizes);
  const g = new GraphWriter();
  const join = (states: string, actions: string): string => g.node('Concat', [states, actions], { axis: 1 });

  const columns = [stateSize, actionSize, 1, 1, stateSize];
  const [states, actions, rewards, goesOn, nextStates] = g.split('batch', columns, 1) as [
    string,
    string,
    string,
    string,
    string,
  ];
  const [criticRate, criticEpsilon, actorRate, actorEpsilon] = g.split('adam', [1, 1, 1, 1], 0) as [
    string,
    string,
    string,
    string,
  ];

  // The target networks say what the next state is worth: y = r + γ Q'(s', μ'(s')), and y = r where the episode ended.
  const nextActions = g.node('Tanh', [forward(g, widths.actor, 'actorTarget', nextStates).output]);
  const nextValues = forward(g, widths.critic, 'criticTarget', join(nextStates, nextActions)).output;
  const worth = g.node('Mul', [g.node('Mul', [nextValues, goesOn]), g.fill(discount)]);
  const targets = g.node('Add', [rewards, worth]);

  // The critic descends the mean of (Q(s, a) − y)².
  const critic = forward(g, widths.critic, 'critic', join(states, actions));
  const errors = g.node('Sub', [critic.output, targets]);
  const criticLoss = g.node('ReduceMean', [g.node('Mul', [errors, errors])], { keepdims: 0 });
  const criticGradient = parameterGradient(g, critic, g.node('Mul', [errors, g.fill(2 / batchSize)]));
  const newCritic = adam(
    g,
    { parameters: 'critic', gradients: 'criticGradients', squares: 'criticSquares' },
    criticGradient,
    criticRate,
    criticEpsilon,
  );

  // The actor ascends the mean of Q(s, μ(s)): the critic's gradient for the action goes on through tanh into the actor.
  const actor = forward(g, widths.actor, 'actor', states);
  const chosen = g.node('Tanh', [actor.output]);
  const judged = forward(g, widths.critic, newCritic.parameters, join(states, chosen));
  const value = g.node('ReduceMean', [judged.output], { keepdims: 0 });
  const judgedGradient = inputGradient(g, judged, g.fill(-1 / batchSize, [batchSize, 1]));
  const chosenGradient = g.split(judgedGradient, [stateSize, actionSize], 1)[1] as string;
  const slope = g.node('Sub', [g.fill(1), g.node('Mul', [chosen, chosen])]);
  const actorGradient = parameterGradient(g, actor, g.node('Mul', [chosenGradient, slope]));
  const newActor = adam(
    g,
    { parameters: 'actor', gradients: 'actorGradients', squares: 'actorSquares' },
    actorGradient,
    actorRate,
    actorEpsilon,
  );

  const next: Record<AgentVector, string> = {
    critic: newCritic.parameters,
    criticTarget: towards(g, 'criticTarget', newCritic.parameters, tau),
    criticGradients: newCritic.gradients,
    criticSquares: newCritic.squares,
    actor: newActor.parameters,
    actorTarget: towards(g, 'actorTarget', newActor.parameters, tau),
    actorGradients: newActor.gradients,
    actorSquares: newActor.squares,
  };
  const width = columns.reduce((sum, size) => sum + size, 0);
  const vectors = AGENT_VECTORS.map((name) => ({ name, dims: [vectorLength(name, widths)] }));
  const sequences = [
    { name: 'batch', dims: [batchSize, width] },
    { name: 'adam', dims: [4] },
  ];
  const body = g.graph(
    [...vectors, ...sequences],
    [
      ...vectors.map(({ name, dims }) => ({ name: next[name], dims })),
      { name: criticLoss, dims: [] },
      { name: value, dims: [] },
    ],
  );
  const stacks = [
    { name: 'criticLoss', dims: [] },
    { name: 'value', dims: [] },
  ];
  return scanModel(body, vectors, sequences, stacks);
}
