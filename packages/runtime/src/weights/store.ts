/**
 * Keeps blobs by their hash, so that each reaches a device once: as files, which engines map instead of copying, in a folder
 * that outlives the process or in a private one that ends with it. Bytes are checked against the hash before anybody gets them,
 * again whenever a file has changed since. What is not in use goes when there is too much, the longest unused first. Where the
 * disk does not take a blob it is kept in memory, and that is said.
 */
import { createHash } from 'node:crypto';
import { access, constants, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { DistrEdgeError } from '@distredge/core';
import type { HeldBlob, WeightSource } from './blob.js';
import { ChunkIndex } from './chunks.js';
import { Intake, type Partial } from './intake.js';
import { isAlive, makePrivateFolder, removePrivateFolder } from './private-folder.js';

export interface BlobStoreOptions {
  /** The folder that outlives this process; several processes may share it. Default: a private one that ends with it. */
  readonly folder?: string | undefined;
  /** The most bytes that are kept, not counting what is in use. Default 4 GiB, 1 GiB in a private folder. */
  readonly maxBytes?: number | undefined;
  /** Told of damaged files and of disks that take nothing. */
  readonly log?: ((line: string) => void) | undefined;
}

/** A blob that is kept. */
interface Entry {
  readonly hash: string;
  readonly bytes: number;
  readonly source: WeightSource;
  users: number;
  /** What the file looked like when its bytes were checked. */
  checked: string | undefined;
}

const BLOB_NAME = /^[0-9a-f]{64}$/;
const PART_NAME = /^part-([0-9a-f]{64})-(\d+)-\d+$/;
/** Files that are kept, however small. */
const MAX_ENTRIES = 65_536;
const KEPT_BYTES = 2 ** 32;
const KEPT_PRIVATE_BYTES = 2 ** 30;
/** A file that is used says so, for other processes too, not more often than this. */
const TOUCH_MS = 60_000;
const READ_BYTES = 2 ** 20;

/** Where devices keep weights: `distredge/weights` in the user's cache folder. */
export function weightsFolder(env: NodeJS.ProcessEnv = process.env): string {
  const given = env['XDG_CACHE_HOME'] ?? '';
  return join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'distredge', 'weights');
}

/** Makes a folder for this user alone, if there is none, and its parents. Rejects where nothing can be written there. */
export async function makeWritable(folder: string): Promise<void> {
  await makeFolder(folder);
  await access(folder, constants.W_OK | constants.X_OK);
}

/** Node's own way to make parents never ends in file systems that refuse all folders (/proc). */
async function makeFolder(folder: string): Promise<void> {
  const parent = dirname(folder);
  const there = await stat(folder).then(
    () => true,
    () => false,
  );
  if (there) return;
  if (parent !== folder) await makeFolder(parent);
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    // Another process was faster.
    if (error.code !== 'EEXIST') throw error;
  });
}

export class BlobStore {
  readonly #options: BlobStoreOptions;
  readonly #maxBytes: number;
  /** The longest unused first. */
  readonly #entries = new Map<string, Entry>();
  readonly #partials = new Map<string, Partial>();
  /** Which of the blobs have which chunks, as far as that was told. */
  readonly chunks: ChunkIndex = new ChunkIndex();
  #total = 0;
  #folder: Promise<string> | undefined;
  #parts = 0;
  #complained = false;

  private constructor(options: BlobStoreOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? (options.folder === undefined ? KEPT_PRIVATE_BYTES : KEPT_BYTES);
  }

  /** Opens the store. Rejects with `FILE` where the folder cannot be used. */
  static async open(options: BlobStoreOptions = {}): Promise<BlobStore> {
    const store = new BlobStore(options);
    if (options.folder !== undefined) await store.#index(options.folder);
    return store;
  }

  /** Looks up what earlier processes left. */
  async #index(folder: string): Promise<void> {
    try {
      await makeWritable(folder);
      const found: { readonly entry: Entry; readonly used: number }[] = [];
      for (const name of await readdir(folder)) {
        const part = PART_NAME.exec(name);
        if (part === null && !BLOB_NAME.test(name)) continue;
        const path = join(folder, name);
        const info = await stat(path).catch(() => undefined);
        if (info === undefined || !info.isFile()) continue;
        if (part === null) {
          const entry = {
            hash: name,
            bytes: info.size,
            source: { path, bytes: info.size },
            users: 0,
            checked: undefined,
          };
          found.push({ entry, used: info.mtimeMs });
        } else if (!isAlive(Number(part[2]))) await this.leave(part[1] as string, { path, bytes: info.size });
      }
      found.sort((a, b) => a.used - b.used);
      for (const { entry } of found) this.#add(entry);
      this.#folder = Promise.resolve(folder);
      this.#evict(0);
    } catch (cause) {
      throw new DistrEdgeError('FILE', 'the folder for weights cannot be used', {
        where: folder,
        got: cause instanceof Error ? cause.message : String(cause),
        hint: 'give another one with --cache, or make this one yours',
        cause,
      });
    }
  }

  /** The folder that blobs lie in. */
  folder(): Promise<string> {
    this.#folder ??= makePrivateFolder();
    // Where it cannot be made now, it may be later.
    this.#folder.catch(() => {
      this.#folder = undefined;
    });
    return this.#folder;
  }

  /** Says that the disk takes nothing, once until it does again. */
  complain(error: unknown): void {
    if (this.#complained) return;
    this.#complained = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.log?.(`weights cannot be kept on disk (${reason}); they are kept in memory`);
  }

  /** A blob that is kept, its bytes checked; undefined where there is none, or its bytes were wrong. */
  async find(hash: string, bytes: number): Promise<HeldBlob | undefined> {
    const entry = this.#entries.get(hash) ?? (await this.#foundOnDisk(hash));
    if (entry === undefined || entry.bytes !== bytes) return undefined;
    entry.users += 1;
    const right = await this.#isRight(entry);
    if (!right) {
      this.#drop(entry);
      return undefined;
    }
    // Another call may have replaced it meanwhile.
    if (this.#entries.get(hash) === entry) {
      this.#entries.delete(hash);
      this.#entries.set(hash, entry);
    }
    return this.#hold(entry);
  }

  /** Another process that shares the folder may have put it there. */
  async #foundOnDisk(hash: string): Promise<Entry | undefined> {
    const { folder } = this.#options;
    if (folder === undefined) return undefined;
    const path = join(folder, hash);
    const info = await stat(path).catch(() => undefined);
    if (info === undefined || !info.isFile()) return undefined;
    const known = this.#entries.get(hash);
    if (known !== undefined) return known;
    const entry = { hash, bytes: info.size, source: { path, bytes: info.size }, users: 0, checked: undefined };
    this.#add(entry);
    return entry;
  }

  async #isRight(entry: Entry): Promise<boolean> {
    const { source, hash } = entry;
    if (!('path' in source)) return true;
    try {
      let info = await stat(source.path);
      if (looks(info) !== entry.checked) {
        if (info.size !== entry.bytes || (await hashOfFile(source.path)) !== hash) {
          this.#options.log?.(`a kept weight was damaged and is fetched again: ${source.path}`);
          return false;
        }
      } else if (this.#options.folder === undefined || Date.now() - info.mtimeMs < TOUCH_MS) return true;
      if (this.#options.folder !== undefined) {
        const now = new Date();
        await utimes(source.path, now, now).catch(() => undefined);
        info = await stat(source.path);
      }
      entry.checked = looks(info);
      return true;
    } catch {
      // Gone: another process had no room for it.
      return false;
    }
  }

  #hold(entry: Entry): HeldBlob {
    let held = true;
    return {
      hash: entry.hash,
      bytes: entry.bytes,
      source: entry.source,
      release: () => {
        if (!held) return;
        held = false;
        entry.users -= 1;
        this.#evict(0);
      },
    };
  }

  /** Begins to take in a blob, where an earlier attempt left off if there was one. */
  async take(hash: string, bytes: number): Promise<Intake> {
    this.#evict(bytes);
    this.#parts += 1;
    const part = `part-${hash}-${process.pid}-${this.#parts}`;
    const before = this.#partials.get(hash);
    this.#partials.delete(hash);
    if (before !== undefined) this.#total -= before.bytes;
    return Intake.begin(this, { hash, bytes, part, before });
  }

  /** Whether an earlier attempt left anything of a blob. */
  hasPart(hash: string): boolean {
    return this.#partials.has(hash);
  }

  /** Keeps what came of a blob, for when the rest comes. */
  async leave(hash: string, partial: Partial): Promise<void> {
    const known = this.#partials.get(hash);
    const [more, less] = known !== undefined && known.bytes > partial.bytes ? [known, partial] : [partial, known];
    this.#partials.set(hash, more);
    this.#total += partial.bytes - (less?.bytes ?? 0);
    if (less !== undefined) await rm(less.path, { force: true }).catch(() => undefined);
  }

  /** Keeps a blob that has arrived, its bytes checked. `source` is a file under a name of its own, or the bytes. */
  async keep(hash: string, bytes: number, source: WeightSource): Promise<HeldBlob> {
    let entry: Entry;
    if ('path' in source) {
      const path = join(await this.folder(), hash);
      await rename(source.path, path);
      const info = await stat(path);
      entry = { hash, bytes, source: { path, bytes }, users: 1, checked: looks(info) };
      this.#complained = false;
    } else entry = { hash, bytes, source, users: 1, checked: undefined };
    const before = this.#entries.get(hash);
    if (before !== undefined) {
      // Whoever holds the other one has the same bytes.
      this.#entries.delete(hash);
      this.#total -= before.bytes;
    }
    this.#add(entry);
    this.#evict(0);
    return this.#hold(entry);
  }

  #add(entry: Entry): void {
    this.#entries.set(entry.hash, entry);
    this.#total += entry.bytes;
  }

  #drop(entry: Entry): void {
    this.chunks.forget(entry.hash);
    if (this.#entries.get(entry.hash) === entry) {
      this.#entries.delete(entry.hash);
      this.#total -= entry.bytes;
    }
    if ('path' in entry.source) void rm(entry.source.path, { force: true }).catch(() => undefined);
  }

  /** Makes room for so many bytes: parts first, then what was not used for the longest time. */
  #evict(bytes: number): void {
    const full = (): boolean => this.#total + bytes > this.#maxBytes || this.#entries.size > MAX_ENTRIES;
    for (const [hash, { path, bytes: size }] of full() ? this.#partials : []) {
      if (!full()) return;
      this.#partials.delete(hash);
      this.#total -= size;
      void rm(path, { force: true }).catch(() => undefined);
    }
    for (const entry of full() ? [...this.#entries.values()] : []) {
      if (!full()) return;
      if (entry.users === 0) this.#drop(entry);
    }
  }

  /** Bytes that are kept now. */
  get bytes(): number {
    return this.#total;
  }

  /** Removes what is not to outlive the process. */
  async close(): Promise<void> {
    if (this.#options.folder !== undefined || this.#folder === undefined) return;
    const folder = await this.#folder.catch(() => undefined);
    if (folder !== undefined) await removePrivateFolder(folder);
  }
}

function looks({ ino, size, mtimeMs }: { ino: number; size: number; mtimeMs: number }): string {
  return `${ino} ${size} ${mtimeMs}`;
}

async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'r');
  try {
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
