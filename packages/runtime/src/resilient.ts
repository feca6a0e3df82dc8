/**
 * A cluster that outlives its devices. Images run on a program over the devices that are there; when one is lost, the images
 * under way are done again by a new program on the others, and where none is ready soon, whole on this machine. A lost device
 * is looked for, and taken back between two images. Nothing of this happens silently: every turn is reported.
 */
import { DistrEdgeError, type Tensor } from '@distredge/core';
import { Absent } from './absent.js';
import { answers } from './probe.js';
import { within } from './protocol.js';
import { type Cluster, tryConnect } from './requester.js';
import type { ResilientCluster, ResilientOptions, Share } from './resilient-contract.js';
import { Credit, Pace, race, SYSTEM_CLOCK } from './straggler.js';
import { freeLane, type Images, type Lane, type StreamOptions, type StreamResult, streamImages } from './stream.js';
import { WholeTurn } from './whole-turn.js';

export type { ResilientCluster, ResilientOptions, Share, Turn } from './resilient-contract.js';

type Tensors = Readonly<Record<string, Tensor>>;

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

/** A program under way. */
interface Running extends Share, Lane {
  readonly cluster: Cluster;
  /** Images that were handed in and are not done. */
  busy: number;
  /** What images take on it. */
  readonly pace: Pace;
}

/** Why there is no program, and whom of its devices that is blamed on. */
interface Failure {
  readonly error: unknown;
  readonly lost: ReadonlySet<number>;
}

class Resilient implements ResilientCluster {
  readonly #options: ResilientOptions;
  readonly #absent: Absent;
  readonly #ending = new AbortController();
  readonly #timer: NodeJS.Timeout;
  /** The programs that take turns. */
  #running: readonly Running[] = [];
  /** The preparation of other programs; images that have none wait for it. */
  #changing: Promise<void> | undefined;
  /** Whether devices were lost or found since the preparation began. */
  #stale = false;
  /** Devices to be asked whether they are there before they are relied on. */
  readonly #suspects = new Set<number>();
  #looking = false;
  readonly #whole: WholeTurn;
  readonly #credit: Credit;
  #reason: Error = new DistrEdgeError('PROVIDER_LOST', 'no device is there');

  constructor(options: ResilientOptions) {
    this.#options = { silenceMs: SILENCE_MS, ...options };
    const { retryMs = 1000, clock = SYSTEM_CLOCK } = options;
    this.#whole = new WholeTurn(clock);
    this.#credit = new Credit(clock);
    this.#absent = new Absent(retryMs, () => performance.now());
    this.#timer = setInterval(() => void this.#look(), Math.max(10, retryMs / 2));
    this.#timer.unref();
  }

  get inFlight(): number {
    return Math.max(
      1,
      this.#running.reduce((sum, { inFlight }) => sum + inFlight, 0),
    );
  }

  get devices(): readonly number[] {
    return [...new Set(this.#running.flatMap(({ devices }) => devices))].sort((a, b) => a - b);
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
        const outputs = await this.#unsplit(inputs, tries >= MAX_PROGRAMS);
        if (outputs !== undefined) return outputs;
        continue;
      }
      try {
        return await (this.#options.overtake === false ? this.#on(running, inputs) : this.#race(running, inputs));
      } catch (error) {
        if (error instanceof DistrEdgeError && CALLERS_FAULT.has(error.code)) throw error;
        // Another program might take as long again, and the caller waits.
        tries = isLate(error) ? MAX_PROGRAMS : tries + 1;
      }
    }
  }

  /** Runs an image on a program in which it has taken a place. */
  async #on(running: Running, inputs: Tensors): Promise<Record<string, Tensor>> {
    try {
      const outputs = await running.cluster.infer(inputs);
      this.#credit.earn();
      return outputs;
    } catch (error) {
      if (!(error instanceof DistrEdgeError && CALLERS_FAULT.has(error.code))) this.#failed(running, error);
      throw error;
    } finally {
      running.busy -= 1;
    }
  }

  /** Runs an image on a program, and elsewhere, too, if it is late and that is expected to be sooner. */
  #race(running: Running, inputs: Tensors): Promise<Record<string, Tensor>> {
    const { report, clock = SYSTEM_CLOCK } = this.#options;
    let other: Running | undefined;
    return race({
      first: this.#on(running, inputs),
      pace: running.pace,
      clock,
      elsewhereMs: () => {
        if (this.#ending.signal.aborted || !this.#credit.allows(running.pace.expected ?? 0)) return undefined;
        other = this.#beside(running);
        // Whole, while none was: as if devices shared work without any loss.
        const guess = (running.pace.expected ?? 0) * running.devices.length;
        return other === undefined ? this.#whole.expectedMs(guess) : other.pace.expected;
      },
      begunAgain: (ms) => {
        this.#credit.spend();
        const devices = running.cluster.owing.map((index) => running.devices[index] as number);
        const on = other?.devices ?? [];
        report({ type: 'late', devices, on, ms, expectedMs: running.pace.expected ?? 0 });
      },
      again: (over) =>
        other === undefined
          ? this.#whole.overtake(() => this.#options.whole(inputs), over)
          : this.#onOther(other, inputs),
      done: (by, ms) => report({ type: 'raced', by, ms }),
    });
  }

  /** A program with room that shares no device with this one. */
  #beside(running: Running): Running | undefined {
    const free = this.#running.filter(
      (other) =>
        other.busy < other.inFlight &&
        other.pace.expected !== undefined &&
        !other.devices.some((device) => running.devices.includes(device)),
    );
    const [best] = free.sort((a, b) => (a.pace.expected ?? 0) - (b.pace.expected ?? 0));
    return best;
  }

  #onOther(other: Running, inputs: Tensors): Promise<Record<string, Tensor>> {
    other.busy += 1;
    const { clock = SYSTEM_CLOCK } = this.#options;
    const started = clock.now();
    const result = this.#on(other, inputs);
    result.then(
      () => other.pace.add(clock.now() - started),
      () => undefined,
    );
    return result;
  }

  #checkOpen(): void {
    if (this.#ending.signal.aborted) throw new DistrEdgeError('CANCELLED', 'the cluster was closed');
  }

  /** Takes a place on the program that is next, if there will be one soon. */
  async #program(): Promise<Running | undefined> {
    if (this.#running.length === 0 && this.#changing !== undefined) {
      await withPatience(this.#changing, this.#options.patienceMs ?? 1000);
    }
    const loads = this.#running.map(({ busy }) => busy);
    const lane = freeLane(this.#running, loads) ?? loads.indexOf(Math.min(...loads));
    const running = this.#running[lane];
    // Counted here: the next image that is handed in looks at it before this one goes on.
    if (running !== undefined) running.busy += 1;
    return running;
  }

  /** Runs an image whole; not if, when its turn comes, a program is there again. */
  #unsplit(inputs: Tensors, inAnyCase: boolean): Promise<Record<string, Tensor> | undefined> {
    return this.#whole.run(async () => {
      this.#checkOpen();
      if (this.#running.length > 0 && !inAnyCase) return undefined;
      this.#options.report({ type: 'whole', error: this.#reason });
      return this.#options.whole(inputs);
    });
  }

  /** Takes note that a program has ended, once, and prepares another one. */
  #failed(running: Running, thrown: unknown): void {
    if (!this.#running.includes(running) || this.#ending.signal.aborted) return;
    this.#running = this.#running.filter((other) => other !== running);
    const lost = [...running.cluster.lost].map((index) => running.devices[index] as number);
    this.#blame(lost, thrown);
    if (lost.length === 0) for (const device of running.devices) this.#suspects.add(device);
    void running.cluster.close();
    void this.prepare();
  }

  #blame(devices: readonly number[], thrown: unknown): void {
    this.#reason = thrown instanceof Error ? thrown : new Error(String(thrown));
    for (const device of devices) this.#absent.lose(device);
    this.#options.report({ type: 'lost', devices, error: this.#reason });
  }

  /** Prepares programs for the devices that are there, and has images run on them. */
  prepare(): Promise<void> {
    this.#stale = true;
    this.#changing ??= this.#change().finally(() => {
      this.#changing = undefined;
    });
    return this.#changing;
  }

  async #change(): Promise<void> {
    const { addresses, report } = this.#options;
    for (let tries = 0; this.#stale && !this.#ending.signal.aborted && tries < MAX_PROGRAMS; ) {
      this.#stale = false;
      const started = performance.now();
      await this.#roll();
      const devices = addresses.flatMap((_, device) => (this.#absent.has(device) ? [] : [device]));
      const prepared = devices.length === 0 ? [] : await this.#attempt(devices);
      if (prepared === undefined) {
        tries += this.#stale ? 0 : 1;
        this.#stale = true;
        continue;
      }
      const before = this.#running;
      // Programs that failed meanwhile fail again with the first image, which is then done again.
      this.#running = prepared;
      for (const lane of before) if (!prepared.includes(lane)) void retire(lane.cluster);
      if (prepared.length > 0) report({ type: 'switched', devices: this.devices, ms: performance.now() - started });
    }
  }

  /**
   * Prepares programs on these devices: none where there are none for them, undefined where a device failed. Sets `#stale`
   * where it is known which one.
   */
  async #attempt(devices: readonly number[]): Promise<Running[] | undefined> {
    const attempts: { readonly share: Share; readonly attempt: Running | Failure }[] = [];
    try {
      const shares = (await this.#options.programsFor(devices)) ?? [];
      await Promise.all(
        shares.map(async (share) => {
          const same = this.#running.find(
            (old) => old.program === share.program && `${old.devices}` === `${share.devices}`,
          );
          attempts.push({ share, attempt: same ?? (await this.#connect(share)) });
        }),
      );
    } catch (error) {
      this.#blame([], error);
      return [];
    }
    const ready = attempts.flatMap(({ attempt }) => ('error' in attempt ? [] : [attempt]));
    if (ready.length === attempts.length && !this.#ending.signal.aborted) return ready;
    for (const lane of ready) if (!this.#running.includes(lane)) void lane.cluster.close();
    if (this.#ending.signal.aborted) return [];
    for (const { share, attempt } of attempts) {
      if (!('error' in attempt)) continue;
      const lost = [...attempt.lost].map((index) => share.devices[index] as number);
      this.#blame(lost, attempt.error);
      if (lost.length > 0) this.#stale = true;
      // Whoever is gone may be known only by not answering.
      else for (const device of share.devices) this.#suspects.add(device);
    }
    return undefined;
  }

  /** Prepares one program; what it runs on later tells by itself when it ends. */
  async #connect(share: Share): Promise<Running | Failure> {
    const { addresses } = this.#options;
    let running: Running | undefined;
    try {
      const attempt = await tryConnect(share.program, {
        ...this.#options,
        addresses: share.devices.map((device) => addresses[device] ?? ''),
        signal: this.#ending.signal,
        failed: (error) => {
          if (running !== undefined) this.#failed(running, error);
        },
      });
      if ('error' in attempt) return attempt;
      const { cluster } = attempt;
      running = {
        ...share,
        cluster,
        busy: 0,
        inFlight: cluster.inFlight,
        pace: new Pace(),
        infer: (inputs) => cluster.infer(inputs),
      };
      return running;
    } catch (error) {
      return { error, lost: new Set() };
    }
  }

  /** Calls the roll of suspects: those that do not answer are lost. */
  async #roll(): Promise<void> {
    const suspects = [...this.#suspects];
    this.#suspects.clear();
    await Promise.all(
      suspects.map(async (device) => {
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
    if (this.#looking || this.#changing !== undefined) return;
    this.#looking = true;
    try {
      await Promise.all(
        this.#absent.due().map(async (device) => {
          if (!(await this.#answers(device)) || this.#ending.signal.aborted) return;
          this.#absent.find(device);
          this.#options.report({ type: 'returned', device });
          void this.prepare();
        }),
      );
    } finally {
      this.#looking = false;
    }
  }

  async close(): Promise<void> {
    this.#ending.abort();
    clearInterval(this.#timer);
    await Promise.all(this.#running.map(({ cluster }) => cluster.close()));
    await Promise.all([this.#changing, this.#whole.idle()]);
    await Promise.all(this.#running.map(({ cluster }) => cluster.close()));
  }
}

/** Whether an image was not done in time though nobody was lost: a device or a link may be slow, not gone. */
function isLate(error: unknown): boolean {
  return error instanceof DistrEdgeError && error.code === 'DEADLINE';
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
