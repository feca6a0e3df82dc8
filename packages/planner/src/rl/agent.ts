/** The agent: acts, with noise where it explores, remembers what came of it, and learns by DDPG updates on an engine. */
import { DistrEdgeError } from '@distredge/core';
import { Actor, type ActorState } from './actor.js';
import { AGENT_VECTORS, type AgentState, type AgentVector, agentWidths, vectorLength } from './agent-state.js';
import { DDPG_DEFAULTS, type Hyperparameters, type TaskSize, updateModel } from './ddpg.js';
import { initialParameters } from './mlp.js';
import { adamScalars } from './mlp-graph.js';
import { RandomSource } from './random.js';
import { Replay, type Transition } from './replay.js';
import type { GraphRunner, GraphTensor, LoadedGraph } from './runner.js';

export interface AgentOptions extends TaskSize, Partial<Hyperparameters> {
  /** The same seed, transitions and calls give the same parameters, bit for bit on the same machine. Default 0. */
  readonly seed?: number;
  /** Goes on from this agent; or from this actor, with a fresh critic. The widths of their layers are taken over. */
  readonly from?: AgentState | ActorState;
}

export interface LearningReport {
  readonly updates: number;
  /** Means over these updates: the critic's squared error, and the value that it sees in what the actor would do. */
  readonly criticLoss: number;
  readonly value: number;
}

/** Updates in one call of the engine. More gain little: the call's own cost is shared by so many already. */
const MAX_UPDATES_PER_CALL = 16;

export class DdpgAgent {
  readonly #graph: LoadedGraph;
  readonly #sizes: TaskSize & Hyperparameters;
  readonly #random: RandomSource;
  readonly #replay: Replay;
  readonly #actor: Actor;
  #vectors: Readonly<Record<AgentVector, Float32Array>>;
  #updates: number;
  /** Updates that are due, with the fraction of one that is not yet. */
  #due = 0;
  #learning = false;

  private constructor(
    graph: LoadedGraph,
    sizes: TaskSize & Hyperparameters,
    { updates, vectors }: AgentState,
    random: RandomSource,
  ) {
    this.#graph = graph;
    this.#sizes = sizes;
    this.#random = random;
    this.#replay = new Replay(sizes.stateSize, sizes.actionSize, sizes.replaySize);
    this.#vectors = vectors;
    this.#updates = updates;
    this.#actor = new Actor(agentWidths(sizes).actor, () => this.#vectors.actor);
  }

  /** Throws `USAGE` for sizes and hyperparameters that make no sense, or that are not those of `from`. */
  static async create(runner: GraphRunner, { from, seed = 0, ...options }: AgentOptions): Promise<DdpgAgent> {
    const sizes = { ...DDPG_DEFAULTS, ...options, ...layersOf(from) };
    check(sizes, from);
    const random = new RandomSource(seed);
    const state = from !== undefined && 'vectors' in from ? from : fresh(sizes, random, from);
    return new DdpgAgent(await runner.load(updateModel(sizes)), sizes, state, random);
  }

  /** Updates so far, those of the agent it goes on from included. */
  get updates(): number {
    return this.#updates;
  }

  /** What the actor does in a state. */
  act(state: ArrayLike<number>): Float32Array {
    return this.#actor.act(state);
  }

  /** The same with Gaussian noise of this standard deviation on every number, held inside [−1, 1]. */
  explore(state: ArrayLike<number>, deviation: number): Float32Array {
    return this.act(state).map((value) => Math.max(-1, Math.min(1, value + deviation * this.#random.normal())));
  }

  /** Adds a step to the replay memory, and makes updates due. */
  remember(transition: Transition): void {
    this.#replay.add(transition);
    if (this.#replay.size >= this.#sizes.learningStarts) this.#due += this.#sizes.updatesPerStep;
  }

  /** Makes the updates that are due, fastest if called once for several steps. Returns undefined where none is. */
  async learn(): Promise<LearningReport | undefined> {
    const updates = Math.floor(this.#due);
    this.#due -= updates;
    return updates === 0 ? undefined : this.train(updates);
  }

  /** Makes so many updates, due or not; the replay memory must hold something. One call at a time. */
  async train(updates: number): Promise<LearningReport> {
    if (this.#learning) throw new DistrEdgeError('USAGE', 'the agent is learning already');
    if (!Number.isSafeInteger(updates) || updates < 1) throw usage('updates', 'a whole number from 1 on', updates);
    if (this.#replay.size === 0) throw new DistrEdgeError('USAGE', 'the agent has nothing to learn from yet');
    this.#learning = true;
    try {
      const sums = { criticLoss: 0, value: 0 };
      for (let left = updates; left > 0; left -= MAX_UPDATES_PER_CALL) {
        const outputs = await this.#update(Math.min(left, MAX_UPDATES_PER_CALL));
        sums.criticLoss += total(outputs['criticLoss']);
        sums.value += total(outputs['value']);
      }
      return { updates, criticLoss: sums.criticLoss / updates, value: sums.value / updates };
    } finally {
      this.#learning = false;
    }
  }

  async #update(count: number): Promise<Record<string, Float32Array>> {
    const { batchSize, criticLearningRate, actorLearningRate } = this.#sizes;
    const batch = this.#replay.sample(count * batchSize, this.#random);
    const adam = Array.from({ length: count }, (_, index) => {
      const step = this.#updates + index + 1;
      return [...adamScalars(criticLearningRate, step), ...adamScalars(actorLearningRate, step)];
    });
    const inputs: Record<string, GraphTensor> = {
      batch: { data: batch, dims: [count, batchSize, this.#replay.width] },
      adam: { data: Float32Array.from(adam.flat()), dims: [count, 4] },
    };
    for (const name of AGENT_VECTORS) inputs[name] = { data: this.#vectors[name], dims: [this.#vectors[name].length] };
    const outputs = await this.#graph.run(inputs);
    if (!Number.isFinite(total(outputs['criticLoss']) + total(outputs['value']))) {
      throw new DistrEdgeError('INTERNAL', 'the training has diverged', {
        where: `update ${this.#updates + count}`,
        hint: 'smaller rewards, states near 1, or lower learning rates keep it stable',
      });
    }
    const vectors = AGENT_VECTORS.map((name) => [name, outputs[`${name}'`]]);
    this.#vectors = Object.fromEntries(vectors) as Record<AgentVector, Float32Array>;
    settle(this.#vectors.criticGradients);
    settle(this.#vectors.actorGradients);
    this.#updates += count;
    return outputs;
  }

  /** What the agent has become, to be saved or to go on from: a snapshot that later updates leave alone. */
  state(): AgentState {
    const { stateSize, actionSize, actorHidden, criticHidden } = this.#sizes;
    return { stateSize, actionSize, actorHidden, criticHidden, updates: this.#updates, vectors: this.#vectors };
  }

  close(): Promise<void> {
    return this.#graph.release();
  }
}

/**
 * Zero for what is as good as zero. Behind units that have gone quiet the sums of gradients fade, a tenth with every update;
 * within a thousand updates a third of them would be denormal for good, and many processors compute with those far slower.
 */
function settle(sums: Float32Array): void {
  for (let i = 0; i < sums.length; i++) if (Math.abs(sums[i] as number) < 1e-30) sums[i] = 0;
}

function total(values: Float32Array | undefined): number {
  return (values ?? new Float32Array([Number.NaN])).reduce((sum, value) => sum + value, 0);
}

function layersOf(from: AgentOptions['from']): Partial<Hyperparameters> {
  if (from === undefined) return {};
  return 'vectors' in from
    ? { actorHidden: from.actorHidden, criticHidden: from.criticHidden }
    : { actorHidden: from.hidden };
}

/** A new agent, with random networks (but for an actor that is given) and targets equal to them. */
function fresh(sizes: TaskSize & Hyperparameters, random: RandomSource, actor: ActorState | undefined): AgentState {
  const widths = agentWidths(sizes);
  const networks = {
    actor: actor?.parameters ?? initialParameters(widths.actor, random),
    critic: initialParameters(widths.critic, random),
  };
  const zeros = (name: AgentVector): Float32Array => new Float32Array(vectorLength(name, widths));
  return {
    ...sizes,
    updates: 0,
    vectors: {
      critic: networks.critic,
      criticTarget: networks.critic,
      criticGradients: zeros('criticGradients'),
      criticSquares: zeros('criticSquares'),
      actor: networks.actor,
      actorTarget: networks.actor,
      actorGradients: zeros('actorGradients'),
      actorSquares: zeros('actorSquares'),
    },
  };
}

function check(sizes: TaskSize & Hyperparameters, from: AgentOptions['from']): void {
  const { stateSize, actionSize, actorHidden, criticHidden, batchSize, replaySize, learningStarts } = sizes;
  const whole = { stateSize, actionSize, batchSize, replaySize, learningStarts };
  const layers = [...actorHidden, ...criticHidden].map((width): [string, number] => ['hidden layers', width]);
  for (const [where, got] of [...Object.entries(whole), ...layers]) {
    if (!Number.isSafeInteger(got) || got < 1) throw usage(where, 'a whole number from 1 on', got);
  }
  const { actorLearningRate, criticLearningRate, discount, tau, updatesPerStep } = sizes;
  for (const [where, got] of Object.entries({ actorLearningRate, criticLearningRate, updatesPerStep })) {
    if (!(got >= 0 && got < Number.POSITIVE_INFINITY)) throw usage(where, 'a number from 0 on', got);
  }
  for (const [where, got] of Object.entries({ discount, tau })) {
    if (!(got >= 0 && got <= 1)) throw usage(where, 'a number from 0 to 1', got);
  }
  if (from === undefined) return;
  if (from.stateSize !== stateSize) throw usage('from', `states of ${stateSize} numbers`, from.stateSize);
  if (from.actionSize !== actionSize) throw usage('from', `actions of ${actionSize} numbers`, from.actionSize);
}

function usage(where: string, expected: string, got: number): DistrEdgeError {
  return new DistrEdgeError('USAGE', 'an agent cannot be made this way', { where, expected, got: String(got) });
}
