import { DistrEdgeError, parseProfile, profileCosts } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { bytesMoved, convolutions, type Measurable, rowsMade, TimedEngine, type TimeOf, twins } from './fixtures.js';
import { type MeasureOptions, measureProfile, modelHash } from './measure.js';

const DEVICE = { id: 'box', cpu: 'a processor' };

/** A part's start, its edges, and for every convolution a step for each 16 rows. */
const STAIRS: TimeOf = (count, call) =>
  0.1 + 2e-6 * bytesMoved(call) * 0.1 + count * 4 * Math.ceil(rowsMade(call) / 16);

function measure({ analysis, workload }: Measurable, engine: TimedEngine, more: Partial<MeasureOptions> = {}) {
  const clock = { now: () => engine.now };
  return measureProfile(analysis, workload, {
    engine,
    device: DEVICE,
    memoryMb: 1000,
    budgetMs: 5000,
    clock,
    ...more,
  });
}

describe('measureProfile', () => {
  it('measures every op at the ends and the middle, and says on what', async () => {
    const model = convolutions(3, 70);
    const engine = new TimedEngine((count, call) => 0.5 + count * rowsMade(call));
    const profile = await measure(model, engine);
    expect(profile).toMatchObject({
      version: 1,
      device: { id: 'box', cpu: 'a processor', engine: 'fake 1', threads: 1 },
      model: { name: 'convolutions', hash: modelHash(model.analysis) },
      memory_mb: 1000,
    });
    expect(profile.ops.map(({ end }) => end)).toEqual(['v1', 'v2', 'v3']);
    expect(profile.ops.map(({ rows }) => [rows[0], rows.at(-1)])).toEqual([
      [1, 68],
      [1, 66],
      [1, 64],
    ]);
    // A straight line needs the middle of each half to be known for one, and no more.
    expect(profile.ops.map(({ rows }) => rows.length)).toEqual([5, 5, 5]);
    expect(engine.loaded.size).toBe(0);
  });

  it('loads runs of ops for each height alone, as providers do, and ops for all heights at once', async () => {
    const engine = new TimedEngine((count, call) => 0.5 + count * rowsMade(call));
    await measure(convolutions(3, 70), engine);
    const loaded = engine.models.map((count, at) => `${count} ${engine.alone[at] ? 'alone' : 'shared'}`);
    expect(loaded.filter((text) => text === '3 alone')).toHaveLength(2);
    expect(loaded.filter((text) => text.endsWith('alone'))).toHaveLength(2);
  });

  it('finds the steps of a staircase, and costs that give the same parts the same times', async () => {
    const model = convolutions(1, 130);
    const engine = new TimedEngine(STAIRS);
    const profile = parseProfile(JSON.parse(JSON.stringify(await measure(model, engine))));
    const [op] = profile.ops;
    expect(profile.part_ms).toBeCloseTo(0.1, 1);
    expect(op?.rows.length).toBeGreaterThan(8);
    const costs = profileCosts(model.workload, profile, 'box');
    const table = costs.opMs[0] as Float64Array;
    // What an op takes inside a part, in steps of 4 ms: far from the line from end to end where a step was just missed.
    for (const rows of op?.rows ?? []) expect(table[rows]).toBeCloseTo(4 * Math.ceil(rows / 16), -0.5);
    const steps = new Set((op?.ms ?? []).map((ms) => Math.round(ms / 4)));
    expect(steps.size).toBeGreaterThan(5);
  });

  it('tells what parts take at their edges from what runs of ops save', async () => {
    const model = convolutions(4, 200);
    const engine = new TimedEngine((count, call) => 0.1 + 3e-7 * bytesMoved(call) + count * 0.005 * rowsMade(call));
    const profile = await measure(model, engine);
    expect(profile.fusion).toBeLessThan(0.95);
    for (const { edge_ms_per_mb } of profile.ops) expect(edge_ms_per_mb).toBeGreaterThan(0.15);
    for (const { edge_ms_per_mb } of profile.ops) expect(edge_ms_per_mb).toBeLessThan(0.45);
  });

  it('measures equal ops once', async () => {
    const engine = new TimedEngine(STAIRS);
    const profile = await measure(twins(66), engine);
    expect(profile.ops).toHaveLength(3);
    expect(profile.ops[0]?.rows).toEqual(profile.ops[1]?.rows);
    expect(engine.models.filter((count) => count === 1)).toHaveLength(1);
  });

  it('gives the same profile for the same times', async () => {
    const [first, second] = await Promise.all([1, 2].map(() => measure(convolutions(3, 66), new TimedEngine(STAIRS))));
    expect(first).toEqual(second);
  });

  it('ends with the budget, after a few rounds of everything', async () => {
    const quick = new TimedEngine(STAIRS);
    await measure(convolutions(3, 66), quick, { budgetMs: 1 });
    const patient = new TimedEngine(STAIRS);
    await measure(convolutions(3, 66), patient, { budgetMs: 20_000 });
    expect(quick.runs).toBeLessThan(patient.runs);
    expect(patient.now).toBeLessThan(25_000);
  });

  it('goes by processor time where the engine keeps the calling thread busy alone', async () => {
    const engine = new TimedEngine(() => 100);
    let cpu = 0;
    const clock = { now: () => engine.now, cpu: () => (cpu += 1) };
    expect((await measure(convolutions(1, 20), engine, { clock })).part_ms).toBe(1);
    expect((await measure(convolutions(1, 20), engine, { clock, threads: 2 })).part_ms).toBe(100);
  });

  it('tells how far it is', async () => {
    const told: number[] = [];
    await measure(convolutions(12, 66), new TimedEngine(STAIRS), { onProgress: (done) => told.push(done) });
    expect(told.length).toBeGreaterThan(3);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.at(-1)).toBe(1);
  });

  it('stops when asked to, and unloads what it loaded', async () => {
    const signal = { aborted: false };
    const engine = new TimedEngine((...args) => {
      signal.aborted = engine.runs > 20;
      return STAIRS(...args);
    });
    await expect(measure(convolutions(3, 66), engine, { signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(engine.runs).toBeLessThan(25);
    expect(engine.loaded.size).toBe(0);
  });

  it('names the op that the engine cannot run', async () => {
    const engine = new TimedEngine((count) => {
      if (count === 1) throw new DistrEdgeError('ENGINE_FAILED', 'no such kernel', { where: 'model 1' });
      return 1;
    });
    const failing = measure(convolutions(1, 66), engine);
    await expect(failing).rejects.toMatchObject({
      code: 'ENGINE_FAILED',
      where: expect.stringContaining("op 'Conv#0'"),
    });
    expect(engine.loaded.size).toBe(0);
  });
});

describe('modelHash', () => {
  it('depends on shapes, not on what the model is called', () => {
    expect(modelHash(convolutions(2, 66).analysis)).toBe(modelHash(convolutions(2, 66).analysis));
    expect(modelHash(convolutions(2, 66).analysis)).not.toBe(modelHash(convolutions(2, 68).analysis));
    expect(modelHash(convolutions(2, 66).analysis)).not.toBe(modelHash(convolutions(3, 66).analysis));
  });
});
