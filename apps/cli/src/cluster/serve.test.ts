import type { PlanningTask, WorkPlan } from '@distredge/core';
import { expect, test } from 'vitest';
import type { TimedPlan } from '../planner-worker.js';
import { planOnThread } from './serve.js';

const task = {} as PlanningTask;
const PLAN = { volumes: [] } as unknown as WorkPlan;

/** Threads that search until they are told to stop, and what they were asked for, by thread. */
function threads() {
  const asked: string[][] = [];
  const make = () => {
    const own: string[] = [];
    asked.push(own);
    return {
      plan: async (
        { planner, options }: { planner: string; options: { budgetMs?: number } },
        _: unknown,
        signal?: AbortSignal,
      ): Promise<TimedPlan> => {
        own.push(`${planner} ${options.budgetMs}`);
        await new Promise((resolve) => signal?.addEventListener('abort', resolve));
        return { plan: PLAN, latencyMs: 1, evaluations: 1, planMs: 1 };
      },
      close: async () => undefined,
    };
  };
  return { asked, make };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('the next plan is looked for as soon as the one before is not wanted any more; one that never was is not looked for', async () => {
  const { asked, make } = threads();
  const plan = planOnThread(5000, 'auto', make);
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
  const plans = [first, second, third].map(({ signal }, at) => plan(task, { urgent: at > 0, start: [], signal }));
  await turn();
  expect(asked).toEqual([['auto 5000']]);
  second.abort();
  first.abort();
  await turn();
  expect(asked).toEqual([['auto 5000', 'auto 80']]);
  await expect(plans[1]).rejects.toThrow('not wanted');
  third.abort();
  expect(await plans[2]).toBe(PLAN);
});

test('what images wait for does not wait for a planner that is slow to stop', async () => {
  const { asked, make } = threads();
  const plan = planOnThread(5000, 'osds', make);
  const { signal } = new AbortController();
  void plan(task, { urgent: false, start: [], signal });
  void plan(task, { urgent: true, start: [], signal });
  await turn();
  expect(asked).toEqual([['osds 5000'], ['auto 80']]);
});
