/**
 * One prepared program on one provider: loaded models, links to the peers it exchanges rows with, and the loop that walks
 * the device's steps for every request. It knows the rows it waits for by message number only; every frame that it does not
 * expect ends the job.
 */
import { byteLength, type DeviceProgram, type DeviceStep, DistrEdgeError, type Tensor } from '@distredge/core';
import type { Engine, EngineInput, FixedCall, FixedCalls } from './engine/engine.js';
import { type Frame, type FrameHeader, FrameKind, type Link } from './link/link.js';
import { BEGIN_CHANNEL, layOut, now, type Traced } from './protocol.js';

/** Requests that may be under way at once: one is computed while the first rows of the next arrive. */
const MAX_OPEN_REQUESTS = 2;

/** The most bytes of rows that one request may bring to a device: more is a mistake, or an attack. */
const MAX_LANDING_BYTES = 2 ** 32;

/** Which rows have arrived for one request. */
class Inbox {
  readonly request: number;
  /** When each arrived. */
  readonly #messages = new Map<number, number>();
  #wake: (() => void) | undefined;

  constructor(request: number) {
    this.request = request;
  }

  has(message: number): boolean {
    return this.#messages.has(message);
  }

  put(message: number): void {
    this.#messages.set(message, now());
    this.#wake?.();
  }

  hasAll(messages: readonly number[]): boolean {
    for (const message of messages) if (!this.#messages.has(message)) return false;
    return true;
  }

  /** Resolves when all of these have arrived; for the first `busyMs` without sleeping. */
  async all(messages: readonly number[], busyMs: number): Promise<void> {
    const until = busyMs > 0 ? now() + busyMs : 0;
    while (now() < until && !this.hasAll(messages)) await new Promise((resolve) => setImmediate(resolve));
    while (!this.hasAll(messages)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#wake = undefined;
  }

  arrivals(): { message: number; arrived: number }[] {
    return [...this.#messages].map(([message, arrived]) => ({ message, arrived }));
  }
}

export interface JobOptions {
  readonly program: DeviceProgram;
  readonly engine: Engine;
  /** Longest time one request may take on this device, waiting included. */
  readonly requestMs: number;
  /** How long to look for awaited rows without sleeping, in ms. Default 0. */
  readonly busyWaitMs?: number | undefined;
  /** Called once when the job cannot go on; `peer` is the device that was lost, if that is why. */
  failed(error: Error, peer?: number): void;
}

export class Job {
  readonly program: DeviceProgram;
  readonly #engine: Engine;
  readonly #options: JobOptions;
  readonly #models: number[] = [];
  /** Members by device index; -1 is the requester. */
  readonly #links = new Map<number, Link>();
  readonly #expected: ReadonlyMap<number, { from: number; bytes: number }>;
  /** Where the rows of each message land, by request modulo `MAX_OPEN_REQUESTS`: always the same memory, which the calls read. */
  readonly #landing: readonly ReadonlyMap<number, Uint8Array>[];
  readonly #steps: readonly PreparedStep[];
  #calls: FixedCalls | undefined;
  readonly #busyMs: number;
  readonly #open = new Map<number, Inbox>();
  #finished = 0;
  #running: Promise<void> = Promise.resolve();
  readonly #ending = new AbortController();
  #trace: Traced = { type: 'traced', residentBytes: 0, request: 0, steps: [], messages: [] };

  constructor(options: JobOptions) {
    this.#options = options;
    this.program = options.program;
    this.#engine = options.engine;
    // Beside a thread that computes, it would take that thread's time.
    this.#busyMs = options.engine.blocks ? (options.busyWaitMs ?? 0) : 0;
    this.#expected = new Map(this.program.receives.map(({ message, from, bytes }) => [message, { from, bytes }]));
    const landing = this.program.receives.reduce((sum, { bytes }) => sum + bytes, 0);
    if (landing > MAX_LANDING_BYTES) {
      throw new DistrEdgeError('PROVIDER_FAILED', 'the rows that a program receives do not fit into memory', {
        where: `device ${this.program.device}`,
        expected: `at most ${MAX_LANDING_BYTES} bytes for one image`,
        got: `${landing} bytes`,
      });
    }
    this.#landing = Array.from(
      { length: MAX_OPEN_REQUESTS },
      () =>
        new Map(this.program.receives.map(({ message, bytes }) => [message, new Uint8Array(new ArrayBuffer(bytes))])),
    );
    this.#steps = this.program.steps.map((step) => ({
      step,
      waits: step.inputs.flatMap((input) => ('message' in input ? [input.message] : [])),
      leaving: undefined,
    }));
  }

  /** Aborted when the job ends, however it does. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Loads the next model of the program. */
  async load(model: Uint8Array, weights: ReadonlyMap<string, Uint8Array>): Promise<void> {
    this.#models.push(await this.#engine.load({ model, weights }));
  }

  /** Readies the steps, once all models are loaded. */
  async fix(): Promise<void> {
    this.#calls = await this.#engine.fix(
      this.program.steps.map(
        (step): FixedCall => ({
          model: this.#models[step.model] as number,
          inputs: this.#landing.map((landing) => step.inputs.map((input) => engineInput(input, landing))),
          outputs: step.outputs.map(({ port, slot, fetch, dtype, shape }) => ({
            name: port,
            fetch,
            dtype,
            shape,
            ...(slot === undefined ? {} : { slot }),
          })),
          release: step.release,
        }),
      ),
    );
  }

  /** Devices this one exchanges rows with. */
  peers(): Set<number> {
    const senders = this.program.receives.map(({ from }) => from);
    const receivers = this.program.steps.flatMap(({ sends }) => sends.map(({ to }) => to));
    return new Set([...senders, ...receivers].filter((device) => device >= 0));
  }

  /** Uses this link for a member; -1 is the requester. */
  attach(member: number, link: Link): void {
    if (this.#links.has(member))
      throw new DistrEdgeError('PROTOCOL', 'a member has a link already', { where: nameOf(member) });
    if (this.signal.aborted) throw new DistrEdgeError('CANCELLED', 'the job has ended', { where: nameOf(member) });
    this.#links.set(member, link);
  }

  connected(member: number): boolean {
    return this.#links.has(member);
  }

  /** The buffer for a data frame from a member; throws `PROTOCOL` for any frame that the program does not foresee. */
  allocate(member: number, header: FrameHeader): Uint8Array {
    const refuse = (message: string, got: string): never => {
      throw new DistrEdgeError('PROTOCOL', message, {
        where: `message ${header.channel} of request ${header.request}, from ${nameOf(member)}`,
        got,
      });
    };
    const begins = header.channel === BEGIN_CHANNEL && member < 0 && header.length === 0;
    if (begins && header.request <= this.#finished) return new Uint8Array(0);
    if (header.request <= this.#finished || header.request > this.#finished + MAX_OPEN_REQUESTS)
      refuse('rows of a request that is not under way', `${header.request}`);
    if (begins) return new Uint8Array(0);
    const expected = this.#expected.get(header.channel);
    if (expected === undefined || expected.from !== member)
      return refuse('rows that the program does not foresee', `${header.length} bytes`);
    if (expected.bytes !== header.length)
      refuse('rows of another size than the program says', `${header.length} instead of ${expected.bytes} bytes`);
    if (this.#open.get(header.request)?.has(header.channel)) refuse('the same rows twice', `${header.length} bytes`);
    return this.#landing[header.request % MAX_OPEN_REQUESTS]?.get(header.channel) as Uint8Array;
  }

  /** Takes a data frame that `allocate` agreed to. */
  receive(frame: Frame): void {
    // A request may be opened after its rows came from elsewhere, even after it was done.
    if (this.#ending.signal.aborted || frame.request <= this.#finished) return;
    let inbox = this.#open.get(frame.request);
    if (inbox === undefined) {
      inbox = new Inbox(frame.request);
      this.#open.set(frame.request, inbox);
      const opened = inbox;
      this.#running = this.#running.then(() => this.#run(opened));
    }
    if (frame.channel !== BEGIN_CHANNEL) inbox.put(frame.channel);
  }

  async #run(inbox: Inbox): Promise<void> {
    if (this.#ending.signal.aborted) return;
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(this.#lateError(inbox)), this.#options.requestMs);
      });
      await Promise.race([this.#walk(inbox), late]);
      this.#open.delete(inbox.request);
      this.#finished = inbox.request;
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      clearTimeout(timer);
    }
  }

  #lateError(inbox: Inbox): DistrEdgeError {
    const missing = this.program.receives.filter(({ message }) => !inbox.has(message));
    return new DistrEdgeError('DEADLINE', `a request was not done within ${this.#options.requestMs} ms`, {
      where: `device ${this.program.device}, request ${inbox.request}`,
      got:
        missing.length === 0
          ? 'all rows arrived'
          : `no rows yet from ${[...new Set(missing.map(({ from }) => nameOf(from)))].join(', ')}`,
    });
  }

  async #walk(inbox: Inbox): Promise<void> {
    const steps: Traced['steps'][number][] = [];
    const sends: Promise<void>[] = [];
    const calls = this.#calls;
    if (calls === undefined) throw new DistrEdgeError('INTERNAL', 'an image came before the steps were ready');
    const set = inbox.request % MAX_OPEN_REQUESTS;
    for (const [index, prepared] of this.#steps.entries()) {
      const waitFrom = now();
      if (!inbox.hasAll(prepared.waits)) await inbox.all(prepared.waits, this.#busyMs);
      if (this.#ending.signal.aborted) return;
      const { start, end } = await calls.run(index, set);
      for (const { to, message, pieces } of leavingOf(prepared, calls.outputs(index))) {
        const link = this.#links.get(to) as Link;
        const sent = link.send({ kind: FrameKind.data, request: inbox.request, channel: message }, pieces);
        // Told as what it is: the requester then waits a moment for the other device's own word.
        sent.catch((cause: unknown) => {
          if (to >= 0) this.fail(peerLost(nameOf(to), cause), to);
        });
        sends.push(sent);
      }
      steps.push({ step: prepared.step.step, start, end, waitFrom });
    }
    await Promise.all(sends);
    this.#trace = { type: 'traced', residentBytes: 0, request: inbox.request, steps, messages: inbox.arrivals() };
  }

  /** When the last request's steps ran and its messages arrived, in ms since the epoch. */
  trace(): Traced {
    return { ...this.#trace, residentBytes: process.memoryUsage.rss() };
  }

  /** Ends the job with an error, once, and reports it. */
  fail(error: Error, peer?: number): void {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    this.#options.failed(error, peer);
  }

  /** Ends the job and frees everything it holds. Resolves when no step runs any more. */
  async close(): Promise<void> {
    this.#ending.abort();
    for (const [member, link] of this.#links) if (member >= 0) link.close();
    await this.#engine.close();
  }
}

/** A step with what is worked out once. */
interface PreparedStep {
  readonly step: DeviceStep;
  /** Messages whose rows it reads. */
  readonly waits: readonly number[];
  /** What leaves after it, laid out over these outputs; they are mostly the same memory every time. */
  leaving: { readonly outputs: readonly Tensor[]; readonly messages: readonly Leaving[] } | undefined;
}

interface Leaving {
  readonly message: number;
  readonly to: number;
  readonly pieces: readonly Uint8Array[];
}

function leavingOf(prepared: PreparedStep, outputs: readonly Tensor[]): readonly Leaving[] {
  if (prepared.leaving?.outputs === outputs) return prepared.leaving.messages;
  const { step } = prepared;
  const fetched = step.outputs.filter(({ fetch }) => fetch);
  const messages = step.sends.map(({ message, to, bytes, pieces }): Leaving => {
    const parts = pieces.map(({ output, offset }) => {
      const at = fetched.indexOf(step.outputs[output] as DeviceStep['outputs'][number]);
      return { offset, data: (outputs[at] as Tensor).data };
    });
    return { message, to, pieces: layOut(parts, bytes) };
  });
  prepared.leaving = { outputs, messages };
  return messages;
}

function engineInput(input: DeviceStep['inputs'][number], landing: ReadonlyMap<number, Uint8Array>): EngineInput {
  if ('slot' in input) return { name: input.port, slot: input.slot };
  const payload = landing.get(input.message) as Uint8Array;
  const { dtype, shape, port, offset } = input;
  return { name: port, tensor: { dtype, shape, data: payload.subarray(offset, offset + byteLength(dtype, shape)) } };
}

/** The error for a device that another one cannot exchange rows with any more. */
export function peerLost(where: string, cause: unknown): DistrEdgeError {
  return new DistrEdgeError('PROVIDER_LOST', 'the link to another device broke', { where, cause });
}

function nameOf(member: number): string {
  return member < 0 ? 'the requester' : `device ${member}`;
}
