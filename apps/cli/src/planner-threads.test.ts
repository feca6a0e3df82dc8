import { receiveMessageOnPort } from 'node:worker_threads';
import type { PlanningTask, WorkPlan } from '@distredge/core';
import { expect, test } from 'vitest';
import { PlannerThreads } from './planner-threads.js';
import type { PlanRequest, TimedPlan } from './planner-worker.js';

const task = {} as PlanningTask;
const request = { planner: 'auto', classical: false, task, options: { budgetMs: 100, seed: 5 } };
const LATENCIES: Readonly<Record<number, number>> = { 5: 30, 6: 20, 7: 25 };

/** Threads whose searches find what the table says for their seed, and a list of what they were asked. */
function scene(): { threads: PlannerThreads; asked: Omit<PlanRequest, 'kind'>[]; ended: () => number } {
  const asked: Omit<PlanRequest, 'kind'>[] = [];
  let ended = 0;
  const threads = new PlannerThreads(3, () => ({
    async plan(given, onProgress): Promise<TimedPlan> {
      asked.push(given);
      const { seed = 0 } = given.options;
      const latencyMs = LATENCIES[seed];
      if (latencyMs === undefined) throw new Error(`seed ${seed}`);
      onProgress?.({ done: seed / 10, bestMs: latencyMs, note: '' });
      return { plan: { volumes: [] } as unknown as WorkPlan, latencyMs, evaluations: 10, planMs: seed };
    },
    bound: () => Promise.reject(new Error('not asked')),
    explain: () => Promise.reject(new Error('not asked')),
    async close() {
      ended += 1;
    },
  }));
  return { threads, asked, ended: () => ended };
}

test('the best of searches from seeds one after another counts, and each hears what the others tell', async () => {
  const { threads, asked, ended } = scene();
  const told: (readonly [number, number])[] = [];
  const best = await threads.plan(request, ({ done, bestMs }) => told.push([done, bestMs]));
  expect(best).toMatchObject({ latencyMs: 20, evaluations: 30, planMs: 7 });
  expect(asked.map(({ options }) => options.seed)).toEqual([5, 6, 7]);
  expect(asked.map(({ options }) => options.together?.index)).toEqual([0, 1, 2]);
  const [first, ...others] = asked.map(({ options }) => options.together?.ports ?? []);
  for (const port of first ?? []) port.postMessage('a plan');
  expect(others.map((ports) => ports.flatMap((port) => receiveMessageOnPort(port)?.message ?? []))).toEqual([
    ['a plan'],
    ['a plan'],
  ]);
  expect(told.at(-1)).toEqual([0.5, 20]);
  await threads.close();
  expect(ended()).toBe(3);
});

test('other planners are asked once', async () => {
  const { threads, asked } = scene();
  expect(await threads.plan({ ...request, planner: 'offload' })).toMatchObject({ latencyMs: 30 });
  expect(asked).toHaveLength(1);
});

test('a search that fails leaves the plan to the others; where all fail, the first error is told', async () => {
  const { threads } = scene();
  expect(await threads.plan({ ...request, options: { seed: 7 } })).toMatchObject({ latencyMs: 25 });
  await expect(threads.plan({ ...request, options: { seed: 100 } })).rejects.toThrow('seed 100');
});
