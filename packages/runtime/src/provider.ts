/**
 * The provider: listens, lets a requester prepare programs on it, and lets the other devices of a program exchange rows with
 * it. Each requester's link carries at most one job; when the link closes, the job and everything it holds is gone.
 */
import { DistrEdgeError } from '@distredge/core';
import type { Engine } from './engine/engine.js';
import { Job } from './job.js';
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
import {
  type Control,
  checkVersion,
  failedMessage,
  MAX_CONTROL_BYTES,
  now,
  type Peer,
  PROTOCOL_VERSION,
  type Prepare,
  parseControl,
  programOf,
  sendControl,
} from './protocol.js';

export interface ProviderOptions {
  readonly transport: Transport;
  /** `host:port`; port 0 takes any free one. */
  readonly listen: string;
  /** A fresh engine for every job. */
  readonly createEngine: () => Engine;
  /** Name of the engine, told to requesters. */
  readonly engineName: string;
  /** Jobs at once; further requesters are refused. Default 4. */
  readonly maxJobs?: number;
  /** Largest sum of models and weights of a job, in bytes. Default 16 GiB. */
  readonly maxModelBytes?: number;
  /** A link that has not said what it is by then is closed. Default 10000 ms. */
  readonly helloMs?: number;
  /** Tells of jobs that begin and end, for logs. */
  readonly log?: (line: string) => void;
}

export interface Provider {
  /** The address to give to requesters. */
  readonly address: string;
  /** Ends all jobs and stops listening. */
  close(): Promise<void>;
}

/** A peer's link waits this long for the job it belongs to. */
const PEER_MS = 30_000;

interface Running {
  readonly job: Job;
  readonly token: string;
  /** Resolves the dialling side's wait. */
  readonly arrived: Map<number, () => void>;
}

/** Starts a provider. Rejects with `ADDRESS_IN_USE` or `ADDRESS_INVALID`. */
export async function startProvider(options: ProviderOptions): Promise<Provider> {
  const jobs = new Map<string, Running>();
  const sessions = new Set<Session>();
  const shared: Shared = { options, jobs, sessions };
  const listener: Listener = await options.transport.listen(
    options.listen,
    (link) => new Session(shared, link).handlers(),
    {
      maxFrameBytes: MAX_CONTROL_BYTES,
    },
  );
  return {
    address: listener.address,
    async close() {
      await Promise.all([...sessions].map((session) => session.end()));
      await listener.close();
    },
  };
}

interface Shared {
  readonly options: ProviderOptions;
  readonly jobs: Map<string, Running>;
  readonly sessions: Set<Session>;
}

/** One accepted link: first unknown, then a requester's or a peer's. */
class Session {
  readonly #shared: Shared;
  readonly #link: Link;
  readonly #helloTimer: NodeJS.Timeout;
  #running: Running | undefined;
  #loader: Loader | undefined;
  /** -1 for a requester, the device for a peer, undefined before it said. */
  #member: number | undefined;

  constructor(shared: Shared, link: Link) {
    this.#shared = shared;
    this.#link = link;
    shared.sessions.add(this);
    const ms = shared.options.helloMs ?? 10_000;
    this.#helloTimer = setTimeout(() => {
      link.close(new DistrEdgeError('DEADLINE', 'a link did not say what it is', { where: link.remote }));
    }, ms);
  }

  handlers(): LinkHandlers {
    return {
      allocate: (header) => this.#allocate(header),
      frame: (frame) => this.#frame(frame),
      closed: () => {
        clearTimeout(this.#helloTimer);
        this.#shared.sessions.delete(this);
        if (this.#running === undefined) return;
        if (this.#member === -1) void this.end();
        else
          this.#running.job.fail(
            new DistrEdgeError('PROVIDER_LOST', 'the link to another device broke', { where: this.#link.remote }),
            this.#member,
          );
      },
    };
  }

  #allocate(header: FrameHeader): Uint8Array {
    if (header.kind === FrameKind.data) {
      if (this.#running === undefined || this.#member === undefined) throw this.#unexpected('rows before a program');
      return this.#running.job.allocate(this.#member, header);
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
        this.#running?.job.receive(frame);
        return;
      case FrameKind.blob:
        return this.#guard(() => this.#loader?.receive(frame));
      case FrameKind.ping:
        void this.#link.send({ kind: FrameKind.pong, request: frame.request, channel: 0 }, []).catch(() => undefined);
        return;
      case FrameKind.control:
        return this.#guard(() => this.#control(parseControl(frame)));
      default:
        return;
    }
  }

  /** Runs a handler; what it throws is told to the other end and closes the link. */
  async #guard(action: () => void | Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      await sendControl(this.#link, failedMessage(error)).catch(() => undefined);
      this.#link.close(error instanceof Error ? error : undefined);
    }
  }

  async #control(message: Control): Promise<void> {
    clearTimeout(this.#helloTimer);
    switch (message.type) {
      case 'hello':
        checkVersion(message.version, this.#link.remote);
        this.#member = -1;
        return sendControl(this.#link, {
          type: 'welcome',
          version: PROTOCOL_VERSION,
          engine: this.#shared.options.engineName,
          pid: process.pid,
        });
      case 'peer':
        return this.#peer(message);
      case 'prepare':
        if (this.#member !== -1 || this.#running !== undefined) throw this.#unexpected('a second program');
        return this.#prepare(message);
      case 'trace':
        if (this.#running === undefined) throw this.#unexpected('a question before a program');
        return sendControl(this.#link, this.#running.job.trace());
      default:
        throw this.#unexpected(`'${message.type}'`);
    }
  }

  async #prepare(message: Prepare): Promise<void> {
    const { options, jobs } = this.#shared;
    const program = programOf(message);
    if (jobs.size >= (options.maxJobs ?? 4)) {
      throw new DistrEdgeError('PROVIDER_FAILED', 'the provider serves as many requesters as it may', {
        hint: 'wait until one of them ends',
      });
    }
    const job = new Job({
      program,
      engine: options.createEngine(),
      requestMs: message.requestMs,
      failed: (error, peer) => {
        options.log?.(`device ${program.device}: ${error.message}`);
        void sendControl(this.#link, failedMessage(error, peer))
          .catch(() => undefined)
          .finally(() => this.#link.close());
      },
    });
    job.attach(-1, this.#link);
    const running: Running = { job, token: message.token, arrived: new Map() };
    jobs.set(jobKey(message.token, program.device), running);
    this.#running = running;
    options.log?.(`preparing ${program.steps.length} steps as device ${program.device} of ${program.devices}`);
    this.#loader = new Loader(job, options.maxModelBytes ?? 16 * 2 ** 30, async () => {
      this.#loader = undefined;
      await this.#connect(running, message.peers);
      await sendControl(this.#link, { type: 'ready', residentBytes: process.memoryUsage.rss() });
    });
    await this.#loader.start();
  }

  /** Dials the peers with a higher index and waits for the others to dial. */
  async #connect(running: Running, addresses: readonly string[]): Promise<void> {
    const { job } = running;
    const own = job.program.device;
    const deadline = now() + PEER_MS;
    await Promise.all(
      [...job.peers()].map(async (device) => {
        if (device > own)
          return dialPeer(this.#shared.options.transport, running, device, addresses[device] ?? '', deadline);
        if (job.connected(device)) return;
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(() => {
            reject(
              new DistrEdgeError('PROVIDER_LOST', 'another device did not connect', {
                where: `device ${device} at ${addresses[device] ?? ''}`,
              }),
            );
          }, deadline - now());
          running.arrived.set(device, () => {
            clearTimeout(timer);
            resolve();
          });
        });
      }),
    );
  }

  async #peer({ version, token, device }: Peer): Promise<void> {
    checkVersion(version, this.#link.remote);
    const running = [...this.#shared.jobs.values()].find(
      ({ token: own, job }) => own === token && job.peers().has(device),
    );
    if (running === undefined || this.#member !== undefined) {
      throw new DistrEdgeError('PROTOCOL', 'a device wants to exchange rows for a program that is not here', {
        where: this.#link.remote,
      });
    }
    running.job.attach(device, this.#link);
    this.#member = device;
    this.#running = running;
    await sendControl(this.#link, { type: 'peer-welcome' });
    running.arrived.get(device)?.();
  }

  /** Ends the job of a requester's link and closes the link. */
  async end(): Promise<void> {
    clearTimeout(this.#helloTimer);
    const running = this.#running;
    this.#link.close();
    if (running === undefined || this.#member !== -1) return;
    this.#running = undefined;
    for (const [key, other] of this.#shared.jobs) if (other === running) this.#shared.jobs.delete(key);
    await running.job.close();
    this.#shared.options.log?.(`device ${running.job.program.device}: done`);
  }
}

function jobKey(token: string, device: number): string {
  return `${token} ${device}`;
}

/** Opens a link to another device of the program; it may still be on its way to being prepared, so refusals are retried. */
async function dialPeer(
  transport: Transport,
  { job, token }: Running,
  device: number,
  address: string,
  deadline: number,
): Promise<void> {
  for (;;) {
    try {
      return await tryPeer(transport, job, token, device, address, deadline);
    } catch (error) {
      if (now() > deadline || (error instanceof DistrEdgeError && error.code !== 'PROTOCOL')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function tryPeer(
  transport: Transport,
  job: Job,
  token: string,
  device: number,
  address: string,
  deadline: number,
): Promise<void> {
  let welcomed = false;
  let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  const answered = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  const link = await transport.dial(
    address,
    (self) => ({
      allocate: (header) => {
        if (welcomed && header.kind === FrameKind.data) return job.allocate(device, header);
        if (header.length > 65_536)
          throw new DistrEdgeError('PROTOCOL', 'a frame came that does not belong here', { where: self.remote });
        return new Uint8Array(header.length);
      },
      frame: (frame) => {
        if (frame.kind === FrameKind.data) return job.receive(frame);
        if (frame.kind !== FrameKind.control) return;
        const message = parseControl(frame);
        if (message.type !== 'peer-welcome') {
          settle?.reject(new DistrEdgeError('PROTOCOL', 'the other device is not ready', { where: self.remote }));
          return;
        }
        welcomed = true;
        settle?.resolve();
      },
      closed: (error) => {
        if (welcomed)
          job.fail(
            new DistrEdgeError('PROVIDER_LOST', 'the link to another device broke', {
              where: `device ${device} at ${address}`,
              cause: error,
            }),
            device,
          );
        else
          settle?.reject(
            new DistrEdgeError('PROTOCOL', 'the other device is not ready', { where: address, cause: error }),
          );
      },
    }),
    { deadlineMs: Math.max(1, deadline - now()) },
  );
  const timer = setTimeout(() => link.close(), Math.max(1, deadline - now()));
  try {
    await sendControl(link, { type: 'peer', version: PROTOCOL_VERSION, token, device: job.program.device });
    await answered;
    job.attach(device, link);
  } catch (error) {
    link.close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
