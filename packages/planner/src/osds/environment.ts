/**
 * The Markov decision process of OSDS (DistrEdge, section V): a plan is made volume by volume, and judged when it is whole.
 *
 * - **state**, before the decision about a volume: for every provider when it is done with what it was given so far, and of
 *   the volume's last op the height H, the channels C, the rows F that one row reads and the stride S;
 * - **action**: |D| − 1 numbers in [−1, 1]; sorted, they are the heights at which the parts of neighbouring providers meet,
 *   −1 the top and 1 the bottom, rounded to rows. Two that are equal leave a provider without work;
 * - **reward**: 0 until the last volume, then 1/T.
 *
 * Times are counted in units of a **reference** time, the latency on the best single provider, and so is T. So where all
 * rates change alike, states and rewards stay as they were, and where one changes, an actor sees what that does to the
 * accumulated times. H, C, F and S are counted in units of the largest of the model.
 */
import { DistrEdgeError, type PlanningTask, type PlanSimulator, type WorkPlan, type WorkVolume } from '@distredge/core';
import { Geometry } from '../search/geometry.js';
import { Timeline } from './timeline.js';

/** What numbers of a state are divided by. Belongs to a trained actor. */
export interface StateScale {
  readonly height: number;
  readonly channels: number;
  readonly window: number;
  readonly stride: number;
}

export interface Step {
  /** Of the decision that comes next; after the last one as the devices ended. */
  readonly state: Float32Array;
  readonly reward: number;
  readonly done: boolean;
}

/** H, C, F, S of a volume's last op. */
interface Configuration {
  readonly height: number;
  readonly channels: number;
  readonly window: number;
  readonly stride: number;
}

export class SplitEnvironment {
  readonly task: PlanningTask;
  readonly simulator: PlanSimulator;
  /** Last op of every volume. */
  readonly ends: readonly number[];
  /** Height of every volume's end tensor. */
  readonly rows: readonly number[];
  readonly stateSize: number;
  readonly actionSize: number;
  readonly scale: StateScale;
  /** Latency on the best single provider, ms. */
  readonly referenceMs: number;
  readonly #geometry: Geometry;
  readonly #timeline: Timeline;
  readonly #configurations: readonly Configuration[];
  readonly #cuts: Int32Array[];
  #at = 0;
  #latencyMs = Number.POSITIVE_INFINITY;
  #plan: WorkPlan = { volumes: [] };
  #evaluations = 0;

  /**
   * @param ends last op of every volume, ascending; the last op of all is one of them
   * @param known what a trained actor's states were divided by, by default what suits the model; row algebra and the reference time to share
   */
  constructor(
    simulator: PlanSimulator,
    ends: readonly number[],
    known: { readonly scale?: StateScale; readonly geometry?: Geometry; readonly referenceMs?: number } = {},
  ) {
    const { task } = simulator;
    const { workload, costs } = task;
    const last = workload.ops.length - 1;
    if (ends.at(-1) !== last || ends.some((end, v) => !Number.isInteger(end) || end <= (ends[v - 1] ?? -1))) {
      throw new DistrEdgeError('USAGE', 'these are not the ends of volumes', {
        expected: `ascending numbers of ops, the last ${last}`,
        got: ends.join(', '),
      });
    }
    this.task = task;
    this.simulator = simulator;
    this.ends = ends;
    this.stateSize = costs.length + 4;
    this.actionSize = Math.max(1, costs.length - 1);
    this.#geometry = known.geometry ?? new Geometry(task);
    this.#timeline = new Timeline(task, this.#geometry);
    this.rows = ends.map((end) => this.#geometry.rows(end));
    const configurations = workload.ops.map((_, op) => configurationOf(task, op));
    this.#configurations = ends.map((end) => configurations[end] as Configuration);
    this.scale = known.scale ?? scaleOf(configurations);
    this.#cuts = ends.map(() => new Int32Array(costs.length + 1));
    if (known.referenceMs === undefined) this.#evaluations = costs.length;
    this.referenceMs =
      known.referenceMs ?? Math.min(...costs.map((_, device) => simulator.latency(this.#alone(device))));
  }

  /** Decisions of an episode. */
  get steps(): number {
    return this.ends.length;
  }

  /** Latency of the plan that the last episode made, ms: what the simulator gives. Infinity where memory does not suffice. */
  get latencyMs(): number {
    return this.#latencyMs;
  }

  get plan(): WorkPlan {
    return this.#plan;
  }

  /** Plans simulated. */
  get evaluations(): number {
    return this.#evaluations;
  }

  /** Begins an episode. */
  reset(): Float32Array {
    this.#timeline.reset();
    this.#at = 0;
    return this.#state();
  }

  /** Splits the next volume; after the last the plan is judged. */
  step(action: ArrayLike<number>): Step {
    this.#split(action, true);
    if (this.#at < this.ends.length) return { state: this.#state(), reward: 0, done: false };
    this.#judge();
    return { state: this.#state(), reward: this.referenceMs / this.#latencyMs || 0, done: true };
  }

  /** Runs a whole episode with these actions, one per volume. Returns its latency, ms. */
  episode(actions: readonly ArrayLike<number>[]): number {
    // Nobody looks at the states; only the head asks when providers are done.
    const timed = this.task.workload.head !== undefined;
    if (timed) this.#timeline.reset();
    this.#at = 0;
    for (const action of actions) this.#split(action, timed);
    this.#judge();
    return this.#latencyMs;
  }

  #split(action: ArrayLike<number>, timed: boolean): void {
    const v = this.#at;
    const start = v === 0 ? 0 : (this.ends[v - 1] as number) + 1;
    const end = this.ends[v] as number;
    const cuts = this.#cuts[v] as Int32Array;
    this.#rowsOf(action, start, end, cuts);
    if (timed) this.#timeline.advance(start, end, cuts);
    this.#at = v + 1;
  }

  /** The action that gives every provider this share of the height (shares need not add up to 1). */
  actionOf(shares: readonly number[]): Float32Array {
    const total = shares.reduce((sum, share) => sum + share, 0);
    const action = new Float32Array(this.actionSize);
    let sum = 0;
    for (let d = 0; d + 1 < shares.length; d++) {
      sum += shares[d] as number;
      action[d] = (2 * sum) / total - 1;
    }
    return action;
  }

  /** Actions that make the volumes' cuts of a plan, for volumes that end where ours do; the nearest volume's shares elsewhere. */
  actionsOf(plan: WorkPlan): Float32Array[] {
    const given = plan.volumes.filter((volume): volume is WorkVolume => !('gather' in volume));
    return this.ends.map((end) => {
      const volume = given.find((candidate) => candidate.end >= end) ?? given.at(-1);
      const shares = new Array<number>(this.task.costs.length).fill(0);
      for (const { device, from, to } of volume?.parts ?? []) shares[device] = (shares[device] ?? 0) + to - from;
      return this.actionOf(shares);
    });
  }

  #rowsOf(action: ArrayLike<number>, start: number, end: number, cuts: Int32Array): void {
    const devices = this.task.costs.length;
    const rows = this.#geometry.rows(end);
    const sorted = Float64Array.from({ length: devices - 1 }, (_, i) => action[i] as number).sort();
    for (let d = 1; d < devices; d++) {
      const height = Math.min(1, Math.max(-1, sorted[d - 1] as number));
      cuts[d] = Math.floor(((height + 1) / 2) * rows + 0.5);
    }
    cuts[devices] = rows;
    if (this.#geometry.divisible(start, end)) return;
    // What cannot be divided is given to the provider with the largest share.
    let largest = 0;
    for (let d = 1; d < devices; d++) {
      const share = (cuts[d + 1] as number) - (cuts[d] as number);
      if (share > (cuts[largest + 1] as number) - (cuts[largest] as number)) largest = d;
    }
    for (let d = 0; d <= devices; d++) cuts[d] = d <= largest ? 0 : rows;
  }

  #judge(): void {
    const { head } = this.task.workload;
    const volumes = this.ends.map((end, v) => {
      const cuts = this.#cuts[v] as Int32Array;
      const parts = this.task.costs.flatMap((_, device) => {
        const from = cuts[device] as number;
        const to = cuts[device + 1] as number;
        return from < to ? [{ device, from, to }] : [];
      });
      return { end, parts };
    });
    this.#plan = head === undefined ? { volumes } : { volumes, head: this.#timeline.bestHead() };
    this.#latencyMs = this.simulator.latency(this.#plan);
    this.#evaluations += 1;
  }

  #alone(device: number): WorkPlan {
    const volumes = this.ends.map((end) => ({ end, parts: [{ device, from: 0, to: this.#geometry.rows(end) }] }));
    return this.task.workload.head === undefined ? { volumes } : { volumes, head: device };
  }

  #state(): Float32Array {
    const state = new Float32Array(this.stateSize);
    const devices = this.task.costs.length;
    for (let d = 0; d < devices; d++) state[d] = (this.#timeline.finished[d] as number) / this.referenceMs;
    const { height, channels, window, stride } = this.#configurations[
      Math.min(this.#at, this.ends.length - 1)
    ] as Configuration;
    state[devices] = height / this.scale.height;
    state[devices + 1] = channels / this.scale.channels;
    state[devices + 2] = window / this.scale.window;
    state[devices + 3] = stride / this.scale.stride;
    return state;
  }
}

/** H, C, F, S as the row tables have them: F and S of the first tensor it reads, taken in the middle, where no padding is. */
function configurationOf({ workload }: PlanningTask, index: number): Configuration {
  const op = workload.ops[index] as PlanningTask['workload']['ops'][number];
  const read = op.reads[0];
  const middle = op.rows >> 1;
  const window = read === undefined ? 1 : (read.to[middle] as number) - (read.from[middle] as number);
  const stride =
    read === undefined || op.rows < 2
      ? 1
      : ((read.from[op.rows - 1] as number) - (read.from[0] as number)) / (op.rows - 1);
  return { height: op.rows, channels: op.channels, window, stride };
}

function scaleOf(configurations: readonly Configuration[]): StateScale {
  const most = (of: (c: Configuration) => number): number => Math.max(1, ...configurations.map(of));
  return {
    height: most((c) => c.height),
    channels: most((c) => c.channels),
    window: most((c) => c.window),
    stride: most((c) => c.stride),
  };
}
