/** The methods that the evaluation compares, and one of its plans each. */
import type { PlanningTask } from '@distredge/core';
import { baselineNames, createPlanner, osds, type Planner } from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';
import { processorMs } from './_workloads.js';

export interface Budgets {
  /** Processor time of a plan of `auto`, ms. */
  readonly planMs: number;
  /** Episodes of a plan of `osds`. */
  readonly episodes: number;
}

/** In the order in which tables and charts show them. `offload` is the best single device. */
export const METHODS: readonly string[] = [...baselineNames, 'osds', 'auto --classical', 'auto'];

/** Ours are strong, those of others muted. */
export const COLORS: Readonly<Record<string, string>> = {
  offload: '#8f96a3',
  modnn: '#c9a08f',
  mednn: '#d6b05c',
  coedge: '#8fb573',
  deepthings: '#6cb0ad',
  deeperthings: '#a58cc4',
  aofl: '#cf7f9b',
  osds: '#e07b00',
  'auto --classical': '#5b8def',
  auto: '#173f8f',
};

export interface Measured {
  readonly method: string;
  /** Images per second, one after another; undefined where the method has no plan. */
  readonly ips: number | undefined;
  /** Processor time that planning took. */
  readonly planMs: number;
}

function planner(method: string, { episodes }: Budgets): Planner {
  const [name = method, form] = method.split(' --');
  if (name === 'osds') return osds({ runner: createOrtGraphRunner(), episodes });
  return createPlanner(name, { classical: form === 'classical' });
}

/** What every method makes of a task. A method whose plan does not fit into memory, or that has none, has no `ips`. */
export async function measure(
  task: PlanningTask,
  budgets: Budgets,
  methods: readonly string[] = METHODS,
): Promise<Measured[]> {
  const found: Measured[] = [];
  for (const method of methods) {
    const began = processorMs();
    const options = { seed: 1, ...(method === 'osds' ? {} : { budgetMs: budgets.planMs, now: processorMs }) };
    const planned = await planner(method, budgets)
      .plan(task, options)
      .catch(() => undefined);
    const latencyMs = planned?.latencyMs ?? Number.POSITIVE_INFINITY;
    found.push({
      method,
      ips: Number.isFinite(latencyMs) ? 1000 / latencyMs : undefined,
      planMs: processorMs() - began,
    });
  }
  return found;
}
