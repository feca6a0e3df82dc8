/** The actor: a network from a state to an action, every number of which lies in [−1, 1] (tanh). Cheap enough to be asked at every step. */
import { DistrEdgeError } from '@distredge/core';
import { Forward, type Widths } from './mlp.js';

/** Everything that makes an actor. */
export interface ActorState {
  readonly stateSize: number;
  readonly actionSize: number;
  /** Widths of the hidden layers. */
  readonly hidden: readonly number[];
  readonly parameters: Float32Array;
}

export class Actor {
  readonly stateSize: number;
  readonly #forward: Forward;
  readonly #parameters: () => Float32Array;

  /** An actor with the parameters that `parameters` returns when it acts. */
  constructor(widths: Widths, parameters: () => Float32Array) {
    this.stateSize = widths[0] as number;
    this.#forward = new Forward(widths);
    this.#parameters = parameters;
  }

  static of({ stateSize, actionSize, hidden, parameters }: ActorState): Actor {
    return new Actor([stateSize, ...hidden, actionSize], () => parameters);
  }

  /** The action for a state. Throws `USAGE` for a state of another size. */
  act(state: ArrayLike<number>): Float32Array {
    if (state.length !== this.stateSize) {
      throw new DistrEdgeError('USAGE', 'a state has another size than the actor', {
        expected: `${this.stateSize} numbers`,
        got: `${state.length}`,
      });
    }
    return this.#forward.run(this.#parameters(), state).map(Math.tanh);
  }
}
