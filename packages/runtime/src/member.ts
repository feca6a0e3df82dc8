/** One provider, as the requester sees it: its link, what it was asked, and whether it is still alive. */
import { type DeviceProgram, DistrEdgeError } from '@distredge/core';
import { type Arriving, type Frame, type FrameHeader, FrameKind, type Link, type Transport } from './link/link.js';
import {
  BEGIN_CHANNEL,
  BLOB_CHUNK_BYTES,
  type Control,
  checkVersion,
  PROTOCOL_VERSION,
  type Progressed,
  parseControl,
  reportedError,
  sendControl,
  type Traced,
  type Wanted,
  within,
} from './protocol.js';
import type { Chunks } from './weights/chunks.js';

/** Whom a member hands rows to, and tells when it is lost. */
interface MemberOwner {
  /** The buffer for a result; throws `PROTOCOL` for any that is not awaited. */
  allocate(device: number, header: FrameHeader): Uint8Array;
  receive(frame: Frame): void;
  /** The first error counts; `device` is the one to blame, if one is. */
  fail(error: Error, device?: number): void;
}

/** For how long a provider that says it lost another one is not believed: the other one's link may say more. */
const BLAME_MS = 200;

/** Loading models may hold a provider up, all the longer where several share a core: it is waited for this much longer. */
const LOADING_PATIENCE = 4;

/** Weights that may not hold images up travel in pieces of this size, with pauses of at most so many ms between them. */
const SLOW_CHUNK_BYTES: number = 2 ** 16;
const MOST_PAUSE_MS = 1000;

/** A blob is asked for once more where what was there of it was wrong: so many times its bytes are sent, at most. */
const MOST_ASKED = 2;

/** One of the blobs of a device's part: its bytes, their SHA-256, and what they consist of, if they are many. */
export interface SentBlob {
  readonly data: Uint8Array;
  readonly hash: string;
  readonly chunks: Chunks | undefined;
}

/** Hears of the weights that travel, in bytes. */
interface Travels {
  /** The most that they may take of a link, in 10⁶ bit/s. */
  readonly mbps?: number;
  /** So many more are wanted. */
  wanted(bytes: number): void;
  sent(bytes: number): void;
}

/** One provider, as the requester sees it. */
export class Member {
  readonly device: number;
  readonly #address: string;
  readonly #owner: MemberOwner;
  readonly #waiting: { type: Control['type']; resolve: (message: Control) => void; reject: (error: Error) => void }[] =
    [];
  #link: Link | undefined;
  #failure: Error | undefined;
  #unanswered = 0;
  #loading = false;
  /** Whether it has told that it lost another device: its own end follows from that. */
  #blames = false;
  #readiness: Promise<Control> | undefined;
  #progress: Promise<void> | undefined;
  #told: Progressed | undefined;
  /** While it is prepared: what its program consists of, and how many bytes of it the provider has asked for. */
  #blobs: readonly { readonly data: Uint8Array; asked: number }[] = [];
  #travels: Travels = { wanted() {}, sent() {} };
  #supplying: Promise<void> = Promise.resolve();

  constructor(device: number, address: string, owner: MemberOwner) {
    this.device = device;
    this.#address = address;
    this.#owner = owner;
  }

  get #where(): string {
    return `device ${this.device} at ${this.#address}`;
  }

  /** `id`: the device that must answer there. */
  async greet(transport: Transport, deadlineMs: number, id?: string): Promise<void> {
    const dialled = await transport.dial(
      this.#address,
      (link) => ({
        allocate: (header) => {
          this.#unanswered = 0;
          if (header.kind === FrameKind.data) return this.#owner.allocate(this.device, header);
          if (header.length > 64 * 2 ** 20)
            throw new DistrEdgeError('PROTOCOL', 'a provider sent too large a message', { where: link.remote });
          return new Uint8Array(header.length);
        },
        frame: (frame) => this.#frame(frame),
        closed: (error) => this.#lost(error),
      }),
      { deadlineMs, ...(id === undefined ? {} : { expectPeer: id }) },
    );
    this.#link = dialled;
    // The cluster may have been closed while this was on its way.
    if (this.#failure !== undefined) {
      dialled.close();
      throw this.#failure;
    }
    const answer = this.#expect('welcome');
    await this.#tell({ type: 'hello', version: PROTOCOL_VERSION });
    const welcome = await within(answer, deadlineMs, 'a provider did not answer', () => this.#where);
    if (welcome.type === 'welcome') checkVersion(welcome.version, this.#where);
  }

  async prepare(
    job: {
      token: string;
      peers: string[];
      ids: readonly string[] | undefined;
      requestMs: number;
      inFlight: number;
      part: DeviceProgram;
      /** In the order of `blobsOf`. */
      blobs: readonly SentBlob[];
    },
    travels: Travels,
  ): Promise<void> {
    this.#blobs = job.blobs.map(({ data }) => ({ data, asked: 0 }));
    this.#travels = travels;
    this.#readiness = this.#expect('ready');
    this.#loading = true;
    const chunks = job.blobs.flatMap((blob, index) =>
      blob.chunks === undefined ? [] : [{ blob: index, ...blob.chunks }],
    );
    await this.#tell({
      type: 'prepare',
      token: job.token,
      peers: job.peers,
      ...(job.ids === undefined ? {} : { ids: job.ids }),
      requestMs: job.requestMs,
      inFlight: job.inFlight,
      hashes: job.blobs.map(({ hash }) => hash),
      ...(chunks.length === 0 ? {} : { chunks }),
      program: job.part,
    });
  }

  /** Sends what the provider lacks; what it asks for later comes after that. */
  #supply({ blobs }: Wanted): void {
    const all = this.#blobs;
    if (!this.#loading) throw this.#unasked('wanted');
    const spans = blobs.map(({ blob, from, to }) => {
      const wanted = all[blob];
      const bytes = wanted?.data.subarray(from, to) ?? new Uint8Array();
      const size = wanted?.data.byteLength ?? 0;
      if (wanted === undefined || bytes.byteLength === 0 || wanted.asked + bytes.byteLength > MOST_ASKED * size) {
        throw new DistrEdgeError('PROTOCOL', 'a provider asked for weights that it cannot lack', {
          where: this.#where,
          got: `blob ${blob} from byte ${from}`,
        });
      }
      wanted.asked += bytes.byteLength;
      return { blob, bytes };
    });
    this.#travels.wanted(spans.reduce((sum, { bytes }) => sum + bytes.byteLength, 0));
    this.#supplying = this.#supplying.then(async () => {
      for (const { blob, bytes } of spans) await this.#sendBlob(blob, bytes);
    });
    this.#supplying.catch((error: unknown) => this.#fail(asError(error), this.device));
  }

  async #sendBlob(channel: number, bytes: Uint8Array): Promise<void> {
    const { mbps } = this.#travels;
    const most = mbps === undefined ? BLOB_CHUNK_BYTES : SLOW_CHUNK_BYTES;
    for (let at = 0; at < bytes.byteLength; at += most) {
      const chunk = bytes.subarray(at, at + most);
      const began = performance.now();
      try {
        await (this.#link as Link).send({ kind: FrameKind.blob, request: 0, channel }, [chunk]);
      } catch (error) {
        throw await this.#reason(error);
      }
      this.#travels.sent(chunk.byteLength);
      if (mbps === undefined) continue;
      const rest = (chunk.byteLength * 8) / (mbps * 1000) - (performance.now() - began);
      if (rest > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(rest, MOST_PAUSE_MS)));
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  async ready(deadlineMs: number): Promise<void> {
    const ready = this.#readiness as Promise<Control>;
    await within(ready, deadlineMs, 'a provider did not load its models', () => this.#where);
    this.#loading = false;
    this.#blobs = [];
  }

  begin(request: number): Promise<void> {
    return this.#send(request, BEGIN_CHANNEL, []);
  }

  data(request: number, message: number, payload: readonly Uint8Array[]): Promise<void> {
    return this.#send(request, message, payload);
  }

  async #send(request: number, channel: number, payload: readonly Uint8Array[]): Promise<void> {
    try {
      await (this.#link as Link).send({ kind: FrameKind.data, request, channel }, payload);
    } catch (error) {
      throw await this.#reason(error);
    }
  }

  async trace(deadlineMs: number): Promise<Traced> {
    const answer = this.#expect('traced');
    await this.#tell({ type: 'trace' });
    return (await within(answer, deadlineMs, 'a provider did not tell of the last image', () => this.#where)) as Traced;
  }

  /**
   * How far an image has come: what the provider tells within so many ms, or else what it told last. Only one question is open at a
   * time; a provider that computes answers when it is done.
   */
  async progress(ms: number): Promise<Progressed | undefined> {
    this.#progress ??= this.#askProgress().then(
      (told) => {
        this.#told = told;
        this.#progress = undefined;
      },
      () => undefined,
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    });
    await Promise.race([this.#progress, late]);
    clearTimeout(timer);
    return this.#told;
  }

  async #askProgress(): Promise<Progressed> {
    const answer = this.#expect('progressed');
    await this.#tell({ type: 'progress' });
    return (await answer) as Progressed;
  }

  /** The rows that are on their way here, and how many bytes of them have come. */
  get arriving(): Arriving | undefined {
    return this.#link?.arriving;
  }

  async #tell(message: Control): Promise<void> {
    try {
      await sendControl(this.#link as Link, message);
    } catch (error) {
      throw await this.#reason(error);
    }
  }

  /** Why a send failed: the link's own end, of which this side hears a moment later, tells better. */
  async #reason(error: unknown): Promise<unknown> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#blames) await new Promise((resolve) => setTimeout(resolve, BLAME_MS));
    return this.#failure ?? error;
  }

  /**
   * Asks whether the provider is alive; one that has been silent for so many asks is lost. Asks are counted, not
   * milliseconds: this process may itself have been too busy to read the answer.
   */
  beat(patience: number): void {
    if (this.#link === undefined) return;
    if (this.#unanswered >= (this.#loading ? patience * LOADING_PATIENCE : patience)) {
      this.#fail(
        new DistrEdgeError('PROVIDER_LOST', 'a provider does not answer', {
          where: this.#where,
          hint: 'is the process frozen or the network cut?',
        }),
        this.device,
      );
      return;
    }
    this.#unanswered += 1;
    this.#link.send({ kind: FrameKind.ping, request: 0, channel: 0 }, []).catch(() => undefined);
  }

  #frame(frame: Frame): void {
    if (frame.kind === FrameKind.data) this.#owner.receive(frame);
    if (frame.kind !== FrameKind.control) return;
    const message = parseControl(frame);
    if (message.type === 'failed') {
      const lost = message.peer !== undefined && message.error.code === 'PROVIDER_LOST';
      const error = reportedError(message, this.#where);
      // The neighbour's own link tells better why it is gone: give it a moment to. Meanwhile this provider hangs up, too.
      if (lost) {
        this.#blames = true;
        setTimeout(() => this.#fail(error, message.peer), BLAME_MS);
      } else this.#fail(error, error.code === 'DEADLINE' ? undefined : this.device);
      return;
    }
    if (message.type === 'wanted') {
      this.#supply(message);
      return;
    }
    // At once: nothing may be asked for after that.
    if (message.type === 'ready') this.#loading = false;
    const at = this.#waiting.findIndex(({ type }) => type === message.type);
    if (at < 0) throw this.#unasked(message.type);
    this.#waiting.splice(at, 1)[0]?.resolve(message);
  }

  #unasked(got: string): DistrEdgeError {
    return new DistrEdgeError('PROTOCOL', 'a provider said something unasked', { where: this.#where, got });
  }

  #expect(type: Control['type']): Promise<Control> {
    const answer = new Promise<Control>((resolve, reject) => {
      if (this.#failure === undefined) this.#waiting.push({ type, resolve, reject });
      else reject(this.#failure);
    });
    // It may fail before anyone waits for it.
    answer.catch(() => undefined);
    return answer;
  }

  #lost(error: Error | undefined): void {
    if (this.#blames) return;
    if (
      error instanceof DistrEdgeError &&
      (error.code === 'PROTOCOL' || error.code === 'FRAME_INVALID' || error.code === 'DEADLINE')
    ) {
      this.#fail(
        new DistrEdgeError('PROVIDER_FAILED', `a provider broke the protocol: ${error.message}`, {
          where: this.#where,
          ...(error.got === undefined ? {} : { got: error.got }),
          hint: 'is something else listening at this address?',
          cause: error,
        }),
        this.device,
      );
      return;
    }
    this.#fail(
      new DistrEdgeError('PROVIDER_LOST', 'the link to a provider broke', {
        where: this.#where,
        hint: 'did its process end?',
        cause: error,
      }),
      this.device,
    );
  }

  #fail(error: Error, blamed: number | undefined): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    this.#owner.fail(this.#failure, blamed);
  }

  close(error?: Error): void {
    this.#failure ??= error ?? new DistrEdgeError('CANCELLED', 'the cluster was closed');
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
    this.#link?.close();
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
