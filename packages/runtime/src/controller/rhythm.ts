/**
 * The rhythm of a stream: how far apart images are done while several are under way. What one of them takes says little then, for it
 * waits for others; that they come less often than they did says that something has become slow.
 */
import { DriftWatch } from './drift.js';

/** Intervals are uneven: they are something else when they changed by this share. */
const CHANGED = 0.5;

export class Rhythm {
  #drift: DriftWatch;
  readonly #window: number | undefined;
  /** When the last image was done, with others under way. */
  #last: number | undefined;

  /** @param window images that a judgement takes */
  constructor(window?: number) {
    this.#window = window;
    this.#drift = this.#newWatch();
  }

  #newWatch(): DriftWatch {
    // Nothing is predicted: intervals are compared with themselves.
    return new DriftWatch([], Number.MAX_VALUE, { window: this.#window, threshold: CHANGED });
  }

  /**
   * An image was done at `at`, in ms; `busy`: others were still under way then. Returns how many times as far apart as usual images
   * come where they do; undefined where that is not so, or not known.
   */
  add(at: number, busy: boolean): number | undefined {
    const last = this.#last;
    this.#last = busy ? at : undefined;
    if (last === undefined || !busy) return undefined;
    const { network, sudden } = this.#drift.add({ totalMs: at - last, computeMs: [] });
    const factor = network ?? sudden?.factor;
    if (factor === undefined) return undefined;
    this.#drift = this.#newWatch();
    return factor > 1 ? factor : undefined;
  }
}
