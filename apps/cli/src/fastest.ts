/** Finds the fastest of several ways on a machine that has better and worse moments, without giving slow ones much time. */

/** Something that is timed. */
export interface Timed {
  /** What it took so far, in ms. */
  readonly times: number[];
}

/** Turns that all take in each heat: a bad moment of the machine is over when the next one comes. */
const TURNS = 2;

/**
 * All take some turns, then the faster half of them, and so on; the last two once more. What counts is the lower quartile of all times of
 * one: what disturbs a run only makes it slower.
 * @param trials one at least
 * @param turn runs one and adds to its times
 */
export async function fastest<T extends Timed>(trials: readonly T[], turn: (trial: T) => Promise<void>): Promise<T> {
  let left = trials;
  for (;;) {
    const last = left.length <= 2;
    for (let again = 0; again < TURNS; again++) for (const trial of left) await turn(trial);
    const ranked = [...left].sort((a, b) => quartile(a.times) - quartile(b.times));
    if (last) return ranked[0] as T;
    left = ranked.slice(0, Math.max(2, Math.ceil(left.length / 2)));
  }
}

function quartile(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[times.length >> 2] ?? Number.POSITIVE_INFINITY;
}
