import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Profile } from '@distredge/core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { profileFolder, readCachedProfile, writeCachedProfile } from './cache.js';

const PROFILE: Profile = {
  version: 1,
  device: { id: 'd', engine: 'fake 1', threads: 1, cpu: 'c' },
  model: { name: 'm', hash: '0123456789abcdef' },
  memory_mb: 100,
  part_ms: 0.5,
  input_edge_ms_per_mb: 2,
  fusion: 0.9,
  ops: [{ end: 'a', rows: [1, 4], ms: [1, 2], edge_ms_per_mb: 3 }],
};

let folder = '';
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'distredge-test-')), 'not', 'there', 'yet');
});
afterEach(() => rm(join(folder, '..', '..', '..'), { recursive: true, force: true }));

it('gives back what it was given, and leaves nothing else', async () => {
  expect(await readCachedProfile(PROFILE, folder)).toBeUndefined();
  await writeCachedProfile(PROFILE, folder);
  await writeCachedProfile(PROFILE, folder);
  expect(await readCachedProfile(PROFILE, folder)).toEqual(PROFILE);
  expect(await readdir(folder)).toHaveLength(1);
});

it('keeps apart what is measured apart', async () => {
  await writeCachedProfile(PROFILE, folder);
  const others: Profile[] = [
    { ...PROFILE, model: { name: 'm', hash: 'fedcba9876543210' } },
    ...(['id', 'engine', 'cpu'] as const).map((key) => ({ ...PROFILE, device: { ...PROFILE.device, [key]: 'other' } })),
    { ...PROFILE, device: { ...PROFILE.device, threads: 2 } },
  ];
  for (const other of others) expect(await readCachedProfile(other, folder)).toBeUndefined();
  // The same model under another file name is the same model.
  expect(await readCachedProfile({ ...PROFILE, model: { ...PROFILE.model, name: 'n' } }, folder)).toEqual(PROFILE);
});

it('takes a broken file, or one that is about something else, for none', async () => {
  await writeCachedProfile(PROFILE, folder);
  const [file = ''] = await readdir(folder);
  for (const text of ['', '{', '{}', JSON.stringify({ ...PROFILE, device: { ...PROFILE.device, threads: 2 } })]) {
    await writeFile(join(folder, file), text);
    expect(await readCachedProfile(PROFILE, folder)).toBeUndefined();
  }
});

it('lies where the user keeps caches', () => {
  expect(profileFolder({ XDG_CACHE_HOME: '/somewhere' })).toBe('/somewhere/distredge/profiles');
  expect(profileFolder({ XDG_CACHE_HOME: 'relative' })).toMatch(/\/\.cache\/distredge\/profiles$/);
  expect(profileFolder({})).toMatch(/\/\.cache\/distredge\/profiles$/);
});
