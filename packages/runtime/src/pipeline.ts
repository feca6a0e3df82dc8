/**
 * Which step of which image a device runs next. Several requests may be open; each walks the device's steps in their order.
 * Whenever the device is free it runs the next step of the oldest request whose rows are there and whose output memory is
 * free; a younger request never overtakes an older one at a step, so results leave in the order of requests.
 *
 * Memory: a request uses the set number `request % sets`. The requester opens a request only when the one `sets` before it
 * has come back whole; then every one of its steps has run, on every device, and all rows have been read. What may lag is
 * the word that a message has left: a step waits for it before it writes over that message's bytes.
 */
import type { DeviceProgram } from '@distredge/core';
import type { Leaving, StepSet } from './job-steps.js';
import { now, type Traced } from './protocol.js';

export interface PipelineOptions {
  readonly program: DeviceProgram;
  /** How long to look for awaited rows without sleeping, in ms. */
  readonly busyMs: number;
  /** Longest time one request may take on this device, waiting included, in ms. */
  readonly requestMs: number;
  send(request: number, leaving: Leaving): Promise<void>;
  /** A step failed. */
  failed(error: unknown): void;
  /** A request took too long; `missing` are the messages that have not arrived. */
  late(request: number, missing: readonly number[]): void;
}

/** One request under way. */
interface Open {
  readonly request: number;
  /** When each message arrived. */
  readonly arrived: Map<number, number>;
  readonly steps: Traced['steps'][number][];
  readonly timer: NodeJS.Timeout;
  /** The step to run next; their number once all have run. */
  next: number;
  /** Sends under way. */
  sending: number;
  waitFrom: number;
}

export class Pipeline {
  readonly #options: PipelineOptions;
  /** Messages whose rows each step reads. */
  readonly #waits: readonly (readonly number[])[];
  #sets: readonly StepSet[] = [];
  /** Oldest first; requests whose last bytes are still leaving are among them. */
  readonly #open = new Map<number, Open>();
  #opened = 0;
  #computed = 0;
  #walking = false;
  #stopped = false;
  #wake: (() => void) | undefined;
  #last: Traced = { type: 'traced', residentBytes: 0, request: 0, steps: [], messages: [] };

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#waits = options.program.steps.map(({ inputs }) =>
      inputs.flatMap((input) => ('message' in input ? [input.message] : [])),
    );
  }

  /** Gives it the steps, one set for each request that may be open. */
  ready(sets: readonly StepSet[]): void {
    this.#sets = sets;
  }

  /** The youngest request that was opened. */
  get opened(): number {
    return this.#opened;
  }

  /** The youngest request all of whose steps have run; so have those of every older one. */
  get computed(): number {
    return this.#computed;
  }

  /** When the steps of the last request ran and its messages arrived. */
  get trace(): Traced {
    return this.#last;
  }

  /** What has happened so far of the oldest request that is not done; undefined where all are. */
  get progress(): Pick<Traced, 'request' | 'steps' | 'messages'> | undefined {
    for (const { request, next, steps, arrived } of this.#open.values()) {
      if (next >= this.#options.program.steps.length) continue;
      return { request, steps, messages: [...arrived].map(([message, at]) => ({ message, arrived: at })) };
    }
    return undefined;
  }

  has(request: number, message: number): boolean {
    return this.#open.get(request)?.arrived.has(message) ?? false;
  }

  /** Opens the request after the last one. */
  open(request: number): void {
    this.#opened = request;
    const timer = setTimeout(() => this.#late(request), this.#options.requestMs);
    this.#open.set(request, { request, arrived: new Map(), steps: [], timer, next: 0, sending: 0, waitFrom: now() });
    this.#notify();
    if (!this.#walking) void this.#walk();
  }

  arrive(request: number, message: number): void {
    this.#open.get(request)?.arrived.set(message, now());
    this.#notify();
  }

  /** Ends it: no further step is begun. */
  stop(): void {
    this.#stopped = true;
    for (const { timer } of this.#open.values()) clearTimeout(timer);
    this.#open.clear();
    this.#notify();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #late(request: number): void {
    const arrived = this.#open.get(request)?.arrived;
    const missing = this.#options.program.receives.filter(({ message }) => !arrived?.has(message));
    this.#options.late(
      request,
      missing.map(({ message }) => message),
    );
  }

  /** Runs steps until no request has any left. */
  async #walk(): Promise<void> {
    this.#walking = true;
    try {
      while (!this.#stopped && this.#computed < this.#opened) {
        const due = this.#due() ?? (await this.#wait());
        if (due !== undefined) await this.#run(due);
      }
    } catch (error) {
      this.#options.failed(error);
    } finally {
      this.#walking = false;
    }
  }

  /** The oldest request whose next step can run now. */
  #due(): Open | undefined {
    let before = Number.POSITIVE_INFINITY;
    for (const open of this.#open.values()) {
      const { next, arrived } = open;
      const waits = this.#waits[next];
      if (waits !== undefined) {
        // The older request has not run this step yet.
        if (next >= before) return undefined;
        const set = this.#sets[open.request % this.#sets.length];
        if (set?.unsent[next] === 0 && hasAll(arrived, waits)) return open;
      }
      before = next;
    }
    return undefined;
  }

  /** Waits until a step may be due; for the first `busyMs` without sleeping. */
  async #wait(): Promise<Open | undefined> {
    const { busyMs } = this.#options;
    const until = busyMs > 0 ? now() + busyMs : 0;
    while (now() < until && !this.#stopped) {
      await new Promise((resolve) => setImmediate(resolve));
      const due = this.#due();
      if (due !== undefined) return due;
    }
    if (this.#stopped) return undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    return this.#due();
  }

  async #run(open: Open): Promise<void> {
    const { steps } = this.#options.program;
    const index = open.next;
    const set = this.#sets[open.request % this.#sets.length] as StepSet;
    const { start, end } = await set.run(index);
    if (this.#stopped) return;
    for (const leaving of set.leaving(index)) this.#send(open, set, index, leaving);
    open.steps.push({ step: steps[index]?.step ?? 0, start, end, waitFrom: open.waitFrom });
    open.next = index + 1;
    open.waitFrom = now();
    if (open.next < steps.length) return;
    this.#computed = open.request;
    const messages = [...open.arrived].map(([message, arrived]) => ({ message, arrived }));
    this.#last = { type: 'traced', residentBytes: 0, request: open.request, steps: open.steps, messages };
    this.#finish(open);
  }

  #send(open: Open, set: StepSet, index: number, leaving: Leaving): void {
    const count = (by: number): void => {
      set.unsent[index] = (set.unsent[index] ?? 0) + by;
      open.sending += by;
    };
    count(1);
    this.#options.send(open.request, leaving).then(
      () => {
        count(-1);
        this.#finish(open);
        this.#notify();
      },
      // Whoever sends has told of it.
      () => undefined,
    );
  }

  /** Forgets a request when its steps have run and their bytes have left. */
  #finish(open: Open): void {
    if (open.next < this.#options.program.steps.length || open.sending > 0) return;
    clearTimeout(open.timer);
    this.#open.delete(open.request);
  }
}

function hasAll(arrived: ReadonlyMap<number, number>, messages: readonly number[]): boolean {
  for (const message of messages) if (!arrived.has(message)) return false;
  return true;
}
