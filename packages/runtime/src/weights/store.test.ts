/** The store of blobs: what it keeps, checks, throws out, takes up again, and does without a disk. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type HeldBlob, hashOnce, sha256, type WeightSource } from './blob.js';
import { BlobStore, makeWritable, weightsFolder } from './store.js';

let folder = '';
let log: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'distredge-store-'));
  log = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (maxBytes?: number): Promise<BlobStore> =>
  BlobStore.open({ folder, maxBytes, log: (line) => log.push(line) });

/** Bytes that depend on the seed. */
function blob(seed: number, length = 1000): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + seed * 7) % 251);
}

function bytesOf(source: WeightSource): Uint8Array {
  return 'path' in source ? new Uint8Array(readFileSync(source.path)) : source;
}

async function put(store: BlobStore, bytes: Uint8Array): Promise<HeldBlob> {
  const intake = await store.take(sha256(bytes), bytes.length);
  for (let at = 0; at < bytes.length; at += 300) await intake.add(bytes.slice(at, at + 300));
  return intake.finish();
}

/** What lies in the folder once all that is under way is done. */
async function files(): Promise<string[]> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return readdirSync(folder).sort();
}

describe.each(['a folder that stays', 'a private folder'])('a store in %s', (kind) => {
  const make = (maxBytes?: number): Promise<BlobStore> =>
    kind === 'a private folder' ? BlobStore.open({ maxBytes, log: (line) => log.push(line) }) : open(maxBytes);

  it('gives back what it was given, and nothing else', async () => {
    const store = await make();
    const bytes = blob(1);
    expect(await store.find(sha256(bytes), 1000)).toBeUndefined();
    const held = await put(store, bytes);
    expect(bytesOf(held.source)).toEqual(bytes);
    expect(bytesOf((await store.find(sha256(bytes), 1000))?.source ?? new Uint8Array())).toEqual(bytes);
    expect(await store.find(sha256(bytes), 999)).toBeUndefined();
    expect(await store.find(sha256(blob(2)), 1000)).toBeUndefined();
    expect(store.bytes).toBe(1000);
    await store.close();
  });

  it('refuses bytes that are not those of the hash, and keeps nothing of them', async () => {
    const store = await make();
    const hash = sha256(blob(1));
    const intake = await store.take(hash, 1000);
    await intake.add(blob(2));
    await expect(intake.finish()).rejects.toMatchObject({
      code: 'PROTOCOL',
      expected: `SHA-256 ${hash}`,
      got: `SHA-256 ${sha256(blob(2))}`,
    });
    expect(store.hasPart(hash)).toBe(false);
    expect(await store.find(hash, 1000)).toBeUndefined();
    const more = await store.take(hash, 1000);
    await expect(more.add(blob(1, 1001))).rejects.toMatchObject({ code: 'PROTOCOL' });
    await more.stop();
    await store.close();
  });

  it('throws out what was not used for the longest time, and never what is in use', async () => {
    const store = await make(3000);
    const held = [];
    for (const seed of [1, 2, 3]) held.push(await put(store, blob(seed)));
    held[1]?.release();
    held[2]?.release();
    (await store.find(sha256(blob(2)), 1000))?.release();
    (await put(store, blob(4))).release();
    const kept = async (seed: number): Promise<boolean> => (await store.find(sha256(blob(seed)), 1000)) !== undefined;
    expect([await kept(1), await kept(2), await kept(3), await kept(4)]).toEqual([true, true, false, true]);
    expect(store.bytes).toBe(3000);
    await store.close();
  });

  it('goes on where an interrupted blob broke off', async () => {
    const store = await make();
    const bytes = blob(5);
    const hash = sha256(bytes);
    const first = await store.take(hash, 1000);
    await first.add(bytes.slice(0, 400));
    await first.stop();
    expect(store.hasPart(hash)).toBe(true);
    const second = await store.take(hash, 1000);
    expect(second.from).toBe(400);
    await second.add(bytes.slice(400));
    expect(bytesOf((await second.finish()).source)).toEqual(bytes);
    expect(store.hasPart(hash)).toBe(false);
    expect(store.bytes).toBe(1000);
    await store.close();
  });
});

it('leaves nothing behind that was to end with the process', async () => {
  const store = await BlobStore.open();
  const { source } = await put(store, blob(1));
  const path = 'path' in source ? source.path : '';
  expect(existsSync(path)).toBe(true);
  await store.close();
  expect(existsSync(join(path, '..'))).toBe(false);
});

describe('a folder that stays', () => {
  it('has its blobs for the next process, in files that nobody else reads', async () => {
    const first = await open();
    await put(first, blob(1));
    await first.close();
    const hash = sha256(blob(1));
    expect(await files()).toEqual([hash]);
    expect(statSync(join(folder, hash)).mode & 0o777).toBe(0o600);
    const second = await open();
    expect(second.bytes).toBe(1000);
    expect(bytesOf((await second.find(hash, 1000))?.source ?? new Uint8Array())).toEqual(blob(1));
    // What another process puts there meanwhile is found as well.
    await put(await open(), blob(2));
    expect(await second.find(sha256(blob(2)), 1000)).toBeDefined();
  });

  it.each([
    ['changed', (path: string) => writeFileSync(path, blob(9))],
    ['cut short', (path: string) => writeFileSync(path, blob(1).slice(0, 500))],
  ])('is not believed: a file that was %s is noticed, removed and told of', async (_, spoil) => {
    const hash = sha256(blob(1));
    const before = await open();
    (await put(before, blob(1))).release();
    spoil(join(folder, hash));
    // In the process that wrote it, and in the next one.
    expect(await before.find(hash, 1000)).toBeUndefined();
    expect(await files()).toEqual([]);
    (await put(before, blob(1))).release();
    spoil(join(folder, hash));
    const after = await open();
    expect(await after.find(hash, 1000)).toBeUndefined();
    if (log.length > 0) expect(log.join()).toContain('damaged');
    expect(log.length).toBeGreaterThan(0);
  });

  it('does without a file that another process has removed', async () => {
    const store = await open();
    (await put(store, blob(1))).release();
    rmSync(join(folder, sha256(blob(1))));
    expect(await store.find(sha256(blob(1)), 1000)).toBeUndefined();
    expect(store.bytes).toBe(0);
  });

  it('lets the next process go on with what a killed one was taking in', async () => {
    const bytes = blob(5);
    const hash = sha256(bytes);
    // No process has this number: it is more than Linux gives.
    writeFileSync(join(folder, `part-${hash}-4194305-1`), bytes.slice(0, 700));
    const store = await open();
    expect(store.hasPart(hash)).toBe(true);
    const intake = await store.take(hash, 1000);
    expect(intake.left).toBe(300);
    await intake.add(bytes.slice(700));
    expect(bytesOf((await intake.finish()).source)).toEqual(bytes);
    expect(await files()).toEqual([hash]);
  });

  it('notices that what was there of a blob was wrong, and begins anew', async () => {
    const bytes = blob(5);
    const hash = sha256(bytes);
    writeFileSync(join(folder, `part-${hash}-4194305-1`), blob(6).slice(0, 700));
    const store = await open();
    const intake = await store.take(hash, 1000);
    expect(intake.from).toBe(700);
    await intake.add(bytes.slice(700));
    await expect(intake.finish()).rejects.toMatchObject({ code: 'PROTOCOL' });
    const again = await store.take(hash, 1000);
    expect(again.from).toBe(0);
    await again.stop();
  });

  it('leaves files alone that are not its own', async () => {
    writeFileSync(join(folder, 'mine.txt'), 'x');
    const store = await open(500);
    (await put(store, blob(1))).release();
    expect(await files()).toEqual(['mine.txt']);
  });

  it('that is none is an error that names it', async () => {
    writeFileSync(join(folder, 'file'), '');
    for (const bad of [join(folder, 'file'), join(folder, 'file', 'below')])
      await expect(BlobStore.open({ folder: bad })).rejects.toMatchObject({ code: 'FILE', where: bad });
  });

  it('is made with its parents, by several at once', async () => {
    const deep = join(folder, 'a', 'b', 'c');
    await Promise.all([makeWritable(deep), makeWritable(deep), makeWritable(deep)]);
    expect(existsSync(deep)).toBe(true);
  });
});

describe('a disk that takes nothing', () => {
  it('is told of once; blobs are kept in memory, in their turn', async () => {
    const store = await open(2500);
    // As a full disk: no new file can be made. (The folder is gone, which also stops the system's administrator.)
    rmSync(folder, { recursive: true });
    const first = await put(store, blob(1));
    expect(first.source).toBeInstanceOf(Uint8Array);
    expect(bytesOf(first.source)).toEqual(blob(1));
    first.release();
    for (const seed of [2, 3]) (await put(store, blob(seed))).release();
    expect(await store.find(sha256(blob(1)), 1000)).toBeUndefined();
    expect(await store.find(sha256(blob(3)), 1000)).toBeDefined();
    expect(log).toEqual([expect.stringMatching(/^weights cannot be kept on disk \(ENOENT.*they are kept in memory$/)]);
  });

  it('in the middle of a blob: what it has taken is read back', async () => {
    const store = await open();
    const bytes = blob(1);
    const intake = await store.take(sha256(bytes), 1000);
    await intake.add(bytes.slice(0, 600));
    const handle = await openFile(join(folder, 'any'), 'w');
    const write = vi.spyOn(Object.getPrototypeOf(handle), 'write');
    write.mockRejectedValueOnce(new Error('ENOSPC: no space left on device'));
    await handle.close();
    rmSync(join(folder, 'any'));
    await intake.add(bytes.slice(600, 800));
    await intake.add(bytes.slice(800));
    const held = await intake.finish();
    expect(held.source).toBeInstanceOf(Uint8Array);
    expect(bytesOf(held.source)).toEqual(bytes);
    expect(write).toHaveBeenCalled();
    write.mockRestore();
    expect(log).toEqual([expect.stringContaining('no space left')]);
    expect(await files()).toEqual([]);
  });
});

it('hashes large constants of a model once, others whenever asked', async () => {
  const owner = {};
  const large = new Uint8Array(100_000).fill(1);
  const first = await hashOnce(owner, large);
  expect(first).toBe(sha256(large));
  expect(hashOnce(owner, large.subarray(0))).toBe(hashOnce(owner, large));
  const part = await hashOnce(owner, large.subarray(0, 70_000));
  expect(part).toBe(sha256(large.subarray(0, 70_000)));
  // Another model may have other bytes in the same buffer.
  large.fill(2);
  expect(await hashOnce({}, large)).toBe(sha256(large));
  const small = new Uint8Array(10).fill(3);
  const before = await hashOnce(owner, small);
  small.fill(4);
  expect(await hashOnce(owner, small)).not.toBe(before);
});

it('weights lie in the cache folder of the user', () => {
  expect(weightsFolder({ XDG_CACHE_HOME: '/somewhere' })).toBe('/somewhere/distredge/weights');
  expect(weightsFolder({ XDG_CACHE_HOME: 'relative' })).toMatch(/\/\.cache\/distredge\/weights$/);
});
