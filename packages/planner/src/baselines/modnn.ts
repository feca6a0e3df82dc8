/**
 * MoDNN: rows in proportion to the rate of each device, every layer a volume, and one host that gathers the output of every
 * layer and hands out the next one's input.
 *
 * Source: Mao et al., "MoDNN: Local Distributed Mobile Computing System for Deep Neural Network", DATE 2017 (the biased
 * one-dimensional partition of convolutions).
 *
 * Left open there and settled by simulation: how many devices take part and which, which of them is the host, and whether
 * poolings and additions are layers of their own or belong to the convolution before them.
 * Deviations: the fully connected tail runs on one device, as in the comparison of Hou et al. (IPDPS 2022); MoDNN spreads it
 * after removing weights from it, which would change the network. The last layer's rows go to the requester, or
 * to the head's device, without the way over the host.
 */
import type { PlanGather, WorkPlan, WorkVolume } from '@distredge/core';
import type { Planner } from '../planner.js';
import { tryFitting } from './fitting.js';
import { layerings, rowPlan, type Shares } from './layout.js';
import { linearModel } from './linear-model.js';
import { sharesOf, teams } from './teams.js';
import { baseline, settleHead, type Trial } from './trial.js';

export const modnn: Planner = baseline(
  'modnn',
  'Rows by rate, every layer, gathered at a host (Mao et al., DATE 2017)',
  search,
);

function search(trial: Trial): void {
  const { task } = trial;
  const model = linearModel(task);
  const all = teams(trial, model);
  const layers = layerings(task.workload);
  let best: { readonly ms: number; readonly team: readonly number[]; readonly shares: Shares } | undefined;
  all.forEach((team, index) => {
    const host = fastest(team, model.rate);
    for (const ends of layers) {
      if (trial.stopped) return;
      const { ms, shares } = tryFitting(trial, sharesOf(task, team, model.rate), (now) =>
        hosted(trial, ends, now, host),
      );
      if (team.length > 1 && ms < (best?.ms ?? Number.POSITIVE_INFINITY)) best = { ms, team, shares };
    }
    trial.progress((index + 1) / all.length, `${team.length} devices`);
  });
  if (best === undefined) return;
  const { shares } = best;
  for (const host of best.team) {
    for (const ends of layers) if (!trial.stopped) trial.latency(hosted(trial, ends, shares, host));
  }
  settleHead(trial);
}

function fastest(team: readonly number[], rate: ArrayLike<number>): number {
  return team.reduce((best, device) => ((rate[device] as number) > (rate[best] as number) ? device : best));
}

/** Every layer's output gathered at the host before the next layer. */
function hosted({ task: { workload } }: Trial, ends: readonly number[], shares: Shares, host: number): WorkPlan {
  const { volumes } = rowPlan(workload, ends, shares);
  const gathered = volumes.flatMap((volume, index): (WorkVolume | PlanGather)[] => {
    return index === volumes.length - 1 ? [volume as WorkVolume] : [volume as WorkVolume, { gather: host }];
  });
  return workload.head === undefined ? { volumes: gathered } : { volumes: gathered, head: host };
}
