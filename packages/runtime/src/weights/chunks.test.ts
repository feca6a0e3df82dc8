/** Slices of one weight have chunks in common: what a device has of them is not sent again, and never believed. */
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { analyse, compile, deviceProgram, loadGraph, type Program, planByRule } from '@distredge/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { onnxModel } from '../engine/fixtures.js';
import { FakeEngine } from '../fixtures.js';
import { createMemoryTransport } from '../link/memory.js';
import { type Provider, type ProviderOptions, startProvider } from '../provider.js';
import { connect } from '../requester.js';
import { sha256 } from './blob.js';
import { ChunkIndex, type Chunks, checkChunks, chunksOf, spansOf } from './chunks.js';

const MIB = 2 ** 20;

/** Bytes of which no two chunks are the same. */
function varied(bytes: number): Uint8Array {
  const values = new Uint32Array(bytes / 4);
  for (let at = 0; at < values.length; at++) values[at] = Math.imul(at + 1, 2654435761);
  return new Uint8Array(values.buffer);
}

describe('chunks', () => {
  it('end where those of the whole end, so that slices have what lies in both in common', async () => {
    const whole = varied(8 * MIB);
    const owner = {};
    const of = (from: number, to: number): Promise<Chunks | undefined> => chunksOf(owner, whole.subarray(from, to));
    const all = (await of(0, 8 * MIB)) as Chunks;
    expect([all.first, all.hashes.length]).toEqual([MIB, 8]);
    const slice = (await of(MIB / 2, 5.25 * MIB)) as Chunks;
    expect(slice.first).toBe(MIB / 2);
    expect(slice.hashes.slice(1, -1)).toEqual(all.hashes.slice(1, 5));
    expect(slice.hashes).toHaveLength(6);
    expect(spansOf(4.75 * MIB, slice.first).map(({ to }) => to / MIB)).toEqual([0.5, 1.5, 2.5, 3.5, 4.5, 4.75]);
    expect(await of(0, MIB)).toBeUndefined();
  });

  it('must be those of so many bytes', () => {
    const hashes = ['a', 'b', 'c'];
    expect(() => checkChunks({ first: MIB, hashes }, 3 * MIB)).not.toThrow();
    for (const [first, bytes] of [
      [MIB, 3 * MIB + 1],
      [MIB, 2 * MIB],
      [2 * MIB, 4 * MIB],
      [1, 3 * MIB],
    ] as const)
      expect(() => checkChunks({ first, hashes }, bytes)).toThrow('other chunks');
  });

  it('are found in the blob that has them, while it is kept', () => {
    const index = new ChunkIndex();
    index.learn('one', 2 * MIB, { first: MIB, hashes: ['a', 'b'] });
    index.learn('other', 1.5 * MIB, { first: MIB / 2, hashes: ['c', 'b'] });
    expect(index.find('b', MIB)).toEqual({ blob: 'other', bytes: 1.5 * MIB, span: { from: MIB / 2, to: 1.5 * MIB } });
    expect(index.find('a', MIB / 2)).toBeUndefined();
    index.forget('other');
    expect(index.find('c', MIB / 2)).toBeUndefined();
    expect(index.find('a', MIB)).toMatchObject({ blob: 'one' });
  });
});

const [OUT, IN] = [8192, 512];
const WEIGHT = varied(OUT * IN * 4);
const graph = loadGraph(
  onnxModel({
    nodes: [
      { op: 'Relu', inputs: ['x'], outputs: ['r'] },
      { op: 'Flatten', inputs: ['r'], outputs: ['f'] },
      { op: 'Gemm', inputs: ['f', 'w'], outputs: ['y'], ints: { transB: 1 } },
    ],
    inputs: [{ name: 'x', type: 'float32', shape: [1, 4, 16, 8] }],
    outputs: [{ name: 'y', type: 'float32', shape: [1, OUT] }],
    weights: [{ name: 'w', shape: [OUT, IN], location: 'w', offset: 0 }],
  }),
  { external: () => WEIGHT },
);
const analysis = analyse(graph);
/** A program whose last layer the devices share by these weights. */
const shared = (weights: readonly number[]): Program =>
  compile(graph, planByRule(analysis, { volumes: 1, weights }), analysis);

let folder = '';
let transport = createMemoryTransport();
const engines: FakeEngine[] = [];
const providers: Provider[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'distredge-chunks-'));
  transport = createMemoryTransport();
});
afterEach(async () => {
  await Promise.all(providers.splice(0).map((provider) => provider.close()));
  engines.splice(0);
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<ProviderOptions> = {}): Promise<void> {
  for (const listen of ['p', 'q']) {
    const createEngine: ProviderOptions['createEngine'] = ({ steps }) => {
      const engine = new FakeEngine(steps, 1);
      engines.push(engine);
      return engine;
    };
    const own = options.cache === undefined ? {} : { cache: join(options.cache, listen) };
    providers.push(await startProvider({ transport, listen, engineName: 'fake', createEngine, ...options, ...own }));
  }
}

/** Prepares a program and tells how many bytes of weights and models were sent. */
async function sentFor(program: Program): Promise<number> {
  engines.splice(0);
  const cluster = await connect(program, { transport, addresses: ['p', 'q'] });
  const { sent } = cluster.weights;
  await cluster.close();
  const loaded = engines.flatMap((engine) => engine.loaded.flatMap(({ weights }) => [...weights.values()].map(sha256)));
  const right = [0, 1].flatMap((device) =>
    deviceProgram(program, device).models.flatMap((model) =>
      [...(program.models[model]?.weights.values() ?? [])].map(sha256),
    ),
  );
  expect(loaded.sort()).toEqual(right.sort());
  return sent;
}

describe('a cut that moves', () => {
  it('has only the chunks sent that a device lacks', async () => {
    await start();
    expect(await sentFor(shared([1, 1]))).toBeGreaterThan(16 * MIB);
    // From 8 + 8 to 12 + 4 MiB.
    const moved = await sentFor(shared([3, 1]));
    expect(moved).toBeGreaterThan(4 * MIB);
    expect(moved).toBeLessThan(4.1 * MIB);
    // The chunk that both have a half of is all that no device has so.
    const halved = await sentFor(shared([17, 15]));
    expect(halved).toBeGreaterThan(MIB);
    expect(halved).toBeLessThan(1.1 * MIB);
    expect(await sentFor(shared([3, 1]))).toBe(0);
  });

  it('from memory, where the disk takes nothing', async () => {
    const none = join(folder, 'none');
    writeFileSync(none, '');
    const before = process.env['TMPDIR'];
    process.env['TMPDIR'] = none;
    try {
      await start();
      expect(await sentFor(shared([1, 1]))).toBeGreaterThan(16 * MIB);
      expect(await sentFor(shared([3, 1]))).toBeLessThan(4.1 * MIB);
    } finally {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    }
  });

  it('has everything sent where what is there is no longer what it was', async () => {
    await start({ cache: folder });
    await sentFor(shared([1, 1]));
    for (const name of readdirSync(join(folder, 'p'))) {
      const path = join(folder, 'p', name);
      const { size } = statSync(path);
      if (size > MIB) writeFileSync(path, new Uint8Array(size));
    }
    const moved = await sentFor(shared([3, 1]));
    expect(moved).toBeGreaterThan(12 * MIB);
  });
});
