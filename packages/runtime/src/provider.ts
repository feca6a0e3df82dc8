/**
 * The provider: listens, lets a requester prepare programs on it, and lets the other devices of a program exchange rows with
 * it. Each requester's link carries at most one job; when the link closes, the job and everything it holds is gone.
 */
import { type DeviceProgram, DistrEdgeError } from '@distredge/core';
import type { Engine } from './engine/engine.js';
import { Job, peerLost } from './job.js';
import {
  type Frame,
  type FrameHeader,
  FrameKind,
  type Link,
  type LinkHandlers,
  type Listener,
  type Transport,
} from './link/link.js';
import { Loader } from './loader.js';
import { Peers } from './peers.js';
import {
  type Control,
  checkVersion,
  failedMessage,
  MAX_CONTROL_BYTES,
  type Peer,
  PROTOCOL_VERSION,
  type Prepare,
  parseControl,
  programOf,
  sendControl,
  type WantedBlob,
} from './protocol.js';
import { BlobStore } from './weights/store.js';

export interface ProviderOptions {
  readonly transport: Transport;
  /** `host:port`; port 0 takes any free one. */
  readonly listen: string;
  /** A fresh engine for every job. */
  readonly createEngine: (program: DeviceProgram) => Engine;
  /** Name of the engine, told to requesters. */
  readonly engineName: string;
  /** Jobs at once; further requesters are refused. Default 4. */
  readonly maxJobs?: number;
  /** Largest sum of models and weights of a job, in bytes. Default 16 GiB. */
  readonly maxModelBytes?: number;
  /** Folder in which weights outlive this process; several providers may share it. Default: they are kept while it runs. */
  readonly cache?: string | undefined;
  /** The most bytes of weights that are kept for later programs. Default 4 GiB in a folder, else 1 GiB. */
  readonly cacheBytes?: number | undefined;
  /** A link that has not said what it is, or what it wants, by then is closed. Default 10000 ms. */
  readonly helloMs?: number;
  /** A requester that announced weights and sends none for so long is given up. Default 60000 ms. */
  readonly weightsMs?: number;
  /** A requester of which nothing is heard for so long is gone, though its link is open. Default 30000 ms. */
  readonly requesterMs?: number;
  /** Another device that was reached is asked anew when it has not answered for so long. Default 10000 ms. */
  readonly peerAnswerMs?: number;
  /** How often the devices of a program give each other signs of life, in ms. Default 150. */
  readonly beatMs?: number;
  /**
   * How long to look for awaited rows without sleeping, in ms: rows are noticed about 0.1 ms sooner, at the price of a busy
   * core. For a provider with a core of its own. Default 0.
   */
  readonly busyWaitMs?: number;
  /** Tells of jobs that begin and end, for logs. */
  readonly log?: (line: string) => void;
}

export interface Provider {
  /** The address to give to requesters. */
  readonly address: string;
  /** Ends all jobs and stops listening. */
  close(): Promise<void>;
}

/** How long the devices of a program may take to connect: those with larger models are ready later. */
const PEERS_MS = 300_000;
/** While models are loaded, no frame is read and so no ping answered: signs of life go out unasked, this often. */
const ALIVE_MS = 1000;
/** How often a requester is looked after in the time that it may be silent. */
const LOOKS = 4;
/** What has come while a step ran is read within this time, in ms, before it is told what has not come. */
const LOOK_MS = 3;
/** How long a last message may take to leave. */
const FAREWELL_MS = 1000;

/** Starts a provider. Rejects with `ADDRESS_IN_USE` or `ADDRESS_INVALID`, and with `FILE` where the cache folder cannot be used. */
export async function startProvider(options: ProviderOptions): Promise<Provider> {
  const store = await BlobStore.open({ folder: options.cache, maxBytes: options.cacheBytes, log: options.log });
  const shared: Shared = { options, store, jobs: new Set(), sessions: new Set() };
  const listener: Listener = await options.transport.listen(
    options.listen,
    (link) => new Session(shared, link).handlers(),
    { maxFrameBytes: MAX_CONTROL_BYTES },
  );
  return {
    address: listener.address,
    async close() {
      await Promise.all([...shared.sessions].map((session) => session.end()));
      await listener.close();
      await store.close();
    },
  };
}

interface Shared {
  readonly options: ProviderOptions;
  readonly store: BlobStore;
  readonly jobs: Set<Peers>;
  readonly sessions: Set<Session>;
}

/** One accepted link: first unknown, then a requester's or a device's. */
class Session {
  readonly #shared: Shared;
  readonly #link: Link;
  #timer: NodeJS.Timeout | undefined;
  #alive: NodeJS.Timeout | undefined;
  #watch: NodeJS.Timeout | undefined;
  /** Looks at a requester since it was last heard of. */
  #silent = 0;
  #looking: NodeJS.Timeout | undefined;
  #peers: Peers | undefined;
  #loader: Loader | undefined;
  /** -1 for a requester, the index of another device, undefined before it said. */
  #member: number | undefined;
  /** Whether the link is closed: nobody is there to be told anything. */
  #over = false;

  constructor(shared: Shared, link: Link) {
    this.#shared = shared;
    this.#link = link;
    shared.sessions.add(this);
    this.#await('what it is', shared.options.helloMs ?? 10_000);
  }

  handlers(): LinkHandlers {
    return {
      allocate: (header) => this.#allocate(header),
      frame: (frame) => this.#frame(frame),
      closed: (error) => this.#closed(error),
    };
  }

  /** From now on the other end has so long to say `what`; anything it says ends the wait. */
  #await(what: string, ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.#refuse(
        new DistrEdgeError('DEADLINE', `a link did not say ${what} within ${ms} ms`, { where: this.#link.remote }),
      );
    }, ms);
  }

  #closed(error: Error | undefined): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#looking);
    clearInterval(this.#alive);
    clearInterval(this.#watch);
    void this.#loader?.close();
    this.#shared.sessions.delete(this);
    if (error !== undefined) this.#log(`${this.#link.remote}: ${error.message}`);
    if (this.#peers === undefined) return;
    if (this.#member === -1) void this.end();
    else {
      const where = `device ${this.#member} at ${this.#link.remote}`;
      this.#peers.job.fail(peerLost(where, error), this.#member);
    }
  }

  #allocate(header: FrameHeader): Uint8Array {
    this.#silent = 0;
    if (this.#member !== undefined && this.#member >= 0) this.#peers?.heard(this.#member);
    if (header.kind === FrameKind.data) {
      if (this.#peers === undefined || this.#member === undefined) throw this.#unexpected('rows before a program');
      return this.#peers.job.allocate(this.#member, header);
    }
    if (header.kind === FrameKind.blob) {
      if (this.#loader === undefined) throw this.#unexpected('weights before a program');
      return this.#loader.allocate(header);
    }
    if (header.length > MAX_CONTROL_BYTES) throw this.#unexpected(`a control message of ${header.length} bytes`);
    return new Uint8Array(header.length);
  }

  #unexpected(got: string): DistrEdgeError {
    return new DistrEdgeError('PROTOCOL', 'a frame came that does not belong here', { where: this.#link.remote, got });
  }

  #frame(frame: Frame): void | Promise<void> {
    switch (frame.kind) {
      case FrameKind.data:
        this.#peers?.job.receive(frame);
        return;
      case FrameKind.blob:
        return this.#guard(() => this.#blob(frame));
      case FrameKind.ping:
        this.#pong(frame.request);
        return;
      case FrameKind.control:
        return this.#guard(() => this.#control(parseControl(frame)));
      default:
        return;
    }
  }

  #pong(request: number): void {
    void this.#link.send({ kind: FrameKind.pong, request, channel: 0 }, []).catch(() => undefined);
  }

  /** Runs a handler; what it throws is told to the other end and closes the link. */
  async #guard(action: () => void | Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      const ended = error instanceof DistrEdgeError && error.code === 'CANCELLED';
      if (!this.#over || !ended) await this.#refuse(error);
    }
  }

  /** Tells the other end why, and closes the link; in good order, or the reason might not arrive. */
  async #refuse(error: unknown, peer?: number): Promise<void> {
    this.#log(error instanceof Error ? error.message : String(error));
    const late = setTimeout(() => this.#link.close(), FAREWELL_MS);
    await sendControl(this.#link, failedMessage(error, peer)).catch(() => undefined);
    clearTimeout(late);
    this.#link.close();
  }

  #log(line: string): void {
    const device = this.#member === -1 ? this.#peers?.job.program.device : undefined;
    this.#shared.options.log?.(device === undefined ? line : `device ${device}: ${line}`);
  }

  async #control(message: Control): Promise<void> {
    const { helloMs = 10_000, engineName } = this.#shared.options;
    switch (message.type) {
      case 'hello': {
        if (this.#member !== undefined) throw this.#unexpected('a second hello');
        checkVersion(message.version, this.#link.remote);
        this.#member = -1;
        this.#await('what it wants', helloMs);
        return sendControl(this.#link, {
          type: 'welcome',
          version: PROTOCOL_VERSION,
          engine: engineName,
          pid: process.pid,
        });
      }
      case 'peer':
        return this.#peer(message);
      case 'prepare':
        if (this.#member !== -1 || this.#peers !== undefined) throw this.#unexpected('a second program');
        return this.#prepare(message);
      case 'trace':
        if (this.#peers === undefined || this.#member !== -1) throw this.#unexpected('a question before a program');
        return sendControl(this.#link, this.#peers.job.trace());
      case 'progress':
        if (this.#peers === undefined || this.#member !== -1) throw this.#unexpected('a question before a program');
        this.#progress(this.#peers.job);
        return;
      default:
        throw this.#unexpected(`'${message.type}'`);
    }
  }

  /** Tells how far an image is, when what lies in the sockets has been read; of several questions the first one is answered. */
  #progress(job: Job): void {
    this.#looking ??= setTimeout(() => {
      this.#looking = undefined;
      if (!this.#over) void this.#guard(() => sendControl(this.#link, job.progress()));
    }, LOOK_MS);
  }

  #prepare(message: Prepare): void {
    const { options, jobs } = this.#shared;
    const program = programOf(message);
    if (jobs.size >= (options.maxJobs ?? 4)) {
      throw new DistrEdgeError('PROVIDER_FAILED', 'the provider serves as many requesters as it may', {
        hint: 'wait until one of them ends',
      });
    }
    const job = this.#job(message, program);
    job.attach(-1, this.#link);
    const peers = new Peers(job, message.token, options.transport, options.beatMs, message.ids, options.peerAnswerMs);
    jobs.add(peers);
    this.#peers = peers;
    this.#log(`preparing ${program.steps.length} steps, one of ${program.devices} devices`);
    this.#alive = setInterval(() => this.#pong(0), ALIVE_MS);
    const loader = new Loader({
      job,
      store: this.#shared.store,
      hashes: message.hashes,
      chunks: new Map(message.chunks?.map((one) => [one.blob, one])),
      maxBytes: options.maxModelBytes ?? 16 * 2 ** 30,
      ask: (blobs) => this.#ask(blobs),
    });
    this.#loader = loader;
    clearTimeout(this.#timer);
    // Not awaited by the handler: meanwhile the link is read, and its end noticed.
    void this.#guard(async () => {
      await loader.run();
      this.#loader = undefined;
      await this.#ready(peers, message.peers);
    });
  }

  /** Asks the requester for blobs, and waits for them. */
  async #ask(blobs: readonly WantedBlob[]): Promise<void> {
    if (blobs.length > 0) this.#await('what its weights are', this.#weightsMs);
    await sendControl(this.#link, { type: 'wanted', blobs });
  }

  #job(message: Prepare, program: DeviceProgram): Job {
    const { options } = this.#shared;
    const engine = options.createEngine(program);
    try {
      return new Job({
        program,
        engine,
        inFlight: message.inFlight ?? 1,
        requestMs: message.requestMs,
        busyWaitMs: options.busyWaitMs,
        failed: (error, peer) => void this.#refuse(error, peer),
      });
    } catch (error) {
      void engine.close().catch(() => undefined);
      throw error;
    }
  }

  get #weightsMs(): number {
    return this.#shared.options.weightsMs ?? 60_000;
  }

  async #blob(frame: Frame): Promise<void> {
    clearTimeout(this.#timer);
    await this.#loader?.receive(frame);
    if (this.#loader?.complete === false) this.#await('what its weights are', this.#weightsMs);
  }

  async #ready(peers: Peers, addresses: readonly string[]): Promise<void> {
    await peers.job.fix();
    await peers.connect(addresses, PEERS_MS);
    clearInterval(this.#alive);
    this.#watchRequester();
    await sendControl(this.#link, { type: 'ready', residentBytes: process.memoryUsage.rss() });
  }

  /**
   * Requesters ask whether one is alive at least every second. Looks are counted, not milliseconds: this process may itself
   * have been too busy to read.
   */
  #watchRequester(): void {
    const ms = this.#shared.options.requesterMs ?? 30_000;
    this.#watch = setInterval(() => {
      this.#silent += 1;
      if (this.#silent <= LOOKS) return;
      clearInterval(this.#watch);
      const where = this.#link.remote;
      void this.#refuse(new DistrEdgeError('DEADLINE', `nothing was heard of a requester for ${ms} ms`, { where }));
    }, ms / LOOKS);
    this.#watch.unref();
  }

  async #peer({ version, token, to, device }: Peer): Promise<void> {
    checkVersion(version, this.#link.remote);
    const peers = [...this.#shared.jobs].find(
      ({ token: own, job }) => own === token && job.program.device === to && job.peers().has(device),
    );
    if (peers === undefined || this.#member !== undefined) {
      throw new DistrEdgeError('PROTOCOL', 'a device wants to exchange rows for a program that is not here', {
        where: this.#link.remote,
      });
    }
    clearTimeout(this.#timer);
    peers.accept(device, this.#link);
    this.#member = device;
    this.#peers = peers;
    await sendControl(this.#link, { type: 'peer-welcome' });
  }

  /** Ends the job of a requester's link and closes the link. Never rejects. */
  async end(): Promise<void> {
    clearTimeout(this.#timer);
    clearInterval(this.#alive);
    clearInterval(this.#watch);
    this.#link.close();
    await this.#loader?.close();
    const peers = this.#peers;
    if (peers === undefined || this.#member !== -1) return;
    this.#log('done');
    this.#peers = undefined;
    this.#shared.jobs.delete(peers);
    await peers.job.close().catch((error: unknown) => this.#log(String(error)));
  }
}
