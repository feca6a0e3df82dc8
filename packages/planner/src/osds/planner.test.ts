import { type PlanningTask, type PlanSimulator, simulator } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Net, taskOn } from '../baselines/fixtures.js';
import type { GraphRunner } from '../rl/runner.js';
import { SplitEnvironment } from './environment.js';
import { type OsdsOptions, osds } from './planner.js';

/** An engine that learns nothing: what is left is the search around it. */
const idle: GraphRunner = {
  load: async () => ({
    run: async (inputs) => {
      const count = inputs['batch']?.dims[0] as number;
      const outputs = Object.entries(inputs).map(([name, { data }]) => [`${name}'`, data]);
      const stack = new Float32Array(count);
      return { ...Object.fromEntries(outputs), criticLoss: stack, value: stack };
    },
    release: async () => undefined,
  }),
};

const SMALL = {
  agent: { actorHidden: [8], criticHidden: [8] },
  updatesPerEpisode: 1,
  raceEpisodes: 100,
  refineEpisodes: 60,
};

function small(rates: readonly number[]): PlanningTask {
  const net = new Net(12);
  for (let count = 0; count < 4; count++) net.layer({ channels: 8 });
  return taskOn(
    net.workload([4]),
    rates.map((rate) => ({ rate })),
    { mbps: 50, latencyMs: 0.1 },
  );
}

/** The least latency of all plans with these volumes, on two providers. */
function bruteForce(task: PlanningTask, ends: readonly number[]): number {
  const environment = new SplitEnvironment(simulator(task), ends);
  let best = Number.POSITIVE_INFINITY;
  const cuts = Array.from({ length: 13 }, (_, row) => row / 6 - 1);
  const walk = (actions: number[][]): void => {
    if (actions.length === ends.length) best = Math.min(best, environment.episode(actions));
    else for (const cut of cuts) walk([...actions, [cut]]);
  };
  walk([]);
  return best;
}

describe('the planner osds', () => {
  it('finds the best split of a small task', async () => {
    const task = small([3000, 7000]);
    const options: OsdsOptions = { runner: idle, ...SMALL, alphas: [0.25], episodes: 600 };
    const planned = await osds(options).plan(task, { seed: 2 });
    const ends = planned.trained?.ends ?? [];
    expect(ends.length).toBeGreaterThan(1);
    const best = bruteForce(task, ends);
    expect(best).toBeLessThan(Math.min(...[0, 1].map((d) => aloneMs(task, d))));
    expect(planned.latencyMs).toBeCloseTo(best, 9);
    expect(simulator(task).latency(planned.plan)).toBe(planned.latencyMs);
  });

  it('is never slower than the best provider alone, nor than a plan it is given', async () => {
    for (const rates of [
      [100, 100_000, 100],
      [5000, 5000, 5000, 5000],
    ]) {
      const task = small(rates);
      const planned = await osds({ runner: idle, ...SMALL, episodes: 20 }).plan(task);
      expect(planned.latencyMs).toBeLessThanOrEqual(Math.min(...rates.map((_, d) => aloneMs(task, d))));
      const again = await osds({ runner: idle, ...SMALL, raceEpisodes: 0, episodes: 1 }).plan(task, {
        start: [planned.plan],
      });
      expect(again.latencyMs).toBeLessThanOrEqual(planned.latencyMs);
    }
  });

  it('is the same for the same seed', async () => {
    const task = small([3000, 5000, 7000]);
    const plans = [];
    for (const seed of [5, 5]) {
      const { plan, latencyMs, evaluations } = await osds({ runner: idle, ...SMALL, episodes: 60 }).plan(task, {
        seed,
      });
      plans.push({ plan, latencyMs, evaluations });
    }
    expect(plans[0]).toEqual(plans[1]);
    expect(plans[0]?.evaluations).toBeGreaterThan(220);
  });

  it('stops when it is told to, with the best so far, and says how far it is', async () => {
    const task = small([3000, 5000]);
    const done: number[] = [];
    const signal = { aborted: false };
    const planned = await osds({ runner: idle, ...SMALL, episodes: 5000 }).plan(task, {
      signal,
      onProgress: (progress) => {
        done.push(progress.done);
        expect(progress.bestMs).toBeGreaterThan(0);
        signal.aborted = progress.done > 0;
      },
    });
    expect(done).toEqual([0, 0.01]);
    expect(planned.episodes).toBe(50);
    expect(planned.latencyMs).toBeLessThanOrEqual(Math.min(aloneMs(task, 0), aloneMs(task, 1)));
    const atOnce = await osds({ runner: idle, ...SMALL, episodes: 5000 }).plan(task, { signal: { aborted: true } });
    expect(atOnce.episodes).toBe(0);
    const noTime = await osds({ runner: idle, ...SMALL, episodes: 5000 }).plan(task, { budgetMs: 0 });
    expect(noTime.episodes).toBe(0);
    expect(simulator(task).latency(noTime.plan)).toBe(noTime.latencyMs);
  });

  it('leaves nothing to an agent where there is one provider', async () => {
    const task = small([3000]);
    const planned = await osds({ runner: idle }).plan(task);
    expect(planned.trained).toBeUndefined();
    expect(planned.latencyMs).toBe(aloneMs(task, 0));
  });

  it('goes on from an agent, for other providers too, but not for another model', async () => {
    const before = await osds({ runner: idle, ...SMALL, episodes: 30 }).plan(small([3000, 5000]));
    const trained = before.trained as NonNullable<typeof before.trained>;
    const tuned = await osds({ runner: idle, trained, episodes: 10 }).plan(small([3000, 5000, 6000]));
    expect(tuned.trained?.devices).toEqual(['device0', 'device1', 'device2']);
    expect(tuned.trained?.ends).toEqual(trained.ends);
    const net = new Net(12);
    const other = taskOn(net.workload([net.layer()]), [{ rate: 1 }, { rate: 1 }]);
    await expect(osds({ runner: idle, trained }).plan(other)).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('answers where nothing fits into memory, that it takes for ever', async () => {
    const task = small([3000, 5000]);
    const costs = task.costs.map((device) => ({ ...device, memoryBytes: 1 }));
    const nowhere: PlanSimulator = simulator({ ...task, costs });
    const planned = await osds({ runner: idle, ...SMALL, episodes: 20, simulator: () => nowhere }).plan({
      ...task,
      costs,
    });
    expect(planned.latencyMs).toBe(Number.POSITIVE_INFINITY);
    expect(planned.plan.volumes.length).toBeGreaterThan(0);
  });
});

function aloneMs(task: PlanningTask, device: number): number {
  const volumes = [{ end: 3, parts: [{ device, from: 0, to: 12 }] }];
  return simulator(task).latency({ volumes });
}
