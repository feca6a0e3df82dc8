/**
 * Exploration next to the actor's noise: the best strategies seen are kept and varied. A strategy is one action per volume.
 *
 * Not in the paper, which explores by noise on the actor's actions alone. In a space of volumes × providers numbers such
 * noise seldom improves all of a strategy at once, and almost never leaves a provider out; see docs/decisions/006-osds.md.
 */
import type { RandomSource } from '../rl/random.js';

/** One action per volume. */
export type Strategy = readonly Float32Array[];

/** Strategies remembered. */
const KEPT = 8;
/** Variations move cuts by Gaussian noise of a deviation between one row and this, in units of an action. */
const LARGEST = 0.5;
/** Variations drawn before one that moves no cut by a row is taken all the same. */
const DRAWS = 10;

/** The best strategies seen, of different latencies. */
export class Elite {
  readonly #kept: { readonly strategy: Strategy; readonly ms: number }[] = [];

  get size(): number {
    return this.#kept.length;
  }

  get bestMs(): number {
    return this.#kept[0]?.ms ?? Number.POSITIVE_INFINITY;
  }

  /** Mean latency of those kept, ms. */
  get meanMs(): number {
    return this.#kept.reduce((sum, { ms }) => sum + ms, 0) / this.#kept.length;
  }

  /** From the best on. */
  get strategies(): readonly Strategy[] {
    return this.#kept.map(({ strategy }) => strategy);
  }

  /** Of equal latency the later is kept, so that a search can drift along a plateau. */
  offer(strategy: Strategy, ms: number): void {
    if (ms === Number.POSITIVE_INFINITY) return;
    const same = this.#kept.findIndex((other) => other.ms === ms);
    if (same >= 0) this.#kept[same] = { strategy, ms };
    else {
      const at = this.#kept.findIndex((other) => ms < other.ms);
      this.#kept.splice(at < 0 ? this.#kept.length : at, 0, { strategy, ms });
      if (this.#kept.length > KEPT) this.#kept.pop();
    }
  }

  /** One of them, better ones more often. There must be one. */
  pick(random: RandomSource): Strategy {
    return this.#kept[Math.floor(this.#kept.length * random.uniform() ** 2)]?.strategy as Strategy;
  }
}

/**
 * A strategy near another: for some volumes in a row, cuts moved alike, a provider left out, or another volume's cuts.
 * @param rows heights of the volumes
 */
export function varied(strategy: Strategy, rows: readonly number[], random: RandomSource): Float32Array[] {
  const sorted = strategy.map((action) => Float32Array.from(action).sort());
  const before = sorted.map((cuts, v) => onRows(cuts, rows[v] as number));
  for (let draw = 1; ; draw++) {
    const next = variation(sorted, rows, random);
    const moved = next.some((cuts, v) => onRows(cuts, rows[v] as number) !== before[v]);
    if (moved || draw === DRAWS) return next;
  }
}

/** The rows that cuts are rounded to, to be compared. */
function onRows(cuts: Float32Array, rows: number): string {
  return Array.from(cuts, (cut) => Math.round(((cut + 1) / 2) * rows))
    .sort((a, b) => a - b)
    .join();
}

function variation(strategy: Strategy, rows: readonly number[], random: RandomSource): Float32Array[] {
  const next = strategy.map((action) => Float32Array.from(action));
  const [first, after] = someVolumes(next.length, random);
  const cuts = next[0]?.length ?? 0;
  const kind = random.uniform();
  if (kind < 0.1) {
    const from = next[random.below(next.length)] as Float32Array;
    for (let v = first; v < after; v++) next[v] = Float32Array.from(from);
  } else if (kind < 0.2) {
    const device = random.below(cuts + 1);
    const where = random.below(3) / 2;
    for (let v = first; v < after; v++) leaveOut(next[v] as Float32Array, device, where);
  } else {
    const only = kind < 0.7 ? random.below(cuts) : -1;
    const size = random.uniform();
    const shift = Array.from({ length: cuts }, (_, i) => (only < 0 || only === i ? random.normal() : 0));
    for (let v = first; v < after; v++) {
      const row = Math.min(LARGEST, 2 / (rows[v] as number));
      const deviation = row * (LARGEST / row) ** size;
      const moved = (next[v] as Float32Array).map((cut, i) => cut + deviation * (shift[i] as number));
      next[v] = moved.map((cut) => Math.max(-1, Math.min(1, cut)));
    }
  }
  return next;
}

/** One volume, all from one on, all up to one, or all. */
function someVolumes(volumes: number, random: RandomSource): [number, number] {
  const at = random.below(volumes);
  const kind = random.uniform();
  if (kind < 0.4) return [at, at + 1];
  if (kind < 0.7) return [at, volumes];
  if (kind < 0.85) return [0, at + 1];
  return [0, volumes];
}

/** Takes a provider's rows away: to the one above (0), to the one below (1), or half and half. */
function leaveOut(cuts: Float32Array, device: number, where: number): void {
  const top = device === 0 ? -1 : (cuts[device - 1] as number);
  const bottom = device === cuts.length ? 1 : (cuts[device] as number);
  const meet = device === 0 ? top : device === cuts.length ? bottom : bottom + where * (top - bottom);
  if (device > 0) cuts[device - 1] = meet;
  if (device < cuts.length) cuts[device] = meet;
}
