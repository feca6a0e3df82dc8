/** Finds the fastest of several ways on a machine that has better and worse moments, without giving slow ones much time. */
import { median } from './median.js';

/** Something that is timed. */
export interface Timed {
  /** What it took so far, in ms. */
  readonly times: number[];
}

/** Turns that the last two take. */
const LAST_TURNS = 2;

/**
 * All take a turn, then the faster half of them, and so on until two are left, which take some more in turn. What counts is the median of all
 * times of one.
 * @param trials one at least
 * @param turn runs one and adds to its times
 */
export async function fastest<T extends Timed>(trials: readonly T[], turn: (trial: T) => Promise<void>): Promise<T> {
  let left = trials;
  for (;;) {
    const last = left.length <= 2;
    for (let again = 0; again < (last ? LAST_TURNS : 1); again++) for (const trial of left) await turn(trial);
    const ranked = [...left].sort((a, b) => median(a.times) - median(b.times));
    if (last) return ranked[0] as T;
    left = ranked.slice(0, Math.max(2, Math.ceil(left.length / 2)));
  }
}
