/** Weights on their way to a provider: what it asks for, what it refuses, and what it need not be sent again. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  blobBytes,
  dialRaw,
  engineOf,
  type FakeEngine,
  HELLO,
  prepareMessage,
  type RawEnd,
  sendBlobs,
  smallProgram,
  until,
} from '../fixtures.js';
import { FrameKind } from '../link/link.js';
import { createMemoryTransport } from '../link/memory.js';
import type { Control, WantedBlob } from '../protocol.js';
import { type Provider, type ProviderOptions, startProvider } from '../provider.js';
import { connect } from '../requester.js';
import { sha256 } from './blob.js';

const program = smallProgram(1);
const all = blobBytes(program, 0);
const everything = all.map((_, blob) => ({ blob, from: 0 }));
const total = all.reduce((sum, { length }) => sum + length, 0);
/** The first blob that is a weight. */
const weight = all.findIndex(({ length }) => length === 4608);

let folder = '';
let log: string[] = [];
let engines: FakeEngine[] = [];
const providers: Provider[] = [];
let transport = createMemoryTransport();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'distredge-transfer-'));
  log = [];
  engines = [];
  transport = createMemoryTransport();
});
afterEach(async () => {
  await Promise.all(providers.splice(0).map((provider) => provider.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<ProviderOptions> = {}): Promise<Provider> {
  const provider = await startProvider({
    transport,
    listen: 'p',
    engineName: 'fake',
    createEngine: () => {
      const engine = engineOf(program, 0);
      engines.push(engine);
      return engine;
    },
    log: (line) => log.push(line),
    ...options,
  });
  providers.push(provider);
  return provider;
}

async function stop(provider: Provider): Promise<void> {
  providers.splice(providers.indexOf(provider), 1);
  await provider.close();
}

/** A requester that has announced the program; `change` spoils its message. */
async function announce(change: Partial<Control & { type: 'prepare' }> = {}): Promise<RawEnd> {
  const end = await dialRaw(transport, 'p');
  await end.say(HELLO);
  await end.hears('welcome');
  await end.say({ ...prepareMessage(program, 0, ['p']), ...change } as Control);
  return end;
}

async function wantedOf(end: RawEnd): Promise<readonly WantedBlob[]> {
  const wanted = await end.hears('wanted');
  return wanted.type === 'wanted' ? wanted.blobs : [];
}

/** The engine's weights are those of the program. */
function loadedRight(engine: FakeEngine | undefined): void {
  const loaded = engine?.loaded.flatMap(({ model, weights }) => [model, ...weights.values()].map(sha256)) ?? [];
  expect(new Set(loaded)).toEqual(new Set(all.map(sha256)));
}

it('asks for everything at first, for nothing the second time, while the first program is there and after it is gone', async () => {
  await start();
  const first = await announce();
  expect(await wantedOf(first)).toEqual(everything);
  expect(await sendBlobs(first, program, 0)).toBe(total);
  await first.hears('ready');
  const second = await announce();
  expect(await wantedOf(second)).toEqual([]);
  await second.hears('ready');
  for (const end of [first, second]) end.link.close();
  await until(() => engines.every(({ closed }) => closed));
  const third = await announce();
  expect(await wantedOf(third)).toEqual([]);
  await third.hears('ready');
  for (const engine of engines) loadedRight(engine);
});

it('a requester counts what travels: all at first, nothing for the same program again', async () => {
  await start();
  const told: [number, number][] = [];
  const options = {
    transport,
    addresses: ['p'],
    progress: (sent: number, wanted: number) => told.push([sent, wanted]),
  };
  const first = await connect(program, options);
  expect(first.weights).toEqual({ all: total, wanted: total, sent: total });
  expect(told.at(-1)).toEqual([total, total]);
  const second = await connect(program, options);
  expect(second.weights).toEqual({ all: total, wanted: 0, sent: 0 });
  await Promise.all([first.close(), second.close()]);
});

it('has its weights again after a restart, from its folder; damaged ones are fetched', async () => {
  const before = await start({ cache: folder });
  const end = await announce();
  await sendBlobs(end, program, 0);
  await end.hears('ready');
  await stop(before);
  expect(readdirSync(folder).sort()).toEqual(all.map(sha256).sort());
  const again = await start({ cache: folder });
  const other = await announce();
  expect(await wantedOf(other)).toEqual([]);
  await other.hears('ready');
  await stop(again);
  writeFileSync(join(folder, sha256(all[weight] as Uint8Array)), new Uint8Array(4608).fill(9));
  await start({ cache: folder });
  const last = await announce();
  expect(await wantedOf(last)).toEqual([{ blob: weight, from: 0 }]);
  expect(log.join('\n')).toContain('damaged');
  await sendBlobs(last, program, 0);
  await last.hears('ready');
  for (const engine of engines) loadedRight(engine);
});

it('goes on with the bytes that are missing when a link broke, also after a restart', async () => {
  const first = await start({ cache: folder });
  const bytes = all[weight] as Uint8Array;
  const pieces = async (end: RawEnd, from: number, to: number): Promise<void> => {
    for (let at = from; at < to; at += 500)
      await end.send(FrameKind.blob, 0, weight, bytes.subarray(at, Math.min(at + 500, to)));
  };
  const end = await announce();
  await wantedOf(end);
  for (let blob = 0; blob < weight; blob++) await end.send(FrameKind.blob, 0, blob, all[blob] as Uint8Array);
  await pieces(end, 0, 2000);
  end.link.close();
  await until(() => engines[0]?.closed === true);
  const rest = everything.slice(weight + 1);
  const second = await announce();
  expect(await wantedOf(second)).toEqual([{ blob: weight, from: 2000 }, ...rest]);
  await pieces(second, 2000, 3000);
  await stop(first);
  await until(() => second.closed !== undefined);
  // Left by a process that is gone: this one still is there.
  for (const name of readdirSync(folder))
    if (name.startsWith('part-')) {
      writeFileSync(join(folder, name.replace(`-${process.pid}-`, '-4194305-')), bytes.subarray(0, 3000));
      rmSync(join(folder, name));
    }
  await start({ cache: folder });
  const third = await announce();
  expect(await wantedOf(third)).toEqual([{ blob: weight, from: 3000 }, ...rest]);
  await sendBlobs(third, program, 0);
  await third.hears('ready');
  loadedRight(engines.at(-1));
});

it('asks once more where the beginning, from another time, was wrong', async () => {
  await start();
  const liar = await announce();
  await wantedOf(liar);
  for (let blob = 0; blob < weight; blob++) await liar.send(FrameKind.blob, 0, blob, all[blob] as Uint8Array);
  await liar.send(FrameKind.blob, 0, weight, 4000);
  liar.link.close();
  await until(() => engines[0]?.closed === true);
  const cluster = await connect(program, { transport, addresses: ['p'] });
  expect(cluster.weights.sent).toBeGreaterThan(4608);
  loadedRight(engines.at(-1));
  await cluster.close();
});

it('asks for all of a weight where chunks that are there are not what they were said to be', async () => {
  await start();
  const other = all.findLastIndex(({ length }) => length === 4608);
  const lie = 'a'.repeat(64);
  const chunks = [weight, other].map((blob) => ({ blob, first: 4608, hashes: [lie] }));
  const first = await announce({ chunks });
  await wantedOf(first);
  for (let blob = 0; blob < other; blob++) await first.send(FrameKind.blob, 0, blob, all[blob] as Uint8Array);
  await until(() => engines[0]?.loaded.length === 1);
  first.link.close();
  await until(() => engines[0]?.closed === true);
  const second = await announce({ chunks });
  expect(await wantedOf(second)).toEqual([{ blob: other, from: 0 }]);
  await sendBlobs(second, program, 0);
  await second.hears('ready');
  loadedRight(engines.at(-1));
});

it('refuses bytes that are not those of the hash, says so, and keeps none of them', async () => {
  await start();
  const end = await announce();
  await wantedOf(end);
  for (let blob = 0; blob < weight; blob++) await end.send(FrameKind.blob, 0, blob, all[blob] as Uint8Array);
  await end.send(FrameKind.blob, 0, weight, new Uint8Array(4608).fill(77));
  expect(await end.refusal()).toBe('PROTOCOL: weights came whose bytes are not those that their hash names');
  expect(log.join('\n')).toContain('not those that their hash names');
  // They were not loaded.
  const loaded = engines[0]?.loaded.flatMap(({ weights }) => [...weights.values()].map((data) => data[0])) ?? [];
  expect(loaded).not.toContain(77);
  const next = await announce();
  expect((await wantedOf(next))[0]).toEqual({ blob: weight, from: 0 });
  await sendBlobs(next, program, 0);
  await next.hears('ready');
});

const hashes = all.map(sha256);

it.each<[string, Partial<Control & { type: 'prepare' }>]>([
  ['too few hashes', { hashes: hashes.slice(1) }],
  ['too many hashes', { hashes: [...hashes, hashes[0] as string] }],
  ['one hash for two sizes', { hashes: hashes.map(() => hashes[0] as string) }],
  ['a hash that is none', { hashes: hashes.map(() => 'z'.repeat(64)) }],
  ['a hash that is a path', { hashes: hashes.map(() => '../../etc/passwd') }],
  ['chunks of another size', { chunks: [{ blob: weight, first: 100, hashes: hashes.slice(0, 3) }] }],
  ['chunks of no blob', { chunks: [{ blob: 999, first: 100, hashes: hashes.slice(0, 1) }] }],
  ['a chunk that is a path', { chunks: [{ blob: weight, first: 4608, hashes: ['../../etc/passwd'] }] }],
])('%s: is refused, and the next requester served', async (_, change) => {
  await start();
  expect(await (await announce(change)).refusal()).toMatch(/^PROTOCOL/);
  const end = await announce();
  await sendBlobs(end, program, 0);
  await end.hears('ready');
});

it.each<[string, (end: RawEnd) => Promise<void>]>([
  ['a blob out of turn', (end) => end.send(FrameKind.blob, 0, weight, 100)],
  ['a blob that is none', (end) => end.send(FrameKind.blob, 0, 999, 100)],
  ['more than a blob has', (end) => end.send(FrameKind.blob, 0, 0, (all[0]?.length ?? 0) + 1)],
  ['an empty chunk', (end) => end.send(FrameKind.blob, 0, 0, 0)],
])('%s: ends the link before it is read', async (_, misbehave) => {
  await start();
  const end = await announce();
  await wantedOf(end);
  await misbehave(end).catch(() => undefined);
  await until(() => end.closed !== undefined);
  expect(log.join('\n')).toContain('weights came that nobody asked for');
});

it('weights that nobody was asked for, because they are there, are refused', async () => {
  await start();
  const first = await announce();
  await sendBlobs(first, program, 0);
  await first.hears('ready');
  const second = await announce();
  await second.hears('ready');
  await second.send(FrameKind.blob, 0, 0, 8).catch(() => undefined);
  await until(() => second.closed !== undefined);
});
