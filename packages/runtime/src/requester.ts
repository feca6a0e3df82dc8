/**
 * The requester: prepares a program on its providers, hands each image's rows out, and puts the results together. It
 * computes nothing. As many images are open at once as the program was prepared for; each opens when the one so many before
 * it has come back, which is what the providers' memory rests on (`pipeline.ts`). Whatever goes wrong with a provider ends
 * the cluster with an error that names it; the caller's image is never left waiting.
 */
import { randomBytes } from 'node:crypto';
import { DistrEdgeError, deviceProgram, type Program, REQUESTER, type Tensor } from '@distredge/core';
import type { Frame, FrameHeader, Transport } from './link/link.js';
import { Member, type SentBlob } from './member.js';
import { checkInputs, OpenImage } from './open-image.js';
import { MAX_IN_FLIGHT, now, within } from './protocol.js';
import { type DoneImage, progressOf, type RunProgress, type RunTrace, traceOf } from './run-timeline.js';
import { type Images, type Lane, type StreamOptions, type StreamResult, streamImages } from './stream.js';
import { blobsOf, hashOnce } from './weights/blob.js';
import { chunksOf } from './weights/chunks.js';

export interface ConnectOptions {
  readonly transport: Transport;
  /** Address of each device of the plan. */
  readonly addresses: readonly string[];
  /** Id of each device, where certificates prove it: at its address nobody else is believed, by the other devices neither. */
  readonly ids?: readonly string[] | undefined;
  /** Dialling and each answer during set-up. Default 10000 ms. */
  readonly deadlineMs?: number;
  /** Loading all models, on the slowest device. Default 300000 ms. */
  readonly prepareMs?: number;
  /** One image, from first row sent to last row received. Default 60000 ms. */
  readonly requestMs?: number;
  /**
   * Images that may be under way at once, 1 to 64. Every device holds memory for the rows and results of as many. Default 1:
   * the least memory, and nothing to wait for but one's own image.
   */
  readonly inFlight?: number;
  /** A provider that does not answer for so long is lost. Default 5000 ms. */
  readonly silenceMs?: number;
  /** Called once when a cluster that was ready cannot go on, though no image may be under way. */
  readonly failed?: (error: Error) => void;
  /** Gives up connecting, and ends the cluster, when it is aborted. */
  readonly signal?: AbortSignal;
  /** Weights travel no faster than this to each device, in 10⁶ bit/s: images need the links, too. Default: as fast as they can. */
  readonly weightsMbps?: number;
  /** Told about progress while weights travel: bytes sent so far, of all that providers have asked for. */
  readonly progress?: (sent: number, total: number) => void;
}

export interface Cluster extends Lane {
  readonly program: Program;
  /** Computes one image. May be called again before it is done: images are computed in order of calls, `inFlight` at once. */
  infer(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>>;
  /**
   * Computes a stream of images; results come in the order of the images. Images are taken from their source as there is
   * room for them. The stream ends with the first error.
   */
  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined>;
  /** The timeline of the last image. While others are under way, devices may tell of different ones. */
  trace(): Promise<RunTrace>;
  /** How far the oldest image under way has come, as devices tell that answer within so many ms; undefined where it is done by then. */
  progress(ms: number): Promise<RunProgress | undefined>;
  /** Bytes of models and weights, of all devices together: that the program has, that devices lacked, and that were sent. */
  readonly weights: { readonly all: number; readonly wanted: number; readonly sent: number };
  /** Devices whose results of the oldest image under way are not here yet. */
  readonly owing: readonly number[];
  /** Devices that the cluster's failure is blamed on; empty while nothing failed, or nobody is to blame. */
  readonly lost: ReadonlySet<number>;
  /** Resolves when no image is under way or waits for its turn. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** Connects to the providers, loads every device's part, and waits until all are ready. */
export async function connect(program: Program, options: ConnectOptions): Promise<Cluster> {
  const attempt = await tryConnect(program, options);
  if ('error' in attempt) throw attempt.error;
  return attempt.cluster;
}

/** A cluster, or why there is none and which devices are to blame. */
export type Attempt = { readonly cluster: Cluster } | { readonly error: unknown; readonly lost: ReadonlySet<number> };

/** `connect` for those who go on when it fails. Rejects with `USAGE` only. */
export async function tryConnect(program: Program, options: ConnectOptions): Promise<Attempt> {
  const { plan } = program;
  if (options.addresses.length !== plan.devices) {
    throw new DistrEdgeError('USAGE', 'there is not one address for each device of the plan', {
      expected: `${plan.devices} addresses`,
      got: `${options.addresses.length}`,
    });
  }
  const { inFlight = 1 } = options;
  if (!Number.isInteger(inFlight) || inFlight < 1 || inFlight > MAX_IN_FLIGHT) {
    throw new DistrEdgeError('USAGE', 'so many images cannot be in flight', {
      expected: `a whole number from 1 to ${MAX_IN_FLIGHT}`,
      got: `${inFlight}`,
    });
  }
  const cluster = new Requester(program, options);
  try {
    await cluster.open();
    return { cluster };
  } catch (error) {
    await cluster.close();
    return { error, lost: cluster.lost };
  }
}

/** So often is a provider asked whether it is there, within the time after which it is lost. */
const BEATS = 8;
/** Images that may wait for their turn: a caller who hands in more without waiting has lost count. */
const MAX_WAITING = 4096;

/** An image that waits for room. */
interface Waiting {
  start(): void;
  reject(error: Error): void;
}

class Requester implements Cluster {
  readonly program: Program;
  readonly inFlight: number;
  readonly lost: Set<number> = new Set();
  readonly weights: { all: number; wanted: number; sent: number } = { all: 0, wanted: 0, sent: 0 };
  readonly #options: ConnectOptions;
  readonly #members = new Map<number, Member>();
  /** Messages with results. */
  readonly #results: readonly number[];
  /** One buffer for each result: a link reads one frame at a time, and its rows are taken over at once. */
  readonly #landing = new Map<number, Uint8Array>();
  readonly #open = new Map<number, OpenImage>();
  readonly #waiting: Waiting[] = [];
  /** Who waits for there to be nothing to do. */
  readonly #idle: (() => void)[] = [];
  #request = 0;
  #failure: Error | undefined;
  #closed = false;
  #ready = false;
  #last: DoneImage | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  readonly #cancel = (): void => this.fail(cancelled());

  constructor(program: Program, options: ConnectOptions) {
    this.program = program;
    this.inFlight = options.inFlight ?? 1;
    this.#options = options;
    this.#results = program.messages.flatMap(({ to }, index) => (to === REQUESTER ? [index] : []));
  }

  async open(): Promise<void> {
    const { program } = this;
    const { addresses, deadlineMs = 10_000, prepareMs = 300_000, requestMs = 60_000, silenceMs = 5000 } = this.#options;
    const token = randomBytes(16).toString('hex');
    const devices = [...new Set(program.steps.map(({ device }) => device))].sort((a, b) => a - b);
    const { weightsMbps } = this.#options;
    const travels = {
      ...(weightsMbps === undefined ? {} : { mbps: weightsMbps }),
      wanted: (bytes: number): void => {
        this.weights.wanted += bytes;
      },
      sent: (bytes: number): void => {
        this.weights.sent += bytes;
        this.#options.progress?.(this.weights.sent, this.weights.wanted);
      },
    };
    const { signal } = this.#options;
    if (signal?.aborted === true) throw cancelled();
    signal?.addEventListener('abort', this.#cancel);
    const parts = await Promise.all(devices.map((device) => partOf(program, device)));
    for (const { blobs } of parts) for (const { data } of blobs) this.weights.all += data.byteLength;
    this.#checkOpen();
    for (const { device } of parts) this.#members.set(device, new Member(device, addresses[device] ?? '', this));
    // From the first word on: a provider may freeze while it takes or loads its weights, too.
    this.#heartbeat = setInterval(() => {
      // The first of them may come as late as the last answer was early.
      for (const member of this.#members.values()) member.beat(BEATS - 1);
    }, silenceMs / BEATS);
    this.#heartbeat.unref();
    const each = <T>(step: (member: Member, part: (typeof parts)[number]) => Promise<T>): Promise<T[]> =>
      Promise.all(parts.map((part) => this.#blaming(part.device, (member) => step(member, part))));
    await each(async (member, { part, blobs }) => {
      await member.greet(this.#options.transport, deadlineMs, this.#options.ids?.[member.device]);
      await member.prepare(
        {
          token,
          peers: [...addresses],
          ids: this.#options.ids,
          requestMs,
          inFlight: this.inFlight,
          part,
          blobs,
        },
        travels,
      );
    });
    await each((member) => member.ready(prepareMs));
    this.#ready = true;
  }

  /** Does something with a member; an error is this device's, unless the cluster has failed for another reason. */
  async #blaming<T>(device: number, step: (member: Member) => Promise<T>): Promise<T> {
    try {
      return await step(this.#members.get(device) as Member);
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)), device);
      throw this.#failure ?? error;
    }
  }

  #checkOpen(): void {
    const ended = this.#ended();
    if (ended !== undefined) throw ended;
  }

  infer(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    return new Promise((resolve, reject) => {
      const ended = this.#ended();
      if (ended !== undefined) throw ended;
      checkInputs(inputs, this.program);
      const start = (): void => {
        this.#run(inputs).then(resolve, reject);
      };
      if (this.#open.size < this.inFlight) start();
      else if (this.#waiting.length < MAX_WAITING) this.#waiting.push({ start, reject });
      else throw new DistrEdgeError('USAGE', 'too many images wait for their turn', { expected: `≤ ${MAX_WAITING}` });
    });
  }

  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined> {
    return streamImages([this], images, options);
  }

  #ended(): Error | undefined {
    return this.#failure ?? (this.#closed ? new DistrEdgeError('CANCELLED', 'the cluster is closed') : undefined);
  }

  /** Opens a request and waits for its results. */
  async #run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    const { messages } = this.program;
    this.#request += 1;
    const image = new OpenImage(this.#request, this.program, inputs, this.#results);
    const { request } = image;
    // Outputs that are inputs are there at once.
    if (this.#results.length === 0) return image.outputs;
    this.#open.set(request, image);
    const sends = [...this.#members.values()].map((member) => member.begin(request));
    messages.forEach((message, index) => {
      if (message.from !== REQUESTER) return;
      sends.push((this.#members.get(message.to) as Member).data(request, index, image.payload(message)));
    });
    const all = Promise.all([image.done, ...sends]);
    all.catch(() => undefined);
    try {
      const { requestMs = 60_000 } = this.#options;
      await within(all, requestMs, 'the image was not done', () => image.missingFrom());
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
      throw this.#failure ?? error;
    }
    return image.outputs;
  }

  /** The buffer for a result; throws `PROTOCOL` for any that is not awaited. */
  allocate(device: number, header: FrameHeader): Uint8Array {
    const { channel, request, length } = header;
    const message = this.program.messages[channel];
    const awaited = this.#open.get(request)?.missing.has(channel) ?? false;
    if (!awaited || message === undefined || message.from !== device || message.bytes !== length) {
      throw new DistrEdgeError('PROTOCOL', 'a provider sent rows that nobody asked for', {
        where: `device ${device}, message ${channel} of request ${request}`,
        got: `${length} bytes`,
      });
    }
    const buffer = this.#landing.get(channel) ?? new Uint8Array(length);
    this.#landing.set(channel, buffer);
    return buffer;
  }

  receive({ request, channel, payload }: Frame): void {
    const image = this.#open.get(request);
    if (image === undefined) return;
    image.receive(channel, payload);
    if (image.missing.size > 0) return;
    this.#open.delete(request);
    const { started, arrivals } = image;
    this.#last = { started, totalMs: now() - started, arrivals };
    image.resolve();
    this.#waiting.shift()?.start();
    if (this.#open.size === 0) this.#rest();
  }

  get owing(): readonly number[] {
    const [oldest] = this.#open.values();
    return oldest?.owing ?? [];
  }

  async drain(): Promise<void> {
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #rest(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  async trace(): Promise<RunTrace> {
    const told = await Promise.all(
      [...this.#members.values()].map(async (member) => ({
        device: member.device,
        told: await member.trace(this.#options.deadlineMs ?? 10_000),
      })),
    );
    return traceOf(this.#last, told, this.program.plan.devices);
  }

  async progress(ms: number): Promise<RunProgress | undefined> {
    const [image] = this.#open.values();
    if (image === undefined) return undefined;
    const members = [...this.#members.values()];
    const told = await Promise.all(members.map((member) => member.progress(ms)));
    if (!this.#open.has(image.request)) return undefined;
    return progressOf(
      image,
      members.map(({ device, arriving }, index) => ({ device, arriving, told: told[index] })),
    );
  }

  /**
   * Ends the cluster: images under way fail with this error, later ones too. The first error counts, and the device that it
   * comes from, if one is to blame.
   */
  fail(error: Error, device?: number): void {
    if (this.#failure !== undefined || this.#closed) return;
    this.#failure = error;
    if (device !== undefined) this.lost.add(device);
    this.#end(error);
    for (const member of this.#members.values()) member.close(error);
    if (this.#ready) this.#options.failed?.(error);
  }

  #end(error: Error): void {
    clearInterval(this.#heartbeat);
    this.#options.signal?.removeEventListener('abort', this.#cancel);
    for (const image of this.#open.values()) image.reject(error);
    this.#open.clear();
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
    this.#rest();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#end(new DistrEdgeError('CANCELLED', 'the cluster was closed'));
    for (const member of this.#members.values()) member.close();
  }
}

/** What a device gets: its part of the program, and the blobs that make it up. */
async function partOf(program: Program, device: number) {
  const { program: part, models } = deviceProgram(program, device);
  const blobs: SentBlob[] = [];
  for (const { model, location } of blobsOf(part.models)) {
    const built = program.models[models[model] as number] as Program['models'][number];
    const data = location === undefined ? built.bytes : (built.weights.get(location) as Uint8Array);
    const { graph } = program;
    blobs.push({ data, hash: await hashOnce(graph, data), chunks: await chunksOf(graph, data) });
  }
  return { device, part, blobs };
}

function cancelled(): DistrEdgeError {
  return new DistrEdgeError('CANCELLED', 'the cluster was given up');
}
