/**
 * Profiles measured before, one file each in the user's cache folder, named after what they depend on: the model, the device,
 * the engine's version, its threads. A file that cannot be read or is no such profile is as good as none.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { PROFILE_VERSION, type Profile, parseProfile } from '@distredge/core';

/** What a profile depends on. */
export type ProfileKey = Pick<Profile, 'device' | 'model'>;

/** `$XDG_CACHE_HOME/distredge/profiles`, or the same under `~/.cache`. */
export function profileFolder(env: NodeJS.ProcessEnv = process.env): string {
  const given = env['XDG_CACHE_HOME'] ?? '';
  return join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'distredge', 'profiles');
}

function fileOf({ device, model }: ProfileKey, folder: string): string {
  const facts = JSON.stringify([PROFILE_VERSION, model.hash, device.id, device.cpu, device.engine, device.threads]);
  return join(folder, `${createHash('sha256').update(facts).digest('hex').slice(0, 32)}.json`);
}

/** The profile kept for these facts; undefined where there is none. */
export async function readCachedProfile(
  key: ProfileKey,
  folder: string = profileFolder(),
): Promise<Profile | undefined> {
  try {
    const profile = parseProfile(JSON.parse(await readFile(fileOf(key, folder), 'utf8')));
    return fileOf(profile, folder) === fileOf(key, folder) ? profile : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps a profile, whole or not at all. Rejects with the file system's error. */
export async function writeCachedProfile(profile: Profile, folder: string = profileFolder()): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = fileOf(profile, folder);
  const draft = `${file}.${process.pid}`;
  try {
    await writeFile(draft, JSON.stringify(profile));
    await rename(draft, file);
  } finally {
    await rm(draft, { force: true });
  }
}
