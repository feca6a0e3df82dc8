/**
 * Weights on their way into onnxruntime. Handed over in memory they end up in the resident set twice and more (VGG-16, 553 MB
 * of weights: 1208 MB after loading, 1600 at the peak). From a file next to the model, onnxruntime maps them instead (713 MB
 * after runs and at the peak, of which 541 MB are clean pages that the kernel may drop and read again). So they go through a
 * private temporary folder, removed as soon as the session has mapped its files.
 *
 * The folder is also what keeps a foreign model in its place: without one, onnxruntime looks up external data in the working
 * directory.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Weights as onnxruntime can take them. Plain data: it may cross threads. */
export interface StagedWeights {
  /** Where external data is looked up. */
  readonly folder: string;
  /** The blobs themselves, where they could not be written. They cost their size once more. */
  readonly inMemory: readonly { readonly path: string; readonly data: Uint8Array }[];
  /** Bytes of all blobs. */
  readonly byteLength: number;
}

/** A folder in which no file can be: it is a file itself. */
const NO_FOLDER = process.execPath;

/** A location that is a file name on every system, and nothing more. */
const PLAIN_NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$/;

/** Bytes per write: Node refuses 2 GiB and more. */
const CHUNK = 2 ** 30;

/** The folders that exist. `stuck` ones could not be removed: Windows keeps a mapped file until its session is released. */
const folders = new Map<string, 'staged' | 'stuck'>();

function removeAtExit(): void {
  for (const folder of folders.keys()) rmSync(folder, { recursive: true, force: true });
}

/** Folders carry the number of their process: `distredge-weights-PID-…`. */
const OWNED = /^distredge-weights-(\d+)-/;
/** Staging takes seconds. What is older, and of a process that is not there, was left by one that was killed meanwhile. */
const ABANDONED_MS = 10 * 60_000;

let swept = false;

/** Removes, once, what processes left that were killed while they staged. */
async function sweep(): Promise<void> {
  if (swept) return;
  swept = true;
  for (const name of await readdir(tmpdir()).catch(() => [])) {
    const pid = OWNED.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const path = join(tmpdir(), name);
    const info = await stat(path).catch(() => undefined);
    if (info === undefined || Date.now() - info.mtimeMs < ABANDONED_MS) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // It is there, but another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function makeFolder(): Promise<string> {
  await sweep();
  const folder = await mkdtemp(join(tmpdir(), `distredge-weights-${process.pid}-`));
  // First of all: what else is done at the end may take the process with it.
  if (folders.size === 0) process.prependOnceListener('exit', removeAtExit);
  folders.set(folder, 'staged');
  return folder;
}

async function write(path: string, data: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    for (let done = 0; done < data.byteLength; ) {
      const { bytesWritten } = await file.write(data, done, Math.min(CHUNK, data.byteLength - done));
      done += bytesWritten;
    }
  } finally {
    await file.close();
  }
}

/**
 * Writes the blobs to a new private folder, which the caller gives back with `unstage`. Where a location is no plain file
 * name, or there is no room on the disk, they stay in memory instead.
 */
export async function stage(weights: ReadonlyMap<string, Uint8Array>): Promise<StagedWeights> {
  const byteLength = [...weights.values()].reduce((sum, data) => sum + data.byteLength, 0);
  const inMemory = [...weights].map(([path, data]) => ({ path, data }));
  if (inMemory.length === 0 || !inMemory.every(({ path }) => PLAIN_NAME.test(path))) {
    return { folder: NO_FOLDER, inMemory, byteLength };
  }
  let folder = NO_FOLDER;
  try {
    folder = await makeFolder();
    for (const { path, data } of inMemory) await write(join(folder, path), data);
    return { folder, inMemory: [], byteLength };
  } catch {
    await unstage(folder);
    return { folder: NO_FOLDER, inMemory, byteLength };
  }
}

/** Removes a staged folder, if there is one, once the session has been created. */
export async function unstage(folder: string): Promise<void> {
  if (!folders.has(folder)) return;
  try {
    await rm(folder, { recursive: true, force: true });
    folders.delete(folder);
    if (folders.size === 0) process.off('exit', removeAtExit);
  } catch {
    folders.set(folder, 'stuck');
  }
}

/** Tries again to remove what `unstage` could not. To be called when sessions have been released. */
export async function unstageStuck(): Promise<void> {
  for (const [folder, state] of folders) {
    if (state === 'stuck') await unstage(folder);
  }
}
