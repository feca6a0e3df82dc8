/**
 * Private files: readable by their owner only, and replaced whole or not at all. Keys are kept in these.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DistrEdgeError } from '@distredge/core';

/** No file of ours is near this size. */
const MAX_BYTES = 16 * 2 ** 20;

/**
 * Makes a folder, for its owner only; one that is there stays as it is. Throws `IDENTITY_INVALID` where others may write to it, who
 * could then replace what is kept there, and `FILE` where it cannot be made.
 */
export async function makePrivateFolder(folder: string): Promise<void> {
  let mode: number;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    ({ mode } = await stat(folder));
  } catch (cause) {
    throw fileError(folder, 'could not be made a private folder', cause);
  }
  if (process.platform === 'win32' || (mode & 0o022) === 0) return;
  throw new DistrEdgeError('IDENTITY_INVALID', `Other users of this machine may write to ${folder}`, {
    where: folder,
    expected: 'a folder of its own, with permissions 700',
    got: (mode & 0o777).toString(8),
    hint: `give another folder, or: chmod 700 '${folder}'`,
  });
}

/** Writes a file so that a reader, also after a crash, finds the old or the new content. Throws `FILE`. */
export async function writePrivateFile(file: string, content: string): Promise<void> {
  const draft = join(dirname(file), `.${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
  try {
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => undefined);
    throw fileError(file, 'could not be written', cause);
  }
}

/**
 * Reads a private file; undefined where there is none. Throws `IDENTITY_INVALID` where others than its owner may read or change
 * it, and `FILE` where it cannot be read.
 */
export async function readPrivateFile(file: string): Promise<string | undefined> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw fileError(file, 'could not be read', cause);
  }
  try {
    const { mode, size } = await handle.stat();
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new DistrEdgeError('IDENTITY_INVALID', `${file} is open to other users of this machine`, {
        where: file,
        expected: 'permissions 600',
        got: (mode & 0o777).toString(8),
        hint: `chmod 600 '${file}', and revoke the device if somebody may have read it`,
      });
    }
    if (size > MAX_BYTES) throw fileError(file, 'is too large', new Error(`${size} bytes`));
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

function fileError(file: string, what: string, cause: unknown): DistrEdgeError {
  if (cause instanceof DistrEdgeError) return cause;
  const got = (cause as NodeJS.ErrnoException)?.code ?? (cause instanceof Error ? cause.message : String(cause));
  return new DistrEdgeError('FILE', `${file} ${what}`, { where: file, got, cause });
}
