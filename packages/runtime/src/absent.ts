/**
 * Devices that were lost, and when to look for them again: soon at first, and the more rarely the more often they were lost,
 * so that one that comes and goes does not have the others change programs all the time.
 */

/** The longest time between two looks, in first waits. */
const MAX_WAITS = 16;
/** A device that has been back for so many first waits is trusted as at the beginning. */
const TRUST_AFTER = 8;

interface Record {
  /** How often it was lost since it was last trusted. */
  times: number;
  /** When to look again, in ms; undefined while the device is here. */
  next: number | undefined;
  returned: number;
}

export class Absent {
  readonly #waitMs: number;
  readonly #now: () => number;
  readonly #records = new Map<number, Record>();

  /** `waitMs` is the time until the first look; `now` gives milliseconds that never go back. */
  constructor(waitMs: number, now: () => number) {
    this.#waitMs = waitMs;
    this.#now = now;
  }

  has(device: number): boolean {
    return this.#records.get(device)?.next !== undefined;
  }

  lose(device: number): void {
    const record = this.#records.get(device) ?? { times: 0, next: undefined, returned: 0 };
    if (record.next !== undefined) return;
    if (this.#now() - record.returned > TRUST_AFTER * this.#waitMs) record.times = 0;
    record.times += 1;
    record.next = this.#now() + this.#wait(record.times);
    this.#records.set(device, record);
  }

  /** Devices to look for now; each is due again after its wait. */
  due(): number[] {
    const now = this.#now();
    return [...this.#records].flatMap(([device, record]) => {
      if (record.next === undefined || record.next > now) return [];
      record.next = now + this.#wait(record.times);
      return [device];
    });
  }

  /** It is back. */
  find(device: number): void {
    const record = this.#records.get(device);
    if (record?.next === undefined) return;
    record.next = undefined;
    record.returned = this.#now();
  }

  #wait(times: number): number {
    return this.#waitMs * Math.min(MAX_WAITS, 2 ** (times - 1));
  }
}
