/**
 * How the devices of a program find each other: each dials those with a higher index and is dialled by the others. A device
 * that is dialled may still be on its way to being prepared, so it is asked again until the deadline.
 */
import { DistrEdgeError } from '@distredge/core';
import { type Job, peerLost } from './job.js';
import { FrameKind, type Link, type Transport } from './link/link.js';
import { now, PROTOCOL_VERSION, parseControl, sendControl } from './protocol.js';

/** How long to wait before asking a device again that is not ready yet. */
const AGAIN_MS = 25;
/** Largest control message of a device. */
const MAX_WORDS = 65_536;
/** One dial to a device may take so long: one that does not answer by then cannot be reached. */
const DIAL_MS = 10_000;
/** One that was reached is asked anew when it has not answered for so long: the link may have been cut meanwhile, and say nothing. */
const ANSWER_MS = 10_000;
/** Devices give each other signs of life this often, in ms. */
const BEAT_MS = 150;
/**
 * A device of which nothing is heard for so many beats, while an image is under way, is lost. The requester finds one that is
 * frozen or gone, too; this is for links between devices that are cut, of which nobody else knows. A device that computes on the
 * thread that serves its links is silent for its longest step: so many times the longest silence that was none are waited for,
 * and before it is known, in the first image, as many beats as even a slow device's longest step takes.
 */
const PATIENCE = 10;
const OF_LONGEST = 3;
const MOST_PATIENCE = 34;
/** The longest silence is that of the last images: at least so many, and less than twice as many. A machine that was busy once is not so for ever. */
const REMEMBERED_IMAGES = 16;

export class Peers {
  readonly token: string;
  readonly job: Job;
  readonly #transport: Transport;
  readonly #arrived = new Map<number, () => void>();
  /** By device: beats since something was heard of it, and the most that there were before something was. */
  readonly #silent = new Map<number, number>();
  #longest = new Map<number, number>();
  /** The same of the images before. */
  #longestBefore = new Map<number, number>();
  /** After how many images these change places. */
  #turnAt = REMEMBERED_IMAGES;
  readonly #beatMs: number;
  readonly #ids: readonly string[] | undefined;
  readonly #answerMs: number;

  /**
   * @param ids of the devices, where certificates prove them
   * @param answerMs how long a device that was reached may take to answer
   */
  constructor(
    job: Job,
    token: string,
    transport: Transport,
    beatMs: number = BEAT_MS,
    ids: readonly string[] | undefined = undefined,
    answerMs: number = ANSWER_MS,
  ) {
    this.job = job;
    this.token = token;
    this.#transport = transport;
    this.#beatMs = beatMs;
    this.#ids = ids;
    this.#answerMs = answerMs;
  }

  /** Something was heard of a device. */
  heard(device: number): void {
    if (this.job.images >= this.#turnAt) {
      this.#turnAt = this.job.images + REMEMBERED_IMAGES;
      this.#longestBefore = this.#longest;
      this.#longest = new Map();
    }
    this.#longest.set(device, Math.max(this.#longest.get(device) ?? 0, this.#silent.get(device) ?? 0));
    this.#silent.set(device, 0);
  }

  /** For how many beats a device may be silent. */
  #patience(device: number): number {
    if (this.job.images === 0) return MOST_PATIENCE;
    const longest = Math.max(this.#longest.get(device) ?? 0, this.#longestBefore.get(device) ?? 0);
    return Math.min(MOST_PATIENCE, Math.max(PATIENCE, OF_LONGEST * (longest + 1)));
  }

  /** Gives signs of life, and counts those of the others. */
  #watch(addresses: readonly string[]): void {
    const { job } = this;
    if (job.signal.aborted) return;
    const beat = setInterval(() => {
      for (const device of job.peers()) {
        job.ping(device);
        const silent = job.busy ? (this.#silent.get(device) ?? 0) + 1 : 0;
        this.#silent.set(device, silent);
        if (silent <= this.#patience(device)) continue;
        const where = `device ${device} at ${addresses[device] ?? ''}`;
        job.fail(peerLost(where, new Error(`nothing heard for ${(silent - 1) * this.#beatMs} ms`)), device);
        return;
      }
    }, this.#beatMs);
    beat.unref();
    job.signal.addEventListener('abort', () => clearInterval(beat));
  }

  /** Takes the link of a device that dialled. */
  accept(device: number, link: Link): void {
    const expected = this.#ids?.[device];
    if (expected !== undefined && link.peer?.deviceId !== expected) {
      throw new DistrEdgeError('PEER_REFUSED', 'another device claims to be one of the program', {
        where: link.remote,
        expected: `device ${expected}`,
        got: `device ${link.peer?.deviceId ?? 'unknown'}`,
      });
    }
    this.job.attach(device, link);
    this.#arrived.get(device)?.();
  }

  /** Resolves when every device that rows are exchanged with has a link. Ends early, with `CANCELLED`, when the job does. */
  async connect(addresses: readonly string[], ms: number): Promise<void> {
    const { job } = this;
    const deadline = now() + ms;
    await Promise.all(
      [...job.peers()].map(async (device) => {
        const where = `device ${device} at ${addresses[device] ?? ''}`;
        try {
          if (device < job.program.device) await this.#wait(device, where, deadline);
          else await this.#dial(device, addresses[device] ?? '', where, deadline);
        } catch (error) {
          const lost = error instanceof DistrEdgeError && error.code === 'PROVIDER_LOST';
          job.fail(lost ? error : peerLost(where, error), device);
          throw error;
        }
      }),
    );
    this.#watch(addresses);
  }

  #wait(device: number, where: string, deadline: number): Promise<void> {
    const { job } = this;
    if (job.connected(device)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        job.signal.removeEventListener('abort', stop);
        if (error === undefined) resolve();
        else reject(error);
      };
      const stop = (): void => settle(ended(where));
      const timer = setTimeout(() => settle(missing(where)), deadline - now());
      job.signal.addEventListener('abort', stop);
      this.#arrived.set(device, settle);
    });
  }

  async #dial(device: number, address: string, where: string, deadline: number): Promise<void> {
    const { job } = this;
    for (;;) {
      if (job.signal.aborted) throw ended(where);
      if (now() > deadline) throw missing(where);
      try {
        return await this.#try(device, address, where, deadline);
      } catch (error) {
        if (!(error instanceof NotReady)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  #expecting(device: number): { readonly expectPeer?: string } {
    const id = this.#ids?.[device];
    return id === undefined ? {} : { expectPeer: id };
  }

  async #try(device: number, address: string, where: string, deadline: number): Promise<void> {
    const { job, token } = this;
    const left = Math.max(1, deadline - now());
    let welcomed = false;
    let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
    const answered = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject };
    });
    answered.catch(() => undefined);
    const link = await this.#transport.dial(
      address,
      () => ({
        allocate: (header) => {
          this.heard(device);
          if (header.length === 0 && (header.kind === FrameKind.ping || header.kind === FrameKind.pong))
            return new Uint8Array(0);
          if (welcomed && header.kind === FrameKind.data) return job.allocate(device, header);
          if (header.length <= MAX_WORDS && header.kind === FrameKind.control) return new Uint8Array(header.length);
          throw new DistrEdgeError('PROTOCOL', 'a frame came that does not belong here', { where });
        },
        frame: (frame) => {
          if (frame.kind === FrameKind.data) return job.receive(frame);
          if (frame.kind !== FrameKind.control) return;
          if (parseControl(frame).type !== 'peer-welcome') {
            settle?.reject(new NotReady());
            return;
          }
          welcomed = true;
          settle?.resolve();
        },
        closed: (cause) => {
          settle?.reject(new NotReady());
          if (!welcomed) return;
          job.fail(peerLost(where, cause), device);
        },
      }),
      { deadlineMs: Math.min(DIAL_MS, left), ...this.#expecting(device) },
    );
    const giveUp = (): void => link.close();
    const timer = setTimeout(giveUp, Math.min(this.#answerMs, left));
    job.signal.addEventListener('abort', giveUp);
    try {
      await sendControl(link, {
        type: 'peer',
        version: PROTOCOL_VERSION,
        token,
        to: device,
        device: job.program.device,
      });
      await answered;
      job.attach(device, link);
    } catch (error) {
      link.close();
      throw error instanceof DistrEdgeError && error.code === 'LINK_CLOSED' ? new NotReady() : error;
    } finally {
      clearTimeout(timer);
      job.signal.removeEventListener('abort', giveUp);
    }
  }
}

/** The other device answers, but has not got that far. */
class NotReady extends Error {}

function missing(where: string): DistrEdgeError {
  return new DistrEdgeError('PROVIDER_LOST', 'another device did not connect', {
    where,
    hint: 'is it reachable from this device under that address?',
  });
}

function ended(where: string): DistrEdgeError {
  return new DistrEdgeError('CANCELLED', 'the job ended before all devices were connected', { where });
}
