/** OSDS on a real engine: it learns to split, it goes on from what it learnt when a rate changes, and it is reproducible. */
import { analyse, loadGraph, type PlanningTask, parseCluster, simulator, taskOf, workloadOf } from '@distredge/core';
import { baselines, decodeTrained, encodeTrained, OSDS_PUBLISHED, type OsdsPlanned, osds } from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';
import { buildZooModel } from '@distredge/zoo';
import { describe, expect, it } from 'vitest';

const model = buildZooModel('vgg16', { weights: 'none' });
const workload = workloadOf(analyse(loadGraph(model.bytes, model)), 'vgg16');
const runner = createOrtGraphRunner();

/** Three devices, the one in the middle faster, the first one behind a link of this rate. */
function taskWith(mbps: number): PlanningTask {
  const cluster = parseCluster({
    name: 'three',
    medium: 'switched',
    requester: { mbps: 300, latency_ms: 1 },
    devices: [
      { id: 'a', type: 'slow', mbps, latency_ms: 1 },
      { id: 'b', type: 'fast', mbps: 200, latency_ms: 1 },
      { id: 'c', type: 'slow', mbps: 200, latency_ms: 1 },
    ],
    types: {
      slow: { kind: 'gpu', slots: 4, tile: [64, 32], gflops: 390, launch_us: 40, mem_gbps: 20, memory_mb: 3000 },
      fast: { kind: 'gpu', slots: 8, tile: [64, 64], gflops: 950, launch_us: 35, mem_gbps: 45, memory_mb: 6500 },
    },
  });
  return taskOf(workload, cluster);
}

/** The paper's algorithm with nothing added, and networks small enough for a test. */
const PLAIN = {
  ...OSDS_PUBLISHED,
  runner,
  alphas: [0.25],
  agent: {
    actorHidden: [64, 32],
    criticHidden: [64, 32],
    actorLearningRate: 1e-3,
    criticLearningRate: 3e-3,
    tau: 0.01,
  },
};

const before = taskWith(200);
const after = taskWith(60);
const SEEDS = [1, 2, 3];
const mean = (planned: readonly OsdsPlanned[]): number =>
  planned.reduce((sum, { latencyMs }) => sum + latencyMs, 0) / planned.length;

async function forSeeds(plan: (seed: number, index: number) => Promise<OsdsPlanned>): Promise<OsdsPlanned[]> {
  const planned: OsdsPlanned[] = [];
  for (const [index, seed] of SEEDS.entries()) planned.push(await plan(seed, index));
  return planned;
}

describe('OSDS on an engine', () => {
  it('learns by the noise of its actor alone, and goes on faster than it begins', async () => {
    const trained = await forSeeds((seed) => osds({ ...PLAIN, episodes: 400 }).plan(before, { seed }));
    const untrained = await forSeeds((seed) => osds({ ...PLAIN, episodes: 20 }).plan(before, { seed }));
    expect(mean(trained)).toBeLessThan(0.9 * mean(untrained));
    // A link is cut to less than a third: 60 episodes from the old actors against 300 from nothing.
    const tuned = await forSeeds((seed, index) => {
      const agent = trained[index]?.trained as NonNullable<OsdsPlanned['trained']>;
      return osds({ ...PLAIN, trained: decodeTrained(encodeTrained(agent)), episodes: 60 }).plan(after, { seed });
    });
    const anew = await forSeeds((seed) => osds({ ...PLAIN, episodes: 300 }).plan(after, { seed }));
    expect(mean(tuned)).toBeLessThan(mean(anew));
    const best = await osds({ runner, episodes: 1, raceEpisodes: 1500 }).plan(after);
    expect(mean(tuned)).toBeLessThan(1.15 * best.latencyMs);
  });

  it('plans as well as every published baseline, and the same for the same seed', async () => {
    const options = { runner, agent: PLAIN.agent, episodes: 30, raceEpisodes: 1000 };
    const planned = await osds(options).plan(after, { seed: 4 });
    expect(simulator(after).latency(planned.plan)).toBe(planned.latencyMs);
    for (const baseline of baselines) {
      expect(planned.latencyMs).toBeLessThanOrEqual((await baseline.plan(after)).latencyMs * (1 + 1e-9));
    }
    expect(await osds(options).plan(after, { seed: 4 })).toEqual(planned);
  });
});
