/** One blob on its way into the store, chunk by chunk: into a file of its own, or into memory where the disk takes nothing. */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DistrEdgeError } from '@distredge/core';
import { type HeldBlob, type WeightSource, wrongBytes } from './blob.js';

const READ_BYTES = 2 ** 20;

/** What is left of a blob that did not arrive whole. */
export interface Partial {
  readonly path: string;
  readonly bytes: number;
}

/** Where blobs go. */
interface Target {
  /** The folder for files. */
  folder(): Promise<string>;
  /** Says that the disk takes nothing. */
  complain(error: unknown): void;
  /** Takes a blob over, its bytes checked. */
  keep(hash: string, bytes: number, source: WeightSource): Promise<HeldBlob>;
  /** Takes over what came of a blob, for the next attempt. */
  leave(hash: string, partial: Partial): Promise<void>;
}

/** What is taken in, and what an earlier attempt left of it. */
interface Incoming {
  readonly hash: string;
  readonly bytes: number;
  /** Name for the file of this attempt. */
  readonly part: string;
  readonly before: Partial | undefined;
}

export class Intake {
  readonly hash: string;
  readonly bytes: number;
  /** Bytes that an earlier attempt left: they need not come again. */
  from = 0;
  readonly #store: Target;
  #digest: Hash = createHash('sha256');
  #file: FileHandle | undefined;
  #path = '';
  #memory: Uint8Array | undefined;
  #filled = 0;
  #over = false;
  /** The chunk that is being written. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(store: Target, { hash, bytes }: Incoming) {
    this.#store = store;
    this.hash = hash;
    this.bytes = bytes;
  }

  static async begin(store: Target, incoming: Incoming): Promise<Intake> {
    const intake = new Intake(store, incoming);
    try {
      intake.#path = join(await store.folder(), incoming.part);
      if (incoming.before !== undefined) await intake.#resume(incoming.before);
      intake.#file ??= await open(intake.#path, 'wx+', 0o600);
    } catch (error) {
      await intake.#toMemory(error);
    }
    return intake;
  }

  /** Takes up the file of an earlier attempt; begins anew where it cannot be read. */
  async #resume({ path }: Partial): Promise<void> {
    let file: FileHandle | undefined;
    try {
      await rename(path, this.#path);
      file = await open(this.#path, 'r+');
      const buffer = new Uint8Array(READ_BYTES);
      for (let at = 0; ; at = this.from) {
        const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, this.bytes - at), at);
        if (bytesRead === 0) break;
        this.#digest.update(buffer.subarray(0, bytesRead));
        this.from += bytesRead;
      }
      this.#filled = this.from;
      this.#file = file;
    } catch {
      await file?.close().catch(() => undefined);
      await rm(this.#path, { force: true }).catch(() => undefined);
      this.#digest = createHash('sha256');
      this.from = 0;
      this.#filled = 0;
    }
  }

  /** Bytes that are still to come. */
  get left(): number {
    return this.bytes - this.#filled;
  }

  /** Takes the next bytes. The caller lets them alone until the call for the bytes after them settles, or `finish`. */
  async add(chunk: Uint8Array): Promise<void> {
    if (chunk.byteLength > this.left) throw wrongBytes(this.hash, 'more bytes than it has');
    this.#digest.update(chunk);
    await this.#writing;
    const at = this.#filled;
    this.#filled += chunk.byteLength;
    this.#writing = this.#write(chunk, at);
    // Whoever waits for it next hears of it.
    this.#writing.catch(() => undefined);
  }

  async #write(chunk: Uint8Array, at: number): Promise<void> {
    if (this.#file !== undefined) {
      try {
        for (let done = 0; done < chunk.byteLength; ) {
          done += (await this.#file.write(chunk, done, chunk.byteLength - done, at + done)).bytesWritten;
        }
      } catch (error) {
        await this.#toMemory(error, at);
      }
    }
    this.#memory?.set(chunk, at);
  }

  /** The disk takes nothing more: goes on in memory with what it has taken. */
  async #toMemory(error: unknown, filled = 0): Promise<void> {
    this.#store.complain(error);
    const memory = roomFor(this.bytes);
    const file = this.#file;
    this.#file = undefined;
    try {
      for (let at = 0; at < filled; ) {
        const read = await file?.read(memory, at, filled - at, at);
        if (read === undefined || read.bytesRead === 0) throw new Error('the file is shorter than it was');
        at += read.bytesRead;
      }
    } catch (cause) {
      throw new DistrEdgeError('PROVIDER_FAILED', 'weights could be neither written nor read back', {
        where: this.#path,
        got: cause instanceof Error ? cause.message : String(cause),
        cause,
      });
    } finally {
      await file?.close().catch(() => undefined);
      await rm(this.#path, { force: true }).catch(() => undefined);
    }
    this.#memory = memory;
  }

  /** Checks the bytes, all of which have come, and hands them to the store. Rejects with `PROTOCOL` where they are wrong. */
  async finish(): Promise<HeldBlob> {
    this.#over = true;
    await this.#writing;
    const file = this.#file;
    this.#file = undefined;
    const digest = this.#digest.digest('hex');
    await file?.close();
    if (this.left > 0 || digest !== this.hash) {
      if (file !== undefined) await rm(this.#path, { force: true }).catch(() => undefined);
      throw wrongBytes(this.hash, digest);
    }
    const source: WeightSource = this.#memory ?? { path: this.#path, bytes: this.bytes };
    return this.#store.keep(this.hash, this.bytes, source);
  }

  /** Ends early: what has come is kept for the next attempt. Never rejects. */
  async stop(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#writing.catch(() => undefined);
    const file = this.#file;
    this.#file = undefined;
    this.#memory = undefined;
    if (file === undefined) return;
    await file.close().catch(() => undefined);
    if (this.#filled > 0) await this.#store.leave(this.hash, { path: this.#path, bytes: this.#filled });
    else await rm(this.#path, { force: true }).catch(() => undefined);
  }
}

function roomFor(bytes: number): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new DistrEdgeError('PROVIDER_FAILED', 'there is no memory for weights', { got: `${bytes} bytes`, cause });
  }
}
