import { type PlanningTask, simulator } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Net, randomTask, taskOn } from '../baselines/fixtures.js';
import { cutAtBranches, cutAtResults, takingTurns, withBranches } from './branches.js';
import { Geometry } from './geometry.js';
import type { SearchVolume } from './parts.js';
import { type PlanForm, toWorkPlan } from './plan-state.js';
import { Scheduler, volumeByVolume } from './schedule.js';
import { starts } from './starts.js';

const GENERAL: PlanForm = { classical: false };
const ALONE = { index: 0, count: 1 };

/** Two branches of some layers each, one after the other in the list, between a first and a last layer; on two equal devices. */
function forked(layers = 4): PlanningTask {
  const net = new Net(24);
  const layer = { channels: 6, multiplyAdds: 60 };
  const first = net.layer(layer);
  const branch = (): number => {
    let last = net.layer({ ...layer, reads: [first] });
    for (let more = 1; more < layers; more++) last = net.layer(layer);
    return last;
  };
  const ends = [branch(), branch()];
  const workload = net.workload([net.layer({ ...layer, reads: ends })]);
  return taskOn(workload, [{ rate: 4000 }, { rate: 4000 }], { mbps: 100, latencyMs: 8 });
}

function halves(geometry: Geometry, ends: readonly number[]): SearchVolume[] {
  return ends.map((end, i) => ({
    start: i === 0 ? 0 : (ends[i - 1] as number) + 1,
    end,
    parts: [
      { device: 0, from: 0, to: 12, key: i },
      { device: 1, from: 12, to: geometry.rows(end), key: i },
    ],
  }));
}

function latencyOf(geometry: Geometry, volumes: readonly SearchVolume[]): number {
  const plan = toWorkPlan({ volumes, order: undefined, head: undefined }, new Scheduler(geometry), GENERAL);
  return simulator(geometry.task).latency(plan);
}

describe('branches', () => {
  it('end volumes, whose rows are then divided at the same places', () => {
    const geometry = new Geometry(forked());
    const cut = cutAtBranches(halves(geometry, [9]), geometry);
    expect(cut.map(({ start, end }) => [start, end])).toEqual([
      [0, 4],
      [5, 9],
    ]);
    for (const { parts } of cut)
      expect(parts.map(({ from, to }) => [from, to])).toEqual([
        [0, 12],
        [12, 24],
      ]);
  });

  it('that end in results end volumes, as does what those are made from', () => {
    const net = new Net(24);
    const trunk = [net.layer(), net.layer(), net.layer(), net.layer()];
    const results = [net.layer({ reads: [trunk[1] as number] }), net.layer({ reads: [trunk[3] as number] })];
    const geometry = new Geometry(taskOn(net.workload(results), [{ rate: 1 }, { rate: 1 }]));
    const cut = cutAtResults(halves(geometry, [5]), geometry);
    expect(cut.map(({ end }) => end)).toEqual([1, 3, 4, 5]);
    // With other partitions, each once.
    const others = [[3, 4, 5], [5]].map((ends) => ({ ends, alphas: [1] }));
    expect(withBranches(others, geometry)).toEqual([
      { ends: [3, 4, 5], alphas: [1] },
      { ends: [1, 3, 4, 5], alphas: [] },
      { ends: [5], alphas: [1] },
    ]);
    // Branches that are joined again do not.
    const joined = new Geometry(forked());
    const whole = halves(joined, [9]);
    expect(cutAtResults(whole, joined)).toBe(whole);
    expect(withBranches([], joined)).toEqual([{ ends: [4, 9], alphas: [] }]);
  });

  it('that end in results are among the starts in chunks of their own, where there are any', () => {
    const net = new Net(40);
    const trunk = [net.layer(), net.layer()];
    const result = net.layer({ reads: [trunk[1] as number], channels: 40 });
    const rest = [net.layer({ reads: [trunk[1] as number] }), net.layer()];
    const task = taskOn(net.workload([result, rest[1] as number]), [{ rate: 2000 }, { rate: 2000 }], { mbps: 50 });
    const early = (of: PlanningTask): (readonly number[])[] =>
      [...starts(new Geometry(of), GENERAL, ALONE)]
        .filter(({ family }) => family === 'results early')
        .map(({ state }) => state.volumes.map(({ end }) => end));
    expect(early(task)).toContainEqual([1, 2, 4]);
    expect(early(forked())).toEqual([]);
  });

  it('take turns, which hides what is exchanged', () => {
    const geometry = new Geometry(forked());
    const volumes = volumeByVolume(halves(geometry, geometry.ends));
    const turns = takingTurns(volumes, geometry);
    const order = new Scheduler(geometry).order(turns).map(([volume]) => volume);
    expect([...new Set(order)]).toEqual([0, 1, 5, 2, 6, 3, 7, 4, 8, 9]);
    expect(latencyOf(geometry, turns)).toBeLessThan(0.9 * latencyOf(geometry, volumes));
  });

  it('are none in a chain: the volumes stay what they are', () => {
    const net = new Net(24);
    for (let layer = 0; layer < 4; layer++) net.layer();
    const geometry = new Geometry(taskOn(net.workload([4]), [{ rate: 1 }, { rate: 1 }]));
    const volumes = halves(geometry, geometry.ends);
    expect(cutAtBranches(volumes, geometry)).toBe(volumes);
    expect(takingTurns(volumes, geometry)).toBe(volumes);
  });

  it('are known to the starts of a search', () => {
    const geometry = new Geometry(forked());
    const volumes = volumeByVolume(halves(geometry, geometry.ends));
    const least = Math.min(
      ...[...starts(geometry, GENERAL, ALONE)].map(({ state }) => latencyOf(geometry, state.volumes)),
    );
    expect(least).toBeLessThan(0.9 * latencyOf(geometry, volumes));
  });
});

describe('the starts of a search', () => {
  it('are plans that can run, whatever the network and the cluster', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const geometry = new Geometry(randomTask(seed));
      const judge = simulator(geometry.task);
      const scheduler = new Scheduler(geometry);
      for (const form of [GENERAL, { classical: true }]) {
        for (const { state } of starts(geometry, form, ALONE)) judge.latency(toWorkPlan(state, scheduler, form));
      }
    }
  });

  it('are the same for searches side by side, each of which goes on from its share', () => {
    const task = randomTask(3);
    const all = [...starts(new Geometry(task), GENERAL, ALONE)];
    const sides = [0, 1].map((index) => [...starts(new Geometry(task), GENERAL, { index, count: 2 })]);
    expect(all.every(({ own }) => own)).toBe(true);
    expect(sides.flat().filter(({ own }) => own)).toHaveLength(all.length);
  });
});
