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
  /** Samples that a judgement takes. Default 5. */
  readonly window?: number | undefined;
  /** Changes of less than this, in ms, are none. Default 2. */
  readonly leastMs?: number | undefined;
}

/** What has changed; nothing where there are no factors and no network. */
export interface Drift {
  /** Devices that compute at another pace than predicted, by index: measured over predicted. */
  readonly factors: ReadonlyMap<number, number>;
  /**
   * How many times as long images take as they did when the plan was new, or as was predicted, where what devices compute does
   * not explain it: rows take another time on their way. Undefined where there is nothing to explain.
   */
  readonly network: number | undefined;
}

const THRESHOLD = 0.25;
const WINDOW = 5;
const LEAST_MS = 2;
/** A new plan is off by so many times for reasons of its own: what messages cost beyond their bytes, a machine that is busy. */
const FAR_OFF = 2;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/** Watches the images of one generation. */
export class DriftWatch {
  readonly #computeMs: readonly number[];
  readonly #predictedMs: number;
  readonly #threshold: number;
  readonly #window: number;
  readonly #leastMs: number;
  #samples: DriftSample[] = [];
  #usualMs: number | undefined;

  /**
   * @param computeMs by device, the predicted sum of its steps
   * @param predictedMs of a whole image
   */
  constructor(computeMs: readonly number[], predictedMs: number, terms: DriftTerms = {}) {
    this.#computeMs = computeMs;
    this.#predictedMs = predictedMs;
    this.#threshold = terms.threshold ?? THRESHOLD;
    this.#window = Math.max(1, terms.window ?? WINDOW);
    this.#leastMs = terms.leastMs ?? LEAST_MS;
  }

  /** Takes one image's times, and judges the last few. After a change was told, the samples start anew. */
  add(sample: DriftSample): Drift {
    this.#samples.push(sample);
    const factors = new Map<number, number>();
    if (this.#samples.length < this.#window) return { factors, network: undefined };
    this.#samples = this.#samples.slice(-this.#window);
    let slowerMs = 0;
    this.#computeMs.forEach((predicted, device) => {
      const measured = median(this.#samples.map(({ computeMs }) => computeMs[device] ?? 0));
      slowerMs = Math.max(slowerMs, measured - predicted);
      if (predicted > 0 && measured > 0 && this.#differs(measured, predicted))
        factors.set(device, measured / predicted);
    });
    const totalMs = median(this.#samples.map((one) => one.totalMs));
    const network = this.#network(totalMs, slowerMs, factors.size > 0);
    this.#usualMs ??= totalMs;
    if (factors.size > 0 || network !== undefined) {
      this.#samples = [];
      this.#usualMs = undefined;
    }
    return { factors, network };
  }

  #network(totalMs: number, slowerMs: number, explained: boolean): number | undefined {
    if (this.#usualMs === undefined) {
      const ratio = (totalMs - slowerMs) / Math.max(this.#predictedMs, this.#leastMs);
      return ratio > FAR_OFF ? ratio : undefined;
    }
    return !explained && this.#differs(totalMs, this.#usualMs) ? totalMs / this.#usualMs : undefined;
  }

  #differs(measured: number, expected: number): boolean {
    const apart = Math.abs(measured - expected);
    return apart > this.#leastMs && apart > this.#threshold * Math.min(measured, expected);
  }
}
