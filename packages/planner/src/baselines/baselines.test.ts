import { DistrEdgeError, isGather, type PlanningTask, referenceSimulator, type WorkPlan } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { haloOf, queueFill, solve, waterFill } from './coedge-programme.js';
import { fused } from './deepthings.js';
import { tryFitting } from './fitting.js';
import { Net, randomTask, taskOn } from './fixtures.js';
import { fusedEnds } from './fusion.js';
import { baselines } from './index.js';
import { everyEnd, fixedEnds, multiplyingEnds, partsOf, rowPlan } from './layout.js';
import { linearModel } from './linear-model.js';
import { moves } from './mednn.js';
import { teams } from './teams.js';
import { Trial } from './trial.js';

/** Four convolutions of 40 rows, a pooling, and a convolution. */
function chain(): ReturnType<Net['workload']> {
  const net = new Net(40);
  for (let count = 0; count < 4; count++) net.layer();
  net.layer({ kernel: 2, stride: 2, multiplyAdds: 0 });
  const last = net.layer();
  return net.workload([last]);
}

function planner(name: string): (typeof baselines)[number] {
  const found = baselines.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no baseline ${name}`);
  return found;
}

/** Per volume the rows of each device; gathers left out. */
function rows({ volumes }: WorkPlan): number[][] {
  return volumes.flatMap((volume) => {
    if (isGather(volume)) return [];
    const own: number[] = [];
    for (const { device, from, to } of volume.parts) own[device] = (own[device] ?? 0) + to - from;
    return [Array.from(own, (count) => count ?? 0)];
  });
}

describe('the linear device model', () => {
  it('rates a device by the whole model', () => {
    const task = taskOn(chain(), [{ rate: 1000 }, { rate: 3000 }]);
    const { rate, work, rowWork } = linearModel(task);
    expect(rowWork[0]).toBe(2 * 9 * 10 * 4);
    expect(work).toBe(720 * (4 * 40 + 20));
    expect(rate[0]).toBeCloseTo(1000, 6);
    expect(rate[1]).toBeCloseTo(3000, 6);
  });

  it('takes launches into the rate', () => {
    const task = taskOn(chain(), [{ rate: 1000, launchMs: 129.6 / 6 }]);
    expect(linearModel(task).rate[0]).toBeCloseTo(500, 6);
  });
});

describe('layers and shares', () => {
  it('cuts rows in proportion, from top to bottom, without empty parts', () => {
    expect(partsOf([1, 3], 40)).toEqual([
      { device: 0, from: 0, to: 10 },
      { device: 1, from: 10, to: 40 },
    ]);
    expect(partsOf([0, 5, 0, 0], 7)).toEqual([{ device: 1, from: 0, to: 7 }]);
    expect(partsOf([1, 1, 1], 1)).toHaveLength(1);
  });

  it('ends volumes where it must, and puts poolings with the layer before them', () => {
    const net = new Net(20);
    net.layer();
    net.exchange();
    net.layer({ kernel: 2, stride: 2, multiplyAdds: 0 });
    net.layer();
    net.layer({ whole: true });
    const last = net.layer();
    const workload = net.workload([last]);
    expect(fixedEnds(workload)).toEqual([0, 2, 3, 4]);
    expect(everyEnd(workload)).toEqual([0, 1, 2, 3, 4]);
    expect(multiplyingEnds(chain())).toEqual([0, 1, 2, 4, 5]);
    expect(rows(rowPlan(workload, [0, 2, 3, 4], [1, 2]))).toEqual([
      [7, 13],
      [3, 7],
      [0, 10],
      [3, 7],
    ]);
  });

  it('tries all subsets of few devices that can be told apart, and the first by rate and by latency of many', () => {
    const few = taskOn(chain(), [{ rate: 1000 }, { rate: 1000 }, { rate: 2000 }]);
    expect(teams(new Trial(few), linearModel(few))).toEqual([[0], [2], [0, 1], [0, 2], [0, 1, 2]]);
    const many = taskOn(
      chain(),
      [1, 2, 3, 4, 5, 6].map((rate) => ({ rate: rate * 1e5, mbps: rate === 6 ? 0.1 : 100 })),
    );
    const found = teams(new Trial(many), linearModel(many));
    expect(found).toContainEqual([4, 5]);
    expect(found).toContainEqual([3, 4]);
    expect(found).toHaveLength(11);
  });

  it('moves rows away from a device that cannot hold its own, and leaves it out where its weights do not fit', () => {
    const net = new Net(40);
    const last = net.layer({ weightBytes: 1000 });
    const workload = net.workload([last]);
    const one = (memoryBytes: number): number[][] => {
      const task = taskOn(workload, [{ rate: 1000, memoryBytes }, { rate: 1000 }]);
      const trial = new Trial(task);
      const tried = tryFitting(trial, [1, 1], (shares) => rowPlan(workload, [0], shares));
      expect(Number.isFinite(tried.ms)).toBe(true);
      return rows(rowPlan(workload, [0], tried.shares));
    };
    expect(one(1e9)).toEqual([[20, 20]]);
    // A row is 120 bytes read and 160 owned.
    const moved = one(1000 + 280 * 10)[0] as number[];
    expect(moved[0]).toBeGreaterThan(6);
    expect(moved[0]).toBeLessThanOrEqual(10);
    expect(one(900)).toEqual([[0, 40]]);
  });
});

describe('fused volumes', () => {
  const ends = (mbps: number, latencyMs = 0): number[] | undefined => {
    const task = taskOn(chain(), [{ rate: 1e4 }, { rate: 1e4 }], { mbps, latencyMs });
    return fusedEnds(task, linearModel(task), [1, 1])[0];
  };

  it('are single layers where transfers are free, and one where they are dear', () => {
    expect(ends(1e9)).toEqual([0, 1, 2, 4, 5]);
    expect(ends(1e9, 50)).toEqual([5]);
  });

  it('are the best of all by their cost model', () => {
    // Halo of one row in each of the first two layers, two of which fused cost one row more on each device.
    const net = new Net(40);
    net.layer();
    const last = net.layer();
    const workload = net.workload([last]);
    const rowMs = 720 / 1e4;
    const haloMs = (mbps: number): number => 160 / (mbps * 125);
    const at = rowMs * 125;
    const threshold = 160 / at;
    for (const mbps of [threshold * 0.9, threshold * 1.1]) {
      const task = taskOn(
        workload,
        [
          { rate: 1e4, mbps },
          { rate: 1e4, mbps },
        ],
        { mbps: 1e9 },
      );
      // The input's extra row costs as well: compare exactly, links to the requester counted at the device's rate.
      const inputMs = 120 / (mbps * 125);
      const fusedIsBetter = rowMs + 2 * inputMs < haloMs(mbps);
      expect(fusedEnds(task, linearModel(task), [1, 1])).toEqual([fusedIsBetter ? [1] : [0, 1]]);
    }
  });
});

describe('the linear programme of CoEdge', () => {
  it('fills up until all are done at the same time', () => {
    expect(waterFill([0, 0], [1, 3])).toEqual([0.75, 0.25]);
    // a = T, b = (T - 0.5) / 1, a + b = 1: T = 0.75.
    expect(waterFill([0, 0.5], [1, 1])).toEqual([0.75, 0.25]);
    expect(waterFill([2, 0], [1, 1])).toEqual([0, 1]);
    // Arrival 1 a unit: 2a = T, a + 2b = T, a + b = 1: a = 2/3, b = 1/3.
    const [a = 0, b = 0] = queueFill([0, 0], [1, 1], [1, 1]);
    expect(a).toBeCloseTo(2 / 3, 12);
    expect(b).toBeCloseTo(1 / 3, 12);
  });

  it('weighs bandwidth, and leaves out a device whose share is below the halo', () => {
    const workload = chain();
    const even = taskOn(workload, [{ rate: 1e4, mbps: 1 }, { rate: 1e4 }]);
    const halo = haloOf(even);
    // Five layers read what others made, four with one row of halo; the pooling needs none.
    expect(halo.exchanges).toBe(4);
    expect(halo.bytes).toBe(4 * 160);
    expect(halo.share).toBe(1 / 20);
    const shares = solve(even, linearModel(even), halo, [0, 1], { waits: false });
    const input = 40 * 120;
    const result = 20 * 160;
    const slope = (mbps: number): number => (720 * 180) / 1e4 + (input + result) / (mbps * 125);
    expect(shares[0]).toBeCloseTo(slope(100) / (slope(1) + slope(100)), 9);
    const slow = taskOn(workload, [{ rate: 100 }, { rate: 1e4 }]);
    expect(solve(slow, linearModel(slow), halo, [0, 1], { thin: false })).toEqual([0, 1]);
    expect(solve(slow, linearModel(slow), halo, [0, 1])[0]).toBeGreaterThan(0);
  });
});

describe('the share rule of each baseline', () => {
  // Compute so slow that everyone takes part, and links so fast that nothing is lost.
  const task = taskOn(chain(), [{ rate: 100 }, { rate: 100 }, { rate: 200 }], { mbps: 1e6 });
  const planned = async (name: string): Promise<WorkPlan> => (await planner(name).plan(task)).plan;

  it('offload and best-device: all on the best', async () => {
    expect(rows(await planned('offload'))).toEqual([[0, 0, 40 / 2]]);
    expect((await planner('best-device').plan(task)).latencyMs).toBe((await planner('offload').plan(task)).latencyMs);
  });

  it('modnn: in proportion, with a host between layers', async () => {
    const plan = await planned('modnn');
    expect(rows(plan)[0]).toEqual([10, 10, 20]);
    const kinds = plan.volumes.map(isGather);
    expect(kinds.filter((gather) => gather)).toHaveLength((plan.volumes.length - 1) / 2);
    expect(kinds.every((gather, index) => gather === (index % 2 === 1))).toBe(true);
  });

  it('mednn and coedge: in proportion where rows are all alike', async () => {
    for (const name of ['mednn', 'coedge']) {
      expect(rows(await planned(name))).toEqual([...Array(4).fill([10, 10, 20]), [5, 5, 10], [5, 5, 10]]);
    }
  });

  it('mednn: moves rows from the busiest to the least busy', () => {
    const [first] = moves(linearModel(task), [0.5, 0.2, 0.3], 0.1);
    expect(first?.map((share) => Number(share.toFixed(3)))).toEqual([0.4, 0.2, 0.4]);
  });

  it('deepthings: equal parts, then one device', async () => {
    const plan = fused(task, [1, 1, 1], 2, 2);
    expect(rows(plan)).toEqual([
      [13, 14, 13],
      [0, 0, 20],
    ]);
    const [first = []] = rows(await planned('deepthings'));
    expect(Math.max(...first) - Math.min(...first)).toBeLessThanOrEqual(1);
  });

  it('deeperthings: equal parts in every volume', async () => {
    for (const own of rows(await planned('deeperthings'))) {
      const used = own.filter((count) => count > 0);
      expect(used.length).toBeGreaterThan(1);
      expect(Math.max(...used) - Math.min(...used)).toBeLessThanOrEqual(1);
    }
  });

  it('aofl: in proportion in every volume', async () => {
    for (const own of rows(await planned('aofl'))) expect(own[2]).toBe(2 * (own[0] as number));
  });
});

describe('every baseline', () => {
  const check = (task: PlanningTask, plan: WorkPlan, latencyMs: number): void => {
    const run = referenceSimulator(task).run(plan);
    expect(run.latencyMs).toBeCloseTo(latencyMs, 6);
    run.memoryBytes.forEach((bytes, device) => {
      expect(bytes).toBeLessThanOrEqual(task.costs[device]?.memoryBytes ?? 0);
    });
    for (const volume of plan.volumes) {
      if (isGather(volume)) continue;
      const order = volume.parts.map(({ device }) => device);
      expect(order).toEqual([...new Set(order)].sort((a, b) => a - b));
    }
  };

  it('gives a plan that runs and fits, on random networks and clusters', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const task = randomTask(seed);
      const alone = await planner('offload').plan(task);
      for (const { name, plan } of baselines) {
        const { plan: found, latencyMs } = await plan(task);
        check(task, found, latencyMs);
        expect(latencyMs, `${name}, seed ${seed}`).toBeLessThanOrEqual(alone.latencyMs * (1 + 1e-9));
      }
    }
  });

  it('gives the same plan again', async () => {
    const task = randomTask(7);
    for (const { plan } of baselines) expect(await plan(task)).toEqual(await plan(task));
  });

  it('plans a model that is all head', async () => {
    const workload = { ...new Net(10).workload('head'), ops: [] };
    const task = taskOn(workload, [{ rate: 100 }, { rate: 300 }]);
    for (const { plan } of baselines) expect((await plan(task)).plan.head).toBe(1);
  });

  it('uses devices together where none can hold all rows', async () => {
    const task = taskOn(chain(), Array(3).fill({ rate: 1000, memoryBytes: 7000 }));
    await expect(planner('offload').plan(task)).rejects.toThrow(DistrEdgeError);
    for (const name of ['mednn', 'coedge', 'aofl', 'deeperthings']) {
      const { plan, latencyMs } = await planner(name).plan(task);
      check(task, plan, latencyMs);
    }
  });

  it('says so where nothing fits', async () => {
    const task = taskOn(chain(), [
      { rate: 1000, memoryBytes: 10 },
      { rate: 1000, memoryBytes: 10 },
    ]);
    for (const { plan } of baselines) {
      await expect(plan(task)).rejects.toMatchObject({ code: 'PLAN_INVALID', where: 'net' });
    }
    await expect(planner('aofl').plan(taskOn(chain(), []))).rejects.toMatchObject({ code: 'PLAN_INVALID' });
  });

  it('stops when told to, with a plan', async () => {
    const task = randomTask(3);
    for (const { plan } of baselines) {
      const { evaluations, latencyMs } = await plan(task, { signal: { aborted: true } });
      expect(evaluations).toBeLessThan(20);
      expect(Number.isFinite(latencyMs)).toBe(true);
    }
  });
});
