/**
 * One prepared program on one provider: loaded models, links to the peers it exchanges rows with, and the loop that walks
 * the device's steps for every request. It knows the rows it waits for by message number only; every frame that it does not
 * expect ends the job.
 */
import { byteLength, type DeviceProgram, type DeviceStep, DistrEdgeError, type Tensor } from '@distredge/core';
import type { Engine, EngineInput } from './engine/engine.js';
import { free } from './engine/free.js';
import { type Frame, type FrameHeader, FrameKind, type Link } from './link/link.js';
import { BEGIN_CHANNEL, layOut, now, type Traced } from './protocol.js';

/** Requests that may be under way at once: one is computed while the first rows of the next arrive. */
const MAX_OPEN_REQUESTS = 2;

/** The rows that have arrived for one request. */
class Inbox {
  readonly request: number;
  readonly #messages = new Map<number, { payload: Uint8Array; arrived: number }>();
  #wake: (() => void) | undefined;

  constructor(request: number) {
    this.request = request;
  }

  has(message: number): boolean {
    return this.#messages.has(message);
  }

  put(message: number, payload: Uint8Array): void {
    this.#messages.set(message, { payload, arrived: now() });
    this.#wake?.();
  }

  get(message: number): Uint8Array {
    return this.#messages.get(message)?.payload as Uint8Array;
  }

  /** Resolves when all of these have arrived. */
  async all(messages: readonly number[]): Promise<void> {
    while (!messages.every((message) => this.#messages.has(message))) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#wake = undefined;
  }

  arrivals(): { message: number; arrived: number }[] {
    return [...this.#messages].map(([message, { arrived }]) => ({ message, arrived }));
  }
}

export interface JobOptions {
  readonly program: DeviceProgram;
  readonly engine: Engine;
  /** Longest time one request may take on this device, waiting included. */
  readonly requestMs: number;
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
  /** Messages whose bytes are read more than once, and so must survive being handed to the engine. */
  readonly #shared: ReadonlySet<number>;
  readonly #open = new Map<number, Inbox>();
  #finished = 0;
  #running: Promise<void> = Promise.resolve();
  readonly #ending = new AbortController();
  #trace: Traced = { type: 'traced', residentBytes: 0, request: 0, steps: [], messages: [] };

  constructor(options: JobOptions) {
    this.#options = options;
    this.program = options.program;
    this.#engine = options.engine;
    this.#expected = new Map(this.program.receives.map(({ message, from, bytes }) => [message, { from, bytes }]));
    const reads = this.program.steps.flatMap(({ inputs }) =>
      inputs.flatMap((input) => ('message' in input ? [input.message] : [])),
    );
    this.#shared = new Set(reads.filter((message, index) => reads.indexOf(message) !== index));
  }

  /** Aborted when the job ends, however it does. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Loads the next model of the program. */
  async load(model: Uint8Array, weights: ReadonlyMap<string, Uint8Array>): Promise<void> {
    this.#models.push(await this.#engine.load({ model, weights }));
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
    // A view that is not its whole buffer is copied by the engine instead of taken over.
    const slack = this.#shared.has(header.channel) ? 8 : 0;
    return new Uint8Array(new ArrayBuffer(header.length + slack), 0, header.length);
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
    if (frame.channel !== BEGIN_CHANNEL) inbox.put(frame.channel, frame.payload);
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
    for (const step of this.program.steps) {
      const waitFrom = now();
      await inbox.all(step.inputs.flatMap((input) => ('message' in input ? [input.message] : [])));
      if (this.#ending.signal.aborted) return;
      const fetched = step.outputs.filter(({ fetch }) => fetch);
      const { outputs, start, end } = await this.#engine.run({
        model: this.#models[step.model] as number,
        inputs: step.inputs.map((input) => engineInput(input, inbox)),
        outputs: step.outputs.map(({ port, slot, fetch }) => ({
          name: port,
          fetch,
          ...(slot === undefined ? {} : { slot }),
        })),
        release: step.release,
      });
      steps.push({ step: step.step, start, end, waitFrom });
      checkSizes(fetched, outputs);
      const leaving: Promise<void>[] = [];
      for (const { message, to, bytes, pieces } of step.sends) {
        const parts = pieces.map(({ output, offset }) => {
          const at = fetched.indexOf(step.outputs[output] as DeviceStep['outputs'][number]);
          return { offset, data: (outputs[at] as (typeof outputs)[number]).data };
        });
        const link = this.#links.get(to) as Link;
        const sent = link.send(
          { kind: FrameKind.data, request: inbox.request, channel: message },
          layOut(parts, bytes),
        );
        // Told as what it is: the requester then waits a moment for the other device's own word.
        sent.catch((cause: unknown) => {
          if (to >= 0) this.fail(peerLost(nameOf(to), cause), to);
        });
        sends.push(sent);
        leaving.push(sent);
      }
      // Freed as soon as the last message that carries them is on its way: the garbage collector would be late.
      void Promise.allSettled(leaving).then(() => {
        for (const { data } of outputs) free(data);
      });
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

function engineInput(input: DeviceStep['inputs'][number], inbox: Inbox): EngineInput {
  if ('slot' in input) return { name: input.port, slot: input.slot };
  const payload = inbox.get(input.message);
  const { dtype, shape, port, offset } = input;
  return { name: port, tensor: { dtype, shape, data: payload.subarray(offset, offset + byteLength(dtype, shape)) } };
}

/** What leaves this device has the size that its receivers were told. */
function checkSizes(wanted: DeviceStep['outputs'], got: readonly Tensor[]): void {
  wanted.forEach(({ port, dtype, shape }, index) => {
    const tensor = got[index];
    const right = tensor?.dtype === dtype && tensor.data.byteLength === byteLength(dtype, shape);
    if (right) return;
    throw new DistrEdgeError('PROTOCOL', 'a model makes something else than its program says', {
      where: `output '${port}'`,
      expected: `${dtype} [${shape.join(', ')}]`,
      got: tensor === undefined ? 'nothing' : `${tensor.dtype} [${tensor.shape.join(', ')}]`,
    });
  });
}

/** The error for a device that another one cannot exchange rows with any more. */
export function peerLost(where: string, cause: unknown): DistrEdgeError {
  return new DistrEdgeError('PROVIDER_LOST', 'the link to another device broke', { where, cause });
}

function nameOf(member: number): string {
  return member < 0 ? 'the requester' : `device ${member}`;
}
