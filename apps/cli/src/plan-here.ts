/**
 * A plan for providers on this machine: planned from a measured profile, then tried against the simple rule, because what is
 * predicted is not yet measured. The faster one is used.
 */
import {
  analyse,
  compile,
  type Graph,
  type NetworkLink,
  type PlanningTask,
  type Program,
  planByRule,
  profileCosts,
  type RowPlan,
  toPlan,
  withChannels,
  workloadOf,
} from '@distredge/core';
import { type Cluster, createTcpTransport, measureExchange } from '@distredge/runtime';
import { median } from './median.js';
import { ms, Progress, shown } from './output.js';
import { PlannerThreads } from './planner-threads.js';
import { profileHere } from './profile-here.js';
import { prepare, type Tensors } from './split.js';

/** How long to search. */
const SEARCH_MS = 4000;
/** The plans take turns so often, since machines have better and worse moments. */
const TURNS = 2;
/** Runs of a plan that count in each turn, after some to warm up. */
const RUNS = 8;
const WARM_UP = 5;

export interface Tried {
  readonly program: Program;
  /** Who made the plan that won. */
  readonly by: 'planner' | 'rule';
}

interface Trial extends Tried {
  /** In ms. */
  readonly times: number[];
}

/** Plans for that many providers of one core each, tries the plans on them, and compiles the faster. */
export async function planHere(
  graph: Graph,
  name: string,
  inputs: Tensors,
  addresses: readonly string[],
): Promise<Tried> {
  const analysis = analyse(graph);
  const weights = addresses.map(() => 1);
  const rule = planByRule(analysis, { weights });
  /** A plan cut by rows, and with layers cut by channels where it has such: only trying tells whether that pays here. */
  const both = (by: Tried['by'], plan: RowPlan): Trial[] =>
    [...new Set([plan, withChannels(analysis, plan, weights)])].map((each) => ({
      by,
      program: compile(graph, each, analysis),
      times: [],
    }));
  const { profile } = await profileHere(analysis, name, { link: true });
  const workload = workloadOf(analysis, name);
  const requester: NetworkLink = { mbps: profile.link?.mbps ?? 1000, latencyMs: profile.link?.latency_ms ?? 0 };
  const link = await shown('measuring exchanges', () =>
    measureExchange({ transport: createTcpTransport(), addresses, mbps: requester.mbps }),
  );
  const task: PlanningTask = {
    workload,
    costs: addresses.map((_, index) => profileCosts(workload, profile, `provider ${index}`)),
    network: { medium: 'switched', requester, devices: addresses.map(() => link) },
  };
  const planned = toPlan(workload, await search(task), addresses.length);
  const trials = [...both('planner', planned), ...both('rule', rule)];
  for (let turn = 0; turn < TURNS; turn++) {
    for (const { program, times } of trials) times.push(...(await timed(program, inputs, addresses)));
  }
  return trials.reduce((best, trial) => (median(trial.times) < median(best.times) ? trial : best));
}

async function search(task: PlanningTask): Promise<Parameters<typeof toPlan>[1]> {
  const worker = new PlannerThreads();
  const progress = new Progress();
  try {
    const request = { planner: 'auto', classical: false, task, options: { budgetMs: SEARCH_MS } };
    const { plan } = await worker.plan(request, ({ done, bestMs }) =>
      progress.update(`planning: ${Math.round(100 * done)} %, best ${ms(bestMs)}`),
    );
    return plan;
  } finally {
    progress.done();
    await worker.close();
  }
}

/** How long a program takes on these providers, in ms. */
async function timed(program: Program, inputs: Tensors, addresses: readonly string[]): Promise<number[]> {
  const cluster: Cluster = await prepare(program, addresses);
  try {
    const times: number[] = [];
    for (let round = -WARM_UP; round < RUNS; round++) {
      const started = performance.now();
      await cluster.infer(inputs);
      if (round >= 0) times.push(performance.now() - started);
    }
    return times;
  } finally {
    await cluster.close();
  }
}
