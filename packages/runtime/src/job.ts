/**
 * One prepared program on one provider: loaded models, links to the peers it exchanges rows with, and the pipeline that runs
 * the device's steps for every image. It knows the rows it waits for by message number only; every frame that it does not
 * expect ends the job.
 */
import { type DeviceProgram, DistrEdgeError } from '@distredge/core';
import type { Engine } from './engine/engine.js';
import { fixSteps, inputShapes, type Landing, type Leaving, landingFor, type RunShapes } from './job-steps.js';
import { type Frame, type FrameHeader, FrameKind, type Link } from './link/link.js';
import { Pipeline } from './pipeline.js';
import { BEGIN_CHANNEL, now, type Progressed, type Traced } from './protocol.js';
import type { WeightSource } from './weights/blob.js';

export interface JobOptions {
  readonly program: DeviceProgram;
  readonly engine: Engine;
  /** Requests that may be open at once. */
  readonly inFlight: number;
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
  /** Shapes of the inputs of each model, in the step that does most with it. */
  readonly #shapes: ReadonlyMap<number, RunShapes>;
  /** Where the rows of each message land, by request modulo `inFlight`. */
  readonly #landing: readonly Landing[];
  readonly #pipeline: Pipeline;
  readonly #ending = new AbortController();
  #ready = false;

  /** Throws `PROVIDER_FAILED` where the rows of so many images do not fit into memory. */
  constructor(options: JobOptions) {
    this.#options = options;
    this.program = options.program;
    this.#engine = options.engine;
    this.#expected = new Map(this.program.receives.map(({ message, from, bytes }) => [message, { from, bytes }]));
    this.#shapes = inputShapes(this.program);
    this.#landing = landingFor(this.program, options.inFlight);
    this.#pipeline = new Pipeline({
      program: this.program,
      // Beside a thread that computes, it would take that thread's time.
      busyMs: options.engine.blocks ? (options.busyWaitMs ?? 0) : 0,
      requestMs: options.requestMs,
      send: (request, leaving) => this.#send(request, leaving),
      failed: (error) => this.fail(error instanceof Error ? error : new Error(String(error))),
      late: (request, missing) => this.fail(this.#lateError(request, missing)),
    });
  }

  /** Aborted when the job ends, however it does. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Loads the next model of the program; models of one key are the same. */
  async load(model: Uint8Array, weights: ReadonlyMap<string, WeightSource>, key: string): Promise<void> {
    const shapes = this.#shapes.get(this.#models.length);
    this.#models.push(await this.#engine.load({ model, weights, key, ...shapes }));
  }

  /** Readies the steps, once all models are loaded. */
  async fix(): Promise<void> {
    this.#pipeline.ready(await fixSteps(this.#engine, this.program, this.#models, this.#landing));
    this.#ready = true;
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

  /** Whether an image is under way here. */
  get busy(): boolean {
    return this.#pipeline.computed < this.#pipeline.opened;
  }

  /** Images that were computed here so far. */
  get images(): number {
    return this.#pipeline.computed;
  }

  /** Gives a member a sign of life. */
  ping(member: number): void {
    const link = this.#links.get(member);
    link?.send({ kind: FrameKind.ping, request: 0, channel: 0 }, []).catch(() => undefined);
  }

  /** The buffer for a data frame from a member; throws `PROTOCOL` for any frame that the program does not foresee. */
  allocate(member: number, header: FrameHeader): Uint8Array {
    const { request, channel, length } = header;
    const { inFlight } = this.#options;
    const refuse = (message: string, got: string): never => {
      throw new DistrEdgeError('PROTOCOL', message, {
        where: `message ${channel} of request ${request}, from ${nameOf(member)}`,
        got,
      });
    };
    if (!this.#ready) refuse('rows before the program was ready', `${length} bytes`);
    const { computed, opened } = this.#pipeline;
    const begins = channel === BEGIN_CHANNEL && member < 0 && length === 0;
    // A request may be opened after its rows came from elsewhere, even after it was done.
    if (begins && request <= computed) return new Uint8Array(0);
    // The first frame of a request comes after one of the request before, on the same link.
    if (request <= computed || request > computed + inFlight || request > opened + 1)
      refuse('rows of a request that is not under way', `${request}`);
    if (begins) return new Uint8Array(0);
    const expected = this.#expected.get(channel);
    if (expected === undefined || expected.from !== member)
      return refuse('rows that the program does not foresee', `${length} bytes`);
    if (expected.bytes !== length)
      refuse('rows of another size than the program says', `${length} instead of ${expected.bytes} bytes`);
    if (this.#pipeline.has(request, channel)) refuse('the same rows twice', `${length} bytes`);
    return this.#landing[request % inFlight]?.get(channel) as Uint8Array;
  }

  /** Takes a data frame that `allocate` agreed to. */
  receive({ request, channel }: Frame): void {
    const { computed, opened } = this.#pipeline;
    if (this.#ending.signal.aborted || request <= computed) return;
    if (request > opened) this.#pipeline.open(request);
    if (channel !== BEGIN_CHANNEL) this.#pipeline.arrive(request, channel);
  }

  #send(request: number, { to, message, pieces }: Leaving): Promise<void> {
    const link = this.#links.get(to) as Link;
    const sent = link.send({ kind: FrameKind.data, request, channel: message }, pieces);
    // Told as what it is: the requester then waits a moment for the other device's own word.
    sent.catch((cause: unknown) => {
      if (to >= 0) this.fail(peerLost(nameOf(to), cause), to);
      else this.fail(cause instanceof Error ? cause : new Error(String(cause)));
    });
    return sent;
  }

  #lateError(request: number, missing: readonly number[]): DistrEdgeError {
    const senders = missing.map((message) => nameOf(this.#expected.get(message)?.from ?? -1));
    return new DistrEdgeError('DEADLINE', `a request was not done within ${this.#options.requestMs} ms`, {
      where: `device ${this.program.device}, request ${request}`,
      got: missing.length === 0 ? 'all rows arrived' : `no rows yet from ${[...new Set(senders)].join(', ')}`,
    });
  }

  /** When the last request's steps ran and its messages arrived, in ms since the epoch. */
  trace(): Traced {
    return { ...this.#pipeline.trace, residentBytes: process.memoryUsage.rss() };
  }

  /** How far the oldest image under way has come here; where there is none, how the last one went. */
  progress(): Progressed {
    const { request: of, steps, messages } = this.#pipeline.progress ?? this.#pipeline.trace;
    const arriving = [...this.#links.values()].flatMap(({ arriving: frame }) => {
      const { kind, request, channel } = frame?.header ?? {};
      const known = kind === FrameKind.data && request === of && channel !== BEGIN_CHANNEL;
      return known ? [{ message: channel as number, bytes: frame?.received ?? 0 }] : [];
    });
    return { type: 'progressed', at: now(), request: of, steps, messages, arriving };
  }

  /** Ends the job with an error, once, and reports it. */
  fail(error: Error, peer?: number): void {
    if (this.#ending.signal.aborted) return;
    this.#end();
    this.#options.failed(error, peer);
  }

  #end(): void {
    this.#ending.abort();
    this.#pipeline.stop();
  }

  /** Ends the job and frees everything it holds. Resolves when no step runs any more. */
  async close(): Promise<void> {
    this.#end();
    for (const [member, link] of this.#links) if (member >= 0) link.close();
    await this.#engine.close();
  }
}

/** The error for a device that another one cannot exchange rows with any more. */
export function peerLost(where: string, cause: unknown): DistrEdgeError {
  return new DistrEdgeError('PROVIDER_LOST', 'the link to another device broke', { where, cause });
}

function nameOf(member: number): string {
  return member < 0 ? 'the requester' : `device ${member}`;
}
