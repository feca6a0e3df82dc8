/** A blob that a device lacks, on its way: chunks that other blobs have are copied, the rest comes from the requester, in order. */
import { type FileHandle, open } from 'node:fs/promises';
import { DistrEdgeError } from '@distredge/core';
import type { WantedBlob } from '../protocol.js';
import type { HeldBlob } from './blob.js';
import { type Chunks, type Span, spansOf } from './chunks.js';
import type { Intake } from './intake.js';
import type { BlobStore } from './store.js';

/** A part of a blob that is still to come: from the requester, or from so far into another blob. */
interface Piece extends Span {
  readonly source?: { readonly held: HeldBlob; readonly from: number } | undefined;
}

/** What is on its way. */
interface Lacking {
  /** Index among the program's blobs. */
  readonly blob: number;
  readonly hash: string;
  readonly bytes: number;
  readonly chunks?: Chunks | undefined;
}

/** Bytes that are copied at once. */
const COPY_BYTES = 2 ** 20;

export class Arrival {
  readonly lacking: Lacking;
  readonly #store: BlobStore;
  readonly #pieces: Piece[];
  readonly #sources: readonly HeldBlob[];
  #intake: Intake | undefined;
  /** Whether all of its bytes come anew. */
  readonly #anew: boolean;
  #stopped = false;

  private constructor(
    store: BlobStore,
    lacking: Lacking,
    { pieces, sources = [], intake }: { pieces: Piece[]; sources?: readonly HeldBlob[]; intake?: Intake | undefined },
  ) {
    this.#store = store;
    this.lacking = lacking;
    this.#pieces = pieces;
    this.#sources = sources;
    this.#intake = intake;
    this.#anew = sources.length === 0 && (intake?.from ?? 0) === 0;
  }

  /** Looks up what is there of it: what an earlier attempt left, and chunks of other blobs. Copies those that it begins with. */
  static async begin(store: BlobStore, lacking: Lacking): Promise<Arrival> {
    const { hash, bytes, chunks } = lacking;
    // What an earlier attempt left is claimed now: the requester is told where to go on.
    const intake = store.hasPart(hash) ? await store.take(hash, bytes) : undefined;
    const begun = intake?.from ?? 0;
    const sources = new Map<string, HeldBlob | undefined>();
    const pieces: Piece[] = [];
    for (const [index, { from, to }] of spansOf(bytes, chunks?.first ?? bytes).entries()) {
      if (to <= begun) continue;
      const place = chunks && store.chunks.find(chunks.hashes[index] as string, to - from);
      if (place !== undefined && !sources.has(place.blob))
        sources.set(place.blob, await store.find(place.blob, place.bytes));
      const held = place && sources.get(place.blob);
      const at = Math.max(from, begun);
      const source = held && { held, from: place.span.from + at - from };
      const last = pieces.at(-1);
      if (last !== undefined && last.source === undefined && source === undefined)
        pieces[pieces.length - 1] = { from: last.from, to };
      else pieces.push({ from: at, to, source });
    }
    const held = [...sources.values()].filter((one) => one !== undefined);
    const arrival = new Arrival(store, lacking, { pieces, sources: held, intake });
    try {
      await arrival.#copy();
      return arrival;
    } catch {
      // What was said to be there is not: all that is missing comes from the requester.
      await arrival.stop();
      return Arrival.begin(store, { blob: lacking.blob, hash, bytes });
    }
  }

  /** What the requester is asked for. */
  get wanted(): WantedBlob[] {
    const { blob, bytes } = this.lacking;
    return this.#pieces.flatMap(({ from, to, source }): WantedBlob[] =>
      source === undefined ? [{ blob, from, ...(to === bytes ? {} : { to }) }] : [],
    );
  }

  /** How many bytes come next in one go. */
  get room(): number {
    const [piece] = this.#pieces;
    return piece === undefined || piece.source !== undefined ? 0 : piece.to - piece.from;
  }

  /** Whether all bytes are here. */
  get whole(): boolean {
    return this.#pieces.length === 0;
  }

  /** Takes the next bytes, as `Intake.add` does. */
  async add(payload: Uint8Array): Promise<void> {
    this.#intake ??= await this.#store.take(this.lacking.hash, this.lacking.bytes);
    await this.#intake.add(payload);
    const [{ from, to }] = this.#pieces as [Piece];
    if (from + payload.byteLength < to) this.#pieces[0] = { from: from + payload.byteLength, to };
    else this.#pieces.shift();
    await this.#copy();
  }

  /** Copies what comes next and is here already. */
  async #copy(): Promise<void> {
    if (this.#pieces[0]?.source === undefined) return;
    this.#intake ??= await this.#store.take(this.lacking.hash, this.lacking.bytes);
    const intake = this.#intake;
    // One is filled while the other is being written.
    const rooms = [new Uint8Array(COPY_BYTES), new Uint8Array(COPY_BYTES)] as const;
    let turn = 0;
    let file: { readonly of: HeldBlob; readonly handle: FileHandle } | undefined;
    try {
      for (let piece = this.#pieces[0]; piece?.source !== undefined; piece = this.#pieces[0]) {
        const { held, from } = piece.source;
        const { source } = held;
        if ('path' in source && file?.of !== held) {
          await file?.handle.close();
          file = { of: held, handle: await open(source.path, 'r') };
        }
        for (let at = piece.from; at < piece.to && !this.#stopped; ) {
          const place = from + at - piece.from;
          const most = Math.min(COPY_BYTES, piece.to - at);
          turn = 1 - turn;
          const room = rooms[turn as 0 | 1];
          const length = 'path' in source ? ((await file?.handle.read(room, 0, most, place))?.bytesRead ?? 0) : most;
          if (length === 0) throw missing(source);
          await intake.add('path' in source ? room.subarray(0, length) : source.subarray(place, place + length));
          at += length;
        }
        if (this.#stopped) return;
        this.#pieces.shift();
      }
    } finally {
      await file?.handle.close();
    }
  }

  /** Checks the bytes, all of which are here, and keeps them. Rejects with `PROTOCOL` where they are wrong. */
  async finish(): Promise<HeldBlob> {
    const { hash, bytes } = this.lacking;
    try {
      this.#intake ??= await this.#store.take(hash, bytes);
      return await this.#intake.finish();
    } finally {
      this.#release();
    }
  }

  /** The same, all of it from the requester, where what was here may have been wrong; undefined where that was nothing. */
  again(): Arrival | undefined {
    const { chunks: _, ...lacking } = this.lacking;
    return this.#anew ? undefined : new Arrival(this.#store, lacking, { pieces: [{ from: 0, to: lacking.bytes }] });
  }

  /** Ends early: what has come is kept for the next attempt. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#intake?.stop();
    this.#release();
  }

  #release(): void {
    for (const held of this.#sources) held.release();
  }
}

function missing(source: HeldBlob['source']): DistrEdgeError {
  return new DistrEdgeError('PROVIDER_FAILED', 'a kept weight is shorter than it was', {
    where: 'path' in source ? source.path : 'memory',
  });
}
