/**
 * The in-memory twin of `tcp.ts`, for tests and single-process clusters. Each direction is a pipe with a bounded window, as
 * a socket's buffers are: bytes are copied on the way in and leave in another turn of the event loop.
 */
import { DistrEdgeError } from '@distredge/core';
import { FramedLink, type Wire } from './framed-link.js';
import type { Link, LinkHandlers, LinkOptions, Listener, Transport } from './link.js';

/** Bytes that a pipe holds before writers wait. */
const WINDOW_BYTES = 256 * 1024;
/** Largest piece handed to the reader at a time, in bytes. */
const CHUNK_BYTES = 64 * 1024;

/** What listens under a name: makes the far end of a new link. */
type Accept = (wire: Wire) => FramedLink | undefined;

/** A transport inside this process. Every call makes a world of its own: names of one are unknown in another. */
export function createMemoryTransport(): Transport {
  const listeners = new Map<string, Accept>();
  let dialled = 0;

  async function dial(address: string, handlers: (link: Link) => LinkHandlers, options?: LinkOptions): Promise<Link> {
    const accept = listeners.get(address);
    if (accept === undefined) {
      const hint = 'nothing listens there: start the other member first, and check the name';
      throw new DistrEdgeError('LINK_FAILED', `No link to ${address}`, { where: address, hint });
    }
    dialled += 1;
    const remote = `${address}#${dialled}`;
    const there = new Pipe();
    const back = new Pipe();
    const link = new FramedLink(pipeWire(address, there, back), handlers, options);
    back.reader = link;
    setImmediate(() => {
      // The listener may have closed meanwhile.
      const wire = pipeWire(remote, back, there);
      if (listeners.get(address) === accept) there.reader = accept(wire);
      else wire.reset();
    });
    return link;
  }

  async function listen(
    address: string,
    handlers: (link: Link) => LinkHandlers,
    options?: LinkOptions,
  ): Promise<Listener> {
    if (address === '') throw new DistrEdgeError('ADDRESS_INVALID', 'The empty name is not an address');
    if (listeners.has(address)) {
      const hint = 'choose another name, or close the listener that has it';
      throw new DistrEdgeError('ADDRESS_IN_USE', `Cannot listen on ${address}`, { where: address, hint });
    }
    const links = new Set<Link>();
    const accept: Accept = (wire) => {
      try {
        const link = new FramedLink(wire, handlers, options, (closed) => links.delete(closed));
        links.add(link);
        return link;
      } catch {
        // The owner refused this connection, which has been reset; the listener goes on.
        return undefined;
      }
    };
    listeners.set(address, accept);
    return {
      address,
      close: async () => {
        if (listeners.get(address) === accept) listeners.delete(address);
        for (const link of links) link.close();
      },
    };
  }

  return { name: 'memory', dial, listen };
}

interface Writer {
  readonly pieces: readonly Uint8Array[];
  readonly done: (error?: Error | null) => void;
  /** The piece, and the byte in it, that goes next. */
  piece: number;
  at: number;
}

/** One direction of a link. */
class Pipe {
  /** Who gets the bytes; they wait in the window until somebody does. */
  #reader: FramedLink | undefined;
  #chunks: Uint8Array[] = [];
  #held = 0;
  #writers: Writer[] = [];
  #paused = false;
  #scheduled = false;
  /** `ending`: all is written, the reader gets what is held and then the end. `gone`: nobody reads any more. */
  #state: 'open' | 'ending' | 'gone' = 'open';

  set reader(reader: FramedLink | undefined) {
    this.#reader = reader;
    this.#schedule();
  }

  write(pieces: readonly Uint8Array[], done: Writer['done']): void {
    this.#writers.push({ pieces, done, piece: 0, at: 0 });
    this.#fill();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  /** The writer's orderly end. */
  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ending';
    this.#schedule();
  }

  /** The writer's abrupt end: what is held is lost. */
  reset(): void {
    this.discard();
    setImmediate(() => this.#reader?.failed());
  }

  /** The reader's end: from here on bytes are taken and dropped, as by a closed socket that drains. */
  discard(): void {
    this.#state = 'gone';
    this.#chunks = [];
    this.#held = 0;
    this.#fill();
  }

  /** Copies waiting bytes into the window as far as it has room. */
  #fill(): void {
    for (let writer = this.#writers[0]; writer !== undefined; writer = this.#writers[0]) {
      const piece = writer.pieces[writer.piece];
      if (piece === undefined || this.#state === 'gone') {
        this.#writers.shift();
        queueMicrotask(writer.done);
        continue;
      }
      const size = Math.min(piece.length - writer.at, CHUNK_BYTES, WINDOW_BYTES - this.#held);
      // Not `slice`, which on a Buffer does not copy.
      if (size > 0) this.#chunks.push(new Uint8Array(piece.subarray(writer.at, writer.at + size)));
      this.#held += size;
      writer.at += size;
      if (writer.at < piece.length && size === 0) break;
      if (writer.at === piece.length) {
        writer.piece += 1;
        writer.at = 0;
      }
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#paused || this.#reader === undefined || this.#state === 'gone') return;
    if (this.#chunks.length === 0 && this.#state !== 'ending') return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    while (!this.#paused) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) break;
      this.#held -= chunk.length;
      this.#reader?.received(chunk);
    }
    if (this.#state === 'ending' && !this.#paused) {
      this.#state = 'gone';
      this.#reader?.ended();
    }
    this.#fill();
  }
}

function pipeWire(remote: string, out: Pipe, back: Pipe): Wire {
  return {
    remote,
    write: (head, pieces, done) => out.write([head, ...pieces], done),
    pause: () => back.pause(),
    resume: () => back.resume(),
    end() {
      out.end();
      back.discard();
    },
    reset() {
      out.reset();
      back.discard();
    },
  };
}
