/**
 * Measured against predicted: from the times of some images, how much slower or faster each device computes than its profile
 * says, and whether images as a whole take something other than they did when the plan was new. Pure arithmetic on samples.
 */

/** One image: what it took, and what its devices computed, in ms. */
export interface DriftSample {
  readonly totalMs: number;
  /** By device, the sum of its steps; 0 for one without work. */
  readonly computeMs: readonly number[];
}

export interface DriftTerms {
  /** A change by this share is believed. Default 0.25. */
  readonly threshold?: number | undefined;
  /** Samples that a judgement takes. Default 3. */
  readonly window?: number | undefined;
  /** Changes of less than this, in ms, are none. Default 2. */
  readonly leastMs?: number | undefined;
}

export type Drift =
  | { readonly kind: 'none' }
  /** Devices that compute at another pace than predicted, by index: measured over predicted. */
  | { readonly kind: 'compute'; readonly factors: ReadonlyMap<number, number> }
  /** Computing takes what it took, images as a whole do not: measured over what they took when the plan was new. */
  | { readonly kind: 'network'; readonly ratio: number };

const THRESHOLD = 0.25;
const WINDOW = 3;
const LEAST_MS = 2;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/** Watches the images of one generation. */
export class DriftWatch {
  readonly #computeMs: readonly number[];
  readonly #threshold: number;
  readonly #window: number;
  readonly #leastMs: number;
  #samples: DriftSample[] = [];
  #usualMs: number | undefined;

  /** @param computeMs by device, the predicted sum of its steps */
  constructor(computeMs: readonly number[], terms: DriftTerms = {}) {
    this.#computeMs = computeMs;
    this.#threshold = terms.threshold ?? THRESHOLD;
    this.#window = Math.max(1, terms.window ?? WINDOW);
    this.#leastMs = terms.leastMs ?? LEAST_MS;
  }

  /** What images usually take in this generation, in ms; undefined until that is known. */
  get usualMs(): number | undefined {
    return this.#usualMs;
  }

  /** Takes one image's times, and judges the last few. A change that was told is not told again: the samples start anew. */
  add(sample: DriftSample): Drift {
    this.#samples.push(sample);
    if (this.#samples.length < this.#window) return { kind: 'none' };
    this.#samples = this.#samples.slice(-this.#window);
    const factors = new Map<number, number>();
    this.#computeMs.forEach((predicted, device) => {
      const measured = median(this.#samples.map(({ computeMs }) => computeMs[device] ?? 0));
      if (predicted > 0 && measured > 0 && this.#differs(measured, predicted))
        factors.set(device, measured / predicted);
    });
    const totalMs = median(this.#samples.map((one) => one.totalMs));
    const usual = this.#usualMs;
    this.#usualMs ??= totalMs;
    if (factors.size > 0) {
      this.#samples = [];
      return { kind: 'compute', factors };
    }
    if (usual !== undefined && this.#differs(totalMs, usual)) {
      this.#samples = [];
      this.#usualMs = undefined;
      return { kind: 'network', ratio: totalMs / usual };
    }
    return { kind: 'none' };
  }

  #differs(measured: number, expected: number): boolean {
    const apart = Math.abs(measured - expected);
    return apart > this.#leastMs && apart > this.#threshold * Math.min(measured, expected);
  }
}
