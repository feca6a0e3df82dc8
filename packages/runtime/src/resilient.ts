/**
 * A cluster that outlives its devices. Images run on a program over the devices that are there; when one is lost, the images
 * under way are done again by a new program on the others, and where none is ready soon, whole on this machine. A lost device
 * is looked for, and taken back between two images. Nothing of this happens silently: every turn is reported.
 */
import { DistrEdgeError, type Program, type Tensor } from '@distredge/core';
import { Absent } from './absent.js';
import { answers } from './probe.js';
import { within } from './protocol.js';
import { type Attempt, type Cluster, type ConnectOptions, tryConnect } from './requester.js';
import { type Images, type Lane, type StreamOptions, type StreamResult, streamImages } from './stream.js';

type Tensors = Readonly<Record<string, Tensor>>;

/** What happens beside images. Devices are indices into the addresses. */
export type Turn =
  /** The program ended. `devices` are those that are to blame; none where nobody knows. */
  | { readonly type: 'lost'; readonly devices: readonly number[]; readonly error: Error }
  /** Images run on a program over these devices from now on; preparing it took so long. */
  | { readonly type: 'switched'; readonly devices: readonly number[]; readonly ms: number }
  /** An image runs whole on this machine. */
  | { readonly type: 'whole'; readonly error: Error }
  /** A lost device answers again. */
  | { readonly type: 'returned'; readonly device: number };

export interface ResilientOptions extends Omit<ConnectOptions, 'signal' | 'progress'> {
  /**
   * The program over these devices, whose device `i` is `devices[i]`; undefined where there is none worth it, and images run
   * whole. What it throws is reported, and counts as undefined.
   */
  programFor(devices: readonly number[]): Promise<Program | undefined> | Program | undefined;
  /** Computes an image unsplit, on this machine. One at a time is asked for. */
  whole(inputs: Tensors): Promise<Record<string, Tensor>>;
  report(turn: Turn): void;
  /** How long an image waits for a new program before it runs whole. Default 1000 ms. */
  readonly patienceMs?: number;
  /** How soon a lost device is looked for; more rarely each time it is lost again. Default 1000 ms. */
  readonly retryMs?: number;
  /** The longest time one image may take, however often it is begun again. Default 120000 ms. */
  readonly imageMs?: number;
}

export interface ResilientCluster extends Lane {
  /** Computes one image. Rejects with `SHAPE_MISMATCH` for wrong inputs, `DEADLINE`, or the error of the whole model. */
  infer(inputs: Tensors): Promise<Record<string, Tensor>>;
  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined>;
  /** The devices that images run on now; none while they run whole. */
  readonly devices: readonly number[];
  close(): Promise<void>;
}

/** An image that fails on so many programs runs whole: it may be the image. */
const MAX_PROGRAMS = 3;
/** Errors of the caller: no other device would do better. */
const CALLERS_FAULT: ReadonlySet<string> = new Set(['SHAPE_MISMATCH', 'USAGE']);
/** A frozen device is found after at most one and a half times this. */
const SILENCE_MS = 1200;

/** Prepares a program on the devices that are there; resolves when images can be handed in, if need be to run whole. */
export async function connectResilient(options: ResilientOptions): Promise<ResilientCluster> {
  const cluster = new Resilient(options);
  await cluster.prepare();
  return cluster;
}

/** A program under way, and the devices it is over. */
interface Running {
  readonly cluster: Cluster;
  readonly devices: readonly number[];
}

class Resilient implements ResilientCluster {
  readonly inFlight: number;
  readonly #options: ResilientOptions;
  readonly #absent: Absent;
  readonly #ending = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #running: Running | undefined;
  /** The preparation of a program, while images have none. */
  #preparing: Promise<void> | undefined;
  /** The preparation of a better one, while images run. */
  #improving: Promise<void> | undefined;
  #looking = false;
  /** Images run whole one at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #reason: Error = new DistrEdgeError('PROVIDER_LOST', 'no device is there');

  constructor(options: ResilientOptions) {
    this.#options = { silenceMs: SILENCE_MS, ...options };
    this.inFlight = options.inFlight ?? 1;
    const { retryMs = 1000 } = options;
    this.#absent = new Absent(retryMs, () => performance.now());
    this.#timer = setInterval(() => void this.#look(), Math.max(10, retryMs / 2));
    this.#timer.unref();
  }

  get devices(): readonly number[] {
    return this.#running?.devices ?? [];
  }

  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined> {
    return streamImages([this], images, options);
  }

  infer(inputs: Tensors): Promise<Record<string, Tensor>> {
    const { imageMs = 120_000 } = this.#options;
    return within(this.#infer(inputs), imageMs, 'an image was not done', () => 'all attempts together');
  }

  async #infer(inputs: Tensors): Promise<Record<string, Tensor>> {
    for (let tries = 0; ; ) {
      this.#checkOpen();
      const running = tries < MAX_PROGRAMS ? await this.#program() : undefined;
      if (running === undefined) {
        const outputs = await this.#whole(inputs, tries >= MAX_PROGRAMS);
        if (outputs !== undefined) return outputs;
        continue;
      }
      try {
        return await running.cluster.infer(inputs);
      } catch (error) {
        if (error instanceof DistrEdgeError && CALLERS_FAULT.has(error.code)) throw error;
        tries += 1;
        this.#failed(running, error);
      }
    }
  }

  #checkOpen(): void {
    if (this.#ending.signal.aborted) throw new DistrEdgeError('CANCELLED', 'the cluster was closed');
  }

  /** The program that images run on, if there will be one soon. */
  async #program(): Promise<Running | undefined> {
    if (this.#running === undefined && this.#preparing !== undefined) {
      await withPatience(this.#preparing, this.#options.patienceMs ?? 1000);
    }
    return this.#running;
  }

  /** Runs an image whole; not if, when its turn comes, a program is there again. */
  #whole(inputs: Tensors, inAnyCase: boolean): Promise<Record<string, Tensor> | undefined> {
    const turn = this.#turn.then(() => {
      this.#checkOpen();
      if (this.#running !== undefined && !inAnyCase) return undefined;
      this.#options.report({ type: 'whole', error: this.#reason });
      return this.#options.whole(inputs);
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Takes note that a program has ended, once, and prepares another one. */
  #failed(running: Running, thrown: unknown): void {
    if (this.#running !== running || this.#ending.signal.aborted) return;
    this.#running = undefined;
    const lost = [...running.cluster.lost].map((index) => running.devices[index] as number);
    this.#blame(lost, thrown);
    void running.cluster.close();
    void this.prepare(lost.length === 0 ? running.devices : []);
  }

  #blame(devices: readonly number[], thrown: unknown): void {
    this.#reason = thrown instanceof Error ? thrown : new Error(String(thrown));
    for (const device of devices) this.#absent.lose(device);
    this.#options.report({ type: 'lost', devices, error: this.#reason });
  }

  /** Prepares a program for images that have none, on the devices that are there; these `suspects` are asked first. */
  prepare(suspects: readonly number[] = []): Promise<void> {
    this.#preparing ??= this.#roll(suspects)
      .then(() => this.#switch(() => this.#running === undefined))
      .finally(() => {
        this.#preparing = undefined;
      });
    return this.#preparing;
  }

  /** Prepares a program over all devices that are there, and has images run on it; without those found missing meanwhile. */
  async #switch(wanted: () => boolean): Promise<void> {
    const { addresses, report } = this.#options;
    for (let nobody = 0; wanted() && !this.#ending.signal.aborted && nobody < MAX_PROGRAMS; ) {
      const devices = addresses.flatMap((_, device) => (this.#absent.has(device) ? [] : [device]));
      if (devices.length === 0) return;
      const started = performance.now();
      const attempt = await this.#attempt(devices);
      if (attempt === undefined || this.#ending.signal.aborted) {
        if (attempt !== undefined && 'cluster' in attempt) await attempt.cluster.close();
        return;
      }
      if ('error' in attempt) {
        const lost = [...attempt.lost].map((index) => devices[index] as number);
        this.#blame(lost, attempt.error);
        // Whoever is gone may be known only by not answering.
        if (lost.length === 0) await this.#roll(devices);
        nobody += lost.length === 0 ? 1 : 0;
        continue;
      }
      if (!wanted()) return void attempt.cluster.close();
      this.#take({ cluster: attempt.cluster, devices });
      report({ type: 'switched', devices, ms: performance.now() - started });
      return;
    }
  }

  /** Prepares a program on these devices; undefined where there is none for them. */
  async #attempt(devices: readonly number[]): Promise<Attempt | undefined> {
    const { addresses, programFor } = this.#options;
    try {
      const program = await programFor(devices);
      if (program === undefined) return undefined;
      return await tryConnect(program, {
        ...this.#options,
        addresses: devices.map((device) => addresses[device] ?? ''),
        signal: this.#ending.signal,
      });
    } catch (error) {
      this.#blame([], error);
      return undefined;
    }
  }

  /** New images run on this program; those under way on the last one are done there. */
  #take(running: Running): void {
    const before = this.#running;
    this.#running = running;
    // Closing refuses new images and ends those under way, which are then done again: so it waits for them.
    if (before !== undefined) void retire(before.cluster);
  }

  /** Calls the roll: devices that do not answer are lost. */
  async #roll(devices: readonly number[]): Promise<void> {
    await Promise.all(
      devices.map(async (device) => {
        if (!(await this.#answers(device))) this.#absent.lose(device);
      }),
    );
  }

  #answers(device: number): Promise<boolean> {
    const { transport, addresses, silenceMs = SILENCE_MS } = this.#options;
    return answers(transport, addresses[device] ?? '', silenceMs);
  }

  /** Looks for devices that are due, and takes back those that answer. */
  async #look(): Promise<void> {
    if (this.#looking || this.#improving !== undefined || this.#preparing !== undefined) return;
    this.#looking = true;
    try {
      const found: number[] = [];
      await Promise.all(
        this.#absent.due().map(async (device) => {
          if (await this.#answers(device)) found.push(device);
        }),
      );
      if (this.#ending.signal.aborted || found.length === 0) return;
      for (const device of found) {
        this.#absent.find(device);
        this.#options.report({ type: 'returned', device });
      }
      if (this.#running === undefined) void this.prepare();
      else {
        this.#improving = this.#switch(() => this.#running !== undefined).finally(() => {
          this.#improving = undefined;
        });
      }
    } finally {
      this.#looking = false;
    }
  }

  async close(): Promise<void> {
    this.#ending.abort();
    clearInterval(this.#timer);
    await this.#running?.cluster.close();
    await Promise.all([this.#preparing, this.#improving, this.#turn]);
  }
}

/** Closes a cluster once its images are done; those that are about to be handed in are waited for, too. */
async function retire(cluster: Cluster): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await cluster.drain();
  await cluster.close();
}

/** Waits for something, but not for longer than that. */
async function withPatience(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([promise, enough]);
  } finally {
    clearTimeout(timer);
  }
}
