import { type PlanningTask, simulator } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Net, taskOn } from '../baselines/fixtures.js';
import { requiredEnds } from '../lc-pss.js';
import { Geometry } from '../search/geometry.js';
import { untrainedPlan } from './chosen-partition.js';
import { racePartitions } from './partitions.js';
import { refine } from './refinement.js';

/** A chain of layers on links so slow that rows had better not be exchanged after each of them. */
function slow(): PlanningTask {
  const net = new Net(24);
  for (let count = 0; count < 8; count++) net.layer({ channels: 8 });
  const devices = [3000, 4000, 5000].map((rate) => ({ rate }));
  return taskOn(net.workload([8]), devices, { mbps: 20, latencyMs: 2 });
}

function refined(episodes: number, partitions: readonly (readonly number[])[], seed = 1) {
  const task = slow();
  const judge = simulator(task);
  const candidates = racePartitions(
    judge,
    partitions.map((ends) => ({ ends, alphas: [0.5] })),
    { episodes: 50, seed },
  );
  return {
    task,
    judge,
    candidates,
    found: refine(judge, candidates, { geometry: new Geometry(task), episodes, seed }),
  };
}

const EVERY = [[0, 1, 2, 3, 4, 5, 6, 7]];

describe('refining a partition', () => {
  it('joins volumes whose exchange costs more than it saves, and says what the plan takes', () => {
    const { task, judge, candidates, found } = refined(1500, EVERY);
    const { environment, partition, strategies, bestMs } = found.candidate;
    expect(found.episodes).toBe(1500);
    expect(bestMs).toBeLessThan(0.9 * (candidates[0]?.bestMs ?? 0));
    expect(partition.ends.length).toBeLessThan(8);
    expect(partition.ends).toEqual(environment.ends);
    expect(partition.ends).toEqual(expect.arrayContaining(requiredEnds(task.workload)));
    expect(environment.episode(strategies[0] ?? [])).toBeCloseTo(bestMs, 9);
    expect(judge.latency(environment.plan)).toBeCloseTo(bestMs, 9);
  });

  it('is the same for the same seed, and what it was given where there is no time', () => {
    expect(refined(200, EVERY, 7).found.candidate.bestMs).toBe(refined(200, EVERY, 7).found.candidate.bestMs);
    const { candidates, found } = refined(0, EVERY);
    expect(found).toEqual({ candidate: candidates[0], episodes: 0 });
  });

  it('begins with some of the best, not with the best alone', () => {
    const { candidates, found } = refined(900, [...EVERY, [7], [3, 7]]);
    for (const { bestMs } of candidates) expect(found.candidate.bestMs).toBeLessThanOrEqual(bestMs);
  });
});

describe('the plan before anything is trained', () => {
  const episodes = { raceEpisodes: 300, refineEpisodes: 300 };

  it('is better than the best device alone, and there is none where nothing fits', () => {
    const task = slow();
    const judge = simulator(task);
    const plan = untrainedPlan(judge, episodes, {}, () => 0);
    const alone = task.costs.map((_, device) =>
      judge.latency({ volumes: [{ end: 7, parts: [{ device, from: 0, to: 24 }] }] }),
    );
    expect(judge.latency(plan ?? { volumes: [] })).toBeLessThan(Math.min(...alone));
    const costs = task.costs.map((device) => ({ ...device, memoryBytes: 1 }));
    expect(untrainedPlan(simulator({ ...task, costs }), episodes, {}, () => 0)).toBeUndefined();
  });

  it('takes no longer than there is time', () => {
    let asked = 0;
    untrainedPlan(simulator(slow()), { raceEpisodes: 1e9, refineEpisodes: 1e9 }, {}, () => ++asked / 500);
    expect(asked).toBeLessThan(600);
  });
});
