/**
 * Devices that share the rows of every volume in fixed proportions, and where volumes then best end: by dynamic programming over an
 * estimate. A volume takes as long as its slowest device, and as bringing the rows that its parts lack. Parts in chunks bring rows while
 * others compute, so that only one of them waits, and early volumes compute while the inputs arrive; nothing else overlaps.
 */
import type { Geometry } from './geometry.js';
import { inChunks, type SearchVolume } from './parts.js';
import { type Estimate, TeamWalk, tile } from './team-walk.js';

/** A volume that ends a plan so far, and how it came about. Times in ms. */
interface Step {
  readonly ms: number;
  /** Bringing the inputs. */
  readonly inputMs: number;
  /** What follows the inputs while they arrive, and what of it is left when the last of them are there. */
  readonly streamMs: number;
  readonly lastMs: number;
  /** Volumes so far. */
  readonly depth: number;
  readonly start: number;
  /** Of the volume before. */
  readonly phase: number;
}

export class Team {
  readonly #geometry: Geometry;
  readonly #devices: readonly number[];
  readonly #weights: readonly number[];
  readonly #best: number;
  readonly #ends: readonly number[];
  /** Ops with which a volume may start. */
  readonly #starts: ReadonlySet<number>;
  /** By number of chunks. */
  readonly #walks = new Map<number, TeamWalk>();

  /**
   * @param devices from top to bottom
   * @param weights share of the rows of each, up to a factor
   * @param best the one of them that computes what cannot be divided
   * @param ends ops after which a volume may end, ascending; those after which one must are among them
   */
  constructor(
    geometry: Geometry,
    devices: readonly number[],
    weights: readonly number[],
    best: number,
    ends: readonly number[],
  ) {
    this.#geometry = geometry;
    this.#devices = devices;
    this.#weights = weights;
    this.#best = best;
    this.#ends = ends;
    this.#starts = new Set([0, ...ends.map((end) => end + 1)]);
  }

  /** Volumes with these ends. */
  volumes(ends: readonly number[]): SearchVolume[] {
    return ends.map((end, i) => this.#volume(i === 0 ? 0 : (ends[i - 1] as number) + 1, end, 1));
  }

  /**
   * The volumes that take least.
   * @param chunks into which parts are cut: first where rows follow the inputs while those arrive, then where they do not any more
   */
  best(chunks: readonly [number, number] = [1, 1]): SearchVolume[] {
    const steps = new Map<number, readonly (Step | undefined)[]>();
    const phases = chunks[0] === 1 ? [0] : [0, 1];
    for (const end of this.#ends) {
      const row = phases.map((phase): Step | undefined => {
        let best: Step | undefined;
        for (const estimate of this.#walk(chunks[phase] as number).back(end, this.#starts)) {
          if (estimate.start === 0) {
            if (phase === 0) best = lesser(best, firstStep(estimate));
            continue;
          }
          const earlier = steps.get(estimate.start - 1);
          for (let before = 0; before <= phase; before++) {
            const step = earlier?.[before];
            if (step !== undefined) best = lesser(best, nextStep(step, before, phase, estimate));
          }
        }
        return best;
      });
      steps.set(end, row);
    }
    return this.#read(steps, chunks);
  }

  #read(steps: ReadonlyMap<number, readonly (Step | undefined)[]>, chunks: readonly [number, number]): SearchVolume[] {
    const last = this.#ends.at(-1) as number;
    const [first, second] = steps.get(last) as readonly (Step | undefined)[];
    let phase = second !== undefined && (first === undefined || second.ms < first.ms) ? 1 : 0;
    const volumes: SearchVolume[] = [];
    for (let end = last; end >= 0; ) {
      const step = steps.get(end)?.[phase] as Step;
      volumes.unshift(this.#volume(step.start, end, chunks[phase] as number));
      end = step.start - 1;
      phase = step.phase;
    }
    return volumes;
  }

  #volume(start: number, end: number, chunks: number): SearchVolume {
    const geometry = this.#geometry;
    const rows = geometry.rows(end);
    const parts = geometry.divisible(start, end)
      ? inChunks(tile(this.#devices, this.#weights, rows), chunks)
      : [{ device: this.#best, from: 0, to: rows, key: 0 }];
    return { start, end, parts };
  }

  #walk(chunks: number): TeamWalk {
    let walk = this.#walks.get(chunks);
    if (walk === undefined) {
      walk = new TeamWalk(this.#geometry, this.#devices, this.#weights, this.#best, chunks);
      this.#walks.set(chunks, walk);
    }
    return walk;
  }
}

function lesser(a: Step | undefined, b: Step): Step {
  return a !== undefined && a.ms <= b.ms ? a : b;
}

function firstStep({ start, computeMs, bringMs, chunks }: Estimate): Step {
  const lastMs = computeMs / chunks;
  const ms = Math.max(bringMs, computeMs - lastMs) + lastMs;
  return { ms, inputMs: bringMs, streamMs: computeMs, lastMs, depth: 1, start, phase: 0 };
}

/** @param before phase of the volume before */
function nextStep(step: Step, before: number, phase: number, { start, computeMs, bringMs, chunks }: Estimate): Step {
  const { inputMs } = step;
  const more = computeMs + bringMs;
  const depth = step.depth + 1;
  const streamMs = step.streamMs + more;
  // A chunk waits for halo rows of the next chunk of the volume before: each volume lags behind by a chunk.
  const lastMs = step.lastMs + more * Math.min(1, depth / chunks);
  const ms = phase === 1 ? step.ms + more : Math.max(inputMs, streamMs - lastMs) + lastMs;
  return { ms, inputMs, streamMs, lastMs, depth, start, phase: before };
}
