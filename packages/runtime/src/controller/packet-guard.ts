/**
 * A stream of MQTT packets that lets none through that is longer than it may be: neither broker nor client bound what they
 * buffer of a packet, so this stands before them. It reads the fixed headers (type, length) and passes all bytes on.
 */
import { Duplex } from 'node:stream';
import { DistrEdgeError } from '@distredge/core';
import { MAX_PACKET_BYTES } from './messages.js';

/** A client says who it is in fewer bytes; who says more is none of ours. */
const MAX_FIRST_BYTES = 8192;
/** The length of a packet takes up to four bytes, seven bits each. */
const MAX_LENGTH_BYTES = 4;

/** Follows the packets of a stream and throws `PROTOCOL` for one that is too long. */
export class PacketLengths {
  readonly #most: number;
  #allowed: number;
  /** Bytes of the current packet that are still to come; -1 where its type comes next, -2 where its length does. */
  #left = -1;
  #length = 0;
  #digits = 0;

  constructor(firstBytes: number = MAX_FIRST_BYTES, mostBytes: number = MAX_PACKET_BYTES) {
    this.#most = mostBytes;
    this.#allowed = firstBytes;
  }

  look(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.#left === -1) {
        at++;
        this.#left = -2;
        this.#length = 0;
        this.#digits = 0;
      } else if (this.#left === -2) {
        const byte = chunk[at++] as number;
        this.#length += (byte & 127) * 128 ** this.#digits++;
        if (this.#length > this.#allowed || (byte > 127 && this.#digits === MAX_LENGTH_BYTES)) {
          throw new DistrEdgeError('PROTOCOL', 'a packet of the control plane is too long', {
            expected: `at most ${this.#allowed} bytes`,
            got: `${this.#length} or more`,
          });
        }
        if (byte < 128) this.#end(this.#length);
      } else {
        const taken = Math.min(this.#left, chunk.byteLength - at);
        at += taken;
        this.#end(this.#left - taken);
      }
    }
  }

  #end(left: number): void {
    this.#left = left === 0 ? -1 : left;
    if (left === 0) this.#allowed = this.#most;
  }
}

class GuardedStream extends Duplex {
  readonly #inner: Duplex;

  constructor(inner: Duplex, lengths: PacketLengths) {
    super({ allowHalfOpen: false });
    this.#inner = inner;
    inner.on('data', (chunk: Buffer) => {
      try {
        lengths.look(chunk);
        if (!this.push(chunk)) inner.pause();
      } catch (error) {
        this.destroy(error as Error);
      }
    });
    inner.on('end', () => this.push(null));
    inner.on('error', (error) => this.destroy(error));
    inner.on('close', () => this.destroy());
  }

  override _read(): void {
    this.#inner.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#inner.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#inner.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#inner.destroy();
    done(error);
  }
}

/** The same stream, destroyed with `PROTOCOL` as soon as a packet on its way in is too long. */
export function guardPackets(inner: Duplex, firstBytes?: number): Duplex {
  return new GuardedStream(inner, new PacketLengths(firstBytes));
}
