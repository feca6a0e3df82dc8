/** Images that run whole, on this machine: one at a time, in the order in which they are asked for. */
import { DistrEdgeError } from '@distredge/core';
import { type Clock, Pace } from './straggler.js';

export class WholeTurn {
  readonly #clock: Clock;
  readonly #pace = new Pace();
  #last: Promise<unknown> = Promise.resolve();
  /** Images that wait for their turn or have it. */
  #queued = 0;
  /** Whether the last one that was to overtake could not be run. */
  #failed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What an image takes, those before it included, in ms. `guess` is for one, while none was done; undefined where none can be. */
  expectedMs(guess: number): number | undefined {
    return this.#failed ? undefined : (this.#pace.expected ?? guess) * (this.#queued + 1);
  }

  /** Does something in its turn; undefined where there was nothing to do any more. Rejects with what `work` rejects with. */
  run<T>(work: () => Promise<T | undefined>): Promise<T | undefined> {
    this.#queued += 1;
    const turn = this.#last
      .then(async () => {
        const started = this.#clock.now();
        const result = await work();
        if (result !== undefined) this.#pace.add(this.#clock.now() - started);
        return result;
      })
      .finally(() => {
        this.#queued -= 1;
      });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Runs an image that is late elsewhere. Rejects with `CANCELLED` where it was done there before its turn came. */
  async overtake<T>(work: () => Promise<T>, over: () => boolean): Promise<T> {
    const result = await this.run(async () => {
      if (over()) return undefined;
      try {
        return await work();
      } catch (error) {
        this.#failed = true;
        throw error;
      }
    });
    if (result === undefined) throw new DistrEdgeError('CANCELLED', 'the image was done meanwhile');
    return result;
  }

  /** Resolves when all is done that was asked for. Never rejects. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
