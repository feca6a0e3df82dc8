/**
 * Stragglers: whether an image is late, and whether it pays to begin it again elsewhere. What images take is known from those
 * before, as their median and spread. One that is late by more than its spread is begun again where that is expected to be done
 * clearly sooner than what is still to be waited for; the result that is there first counts, the other one is dropped.
 *
 * How long a late image will still take nobody knows. Where enough images have been as late before, it is what those took on
 * average; otherwise as long as it is late already. So an image that is late for the first time takes little more than twice as
 * long as it would have by the better choice, whichever that was.
 */

/** Tells the time, in ms that never go back, and calls after some ms until the returned function is called. */
export interface Clock {
  now(): number;
  after(ms: number, call: () => void): () => void;
}

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

/** Images that are remembered. */
const WINDOW = 128;
/** Nothing is late before so many are known. */
const LEAST_SAMPLES = 12;
/** Spreads beyond the median from which on an image is late, and what that is at least: a share of the median, and ms. */
const LATE_SPREADS = 4;
const LATE_SHARE = 1;
const LATE_MS = 3;
/** An image is begun again where it is expected to be done there in this share of the time that is left here: it costs others. */
const PAYS_SHARE = 0.67;
/** Images that may be begun again: one for so many that are done, and so many in a row. */
const CREDIT_EACH = 1 / 8;
const MOST_CREDIT = 16;
/** Where no image was done for so many times what one takes, and so many ms, one more may be: then nothing is made later by it. */
const STILL_TIMES = 10;
const STILL_MS = 250;
/** Median distance to the median, to standard deviation. */
const TO_DEVIATION = 1.4826;
/** So many images that were as late tell what such images take. */
const LEAST_LATE = 4;
/** Between two looks at an image that is late, in ms. */
const SOONEST_LOOK_MS = 1;
const LATEST_LOOK_MS = 50;

/** What a pace comes to, in ms. */
interface Known {
  readonly sorted: readonly number[];
  readonly median: number;
  readonly spread: number;
}

/** What images take, from the last ones. */
export class Pace {
  /** A ring of ms. */
  readonly #samples: number[] = [];
  #next = 0;
  /** The samples in order, with median and spread; made anew when it is asked for and they have changed. */
  #known: Known | undefined;

  add(ms: number): void {
    this.#samples[this.#next] = ms;
    this.#next = (this.#next + 1) % WINDOW;
    this.#known = undefined;
  }

  #look(): Known {
    if (this.#known === undefined) {
      const sorted = [...this.#samples].sort((a, b) => a - b);
      const median = middle(sorted);
      const spread = TO_DEVIATION * middle(sorted.map((ms) => Math.abs(ms - median)).sort((a, b) => a - b));
      this.#known = { sorted, median, spread };
    }
    return this.#known;
  }

  /** What an image takes, in ms; undefined while none is known. */
  get expected(): number | undefined {
    return this.#samples.length === 0 ? undefined : this.#look().median;
  }

  /** After how many ms an image is late; undefined while too few are known. */
  get lateAfter(): number | undefined {
    if (this.#samples.length < LEAST_SAMPLES) return undefined;
    const { median, spread } = this.#look();
    return median + Math.max(LATE_SPREADS * spread, LATE_SHARE * median, LATE_MS);
  }

  /** How much longer an image is expected to take that has taken so many ms. */
  remaining(ms: number): number {
    const { sorted, median } = this.#look();
    const slower = sorted.filter((other) => other > ms);
    if (slower.length < LEAST_LATE) return Math.max(0, ms - median);
    return slower.reduce((sum, other) => sum + other - ms, 0) / slower.length;
  }
}

/**
 * How many images may be begun again. Where most are late, all of them twice would make all of them later; a device that is
 * slow for good is for planning anew, not for this. Where all stand still, one that is begun again now and then makes nothing later.
 */
export class Credit {
  readonly #clock: Pick<Clock, 'now'>;
  #left = MOST_CREDIT;
  /** When an image was last done or begun again. */
  #moved: number;

  constructor(clock: Pick<Clock, 'now'> = SYSTEM_CLOCK) {
    this.#clock = clock;
    this.#moved = clock.now();
  }

  /** Whether one more may be begun again, where an image is expected to take so many ms. */
  allows(expectedMs: number): boolean {
    return this.#left >= 1 || this.#clock.now() - this.#moved > Math.max(STILL_MS, STILL_TIMES * expectedMs);
  }

  /** An image is done. */
  earn(): void {
    this.#left = Math.min(MOST_CREDIT, this.#left + CREDIT_EACH);
    this.#moved = this.#clock.now();
  }

  /** An image is begun again. */
  spend(): void {
    this.#left = Math.max(0, this.#left - 1);
    this.#moved = this.#clock.now();
  }
}

function middle(sorted: readonly number[]): number {
  return sorted[sorted.length >> 1] ?? 0;
}

/** An image under way, and where else it could run. */
export interface Race<T> {
  readonly first: Promise<T>;
  /** Of images there; gains this one. */
  readonly pace: Pace;
  readonly clock: Clock;
  /** Has called when it is known that an image takes so many ms there now, from its beginning; until the returned function is called. */
  readonly slowed?: ((call: (ms: number) => void) => () => void) | undefined;
  /** How long it would take elsewhere, waiting there included, in ms; undefined where it can go nowhere now. */
  elsewhereMs(): number | undefined;
  /** Begins it elsewhere. `over` tells whether the result is still wanted. */
  again(over: () => boolean): Promise<T>;
  /** It is begun again after so many ms. */
  begunAgain(ms: number): void;
  /** An image that was begun again is done: by whom, after how many ms. */
  done(by: 'first' | 'second', ms: number): void;
}

/**
 * The result that comes first. Rejects once nobody is left who might have one, with the error of `first` where that has failed;
 * an image whose `first` fails before it is late is not begun again here.
 */
export function race<T>({ first, pace, clock, slowed, elsewhereMs, again, begunAgain, done }: Race<T>): Promise<T> {
  const started = clock.now();
  return new Promise((resolve, reject) => {
    let cancel = (): void => undefined;
    let hearNoMore = (): void => undefined;
    let [over, running, twice] = [false, 1, false];
    const failures: { first?: unknown; second?: unknown } = {};
    const end = (): void => {
      over = true;
      cancel();
      hearNoMore();
    };
    const finish = (by: 'first' | 'second', result: T): void => {
      if (over) return;
      end();
      if (twice) done(by, clock.now() - started);
      resolve(result);
    };
    const fail = (by: 'first' | 'second', error: unknown): void => {
      failures[by] = error;
      running -= 1;
      if (over || running > 0) return;
      end();
      reject('first' in failures ? failures.first : failures.second);
    };
    const look = (): void => {
      if (over || twice) return;
      const ms = clock.now() - started;
      const [left, cost] = [PAYS_SHARE * pace.remaining(ms), elsewhereMs()];
      if (cost === undefined || left < cost) {
        const wait = cost === undefined ? LATEST_LOOK_MS : (cost - left) / PAYS_SHARE;
        cancel = clock.after(Math.min(LATEST_LOOK_MS, Math.max(SOONEST_LOOK_MS, wait)), look);
        return;
      }
      begin(ms);
    };
    const begin = (ms: number): void => {
      cancel();
      twice = true;
      running += 1;
      begunAgain(ms);
      again(() => over).then(
        (result) => finish('second', result),
        (error: unknown) => fail('second', error),
      );
    };
    first.then(
      (result) => {
        // Also where it came second: how late it was says what late images take.
        pace.add(clock.now() - started);
        finish('first', result);
      },
      (error: unknown) => fail('first', error),
    );
    if (slowed !== undefined) {
      hearNoMore = slowed((takes) => {
        const ms = clock.now() - started;
        const cost = over || twice ? undefined : elsewhereMs();
        if (cost !== undefined && PAYS_SHARE * (takes - ms) >= cost) begin(ms);
      });
    }
    const { lateAfter } = pace;
    if (lateAfter !== undefined) cancel = clock.after(lateAfter, look);
  });
}
