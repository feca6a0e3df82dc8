/** Searches side by side, on the built threads: the best of several seeds counts. */
import { analyse, loadGraph, simulator, taskOf, workloadOf } from '@distredge/core';
import { buildZooModel } from '@distredge/zoo';
import { afterAll, expect, test } from 'vitest';
import { PlannerThreads } from '../../apps/cli/dist/planner-threads.js';

const model = buildZooModel('vgg16', { weights: 'none' });
const task = taskOf(workloadOf(analyse(loadGraph(model.bytes, model)), 'vgg16'), {
  version: 1,
  name: 'two',
  medium: 'switched',
  requester: { mbps: 200, latency_ms: 0.3 },
  devices: [
    { id: 'a', type: 'nano', mbps: 200, latency_ms: 0.3 },
    { id: 'b', type: 'tx2', mbps: 200, latency_ms: 0.3 },
  ],
} as never);

const three = new PlannerThreads(3);
const one = new PlannerThreads(1);
afterAll(() => Promise.all([three.close(), one.close()]));

const request = { planner: 'auto', classical: false, task, options: { budgetMs: 300, seed: 5 } };

test('the plan is the best of the searches, with the plans of all counted', async () => {
  const told: number[] = [];
  const many = await three.plan(request, ({ bestMs }) => told.push(bestMs));
  const alone = await one.plan(request);
  expect(simulator(task).latency(many.plan)).toBeCloseTo(many.latencyMs, 9);
  expect(many.latencyMs).toBeLessThanOrEqual(Math.min(...told) * (1 + 1e-9));
  expect(many.evaluations).toBeGreaterThan(0);
  expect(alone.latencyMs).toBeGreaterThan(0);
});

test('other planners are asked once, and what they throw comes back', async () => {
  const { latencyMs } = await three.plan({ ...request, planner: 'offload' });
  expect(latencyMs).toBe((await one.plan({ ...request, planner: 'offload' })).latencyMs);
  const none = { ...task, costs: [], network: { ...task.network, devices: [] } };
  await expect(three.plan({ ...request, task: none })).rejects.toMatchObject({ code: 'PLAN_INVALID' });
});
