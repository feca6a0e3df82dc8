/**
 * Devices that failed on the data links, until they answer again. Plans do without them meanwhile. Each is asked back after a
 * while: the longer the more often it failed lately, and less and less often while it does not answer.
 */

export interface SuspectTerms {
  /** Whether a device can be planned with again. Never rejects. */
  answers(id: string): Promise<boolean>;
  /** A device answered. */
  back(id: string): void;
}

/** A device that failed is asked whether it is back after so long, and then less and less often. */
const BACK_MS = 1000;
const MOST_BACK_MS = 30_000;
/** A device that has not failed for so long is trusted as at first. */
const FORGIVEN_MS = 60_000;

/** How long to wait before what failed is tried again, the longer the more often it failed before: 0 for the first time. */
export function backOff(times: number): number {
  return Math.min(BACK_MS * 2 ** times, MOST_BACK_MS);
}

export class Suspects {
  readonly #terms: SuspectTerms;
  readonly #suspects = new Map<string, { timer: NodeJS.Timeout }>();
  /** When a device failed last, and how often it had shortly before. */
  readonly #failed = new Map<string, { readonly at: number; readonly times: number }>();
  #closed = false;

  constructor(terms: SuspectTerms) {
    this.#terms = terms;
  }

  get ids(): ReadonlySet<string> {
    return new Set(this.#suspects.keys());
  }

  /** Leaves a device out of plans until it answers again. */
  add(id: string): void {
    if (this.#suspects.has(id) || this.#closed) return;
    // One that failed again and again is asked less and less often.
    const now = performance.now();
    const before = this.#failed.get(id);
    const times = before === undefined || now - before.at > FORGIVEN_MS ? 0 : before.times + 1;
    this.#failed.set(id, { at: now, times });
    this.#suspects.set(id, { timer: this.#askLater(id, backOff(times)) });
  }

  /** Plans with a device again; whether it was suspected. */
  trust(id: string): boolean {
    clearTimeout(this.#suspects.get(id)?.timer);
    return this.#suspects.delete(id);
  }

  #askLater(id: string, ms: number): NodeJS.Timeout {
    return setTimeout(() => void this.#ask(id, ms), ms);
  }

  async #ask(id: string, ms: number): Promise<void> {
    const suspect = this.#suspects.get(id);
    if (suspect === undefined) return;
    const there = await this.#terms.answers(id);
    // It may have been taken back meanwhile, and have failed again.
    if (this.#suspects.get(id) !== suspect) return;
    if (!there) suspect.timer = this.#askLater(id, Math.min(2 * ms, MOST_BACK_MS));
    else if (this.trust(id)) this.#terms.back(id);
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#suspects.values()) clearTimeout(timer);
    this.#suspects.clear();
  }
}
