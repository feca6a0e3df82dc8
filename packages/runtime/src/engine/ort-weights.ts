/**
 * Weights on their way into onnxruntime. Handed over in memory they end up in the resident set twice and more (VGG-16, 553 MB
 * of weights: 1208 MB after loading, 1600 at the peak). From a file next to the model, onnxruntime maps them instead (713 MB
 * after runs and at the peak, of which 541 MB are clean pages that the kernel may drop and read again). So they go through a
 * private folder, removed as soon as the session has mapped its files; weights that are kept in files get a second name there.
 *
 * The folder is also what keeps a foreign model in its place: without one, onnxruntime looks up external data in the working
 * directory.
 */
import { constants } from 'node:fs';
import { copyFile, link, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { WeightFile, WeightSource } from '../weights/blob.js';
import { makePrivateFolder, removePrivateFolder, removeStuckFolders } from '../weights/private-folder.js';

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

/** A second name for a file; a copy where the file system has no such thing. */
async function place(file: WeightFile, path: string): Promise<void> {
  await link(file.path, path).catch(() =>
    copyFile(file.path, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE),
  );
}

function isFile(source: WeightSource): source is WeightFile {
  return 'path' in source;
}

async function inMemory(weights: ReadonlyMap<string, WeightSource>): Promise<{ path: string; data: Uint8Array }[]> {
  const entries = [...weights].map(async ([path, source]) => ({
    path,
    data: isFile(source) ? await readFile(source.path) : source,
  }));
  return Promise.all(entries);
}

/**
 * Puts the blobs into a new private folder, which the caller gives back with `unstage`. Where a location is no plain file
 * name, or there is no room on the disk, they stay in memory instead.
 */
export async function stage(weights: ReadonlyMap<string, WeightSource>): Promise<StagedWeights> {
  const sources = [...weights.values()];
  const byteLength = sources.reduce((sum, source) => sum + (isFile(source) ? source.bytes : source.byteLength), 0);
  if (weights.size === 0 || ![...weights.keys()].every((path) => PLAIN_NAME.test(path))) {
    return { folder: NO_FOLDER, inMemory: await inMemory(weights), byteLength };
  }
  let folder = NO_FOLDER;
  try {
    const kept = sources.find(isFile);
    // Names of one file lie in one file system.
    folder = await makePrivateFolder(kept === undefined ? undefined : dirname(kept.path));
    for (const [path, source] of weights) {
      if (isFile(source)) await place(source, join(folder, path));
      else await write(join(folder, path), source);
    }
    return { folder, inMemory: [], byteLength };
  } catch {
    await unstage(folder);
    return { folder: NO_FOLDER, inMemory: await inMemory(weights), byteLength };
  }
}

/** Removes a staged folder, if there is one, once the session has been created. */
export async function unstage(folder: string): Promise<void> {
  await removePrivateFolder(folder);
}

/** Tries again to remove what `unstage` could not. To be called when sessions have been released. */
export async function unstageStuck(): Promise<void> {
  await removeStuckFolders();
}
