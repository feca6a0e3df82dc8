/**
 * Folders that belong to this process and end with it: weights on their way into an engine, and those that are kept for as
 * long as a provider lives. Their names carry the number of the process, so that what a killed one left is found.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The folders that exist. `stuck` ones could not be removed: Windows keeps a mapped file until its session is released. */
const folders = new Map<string, 'there' | 'stuck'>();

function removeAtExit(): void {
  // Another file may be on its way into it.
  for (const folder of folders.keys()) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Folders are called `distredge-weights-PID-…`. */
const OWNED = /^distredge-weights-(\d+)-/;
/** What is older, and of a process that is not there, was left by one that was killed. Younger ones may be another container's. */
const ABANDONED_MS = 2 * 60_000;

const swept = new Set<string>();

/** Removes, once, what processes left in a folder that were killed. */
async function sweep(parent: string): Promise<void> {
  if (swept.has(parent)) return;
  swept.add(parent);
  for (const name of await readdir(parent).catch(() => [])) {
    const pid = OWNED.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const path = join(parent, name);
    const info = await stat(path).catch(() => undefined);
    if (info === undefined || Date.now() - info.mtimeMs < ABANDONED_MS) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Removes what a process left that has been killed: for the one that started it, and knows. Never rejects. */
export async function removeFoldersOf(pid: number, parent: string = tmpdir()): Promise<void> {
  for (const name of await readdir(parent).catch(() => [])) {
    if (OWNED.exec(name)?.[1] !== `${pid}`) continue;
    await rm(join(parent, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Whether there is a process of this number. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // It is there, but another user's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Makes a folder that only this user can read; it is removed when the process ends, if not before. */
export async function makePrivateFolder(parent: string = tmpdir()): Promise<string> {
  await sweep(parent);
  // Not `await`: a process that ended between the making of a folder and the news of it would leave it.
  const folder = mkdtempSync(join(parent, `distredge-weights-${process.pid}-`));
  // First of all: what else is done at the end may take the process with it.
  if (folders.size === 0) process.prependOnceListener('exit', removeAtExit);
  folders.set(folder, 'there');
  return folder;
}

/** Removes a folder that was made so, with everything in it. Never rejects. */
export async function removePrivateFolder(folder: string): Promise<void> {
  if (!folders.has(folder)) return;
  try {
    await rm(folder, { recursive: true, force: true });
    folders.delete(folder);
    if (folders.size === 0) process.off('exit', removeAtExit);
  } catch {
    folders.set(folder, 'stuck');
  }
}

/** Tries again to remove what could not be. To be called when sessions have been released. */
export async function removeStuckFolders(): Promise<void> {
  for (const [folder, state] of folders) {
    if (state === 'stuck') await removePrivateFolder(folder);
  }
}
