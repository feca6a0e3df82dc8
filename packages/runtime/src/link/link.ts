/**
 * The `Link` contract: an ordered, reliable, full-duplex channel of binary frames between two members of a
 * cluster. Implementations (`memory.ts`, `tcp.ts`) live beside it and are held to one compliance suite; nothing else in
 * the runtime knows which one it talks through.
 *
 * A frame is a fixed header and a payload. Data frames carry tensor rows and nothing else: what they mean is fixed by
 * the program that both ends hold, so no frame of an image is parsed, only checked.
 */

/** What a frame is. `control` payloads are UTF-8 JSON (set-up only); `blob` and `data` payloads are raw bytes. */
export const FrameKind = { control: 1, blob: 2, data: 3, ping: 4, pong: 5 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** The fixed part of every frame. All numbers are unsigned integers. */
export interface FrameHeader {
  readonly kind: FrameKind;
  /** Which request (image) a data frame belongs to; 0 for frames that belong to none. 32 bits. */
  readonly request: number;
  /** Which message of the program (data) or which blob (blob) this is; 0 otherwise. 32 bits. */
  readonly channel: number;
  /** Payload length in bytes. 32 bits. */
  readonly length: number;
}

/** A received frame. `payload` is owned by the receiver from here on. */
export interface Frame extends FrameHeader {
  readonly payload: Uint8Array;
}

/** What a link's owner supplies. Handlers run one at a time, in order of arrival. */
export interface LinkHandlers {
  /**
   * Called with every header before its payload is read; returns the buffer to read the payload into, exactly
   * `header.length` long. Throwing refuses the frame and closes the link with that error, so no unexpected byte is ever
   * buffered. Default: a fresh buffer, up to `maxFrameBytes`.
   */
  allocate?(header: FrameHeader): Uint8Array;
  /** Called with every whole frame. A returned promise holds back further reads until it settles (back-pressure). */
  frame(frame: Frame): void | Promise<void>;
  /** Called exactly once, when the link is no longer usable; `error` is undefined after an orderly close. */
  closed(error: Error | undefined): void;
}

/** Who the other end has proven to be. */
export interface LinkPeer {
  readonly deviceId: string;
  readonly role: 'controller' | 'device';
}

/** A frame of which a part is here. */
export interface Arriving {
  readonly header: FrameHeader;
  /** Bytes of its payload. */
  readonly received: number;
}

/** One end of a link. */
export interface Link {
  /** For messages to people: the other end's address. */
  readonly remote: string;
  /** Who the other end is; undefined on links that prove nothing (in memory, plain TCP). */
  readonly peer?: LinkPeer | undefined;
  /** The frame that is being received; undefined between frames, and where the link does not know. */
  readonly arriving?: Arriving | undefined;
  /**
   * Sends one frame; `payload` may be given in pieces that are written back to back without copying. Resolves when the
   * link accepts more (back-pressure), rejects with `LINK_CLOSED` when it is or becomes closed. Frames arrive in the
   * order of calls. The pieces must not be changed until the promise settles.
   */
  send(header: Omit<FrameHeader, 'length'>, payload: readonly Uint8Array[]): Promise<void>;
  /** Closes at once, both ways; pending sends reject. Given an error, this end's `closed` handler gets it. Idempotent. */
  close(error?: Error): void;
}

/** A listening socket, or its twin. */
export interface Listener {
  /** The address to dial, with the port that was really taken. */
  readonly address: string;
  close(): Promise<void>;
}

export interface LinkOptions {
  /** Largest payload that is accepted when `allocate` is not given. Default 64 MiB. */
  readonly maxFrameBytes?: number;
  /** Dialling gives up with `DEADLINE` after this long. Default 5000 ms. */
  readonly deadlineMs?: number;
  /** Largest time a half-received frame may stand still before the link closes with `DEADLINE`. Default 30000 ms. */
  readonly stallMs?: number;
  /** Dialling fails with `PEER_REFUSED` unless the other end proves to be the device of this id. Default: any of the cluster. */
  readonly expectPeer?: string;
}

/** Makes links. `Address` is `host:port` for sockets and any name for the in-memory twin. */
export interface Transport {
  readonly name: string;
  dial(address: string, handlers: (link: Link) => LinkHandlers, options?: LinkOptions): Promise<Link>;
  listen(address: string, handlers: (link: Link) => LinkHandlers, options?: LinkOptions): Promise<Listener>;
}
