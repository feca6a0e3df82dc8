/**
 * MeDNN: every layer a volume, rows first in proportion to the rate of each device and then refined greedily: as long as that
 * makes it faster, some rows go from the busiest device to another one.
 *
 * Source: Mao et al., "MeDNN: A Distributed Mobile System with Enhanced Partition and Deployment for Large-Scale DNNs", ICCAD
 * 2017 (its greedy partition measures a layer and moves what makes it slow).
 *
 * Left open there and settled by simulation: which devices take part, the size of the steps, whether a pooling or
 * addition is a layer of its own, the device of the tail.
 * Deviations: rows only, not a grid; a device's share is the same in every layer, so that between layers only halo rows
 * travel; the measuring is done by simulation of the whole network; the tail is not pruned and runs on one device.
 */
import type { Planner } from '../planner.js';
import { bestByShares, tryFitting } from './fitting.js';
import { layerings, normal, rowPlan, type Shares } from './layout.js';
import { type LinearModel, linearModel } from './linear-model.js';
import { sharesOf, teams } from './teams.js';
import { baseline, likelyHeads, settleHead, type Trial, withHead } from './trial.js';

export const mednn: Planner = baseline(
  'mednn',
  'Rows by rate, refined greedily, every layer (Mao et al., ICCAD 2017)',
  search,
);

/** Teams refined: the best by proportional shares. */
const REFINED = 3;
/** Steps by which shares move, coarse to fine, as a part of all rows. */
const STEPS = [1 / 8, 1 / 16, 1 / 32, 1 / 64];
/** How many of the busiest devices are tried as the giver of rows, and of the least busy as the receiver. */
const GIVERS = 4;
const RECEIVERS = 3;

interface Candidate {
  readonly ms: number;
  readonly ends: readonly number[];
  readonly head: number | undefined;
  readonly shares: Shares;
}

function search(trial: Trial): void {
  const { task } = trial;
  const model = linearModel(task);
  const found: Candidate[] = [];
  for (const team of teams(trial, model)) {
    for (const head of likelyHeads(task, team)) {
      if (trial.stopped) return;
      for (const ends of layerings(task.workload)) {
        const tried = tryFitting(trial, sharesOf(task, team, model.rate), (shares) =>
          withHead(rowPlan(task.workload, ends, shares), head),
        );
        if (team.length > 1) found.push({ ...tried, ends, head });
      }
    }
  }
  const best = bestByShares(found).slice(0, REFINED);
  best.forEach((candidate, index) => {
    refine(trial, model, candidate);
    trial.progress((index + 1) / best.length, 'refined');
  });
  settleHead(trial);
}

function refine(trial: Trial, model: LinearModel, { ms, ends, head, shares }: Candidate): void {
  let best = ms;
  let now = normal(shares);
  for (const step of STEPS) {
    for (let moved = true; moved && !trial.stopped; ) {
      moved = false;
      for (const next of moves(model, now, step)) {
        const tried = trial.latency(withHead(rowPlan(trial.task.workload, ends, next), head), best);
        if (tried >= best * (1 - 1e-9)) continue;
        best = tried;
        now = next;
        moved = true;
        break;
      }
    }
  }
}

/** Shares after some rows went from the busiest device, or failing that the next, to one of the least busy. */
export function moves({ rate }: LinearModel, shares: readonly number[], step: number): number[][] {
  const busy = shares.map((share, device) => share / (rate[device] as number));
  const givers = shares
    .flatMap((share, device) => (share > 0 ? [device] : []))
    .sort((a, b) => (busy[b] as number) - (busy[a] as number) || a - b);
  return givers.slice(0, GIVERS).flatMap((giver) => {
    const takers = shares.flatMap((share, device) => (device !== giver && share > 0 ? [device] : []));
    takers.sort((a, b) => (busy[a] as number) - (busy[b] as number) || a - b);
    const amount = Math.min(step, shares[giver] as number);
    return takers.slice(0, RECEIVERS).map((taker) => {
      const next = [...shares];
      next[giver] = (next[giver] as number) - amount;
      next[taker] = (next[taker] as number) + amount;
      return next;
    });
  });
}
