/**
 * CoEdge's linear programme, solved exactly without a solver: min T, with a_i · slope_i + halo_i ≤ T for every device that takes part,
 * Σ a_i = 1, a_i ≥ 0. For a given T the largest a_i are (T − halo_i) / slope_i where that is positive, and their sum grows with T;
 * so the optimum is where the sum is 1, found by filling up devices in order of halo_i (water-filling).
 */
import type { NetworkLink, PlanningTask, WorkOp } from '@distredge/core';
import type { Shares } from './layout.js';
import { bytesPerMs, inputBytes, type LinearModel, resultBytes } from './linear-model.js';

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

export interface ProgrammeOptions {
  /** Whether a device waits for its halo rows, or computes meanwhile. Default true. */
  readonly waits?: boolean;
  /** Whether the requester's link serves one device after the other. Default false: as in the paper, all at once. */
  readonly queue?: boolean;
  /** Whether shares below the halo stay. Default true. */
  readonly thin?: boolean;
}

/** The shares of the linear programme for a team, zero for all others. Members that get none or too little are taken out one by one. */
export function solve(
  { workload, costs, network }: PlanningTask,
  { work, rate }: LinearModel,
  halo: Halo,
  team: readonly number[],
  { waits = true, queue = false, thin = true }: ProgrammeOptions = {},
): Shares {
  const input = inputBytes(workload);
  const result = workload.head === undefined ? resultBytes(workload) : 0;
  const least = thin ? 0 : halo.share;
  let members = [...team];
  for (;;) {
    const fixed: number[] = [];
    const slope: number[] = [];
    const arrival: number[] = [];
    members.forEach((device, index) => {
      const link = network.devices[device] as NetworkLink;
      const neighbours = (index > 0 ? 1 : 0) + (index < members.length - 1 ? 1 : 0);
      const transfer = halo.bytes / bytesPerMs(link, link) + halo.exchanges * link.latencyMs;
      fixed.push(waits ? neighbours * transfer : 0);
      const speed = bytesPerMs(link, network.requester);
      slope.push(work / (rate[device] as number) + result / speed);
      arrival.push(input / speed);
    });
    const filled = queue
      ? queueFill(fixed, slope, arrival)
      : waterFill(
          fixed,
          slope.map((own, index) => own + (arrival[index] as number)),
        );
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

/**
 * The same where device i also waits for the input of those before it, fixed_i + a_i · slope_i + Σ_{j ≤ i} a_j · arrival_j, and
 * all take part: all are done at the same time T. Each a_i is then p_i · T + q_i, from the first to the last, and Σ a_i = 1
 * gives T. A negative share says that all taking part is not the optimum.
 */
export function queueFill(fixed: readonly number[], slope: readonly number[], arrival: readonly number[]): number[] {
  // What has arrived before device i, and the sum of shares, as factor · T + constant.
  let queue = [0, 0] as [number, number];
  let sum = [0, 0] as [number, number];
  const shares = fixed.map((begin, index): [number, number] => {
    const own = (slope[index] as number) + (arrival[index] as number);
    const share: [number, number] = [(1 - queue[0]) / own, (-begin - queue[1]) / own];
    queue = [queue[0] + share[0] * (arrival[index] as number), queue[1] + share[1] * (arrival[index] as number)];
    sum = [sum[0] + share[0], sum[1] + share[1]];
    return share;
  });
  const done = (1 - sum[1]) / sum[0];
  return shares.map(([factor, constant]) => factor * done + constant);
}
