import { type PlanningTask, simulator, type WorkPlan } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Adapter, pays } from './adapt.js';
import { auto } from './auto.js';
import { Net, randomFrom, randomTask, taskOn } from './baselines/fixtures.js';
import { Outlook } from './outlook.js';

const TERMS = { margin: 0.005, switchMs: 0, horizonMs: 1000 };

/** Four convolutions on three devices. */
function smallTask(mbps: readonly number[] = [100, 100, 100]): PlanningTask {
  const net = new Net(40);
  for (let layer = 0; layer < 4; layer++) net.layer({ channels: 6, multiplyAdds: 27 });
  const workload = net.workload('head');
  return taskOn(
    workload,
    mbps.map((rate, device) => ({ rate: 20_000 * (device + 1), launchMs: 0.01, mbps: rate })),
    { mbps: 100, latencyMs: 0.05 },
  );
}

/** The same task with other rates of the devices' links. */
function withRates(task: PlanningTask, mbps: readonly number[]): PlanningTask {
  const devices = task.network.devices.map((link, device) => ({ ...link, mbps: mbps[device] ?? link.mbps }));
  return { ...task, network: { ...task.network, devices } };
}

async function planFor(task: PlanningTask, maxEvaluations = 1500): Promise<WorkPlan> {
  return (await auto(task, { maxEvaluations, budgetMs: Number.POSITIVE_INFINITY })).plan;
}

describe('pays', () => {
  it('asks for a gain above the margin', () => {
    expect(pays(100, 99.6, TERMS)).toBe(false);
    expect(pays(100, 99.4, TERMS)).toBe(true);
    expect(pays(100, 100, { ...TERMS, margin: 0 })).toBe(false);
  });

  it('asks that a switch earns what it costs within the horizon', () => {
    const costly = { margin: 0, switchMs: 200, horizonMs: 1000 };
    expect(pays(100, 81, costly)).toBe(false);
    expect(pays(100, 79, costly)).toBe(true);
    expect(pays(100, 1, { margin: 0, switchMs: 1000, horizonMs: 1000 })).toBe(false);
  });

  it('leaves a plan that memory does not suffice for, and never takes one', () => {
    const { POSITIVE_INFINITY } = Number;
    expect(pays(POSITIVE_INFINITY, 1000, { margin: 0, switchMs: 5000, horizonMs: 1000 })).toBe(true);
    expect(pays(POSITIVE_INFINITY, POSITIVE_INFINITY, TERMS)).toBe(false);
    expect(pays(100, POSITIVE_INFINITY, TERMS)).toBe(false);
  });
});

describe('Adapter', () => {
  it('never adopts a plan that is worse by its own prediction, and predicts as the simulator does', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const task = randomTask(seed);
      const adapter = new Adapter(task, await planFor(task, 300), { maxEvaluations: 80, seed });
      const outlook = new Outlook(task.network);
      const random = randomFrom(seed);
      for (let step = 0; step < 6; step++) {
        const now = withRates(
          task,
          task.costs.map(() => 20 + 200 * random()),
        );
        const before = adapter.plan;
        const networks = outlook.after(now.network);
        const prediction = (plan: WorkPlan): number =>
          networks.length /
          networks.reduce((sum, network) => sum + 1 / simulator({ ...task, network }).latency(plan), 0);
        const { plan, latencyMs, runningMs, adopted, bestMs } = adapter.adapt(now);
        expect(plan).toBe(adapter.plan);
        expect(runningMs).toBeCloseTo(prediction(before), 9);
        expect(latencyMs).toBeCloseTo(prediction(plan), 9);
        expect(bestMs).toBeLessThanOrEqual(latencyMs);
        if (adopted) expect(latencyMs * 1.005).toBeLessThan(runningMs);
        else expect(latencyMs).toBe(runningMs);
      }
    }
  });

  it('keeps the plan where nothing changed', async () => {
    const task = smallTask();
    const adapter = new Adapter(task, await planFor(task), { maxEvaluations: 200, margin: 0.02 });
    const { plan } = adapter;
    for (let step = 0; step < 5; step++) expect(adapter.adapt({ ...task }).adopted).toBe(false);
    expect(adapter.plan).toBe(plan);
  });

  it('returns to an old plan when rates return, without a search', async () => {
    const task = smallTask();
    const slow = withRates(task, [100, 100, 2]);
    const adapter = new Adapter(task, await planFor(task), { maxEvaluations: 1, seed: 3 });
    const { plan } = adapter;
    const other = await planFor(slow);
    adapter.offer(other);
    expect(adapter.adapt(slow)).toMatchObject({ adopted: true, plan: other });
    expect(adapter.adapt(task)).toMatchObject({ adopted: true, plan });
    expect(adapter.adapt(slow)).toMatchObject({ adopted: true, plan: other });
    expect(adapter.remembered).toBe(1);
  });

  it('gives the same plans for the same seed where evaluations are limited', async () => {
    const task = smallTask();
    const first = await planFor(task, 200);
    const plans = (): WorkPlan[] => {
      const adapter = new Adapter(task, first, { maxEvaluations: 120, seed: 5 });
      return [
        [40, 90, 60],
        [90, 30, 50],
        [100, 100, 20],
      ].map((rates) => adapter.adapt(withRates(task, rates)).plan);
    };
    expect(plans()).toEqual(plans());
  });

  it('stops when its time is used up, and remembers no more plans than it may', async () => {
    const task = smallTask();
    let clock = 0;
    const adapter = new Adapter(task, await planFor(task, 100), { budgetMs: 5, poolSize: 3, now: () => clock++ });
    for (let step = 0; step < 10; step++) {
      const began = clock;
      adapter.adapt(withRates(task, [20 + ((step * 37) % 80), 20 + ((step * 53) % 80), 50]));
      expect(clock - began).toBeLessThan(20);
      expect(adapter.remembered).toBeLessThanOrEqual(3);
    }
  });

  it('sees that a device has become slow', async () => {
    const task = smallTask();
    const adapter = new Adapter(task, await planFor(task), { maxEvaluations: 800 });
    const costs = task.costs.map((cost, device) =>
      device === 2 ? { ...cost, opMs: cost.opMs.map((table) => table.map((ms) => 20 * ms)) } : cost,
    );
    const now = { ...task, costs };
    const { adopted, latencyMs, runningMs } = adapter.adapt(now);
    expect(adopted).toBe(true);
    expect(latencyMs).toBeLessThan(runningMs);
    expect(simulator(now).latency(adapter.plan)).toBeCloseTo(latencyMs, 9);
  });

  it('refuses another model, another number of devices, and settings that are none', async () => {
    const task = smallTask();
    const plan = await planFor(task, 100);
    const adapter = new Adapter(task, plan);
    expect(() => adapter.adapt(smallTask())).toThrow(/another model/);
    expect(() => adapter.adapt({ ...task, costs: task.costs.slice(1) })).toThrow(/set of devices/);
    expect(() => new Adapter(task, plan, { margin: -1 })).toThrow(/setting/);
    expect(() => new Adapter(task, plan, { horizonMs: Number.NaN })).toThrow(/setting/);
  });
});

describe('Outlook', () => {
  it('expects the last changes once more, and none where none was seen', () => {
    const { network } = smallTask([100, 50, 20]);
    const outlook = new Outlook(network);
    expect(outlook.after(network)).toEqual([network]);
    const rates = ({ devices }: typeof network): number[] => devices.map(({ mbps }) => mbps);
    const halved = withRates(smallTask(), [50, 50, 20]).network;
    expect(outlook.after(halved).map(rates)).toEqual([
      [50, 50, 20],
      [25, 50, 20],
    ]);
    const doubled = withRates(smallTask(), [50, 100, 20]).network;
    expect(outlook.after(doubled).map(rates)).toEqual([
      [50, 100, 20],
      [50, 200, 20],
      [25, 100, 20],
    ]);
    const jumped = withRates(smallTask(), [50, 100, 2]).network;
    expect(outlook.after(jumped).map(rates)[1]).toEqual([50, 200, 2]);
  });
});
