/**
 * Measured against predicted: from the times of some images, how much slower or faster each device computes than its profile
 * says, and whether images as a whole take something other than they did when the plan was new. Pure arithmetic on samples.
 */
import { median } from '../median.js';

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
  /**
   * The same, of the last few images alone: they took so much longer that it need not be waited for more of them, if their rows
   * tell which link it is. Undefined where that is not so, or where `network` says it.
   */
  readonly sudden: { readonly factor: number; readonly images: number } | undefined;
}

const THRESHOLD = 0.25;
const WINDOW = 5;
const LEAST_MS = 2;
/**
 * Devices that compute less than this share of what an image takes, by the clock and as predicted, are not judged; nor said to be faster where
 * less than that share was predicted. What little work takes tells nothing of what much would.
 */
const LEAST_SHARE = 0.1;
const LEAST_SHARE_FASTER = 0.25;
/** A new plan is off by so many times for reasons of its own: what messages cost beyond their bytes, a machine that is busy. */
const FAR_OFF = 2;
/** It need not be waited for the whole window where the factors of the images so far, each beyond that, multiplied are this: three of twice as long. */
const VERY_FAR_OFF = 8;
const FEW = 2;
/** So many that are far off always are. */
const ENOUGH = 3;
/** Slow images in a row are sudden when their factors, multiplied, are this: one that took twice as long, or two of 1.41 times. */
const SUDDEN = 2;
/** An image counts as slow from this factor on. */
const SLOW = 1.2;

/** Watches the images of one generation. */
export class DriftWatch {
  readonly #computeMs: readonly number[];
  readonly #predictedMs: number;
  readonly #threshold: number;
  readonly #window: number;
  readonly #leastMs: number;
  #samples: DriftSample[] = [];
  #usual: DriftSample | undefined;
  /** How many times off the last images were while devices were busy with something else: those in a row that were far off. */
  #disturbed: number[] = [];
  /** How much slower than usual the last images were, one factor each. */
  #slow: number[] = [];

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
    this.#disturbed = [];
    const sudden = this.#sudden(sample);
    const factors = new Map<number, number>();
    const enough = this.#samples.length >= this.#window;
    if (!enough && !this.#veryFarOff()) return { factors, network: undefined, sudden };
    this.#samples = this.#samples.slice(-this.#window);
    const now = this.#middle();
    let slowerMs = 0;
    this.#computeMs.forEach((predicted, device) => {
      const measured = now.computeMs[device] ?? 0;
      slowerMs = Math.max(slowerMs, measured - predicted);
      if (enough && predicted > 0 && measured > 0 && this.#tells(measured, predicted))
        factors.set(device, measured / predicted);
    });
    const network = this.#network(now.totalMs, slowerMs, factors.size > 0);
    this.#usual ??= now;
    if (factors.size > 0 || network !== undefined) this.restart();
    return { factors, network, sudden: network === undefined ? sudden : undefined };
  }

  /**
   * Takes the times of one image while devices were busy with something else. What is slower then may have any reason; only where a few
   * images in a row take very many times as long as before, or as predicted, returns how many times.
   */
  addDisturbed(sample: DriftSample): number | undefined {
    const times = this.#timesAsLong(sample);
    this.#disturbed = times > FAR_OFF ? [...this.#disturbed, times].slice(-ENOUGH) : [];
    return isVeryFarOff(this.#disturbed) ? Math.min(...this.#disturbed) : undefined;
  }

  /** Forgets what was usual: it is something else from now on. */
  restart(): void {
    this.#samples = [];
    this.#disturbed = [];
    this.#slow = [];
    this.#usual = undefined;
  }

  /** Whether the images of a new plan so far took very much longer than predicted, all of them, whatever devices computed. */
  #veryFarOff(): boolean {
    return this.#usual === undefined && isVeryFarOff(this.#samples.map((sample) => this.#timesAsLong(sample)));
  }

  /** How many times as long as usual, or as predicted, an image took, what devices computed longer taken off. */
  #timesAsLong({ totalMs, computeMs }: DriftSample): number {
    const usual = this.#usual ?? { totalMs: this.#predictedMs, computeMs: this.#computeMs };
    const slowerMs = Math.max(0, ...computeMs.map((ms, device) => ms - (usual.computeMs[device] ?? 0)));
    return (totalMs - slowerMs) / Math.max(usual.totalMs, this.#leastMs);
  }

  #middle(): DriftSample {
    return {
      totalMs: median(this.#samples.map(({ totalMs }) => totalMs)),
      computeMs: this.#computeMs.map((_, device) =>
        median(this.#samples.map(({ computeMs }) => computeMs[device] ?? 0)),
      ),
    };
  }

  #sudden({ totalMs, computeMs }: DriftSample): Drift['sudden'] {
    const usual = this.#usual;
    if (usual === undefined) return undefined;
    const explained = Math.max(0, ...computeMs.map((ms, device) => ms - (usual.computeMs[device] ?? 0)));
    const excess = totalMs - usual.totalMs - explained;
    const factor = 1 + excess / usual.totalMs;
    if (factor < SLOW || excess <= this.#leastMs || excess < explained) {
      this.#slow = [];
      return undefined;
    }
    this.#slow.push(factor);
    const product = this.#slow.reduce((all, one) => all * one, 1);
    return product < SUDDEN ? undefined : { factor, images: this.#slow.length };
  }

  #network(totalMs: number, slowerMs: number, explained: boolean): number | undefined {
    if (this.#usual === undefined) {
      const ratio = (totalMs - slowerMs) / Math.max(this.#predictedMs, this.#leastMs);
      return ratio > FAR_OFF ? ratio : undefined;
    }
    const usualMs = this.#usual.totalMs;
    return !explained && this.#differs(totalMs, usualMs) ? totalMs / usualMs : undefined;
  }

  /** Whether what a device computes says that it is slower or faster than its profile. */
  #tells(measured: number, predicted: number): boolean {
    const least = measured > predicted ? LEAST_SHARE : LEAST_SHARE_FASTER;
    return this.#differs(measured, predicted) && Math.max(measured, predicted) >= least * this.#predictedMs;
  }

  #differs(measured: number, expected: number): boolean {
    const apart = Math.abs(measured - expected);
    return apart > this.#leastMs && apart > this.#threshold * Math.min(measured, expected);
  }
}

/** Whether a few images that were so many times off in a row say enough. */
function isVeryFarOff(times: readonly number[]): boolean {
  const product = times.reduce((all, one) => all * one, 1);
  return times.length >= FEW && product > VERY_FAR_OFF && times.every((one) => one > FAR_OFF);
}
