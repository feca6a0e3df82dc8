import { type PlanningTask, referenceSimulator, type WorkPlan } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { auto } from '../auto.js';
import { Net, randomFrom, randomTask, taskOn } from '../baselines/fixtures.js';
import { lowerBound } from './bound.js';
import { LinearProgram } from './linear-program.js';
import { computableRows, fewestRead } from './reach.js';

/** A random plan: random ends, random parts in any order of devices. */
function randomPlan({ workload, costs }: PlanningTask, random: () => number): WorkPlan {
  const below = (n: number): number => Math.floor(random() * n);
  const last = workload.ops.length - 1;
  const ends = new Set([last, ...workload.forced.map((op) => op - 1)]);
  for (let op = 0; op < last; op++) if (random() < 0.4) ends.add(op);
  workload.ops.forEach((op, index) => {
    if (op.whole) ends.add(index).add(index - 1);
  });
  const volumes = [...ends]
    .filter((end) => end >= 0)
    .sort((a, b) => a - b)
    .map((end) => {
      const op = workload.ops[end] as (typeof workload.ops)[number];
      const cuts = op.whole ? [] : Array.from({ length: below(4) }, () => below(op.rows + 1));
      const bounds = [0, ...cuts.sort((a, b) => a - b), op.rows];
      const parts = bounds
        .slice(1)
        .map((to, index) => ({ device: below(costs.length), from: bounds[index] as number, to }));
      return { end, parts: parts.filter(({ from, to }) => to > from) };
    });
  return { volumes, ...(workload.head === undefined ? {} : { head: below(costs.length) }) };
}

describe('the lower bound', () => {
  it('is below the latency of any plan', { timeout: 60_000 }, async () => {
    let close = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const task = randomTask(seed);
      const random = randomFrom(seed);
      const { ms } = await lowerBound(task, { windows: 1 + (seed % 5) });
      expect(ms).toBeGreaterThan(0);
      const simulator = referenceSimulator(task);
      for (let round = 0; round < 25; round++) {
        const latency = simulator.latency(randomPlan(task, random));
        expect(latency).toBeGreaterThanOrEqual(ms);
        if (latency < 2 * ms) close += 1;
      }
    }
    // And not far below, for at least some of such random plans.
    expect(close).toBeGreaterThan(10);
  });

  it('is below what a search finds, on devices whose times are staircases', { timeout: 60_000 }, async () => {
    let close = 0;
    for (let seed = 101; seed <= 124; seed++) {
      const task = randomTask(seed);
      const step = 1 + (seed % 4);
      const costs = task.costs.map((device) => ({
        ...device,
        opMs: device.opMs.map((table) =>
          table.map((_, r) => table[Math.min(table.length - 1, step * Math.ceil(r / step))] as number),
        ),
      }));
      const steps = { ...task, costs };
      const { ms } = await lowerBound(steps, { windows: 1 + (seed % 5) });
      const { latencyMs } = await auto(steps, { maxEvaluations: 600, seed });
      expect(latencyMs).toBeGreaterThanOrEqual(ms);
      if (latencyMs < 1.15 * ms) close += 1;
    }
    // Some so close that a bound which is slightly too high would be noticed.
    expect(close).toBeGreaterThan(3);
  });

  it('is what one device needs, where there is one and the network is fast', async () => {
    const net = new Net(40);
    net.layer();
    net.layer({ channels: 8 });
    const task = taskOn(net.workload('head'), [{ rate: 50 }], { mbps: 1e6 });
    const last = task.workload.ops.length - 1;
    const plan = { volumes: [{ end: last, parts: [{ device: 0, from: 0, to: 40 }] }], head: 0 };
    const latency = referenceSimulator(task).latency(plan);
    const { ms, reason } = await lowerBound(task);
    expect(ms).toBeLessThanOrEqual(latency);
    expect(ms).toBeGreaterThan(0.98 * latency);
    expect(reason).toBe('work of the devices');
  });

  it('is the way of the input, where the network is slow', async () => {
    const net = new Net(40);
    net.layer();
    const task = taskOn(net.workload('head'), [{ rate: 1e7 }, { rate: 1e7 }], { mbps: 0.1 });
    const inputMs = (40 * 10 * 3 * 4 * 8) / 100;
    const { ms, reason } = await lowerBound(task);
    expect(ms).toBeGreaterThan(inputMs);
    expect(ms).toBeLessThan(1.1 * inputMs);
    expect(reason).toBe('arrival of the input');
  });
});

describe('the lower bound where results are large', () => {
  const net = new Net(40);
  net.layer({ channels: 12 });
  const workload = net.workload([1]);
  const fast = [{ rate: 1e7 }, { rate: 1e7 }];

  it.each(['switched', 'shared'] as const)('is their way back, next to nothing else: %s', async (medium) => {
    const task = taskOn(workload, fast, { mbps: 1, latencyMs: 40, medium });
    const { ms, reason } = await lowerBound(task);
    const { latencyMs } = await auto(task, { maxEvaluations: 3000 });
    expect(reason).toBe('way of the results');
    expect(latencyMs).toBeGreaterThanOrEqual(ms);
    expect(latencyMs).toBeLessThan(1.1 * ms);
  });
});

describe('rows that can be computed from some rows of the input', () => {
  it('a 3-row window at the edge needs two for its first row, one more for each other', () => {
    const net = new Net(6);
    net.layer();
    expect([...(computableRows(net.workload([1]), 0)[0] as Int32Array)]).toEqual([0, 0, 1, 2, 3, 4, 6]);
  });

  it('rows that skip rows say nothing', () => {
    const net = new Net(6);
    net.layer({ kernel: 1, stride: 2 });
    expect(computableRows(net.workload([1]), 0)).toEqual([undefined]);
  });

  it('fewest rows read by neighbours', () => {
    const from = Int32Array.of(0, 0, 1, 2);
    const to = Int32Array.of(2, 3, 4, 4);
    expect([...fewestRead({ from, to })]).toEqual([0, 2, 3, 4, 4]);
  });
});

it('the bound of a linear programme is its optimum, proved', async () => {
  const lp = new LinearProgram();
  const [x, y] = [lp.variable(10, 1), lp.variable(10, 2)];
  lp.row(
    [
      [x, 1],
      [y, 1],
    ],
    3,
  );
  lp.row(
    [
      [x, -1],
      [y, 1],
    ],
    -1,
  );
  expect(await lp.lowerBound(1)).toBeCloseTo(4, 9);
});
