/**
 * The one `Link` implementation: frames over any ordered stream of bytes. It owns what a contract is about — order, one
 * handler at a time, back-pressure, refusals, stalls, closing exactly once — so that a transport only moves bytes.
 */
import { DistrEdgeError } from '@distredge/core';
import { encodeHeader, FrameDecoder } from './frame.js';
import type { Arriving, Frame, FrameHeader, Link, LinkHandlers, LinkOptions, LinkPeer } from './link.js';

const DEFAULT_MAX_FRAME_BYTES = 64 * 2 ** 20;
const DEFAULT_STALL_MS = 30_000;
/** The largest delay that timers keep, in ms. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** The stream of bytes under a link. Reports to the link through `received`, `ended` and `failed`, never synchronously. */
export interface Wire {
  /** The other end's address, for messages to people. */
  readonly remote: string;
  /** Who the other end has proven to be. */
  readonly peer?: LinkPeer;
  /**
   * Queues `head` and `pieces` back to back without copying. `done` is called later, once: when the bytes are not needed
   * any more, or with the reason why they will not arrive.
   */
  write(head: Uint8Array, pieces: readonly Uint8Array[], done: (error?: Error | null) => void): void;
  /** Holds back `received`; a chunk that is already on its way may still come. */
  pause(): void;
  resume(): void;
  /** Closes in good order; everything written has been taken. The other end sees `ended`. */
  end(): void;
  /** Closes at once and drops what is queued. The other end sees `failed`. */
  reset(): void;
}

/** Stands in for handlers that could not be had. */
const NOBODY: LinkHandlers = { frame() {}, closed() {} };

/** A link over a wire. Lives from construction to its `closed` handler. */
export class FramedLink implements Link {
  readonly #wire: Wire;
  readonly #handlers: LinkHandlers;
  readonly #decoder: FrameDecoder;
  readonly #onClosed: ((link: FramedLink) => void) | undefined;
  readonly #deliver: (frame: Frame) => boolean = (frame) => this.#handle(frame);
  /** The rejections of sends whose bytes are still needed. */
  readonly #pending: Set<(error: Error) => void> = new Set();
  /** Received bytes that wait for a busy handler: what is left of one chunk, and what came before the pause took hold. */
  readonly #waiting: Uint8Array[] = [];
  #stallTimer: NodeJS.Timeout | undefined;
  #received = 0;
  #receivedAtTick = 0;
  #stillTicks = 0;
  #busy = false;
  #paused = false;
  #ended = false;
  #closed = false;

  /** Asks `handlers` for this link's handlers and rethrows what it throws, with the wire reset. */
  constructor(
    wire: Wire,
    handlers: (link: Link) => LinkHandlers,
    options: LinkOptions = {},
    onClosed?: (link: FramedLink) => void,
  ) {
    this.#wire = wire;
    this.#onClosed = onClosed;
    try {
      this.#handlers = handlers(this);
    } catch (error) {
      this.#handlers = NOBODY;
      this.#finish(asError(error), false);
      throw error;
    }
    const allocate = this.#handlers.allocate?.bind(this.#handlers);
    this.#decoder = new FrameDecoder({ allocate, maxFrameBytes: options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES });
    if (!this.#closed) {
      const tickMs = Math.min((options.stallMs ?? DEFAULT_STALL_MS) / 2, MAX_TIMER_MS);
      this.#stallTimer = setInterval(() => this.#checkStall(), tickMs);
      this.#stallTimer.unref();
    }
  }

  get remote(): string {
    return this.#wire.remote;
  }

  get peer(): LinkPeer | undefined {
    return this.#wire.peer;
  }

  get arriving(): Arriving | undefined {
    return this.#decoder.arriving;
  }

  send(header: Omit<FrameHeader, 'length'>, payload: readonly Uint8Array[]): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closedError());
    let length = 0;
    for (const piece of payload) length += piece.length;
    const { kind, request, channel } = header;
    let head: Uint8Array;
    try {
      head = encodeHeader({ kind, request, channel, length });
    } catch (error) {
      return Promise.reject(error);
    }
    const sent = new Promise<void>((resolve, reject) => {
      this.#pending.add(reject);
      this.#wire.write(head, payload, (error) => {
        this.#pending.delete(reject);
        if (error) reject(this.#closedError(error));
        else resolve();
      });
    });
    // `closed` tells of the failure too, so a send that nobody waits for must not end the process.
    sent.catch(() => {});
    return sent;
  }

  close(error?: Error): void {
    // Bytes of pending sends may be changed once those reject, so they can neither be finished nor ended in good order.
    this.#finish(error, error === undefined && this.#pending.size === 0);
  }

  /** The wire's bytes, in order. The chunk belongs to the link from here on. */
  received(chunk: Uint8Array): void {
    if (this.#closed) return;
    this.#received += chunk.length;
    if (!this.#busy) {
      this.#consume(chunk);
      return;
    }
    this.#waiting.push(chunk);
    this.#paused = true;
    this.#wire.pause();
  }

  /** The other end closed in good order; nothing more will be received. */
  ended(): void {
    this.#ended = true;
    if (!this.#closed && !this.#busy) this.#finishEnded();
  }

  /** The wire broke. After `ended` this concerns sends only, and those hear of it themselves. */
  failed(cause?: Error): void {
    if (!this.#ended) this.#finish(this.#closedError(cause), false);
  }

  #consume(chunk: Uint8Array): void {
    let used: number;
    try {
      used = this.#decoder.push(chunk, this.#deliver);
    } catch (error) {
      this.#finish(asError(error), false);
      return;
    }
    if (used < chunk.length && !this.#closed) this.#waiting.unshift(chunk.subarray(used));
  }

  /** Gives a frame to its handler; false when nothing more can be given for now. */
  #handle(frame: Frame): boolean {
    const result: unknown = this.#handlers.frame(frame);
    if (isThenable(result)) {
      this.#busy = true;
      Promise.resolve(result).then(
        () => this.#goOn(),
        (error: unknown) => this.#finish(asError(error), false),
      );
    }
    return !this.#busy && !this.#closed;
  }

  /** Takes up again after an asynchronous handler: first what waits, then the wire. */
  #goOn(): void {
    this.#busy = false;
    while (!this.#busy && !this.#closed) {
      const chunk = this.#waiting.shift();
      if (chunk === undefined) break;
      this.#consume(chunk);
    }
    if (this.#busy || this.#closed) return;
    if (this.#ended) {
      this.#finishEnded();
    } else if (this.#paused) {
      this.#paused = false;
      this.#wire.resume();
    }
  }

  #finishEnded(): void {
    const cut = this.#decoder.midFrame;
    this.#finish(cut ? this.#closedError(undefined, 'in the middle of a frame') : undefined, true);
  }

  #finish(error: Error | undefined, orderly: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#stallTimer);
    this.#waiting.length = 0;
    if (orderly && this.#pending.size === 0) this.#wire.end();
    else this.#wire.reset();
    for (const reject of this.#pending) reject(this.#closedError(error));
    this.#pending.clear();
    // Later, so that nobody's `close` calls back into its caller, and a factory that closes its link still hears of it.
    queueMicrotask(() => {
      this.#onClosed?.(this);
      this.#handlers.closed(error);
    });
  }

  /** Two ticks of half the time without a byte: at least the whole time. A busy handler leaves no frame half-received. */
  #checkStall(): void {
    const still = this.#decoder.midFrame && this.#received === this.#receivedAtTick;
    this.#receivedAtTick = this.#received;
    this.#stillTicks = still ? this.#stillTicks + 1 : 0;
    if (this.#stillTicks < 2) return;
    const message = 'The other end began a frame and sent no more of it';
    const hint = 'check that the other process and the network between are alive';
    this.#finish(new DistrEdgeError('DEADLINE', message, { where: this.remote, hint }), false);
  }

  #closedError(cause?: Error, when?: string): DistrEdgeError {
    const facts = cause === undefined ? { where: this.remote } : { where: this.remote, got: cause.message, cause };
    return new DistrEdgeError(
      'LINK_CLOSED',
      when === undefined ? 'The link is closed' : `The link closed ${when}`,
      facts,
    );
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function asError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  return new DistrEdgeError('INTERNAL', 'A link handler threw something that is no error', { cause: thrown });
}
