/**
 * Brings a program's models and weights together: what the store has, and what the requester is asked for because it is not
 * there. Each model is loaded as soon as all its blobs are here and right. Sizes come from the checked program; a frame that
 * does not fit them, or that nobody asked for, is refused before it is read.
 */
import { readFile } from 'node:fs/promises';
import { DistrEdgeError } from '@distredge/core';
import type { Job } from './job.js';
import type { Frame, FrameHeader } from './link/link.js';
import { BLOB_CHUNK_BYTES, type WantedBlob } from './protocol.js';
import { Arrival } from './weights/arrival.js';
import { type Blob, blobsOf, type HeldBlob, sha256, type WeightSource } from './weights/blob.js';
import { type Chunks, checkChunks } from './weights/chunks.js';
import type { BlobStore } from './weights/store.js';

export interface LoaderOptions {
  readonly job: Job;
  readonly store: BlobStore;
  /** SHA-256 of each blob of the program, in the order of `blobsOf`. */
  readonly hashes: readonly string[];
  /** The chunks of large ones, by index. */
  readonly chunks: ReadonlyMap<number, Chunks>;
  /** Largest sum of models and weights. */
  readonly maxBytes: number;
  /** Asks the requester for blobs. */
  ask(wanted: readonly WantedBlob[]): Promise<void>;
}

/** What a blob turns into, once it is there. */
interface Place {
  readonly held: Promise<HeldBlob>;
  resolve(held: HeldBlob): void;
  reject(error: Error): void;
}

export class Loader {
  readonly #options: LoaderOptions;
  readonly #blobs: readonly Blob[];
  /** By index of a model, and by location of a weight. */
  readonly #hashOf = new Map<number | string, string>();
  readonly #chunksOf = new Map<string, Chunks>();
  readonly #places = new Map<string, Place>();
  /** In the order in which they come. */
  readonly #awaited: Arrival[] = [];
  /** Chunks land in two places in turn: while one is written, the next one comes. */
  readonly #rooms: Uint8Array[] = [];
  #turn = 0;
  #closed = false;
  #ended: Promise<void> | undefined;
  #asked = false;
  readonly #held: HeldBlob[] = [];

  /** Throws `PROTOCOL` for hashes that do not fit the program, `PROVIDER_FAILED` for a program that is too large. */
  constructor(options: LoaderOptions) {
    this.#options = options;
    this.#blobs = blobsOf(options.job.program.models);
    checkBlobs(this.#blobs, options);
    for (const [index, { model, location }] of this.#blobs.entries())
      this.#hashOf.set(location ?? model, options.hashes[index] as string);
    for (const [index, chunks] of options.chunks) this.#chunksOf.set(options.hashes[index] as string, chunks);
    for (const hash of options.hashes) if (!this.#places.has(hash)) this.#places.set(hash, placeFor());
  }

  /** Whether all that was asked for has come; false before anything was. */
  get complete(): boolean {
    return this.#asked && this.#awaited.length === 0;
  }

  /** Loads the program's models, asking for what is not here. Rejects with `CANCELLED` when it is closed. */
  async run(): Promise<void> {
    const { job, ask } = this.#options;
    try {
      const wanted = await this.#lookUp();
      this.#checkOpen();
      this.#asked = true;
      await ask(wanted);
      for (const model of job.program.models.keys()) await this.#load(model);
    } finally {
      this.#release();
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new DistrEdgeError('CANCELLED', 'the job ended before its models were loaded');
  }

  /** Takes what the store has; what it lacks is awaited from here on. */
  async #lookUp(): Promise<WantedBlob[]> {
    const { store, hashes } = this.#options;
    const seen = new Set<string>();
    for (const [blob, { bytes }] of this.#blobs.entries()) {
      const hash = hashes[blob] as string;
      if (seen.has(hash)) continue;
      seen.add(hash);
      const held = await store.find(hash, bytes);
      if (held !== undefined) this.#settle(held);
      else this.#awaited.push(await Arrival.begin(store, { blob, hash, bytes, chunks: this.#chunksOf.get(hash) }));
      if (this.#closed) break;
    }
    if (this.#closed) await this.#stopIntakes();
    await this.#finishWhole();
    return this.#awaited.flatMap(({ wanted }) => wanted);
  }

  /** Those of which nothing is missing but the check. */
  async #finishWhole(): Promise<void> {
    for (const item of this.#awaited.filter(({ whole }) => whole)) {
      const again = await this.#finish(item);
      this.#awaited.splice(this.#awaited.indexOf(item), 1, ...again);
    }
  }

  /** Keeps what has come whole; gives what must come again. Rejects with `PROTOCOL` where what came now is wrong. */
  async #finish(item: Arrival): Promise<Arrival[]> {
    try {
      this.#settle(await item.finish());
      return [];
    } catch (error) {
      // What was here before may have been wrong, not what came now.
      const again = item.again();
      if (again === undefined) throw error;
      return [again];
    }
  }

  #settle(held: HeldBlob): void {
    if (this.#closed) {
      held.release();
      return;
    }
    this.#held.push(held);
    const chunks = this.#chunksOf.get(held.hash);
    if (chunks !== undefined) this.#options.store.chunks.learn(held.hash, held.bytes, chunks);
    this.#places.get(held.hash)?.resolve(held);
  }

  /** The place for a blob's next bytes. */
  allocate({ channel, length }: FrameHeader): Uint8Array {
    const [item] = this.#awaited;
    const fits =
      this.#asked &&
      item !== undefined &&
      channel === item.lacking.blob &&
      length > 0 &&
      length <= Math.min(BLOB_CHUNK_BYTES, item.room);
    if (!fits) {
      throw new DistrEdgeError('PROTOCOL', 'weights came that nobody asked for', {
        where: `blob ${channel}`,
        got: `${length} bytes`,
      });
    }
    this.#turn = 1 - this.#turn;
    const room = this.#rooms[this.#turn] ?? new Uint8Array(BLOB_CHUNK_BYTES);
    this.#rooms[this.#turn] = room;
    return room.subarray(0, length);
  }

  async receive({ payload }: Frame): Promise<void> {
    const item = this.#awaited[0];
    if (item === undefined || this.#closed) return;
    await item.add(payload);
    if (this.#closed) await item.stop();
    if (!item.whole || this.#closed) return;
    this.#awaited.shift();
    const again = await this.#finish(item);
    this.#awaited.push(...again);
    if (again.length > 0) await this.#options.ask(again.flatMap(({ wanted }) => wanted));
  }

  async #load(index: number): Promise<void> {
    const { job } = this.#options;
    const model = await this.#arrived(this.#hashOf.get(index));
    const locations = job.program.models[index]?.weights.map(({ location }) => location) ?? [];
    const weights = new Map<string, WeightSource>();
    const names: string[] = [];
    for (const location of locations) {
      const held = await this.#arrived(this.#hashOf.get(location));
      weights.set(location, held.source);
      names.push(`${location} ${held.hash}`);
    }
    this.#checkOpen();
    const bytes = 'path' in model.source ? new Uint8Array(await readFile(model.source.path)) : model.source;
    const key = sha256(new TextEncoder().encode([model.hash, ...names].join('\n')));
    await job.load(bytes, weights, key);
  }

  #arrived(hash: string | undefined): Promise<HeldBlob> {
    return (this.#places.get(hash ?? '') as Place).held;
  }

  #release(): void {
    for (const held of this.#held.splice(0)) held.release();
  }

  /** Ends early. What has come of a blob is kept for the next attempt. */
  close(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end(): Promise<void> {
    this.#closed = true;
    const ended = new DistrEdgeError('CANCELLED', 'the job ended before its models were loaded');
    for (const place of this.#places.values()) place.reject(ended);
    await this.#stopIntakes();
  }

  async #stopIntakes(): Promise<void> {
    for (const item of this.#awaited.splice(0)) await item.stop();
  }
}

function placeFor(): Place {
  let settle: Pick<Place, 'resolve' | 'reject'> | undefined;
  const held = new Promise<HeldBlob>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Nobody may be waiting when it ends.
  held.catch(() => undefined);
  return { held, ...(settle as Pick<Place, 'resolve' | 'reject'>) };
}

function checkBlobs(blobs: readonly Blob[], { hashes, chunks, maxBytes }: LoaderOptions): void {
  if (hashes.length !== blobs.length) {
    throw new DistrEdgeError('PROTOCOL', 'there is not one hash for each model and weight', {
      expected: `${blobs.length}`,
      got: `${hashes.length}`,
    });
  }
  const sizes = new Map<string, number>();
  let total = 0;
  for (const [index, { bytes }] of blobs.entries()) {
    if (bytes === 0) throw new DistrEdgeError('PROTOCOL', 'a program names a model or a weight of 0 bytes');
    const hash = hashes[index] as string;
    if ((sizes.get(hash) ?? bytes) !== bytes) {
      throw new DistrEdgeError('PROTOCOL', 'two weights of one hash have different sizes', { where: hash });
    }
    sizes.set(hash, bytes);
    total += bytes;
  }
  for (const [index, given] of chunks) checkChunks(given, blobs[index]?.bytes ?? 0);
  if (total > maxBytes) {
    throw new DistrEdgeError('PROVIDER_FAILED', 'the models are larger than this provider takes', {
      expected: `≤ ${maxBytes} bytes`,
      got: `${total} bytes`,
    });
  }
}
