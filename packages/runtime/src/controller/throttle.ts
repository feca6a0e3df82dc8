/** Lets so many through at once and so many a second after that, and counts the rest: for events that others can cause at will. */
export interface ThrottleTerms {
  readonly burst: number;
  readonly perSecond: number;
  /** In ms that never go back. Default: this process's. */
  readonly now?: (() => number) | undefined;
}

export class Throttle {
  readonly #terms: ThrottleTerms;
  readonly #now: () => number;
  #left: number;
  #at: number;
  #held = 0;

  constructor(terms: ThrottleTerms) {
    this.#terms = terms;
    this.#now = terms.now ?? (() => performance.now());
    this.#left = terms.burst;
    this.#at = this.#now();
  }

  /** How many were held back since the last one that was let through, where this one is let through; otherwise undefined. */
  pass(): number | undefined {
    const now = this.#now();
    const { burst, perSecond } = this.#terms;
    this.#left = Math.min(burst, this.#left + ((now - this.#at) / 1000) * perSecond);
    this.#at = now;
    if (this.#left < 1) {
      this.#held += 1;
      return undefined;
    }
    this.#left -= 1;
    const held = this.#held;
    this.#held = 0;
    return held;
  }
}
