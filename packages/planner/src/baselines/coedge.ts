/**
 * CoEdge: every layer a volume, one share of the rows per device for all layers, so that neighbours exchange halo rows only.
 * The shares come from a linear programme over compute and bandwidth, which also says who takes part.
 *
 * Source: Zeng et al., "CoEdge: Cooperative DNN Inference with Adaptive Workload Partitioning over Heterogeneous Edge
 * Devices", IEEE/ACM Transactions on Networking 2020.
 *
 * The programme: min T, with a_i · (work / rate_i + (input + result) / bandwidth_i) + halo_i ≤ T for every device that takes
 * part, Σ a_i = 1, a_i ≥ 0. For a given T the largest a_i are (T − halo_i) / slope_i where that is positive, and their sum grows
 * with T; so the optimum is where the sum is 1. It is found exactly by filling up devices in order of halo_i (water-filling).
 * A device whose share is less than the halo of some layer would need rows from beyond its neighbours: the smallest such
 * share is taken out and the programme solved again, as in the paper.
 *
 * Left open there and settled by simulation: which devices the programme is given, the device of the tail, and whether small
 * shares stay. Deviation: the paper minimises energy under a deadline; here the latency is minimised itself.
 */
import type { NetworkLink, PlanningTask, WorkOp } from '@distredge/core';
import type { Planner } from '../planner.js';
import { everyEnd, rowPlan, type Shares, teams, tryFitting } from './layout.js';
import { bytesPerMs, inputBytes, type LinearModel, linearModel, resultBytes } from './linear-model.js';
import { baseline, likelyHeads, settleHead, type Trial, withHead } from './trial.js';

export const coedge: Planner = baseline(
  'coedge',
  'Rows from a linear programme over compute and bandwidth, every layer (Zeng et al., ToN 2020)',
  search,
);

function search(trial: Trial): void {
  const { task } = trial;
  const model = linearModel(task);
  const halo = haloOf(task);
  const ends = everyEnd(task.workload);
  const all = teams(trial, model);
  const seen = new Set<string>();
  all.forEach((team, index) => {
    for (const least of [halo.share, 0]) {
      const shares = solve(task, model, halo, team, least);
      const key = shares.join();
      if (seen.has(key)) continue;
      seen.add(key);
      for (const head of likelyHeads(
        task,
        shares.flatMap((share, device) => (share > 0 ? [device] : [])),
      )) {
        if (trial.stopped) return;
        tryFitting(trial, shares, (fitting) => withHead(rowPlan(task.workload, ends, fitting), head));
      }
    }
    trial.progress((index + 1) / all.length, `${team.length} devices`);
  });
  settleHead(trial);
}

export interface Halo {
  /** Bytes that one device gets from one neighbour over the whole network. */
  readonly bytes: number;
  /** Times that it waits for a neighbour. */
  readonly exchanges: number;
  /** The least share of the rows with which it needs no rows from beyond its neighbours, in any layer. */
  readonly share: number;
}

/** What a cut costs, measured at the middle of every layer. */
export function haloOf({ workload: { ops, tensors, inputs } }: PlanningTask): Halo {
  let bytes = 0;
  let exchanges = 0;
  let share = 0;
  for (const op of ops) {
    const halves = op.rows >= 2 && !op.whole ? haloRows(op, (tensor) => tensors[tensor]?.rows ?? 0) : [];
    let exchanged = 0;
    op.reads.forEach(({ tensor }, index) => {
      const { rows = 0, bytesPerRow = 0 } = tensors[tensor] ?? {};
      const halo = halves[index] ?? 0;
      if (tensor < inputs || halo <= 0 || rows === 0) return;
      exchanged += halo * bytesPerRow;
      share = Math.max(share, halo / rows);
    });
    bytes += exchanged;
    if (exchanged > 0) exchanges += 1;
  }
  return { bytes, exchanges, share };
}

/** Rows of each tensor an op reads that the lower part needs from the upper one, when both are cut at half their height. */
function haloRows({ rows, reads }: WorkOp, height: (tensor: number) => number): number[] {
  const middle = Math.floor(rows / 2 + 0.5);
  return reads.map(({ tensor, from, to }) => {
    const cut = Math.floor(height(tensor) / 2 + 0.5);
    return Math.max(cut - (from[middle] ?? cut), (to[middle - 1] ?? cut) - cut);
  });
}

/** The shares of the linear programme for a team; those below `least` are taken out one by one. Zero for all others. */
export function solve(
  { workload, costs, network }: PlanningTask,
  { work, rate }: LinearModel,
  halo: Halo,
  team: readonly number[],
  least: number,
): Shares {
  const ends = inputBytes(workload) + (workload.head === undefined ? resultBytes(workload) : 0);
  let members = [...team];
  for (;;) {
    const fixed: number[] = [];
    const slope: number[] = [];
    members.forEach((device, index) => {
      const link = network.devices[device] as NetworkLink;
      const neighbours = (index > 0 ? 1 : 0) + (index < members.length - 1 ? 1 : 0);
      const transfer = halo.bytes / bytesPerMs(link, link) + halo.exchanges * link.latencyMs;
      fixed.push(neighbours * transfer);
      slope.push(work / (rate[device] as number) + ends / bytesPerMs(link, network.requester));
    });
    const filled = waterFill(fixed, slope);
    const smallest = filled.reduce((best, share, index) => (share < (filled[best] as number) ? index : best), 0);
    const keep = (filled[smallest] as number) >= least && filled.every((share) => share > 0);
    if (keep || members.length === 1) {
      return costs.map((_, device) => (members.includes(device) ? (filled[members.indexOf(device)] as number) : 0));
    }
    members = members.filter((_, index) => index !== smallest);
  }
}

/** The a ≥ 0 with Σ a = 1 that minimise the largest fixed_i + a_i · slope_i among those with a_i > 0. */
export function waterFill(fixed: readonly number[], slope: readonly number[]): number[] {
  const order = fixed.map((_, index) => index).sort((a, b) => (fixed[a] as number) - (fixed[b] as number) || a - b);
  let speed = 0;
  let head = 0;
  let level = 0;
  for (const index of order) {
    // With the devices so far, all rows are done at `level`: one that would only begin later adds nothing.
    if (speed > 0 && (fixed[index] as number) >= level) break;
    speed += 1 / (slope[index] as number);
    head += (fixed[index] as number) / (slope[index] as number);
    level = (1 + head) / speed;
  }
  return fixed.map((begin, index) => Math.max(0, (level - begin) / (slope[index] as number)));
}
