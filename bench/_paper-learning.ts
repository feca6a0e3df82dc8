/** What the weight of LC-PSS and the episodes of OSDS do to a plan. */
import { type PlanningTask, simulator } from '@distredge/core';
import { lcPss, osds } from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';
import { type Budgets, measure } from './_paper-methods.js';
import { processorMs } from './_workloads.js';

export interface AlphaRow {
  readonly model: string;
  readonly alpha: number;
  /** Volumes of the partition. */
  readonly volumes: number;
  /** Images per second of the best split that OSDS finds for it. */
  readonly ips: number;
}

/** OSDS on the partition that LC-PSS finds with every weight. */
export async function alphaSweep(
  model: string,
  task: PlanningTask,
  alphas: readonly number[],
  episodes: number,
): Promise<AlphaRow[]> {
  const rows: AlphaRow[] = [];
  const known = new Map<string, number>();
  for (const alpha of alphas) {
    const ends = lcPss(task, { alpha });
    let ips = known.get(ends.join());
    if (ips === undefined) {
      const planner = osds({ runner: createOrtGraphRunner(), alphas: [alpha], episodes });
      ips = 1000 / (await planner.plan(task, { seed: 1 })).latencyMs;
      known.set(ends.join(), ips);
    }
    rows.push({ model, alpha, volumes: ends.length, ips });
  }
  return rows;
}

export interface Curve {
  readonly name: string;
  /** Best plan so far after some episodes, images per second. */
  readonly points: readonly (readonly [episode: number, ips: number])[];
  /** Processor time. */
  readonly seconds: number;
}

export interface Training {
  readonly curves: readonly Curve[];
  /** What other methods reach on the same task. */
  readonly others: readonly { readonly method: string; readonly ips: number }[];
}

const OTHERS = ['offload', 'coedge', 'aofl', 'auto --classical', 'auto'];

/** The best plan seen over the episodes: as the project trains, and with the actor's noise alone. */
export async function training(task: PlanningTask, episodes: number, budgets: Budgets): Promise<Training> {
  const kinds = [
    { name: 'osds', settings: {} },
    { name: 'noise alone', settings: { variedShare: 0 } },
  ];
  const curves: Curve[] = [];
  for (const { name, settings } of kinds) {
    const points: [number, number][] = [];
    const began = processorMs();
    const planner = osds({ runner: createOrtGraphRunner(), alphas: [0.25], episodes, ...settings });
    const found = await planner.plan(task, {
      seed: 1,
      onProgress: ({ done, bestMs }) => points.push([Math.round(done * episodes), 1000 / bestMs]),
    });
    points.push([episodes, 1000 / simulator(task).latency(found.plan)]);
    curves.push({ name, points, seconds: (processorMs() - began) / 1000 });
  }
  const others = (await measure(task, budgets, OTHERS)).flatMap(({ method, ips }) =>
    ips === undefined ? [] : [{ method, ips }],
  );
  return { curves, others };
}
