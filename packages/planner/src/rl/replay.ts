/**
 * Replay memory: the last transitions, one row of numbers each, in a ring. A row holds the state, the action, the reward,
 * whether the episode goes on (1 or 0), and the next state.
 */
import { DistrEdgeError } from '@distredge/core';
import type { RandomSource } from './random.js';

export interface Transition {
  readonly state: ArrayLike<number>;
  readonly action: ArrayLike<number>;
  readonly reward: number;
  readonly nextState: ArrayLike<number>;
  /** Whether the episode ended with this step: nothing after it counts. */
  readonly done: boolean;
}

export class Replay {
  readonly #stateSize: number;
  readonly #actionSize: number;
  readonly #capacity: number;
  /** Numbers in a row. */
  readonly width: number;
  readonly #rows: Float32Array;
  /** The row that is being put together. */
  readonly #row: Float32Array;
  #added = 0;

  constructor(stateSize: number, actionSize: number, capacity: number) {
    this.#stateSize = stateSize;
    this.#actionSize = actionSize;
    this.#capacity = capacity;
    this.width = 2 * stateSize + actionSize + 2;
    this.#rows = new Float32Array(capacity * this.width);
    this.#row = new Float32Array(this.width);
  }

  /** Transitions that are remembered. */
  get size(): number {
    return Math.min(this.#added, this.#capacity);
  }

  /** Adds a transition in place of the oldest one. Throws `USAGE` where its sizes are wrong or a number is not finite. */
  add({ state, action, reward, nextState, done }: Transition): void {
    const sizes = [state.length, action.length, nextState.length];
    const expected = [this.#stateSize, this.#actionSize, this.#stateSize];
    if (sizes.join() !== expected.join()) {
      throw new DistrEdgeError('USAGE', 'a transition has other sizes than the agent', {
        expected: `state, action, next state: ${expected.join(', ')}`,
        got: sizes.join(', '),
      });
    }
    const row = this.#row;
    row.set(state);
    row.set(action, this.#stateSize);
    row.set([reward, done ? 0 : 1], this.#stateSize + this.#actionSize);
    row.set(nextState, this.#stateSize + this.#actionSize + 2);
    const odd = row.find((value) => !Number.isFinite(value));
    if (odd !== undefined) {
      throw new DistrEdgeError('USAGE', 'a transition holds a number that is not finite', { got: String(odd) });
    }
    this.#rows.set(row, (this.#added % this.#capacity) * this.width);
    this.#added += 1;
  }

  /** Draws so many rows, uniformly and with replacement. */
  sample(count: number, random: RandomSource): Float32Array {
    const { width, size } = this;
    const batch = new Float32Array(count * width);
    for (let at = 0; at < batch.length; at += width) {
      const from = random.below(size) * width;
      batch.set(this.#rows.subarray(from, from + width), at);
    }
    return batch;
  }
}
