/**
 * A plan for providers on this machine: planned from a measured profile, then tried against those of the simple rule, because
 * what is predicted is not yet measured. The fastest is used.
 */
import {
  type Analysis,
  analyse,
  type ChannelLimits,
  compile,
  type Graph,
  type NetworkLink,
  type Plan,
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
import { fastest, type Timed } from './fastest.js';
import { ms, Progress, shown } from './output.js';
import { PlannerThreads } from './planner-threads.js';
import { profileHere } from './profile-here.js';
import { prepare, type Tensors } from './split.js';

/** How long to search. */
const SEARCH_MS = 4000;
/** Runs of a plan that count in each turn, after some to warm up. */
const RUNS = 8;
const WARM_UP = 5;
/** A plan of the rule that divides the work into a few equal volumes is tried, too: of about as many as a network has stages. */
const STAGES = 6;
/** Layers with up to so many rows for each device are cut by channels in one of the plans: twice what the rule says. */
const MORE_ROWS: Partial<ChannelLimits> = { rows: 8 };

export interface Tried {
  readonly program: Program;
  /** Who made the plan that won. */
  readonly by: 'planner' | 'rule';
}

type Trial = Tried & Timed;

/** Plans for that many providers of one core each, tries the plans on them, and compiles the fastest. */
export async function planHere(
  graph: Graph,
  name: string,
  inputs: Tensors,
  addresses: readonly string[],
): Promise<Tried> {
  const analysis = analyse(graph);
  const weights = addresses.map(() => 1);
  const planned = await planFor(analysis, name, addresses);
  const rule = planByRule(analysis, { weights });
  const stages = planByRule(analysis, { volumes: STAGES, weights });
  /** Cut by channels where that may be better than by rows: only trying tells whether it is here. */
  const cut = (plan: RowPlan, limits?: Partial<ChannelLimits>): Plan => withChannels(analysis, plan, weights, limits);
  const made: readonly (readonly [Tried['by'], Plan])[] = [
    ['planner', planned],
    ['planner', cut(planned)],
    ['rule', rule],
    ['rule', cut(rule)],
    ['rule', cut(rule, MORE_ROWS)],
    ['rule', cut(stages)],
  ];
  const different = new Map(made.map(([by, plan]) => [JSON.stringify(plan), { by, plan }]));
  const trials = [...different.values()].map(
    ({ by, plan }): Trial => ({ by, program: compile(graph, plan, analysis), times: [] }),
  );
  return fastest(trials, async ({ program, times }) => {
    times.push(...(await timed(program, inputs, addresses)));
  });
}

/** A plan from what this machine was measured to be. */
async function planFor(analysis: Analysis, name: string, addresses: readonly string[]): Promise<RowPlan> {
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
  return toPlan(workload, await search(task), addresses.length);
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
