import { type PlanningTask, simulator, type WorkPlan, type WorkVolume } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { auto } from './auto.js';
import { Net, randomTask, taskOn } from './baselines/fixtures.js';
import { baselines } from './baselines/index.js';
import type { Together } from './planner.js';
import { Geometry } from './search/geometry.js';
import { devicesOf, fromWorkPlan } from './search/plan-state.js';

/** Some convolutions on devices of these rates. */
function chain(
  devices: Parameters<typeof taskOn>[1],
  network: Parameters<typeof taskOn>[2] = {},
  { layers = 4, rows = 24, outputs = 'head' as 'head' | 'rows' } = {},
): PlanningTask {
  const net = new Net(rows);
  let last = 0;
  for (let layer = 0; layer < layers; layer++) last = net.layer({ channels: 6, multiplyAdds: 27, weightBytes: 500 });
  return taskOn(net.workload(outputs === 'head' ? 'head' : [last]), devices, network);
}

/** The least latency of all plans with one cut in each of at most two volumes, for two devices without a head. */
function bruteForce(task: PlanningTask): number {
  const judge = simulator(task);
  const heights = task.workload.ops.map((op) => op.rows);
  const last = heights.length - 1;
  const volumes = (end: number): WorkVolume[] => {
    const height = heights[end] ?? 0;
    return Array.from({ length: height + 1 }, (_, cut) => ({
      end,
      parts: [
        { device: 0, from: 0, to: cut },
        { device: 1, from: cut, to: height },
      ],
    }));
  };
  let best = Number.POSITIVE_INFINITY;
  for (const second of volumes(last)) {
    best = Math.min(best, judge.latency({ volumes: [second] }));
    for (let end = 0; end < last; end++) {
      for (const first of volumes(end)) best = Math.min(best, judge.latency({ volumes: [first, second] }));
    }
  }
  return best;
}

describe('auto', () => {
  it('finds at least the best of all plans with two volumes', async () => {
    const task = chain(
      [{ rate: 3000 }, { rate: 5000 }],
      { mbps: 40, latencyMs: 0.2 },
      { layers: 3, rows: 10, outputs: 'rows' },
    );
    const { latencyMs } = await auto(task, { maxEvaluations: 4000, classical: true });
    expect(latencyMs).toBeLessThanOrEqual(bruteForce(task) * (1 + 1e-9));
  });

  it('is never worse than a baseline, on whatever network and cluster', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const task = randomTask(seed);
      const { plan, latencyMs } = await auto(task, { maxEvaluations: 400, seed });
      expect(simulator(task).latency(plan)).toBe(latencyMs);
      for (const baseline of baselines) {
        const theirs = await baseline.plan(task);
        expect(latencyMs, `${baseline.name}, seed ${seed}`).toBeLessThanOrEqual(theirs.latencyMs * (1 + 1e-9));
      }
    }
  });

  it('keeps to the classical form when asked, and general plans are no worse', async () => {
    const task = chain([{ rate: 3000 }, { rate: 4000 }, { rate: 2000 }], { mbps: 60, latencyMs: 0.1 });
    const classical = await auto(task, { maxEvaluations: 1500, classical: true });
    const general = await auto(task, { maxEvaluations: 1500, start: [classical.plan] });
    expect(classical.plan.schedule).toBeUndefined();
    expect(classical.plan.order).toBeUndefined();
    expect(Array.isArray(classical.plan.head)).toBe(false);
    for (const volume of classical.plan.volumes) {
      if ('gather' in volume) continue;
      const devices = volume.parts.map((part) => part.device);
      expect(devices).toEqual([...new Set(devices)].sort((a, b) => a - b));
    }
    expect(general.latencyMs).toBeLessThanOrEqual(classical.latencyMs);
  });

  it('gives the same plan for the same seed and number of plans', async () => {
    const task = chain([{ rate: 3000 }, { rate: 4000 }], { mbps: 60 });
    const one = await auto(task, { maxEvaluations: 1000, seed: 7 });
    const two = await auto(task, { maxEvaluations: 1000, seed: 7 });
    expect(two).toEqual(one);
    expect(one.evaluations).toBeLessThan(1100);
  });

  it('is never worse than a plan to start from, and leaves out one that no longer fits', async () => {
    const task = chain([{ rate: 3000 }, { rate: 4000 }, { rate: 3500 }], { mbps: 60 });
    const long = await auto(task, { maxEvaluations: 3000 });
    const short = await auto(task, { maxEvaluations: 60, start: [long.plan] });
    expect(short.latencyMs).toBeLessThanOrEqual(long.latencyMs);
    const fewer = {
      ...task,
      costs: task.costs.slice(0, 1),
      network: { ...task.network, devices: task.network.devices.slice(0, 1) },
    };
    const after = await auto(fewer, { maxEvaluations: 60, start: [long.plan] });
    expect(devicesOf(fromWorkPlan(after.plan, new Geometry(fewer)))).toEqual([0]);
  });

  it('uses one device where others only cost time', async () => {
    const task = chain([{ rate: 1e6 }, { rate: 10, mbps: 0.1 }], { mbps: 100, latencyMs: 5 });
    const { plan } = await auto(task, { maxEvaluations: 600 });
    expect(devicesOf(fromWorkPlan(plan, new Geometry(task)))).toEqual([0]);
  });

  it('respects memory, also where no single device suffices', async () => {
    const rates = [
      { rate: 3000, memoryBytes: 7500 },
      { rate: 4000, memoryBytes: 7500 },
      { rate: 2000, memoryBytes: 7500 },
    ];
    const task = chain(rates, { mbps: 60 }, { layers: 3, rows: 24 });
    const judge = simulator(task);
    expect(judge.latency({ volumes: [{ end: 2, parts: [{ device: 0, from: 0, to: 24 }] }], head: 0 })).toBe(
      Number.POSITIVE_INFINITY,
    );
    const { plan, latencyMs } = await auto(task, { maxEvaluations: 3000 });
    expect(latencyMs).toBeLessThan(Number.POSITIVE_INFINITY);
    for (const bytes of judge.run(plan).memoryBytes) expect(bytes).toBeLessThanOrEqual(7500);
  });

  it.each([1, 2, 8, 64])('gives a valid plan for %i devices', async (count) => {
    const devices = Array.from({ length: count }, (_, d) => ({ rate: 1000 + 100 * (d % 7), mbps: 20 + 10 * (d % 5) }));
    const task = chain(devices, { mbps: 100, latencyMs: 0.1 });
    const { plan, latencyMs } = await auto(task, { maxEvaluations: 300 });
    expect(simulator(task).latency(plan)).toBe(latencyMs);
  });

  it('keeps its budget by the clock it is given, and tells how far it is', async () => {
    let ms = 0;
    const now = (): number => ms++;
    const task = chain([{ rate: 3000 }, { rate: 4000 }]);
    const long = await auto(task, { budgetMs: 400, now });
    const spent = ms;
    expect(spent).toBeLessThan(800);
    ms = 0;
    const short = await auto(task, { budgetMs: 40, now });
    expect(short.evaluations).toBeLessThan(long.evaluations);
    expect(short.latencyMs).toBeLessThan(Number.POSITIVE_INFINITY);
  });

  it('ends long before a large budget where nothing more is found, and uses up a number of plans', async () => {
    let ms = 0;
    const now = (): number => ms++;
    const task = chain([{ rate: 1e6 }, { rate: 10, mbps: 0.1 }], { mbps: 100, latencyMs: 5 });
    const { latencyMs } = await auto(task, { budgetMs: 1e6, now });
    expect(ms).toBeLessThan(5000);
    const counted = await auto(task, { maxEvaluations: 3000, now });
    expect(counted.evaluations).toBeGreaterThanOrEqual(3000);
    expect(counted.latencyMs).toBeGreaterThanOrEqual(latencyMs * (1 - 1e-3));
  });

  it('tells searches beside it of every better plan, and goes on from what it hears', async () => {
    const task = chain([{ rate: 1000 }, { rate: 1300 }, { rate: 700 }], { mbps: 100, latencyMs: 3 }, { layers: 6 });
    const judge = simulator(task);
    const search = async (heard: readonly WorkPlan[], maxEvaluations: number, index = 1) => {
      const told: number[] = [];
      let news = heard;
      const together: Together = {
        index,
        count: 2,
        tell: (plan) => told.push(judge.latency(plan)),
        heard() {
          const plans = news;
          news = [];
          return plans;
        },
      };
      return { ...(await auto(task, { maxEvaluations, together })), told };
    };
    const long = await search([], 6000, 0);
    expect(long.told.at(-1)).toBeCloseTo(long.latencyMs, 9);
    expect(long.told).toEqual([...long.told].sort((x, y) => y - x));
    const alone = await search([], 150);
    expect(alone.latencyMs).toBeGreaterThan(long.latencyMs * 1.001);
    const beside = await search([long.plan], 150);
    expect(beside.latencyMs).toBeLessThanOrEqual(long.latencyMs * (1 + 1e-9));
    // What was heard is not told again.
    expect(beside.told.some((ms) => Math.abs(ms / long.latencyMs - 1) < 1e-9)).toBe(false);
  });

  it('stops when told to, with the best so far', async () => {
    const task = chain([{ rate: 3000 }, { rate: 4000 }]);
    const { plan, evaluations } = await auto(task, { signal: { aborted: true } });
    expect(evaluations).toBeLessThan(50);
    expect(simulator(task).latency(plan)).toBeLessThan(Number.POSITIVE_INFINITY);
  });

  it('lets images follow each other more closely when asked for throughput', async () => {
    const task = chain([{ rate: 2000 }, { rate: 2000 }, { rate: 2000 }], { mbps: 100, latencyMs: 3 }, { layers: 6 });
    const one = await auto(task, { maxEvaluations: 1500 });
    const many = await auto(task, { maxEvaluations: 1500, objective: 'throughput', start: [one.plan] });
    expect(many.periodMs).toBeLessThanOrEqual(one.periodMs * (1 + 1e-3));
    expect(many.periodMs).toBeCloseTo(simulator(task).loads(many.plan).periodMs, 9);
  });

  it('asks for a device', async () => {
    const task = chain([{ rate: 1 }]);
    const none = { ...task, costs: [], network: { ...task.network, devices: [] } };
    await expect(auto(none)).rejects.toMatchObject({ code: 'PLAN_INVALID' });
  });
});
