import { type PlanningTask, referenceSimulator, simulator } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Net, randomTask, taskOn } from '../baselines/fixtures.js';
import { lcPss, requiredEnds } from '../lc-pss.js';
import { RandomSource } from '../rl/random.js';
import { SplitEnvironment } from './environment.js';

function chainTask(rates: readonly number[], mbps = 100): PlanningTask {
  const net = new Net(40);
  for (let count = 0; count < 4; count++) net.layer();
  return taskOn(
    net.workload('head'),
    rates.map((rate) => ({ rate })),
    { mbps, latencyMs: 0.5 },
  );
}

function randomActions(environment: SplitEnvironment, random: RandomSource): Float32Array[] {
  return environment.ends.map(() =>
    Float32Array.from({ length: environment.actionSize }, () => 2.4 * random.uniform() - 1.2),
  );
}

describe('the environment of OSDS', () => {
  it('reports at its last step what the simulators give for its plan', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const task = randomTask(seed);
      const random = new RandomSource(seed);
      const environment = new SplitEnvironment(simulator(task), lcPss(task, { alpha: 0.2, decisions: 10 }));
      for (let episode = 0; episode < 5; episode++) {
        environment.reset();
        const steps = randomActions(environment, random).map((action) => environment.step(action));
        const ms = environment.latencyMs;
        expect(steps.map(({ done }) => done)).toEqual(steps.map((_, v) => v === steps.length - 1));
        expect(steps.slice(0, -1).every(({ reward }) => reward === 0)).toBe(true);
        expect(steps.at(-1)?.reward).toBe(ms === Number.POSITIVE_INFINITY ? 0 : environment.referenceMs / ms);
        const judged = referenceSimulator(task).latency(environment.plan);
        if (ms === Number.POSITIVE_INFINITY) expect(judged).toBe(ms);
        else expect(Math.abs(judged - ms)).toBeLessThan(1e-9 * ms);
      }
    }
  });

  it('knows when providers are done, as the simulator does, where nothing overtakes', () => {
    const task = chainTask([900, 1000, 1100]);
    const environment = new SplitEnvironment(simulator(task), [1, 3]);
    environment.reset();
    environment.step(environment.actionOf([1, 1, 1]));
    const { state } = environment.step(environment.actionOf([2, 2, 3]));
    const ends = [0, 0, 0];
    for (const event of referenceSimulator(task).run(environment.plan).events) {
      if (event.kind === 'compute' && event.volume < 2) ends[event.device] = event.end;
    }
    expect(Math.min(...ends)).toBeGreaterThan(0);
    ends.forEach((end, d) => {
      expect((state[d] as number) * environment.referenceMs).toBeCloseTo(end, 4);
    });
  });

  it('sees the same where all rates change alike', () => {
    const seen = [1, 3].map((factor) => {
      const task = chainTask(
        [500, 1000, 1500].map((rate) => factor * rate),
        factor * 100,
      );
      const slow = { ...task.network.requester, latencyMs: 0.5 / factor };
      const network = {
        ...task.network,
        requester: slow,
        devices: task.network.devices.map((link) => ({ ...link, latencyMs: 0.5 / factor })),
      };
      const environment = new SplitEnvironment(simulator({ ...task, network }), [0, 2, 3]);
      const first = environment.reset();
      const steps = [
        [1, 2, 3],
        [0, 1, 2],
        [1, 1, 0],
      ].map((shares) => environment.step(environment.actionOf(shares)));
      return [...first, ...steps.flatMap(({ state, reward }) => [...state, reward])];
    });
    seen[0]?.forEach((value, i) => {
      expect(seen[1]?.[i]).toBeCloseTo(value, 5);
    });
  });

  it('puts the head where the result is back first', () => {
    const task = chainTask([300, 5000, 300]);
    const environment = new SplitEnvironment(simulator(task), [3]);
    const ms = environment.episode([environment.actionOf([1, 4, 1])]);
    const others = [0, 1, 2].map((head) => simulator(task).latency({ ...environment.plan, head }));
    expect(environment.plan.head).toBe(1);
    expect(ms).toBe(Math.min(...others));
  });

  it('takes actions in any order, clips them, and turns plans back into them', () => {
    const task = chainTask([1000, 1000, 1000]);
    const environment = new SplitEnvironment(simulator(task), [1, 3]);
    environment.episode([
      [0.5, -0.5],
      [7, -7],
    ]);
    const { volumes } = environment.plan;
    expect(volumes[0]).toEqual({
      end: 1,
      parts: [
        { device: 0, from: 0, to: 10 },
        { device: 1, from: 10, to: 30 },
        { device: 2, from: 30, to: 40 },
      ],
    });
    expect(volumes[1]).toEqual({ end: 3, parts: [{ device: 1, from: 0, to: 40 }] });
    const before = environment.plan;
    environment.episode(environment.actionsOf(before));
    expect(environment.plan).toEqual(before);
  });

  it('gives a volume that cannot be divided to the provider with the largest share', () => {
    const net = new Net(20);
    net.layer({ whole: true });
    const last = net.layer();
    const task = taskOn(net.workload([last]), [{ rate: 1 }, { rate: 1 }, { rate: 1 }]);
    const environment = new SplitEnvironment(simulator(task), requiredEnds(task.workload));
    environment.episode([environment.actionOf([2, 5, 3])]);
    expect(environment.plan.volumes).toEqual([{ end: 1, parts: [{ device: 1, from: 0, to: 20 }] }]);
  });

  it('refuses ends that are none', () => {
    const task = chainTask([1, 1]);
    for (const ends of [[], [1], [3, 1], [1.5, 3], [1, 1, 3]]) {
      expect(() => new SplitEnvironment(simulator(task), ends)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    }
  });
});
