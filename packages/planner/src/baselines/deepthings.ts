/**
 * DeepThings: the early layers fused into one volume that is cut into equal parts, the rest on one device, the gateway.
 *
 * Source: Zhao et al., "DeepThings: Distributed Adaptive Deep Learning Inference on Resource-Constrained IoT Edge Clusters",
 * IEEE TCAD 2018.
 *
 * Left open there and settled by simulation: after which layer the fused volume ends, how many devices take part and which,
 * and which of all devices is the gateway.
 * Deviations: the grid of tiles is one of rows, one tile per device, so there is nothing to steal; halo rows are computed
 * twice, not kept from a tile that was computed before. Where rows must be exchanged inside the fused volume, it is cut there.
 */
import type { PlanningTask, WorkPlan } from '@distredge/core';
import type { Planner } from '../planner.js';
import { tryFitting } from './fitting.js';
import { everyEnd, fixedEnds, oneShare, type Shares, volumeOf } from './layout.js';
import { linearModel } from './linear-model.js';
import { sharesOf, teams } from './teams.js';
import { baseline, type Trial } from './trial.js';

export const deepthings: Planner = baseline(
  'deepthings',
  'Early layers fused and cut equally, the rest on one device (Zhao et al., TCAD 2018)',
  search,
);

/** Gateways tried with every team and end: those that are best alone. */
const GATEWAYS = 2;

function search(trial: Trial): void {
  const { task } = trial;
  const model = linearModel(task);
  const all = teams(trial, model);
  const devices = task.costs.map((_, device) => device);
  const alone = devices.map((gateway) => trial.latency(fused(task, oneShare(gateway), -1, gateway)));
  const gateways = [...devices]
    .sort((a, b) => rank(alone[a] as number, alone[b] as number) || a - b)
    .slice(0, GATEWAYS);
  let best: { readonly ms: number; readonly end: number; readonly shares: Shares } | undefined;
  const attempt = (equal: Shares, end: number, gateway: number): void => {
    const { ms, shares } = tryFitting(trial, equal, (now) => fused(task, now, end, gateway));
    if (ms < (best?.ms ?? Number.POSITIVE_INFINITY)) best = { ms, end, shares };
  };
  all.forEach((team, index) => {
    const equal = sharesOf(
      task,
      team,
      devices.map(() => 1),
    );
    for (const end of everyEnd(task.workload)) {
      for (const gateway of gateways) {
        if (trial.stopped) return;
        if (team.length > 1) attempt(equal, end, gateway);
      }
    }
    trial.progress((index + 1) / all.length, `${team.length} devices`);
  });
  if (best === undefined) return;
  const { end, shares } = best;
  for (const gateway of devices) if (!trial.stopped) trial.latency(fused(task, shares, end, gateway));
}

/** Infinity is equal to itself. */
function rank(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Ops up to `end` by shares, the later ones on the gateway. */
export function fused({ workload }: PlanningTask, shares: Shares, end: number, gateway: number): WorkPlan {
  const ends = [...new Set([...fixedEnds(workload), ...(end >= 0 ? [end] : [])])].sort((a, b) => a - b);
  const volumes = ends.map((last, index) => {
    const start = index === 0 ? 0 : (ends[index - 1] as number) + 1;
    return volumeOf(workload, start, last, last <= end ? shares : oneShare(gateway));
  });
  return workload.head === undefined ? { volumes } : { volumes, head: gateway };
}
