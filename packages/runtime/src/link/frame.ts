/**
 * Frames as bytes: the header codec and a decoder that takes them from chunks of any size. No I/O in here; every link
 * reads through this decoder, so one set of checks guards them all.
 *
 * Header, 16 bytes, little-endian: magic `DE` (2) · version (1) · kind (1) · request (4) · channel (4) · length (4).
 */
import { DistrEdgeError } from '@distredge/core';
import { type Arriving, type Frame, type FrameHeader, FrameKind } from './link.js';

/** Size of a frame's header in bytes. */
export const HEADER_BYTES = 16;
/** The protocol's version, sent with every frame. */
const FRAME_VERSION = 1;

const MAGIC_0 = 0x44; // 'D'
const MAGIC_1 = 0x45; // 'E'
const KINDS: ReadonlySet<number> = new Set(Object.values(FrameKind));

/** Writes a header. Throws `FRAME_INVALID` when a field does not fit. */
export function encodeHeader(header: FrameHeader): Uint8Array {
  if (!KINDS.has(header.kind)) {
    throw new DistrEdgeError('FRAME_INVALID', 'A frame of an unknown kind cannot be sent', {
      where: 'kind',
      expected: [...KINDS].join(', '),
      got: String(header.kind),
    });
  }
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes[0] = MAGIC_0;
  bytes[1] = MAGIC_1;
  bytes[2] = FRAME_VERSION;
  bytes[3] = header.kind;
  view.setUint32(4, unsigned32(header.request, 'request'), true);
  view.setUint32(8, unsigned32(header.channel, 'channel'), true);
  view.setUint32(12, unsigned32(header.length, 'length'), true);
  return bytes;
}

/** Reads the header in the first 16 bytes of `bytes`. Throws `FRAME_INVALID`, naming the field that is wrong. */
export function decodeHeader(bytes: Uint8Array): FrameHeader {
  if (bytes.length < HEADER_BYTES) {
    throw new DistrEdgeError('FRAME_INVALID', 'A frame header is cut short', {
      where: 'header',
      expected: `${HEADER_BYTES} bytes`,
      got: `${bytes.length} bytes`,
    });
  }
  checkStart(bytes, HEADER_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  return {
    kind: bytes[3] as FrameKind,
    request: view.getUint32(4, true),
    channel: view.getUint32(8, true),
    length: view.getUint32(12, true),
  };
}

/** What a decoder asks of its owner. */
export interface DecoderOptions {
  /** Gives the buffer for a payload; may throw to refuse it. Default: a fresh buffer, up to `maxFrameBytes`. */
  readonly allocate?: ((header: FrameHeader) => Uint8Array) | undefined;
  /** Largest payload in bytes that is accepted when `allocate` is not given. */
  readonly maxFrameBytes: number;
}

/**
 * Takes a stream's bytes in chunks of any size and gives its frames. A payload goes from the chunk straight into the
 * buffer that `allocate` returned. Once `push` has thrown, the stream has lost its frames and the decoder is of no use.
 */
export class FrameDecoder {
  readonly #allocate: (header: FrameHeader) => Uint8Array;
  readonly #head: Uint8Array = new Uint8Array(HEADER_BYTES);
  #headFilled = 0;
  #header: FrameHeader | undefined;
  #payload: Uint8Array = new Uint8Array(0);
  #filled = 0;

  constructor(options: DecoderOptions) {
    this.#allocate = options.allocate ?? ((header) => allocateUpTo(options.maxFrameBytes, header));
  }

  /** Whether a frame has begun and is not whole yet. */
  get midFrame(): boolean {
    return this.#headFilled > 0;
  }

  /** The frame whose payload is on its way, and how much of it is here, in bytes; undefined between frames. */
  get arriving(): Arriving | undefined {
    return this.#header === undefined ? undefined : { header: this.#header, received: this.#filled };
  }

  /**
   * Decodes `chunk` and calls `onFrame` with every frame that becomes whole; stops early when that returns false.
   * Returns how many bytes were used. Throws `FRAME_INVALID` for bytes that are no frame, and what `allocate` throws.
   */
  push(chunk: Uint8Array, onFrame: (frame: Frame) => boolean): number {
    let at = 0;
    while (at < chunk.length) {
      if (this.#header === undefined) {
        at += this.#takeHeader(chunk, at);
        if (this.#header === undefined) break;
      } else {
        const end = Math.min(chunk.length, at + this.#payload.length - this.#filled);
        this.#payload.set(chunk.subarray(at, end), this.#filled);
        this.#filled += end - at;
        at = end;
      }
      if (this.#filled === this.#payload.length && !onFrame(this.#takeFrame(this.#header))) break;
    }
    return at;
  }

  /** Moves header bytes from `chunk`; once all are there, reads the header and gets the payload's buffer. */
  #takeHeader(chunk: Uint8Array, at: number): number {
    const taken = Math.min(HEADER_BYTES - this.#headFilled, chunk.length - at);
    this.#head.set(chunk.subarray(at, at + taken), this.#headFilled);
    this.#headFilled += taken;
    if (this.#headFilled < HEADER_BYTES) {
      checkStart(this.#head, this.#headFilled);
      return taken;
    }
    const header = decodeHeader(this.#head);
    const payload = this.#allocate(header);
    if (payload.length !== header.length) {
      throw new DistrEdgeError('INTERNAL', "allocate returned a buffer that is not the payload's size", {
        expected: `${header.length} bytes`,
        got: `${payload.length} bytes`,
      });
    }
    this.#header = header;
    this.#payload = payload;
    this.#filled = 0;
    return taken;
  }

  #takeFrame(header: FrameHeader): Frame {
    const { kind, request, channel, length } = header;
    const frame = { kind, request, channel, length, payload: this.#payload };
    this.#header = undefined;
    this.#headFilled = 0;
    return frame;
  }
}

/** Checks the first `have` bytes of a header as far as they go, so that a stranger's bytes are refused at once. */
function checkStart(head: Uint8Array, have: number): void {
  const [magic0, magic1, version, kind] = head;
  if ((have > 0 && magic0 !== MAGIC_0) || (have > 1 && magic1 !== MAGIC_1)) {
    throw new DistrEdgeError('FRAME_INVALID', 'The other end does not speak this protocol', {
      where: 'magic',
      expected: hex([MAGIC_0, MAGIC_1].slice(0, have)),
      got: hex([...head.subarray(0, Math.min(have, 2))]),
      hint: 'check that the address and port are those of a distredge process',
    });
  }
  if (have > 2 && version !== FRAME_VERSION) {
    throw new DistrEdgeError('FRAME_INVALID', 'The other end speaks another version of the protocol', {
      where: 'version',
      expected: String(FRAME_VERSION),
      got: String(version),
      hint: 'run the same version of distredge on both ends',
    });
  }
  if (have > 3 && !KINDS.has(kind ?? 0)) {
    throw new DistrEdgeError('FRAME_INVALID', 'A frame is of an unknown kind', {
      where: 'kind',
      expected: [...KINDS].join(', '),
      got: String(kind),
    });
  }
}

function allocateUpTo(maxFrameBytes: number, header: FrameHeader): Uint8Array {
  if (header.length > maxFrameBytes) {
    throw new DistrEdgeError('FRAME_INVALID', 'A frame is larger than this end accepts', {
      where: 'length',
      expected: `at most ${maxFrameBytes} bytes`,
      got: `${header.length} bytes`,
    });
  }
  return new Uint8Array(header.length);
}

function unsigned32(value: number, field: string): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new DistrEdgeError('FRAME_INVALID', `A frame's ${field} does not fit its header`, {
      where: field,
      expected: 'an integer from 0 to 4294967295',
      got: String(value),
    });
  }
  return value;
}

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
