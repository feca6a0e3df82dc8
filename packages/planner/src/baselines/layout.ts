/** From a paper's terms to plans: layers to volume ends, shares of devices to parts, devices that take part to teams. */
import {
  type PlanningTask,
  type PlanPart,
  type Workload,
  type WorkPlan,
  type WorkVolume,
  weightedParts,
} from '@distredge/core';
import type { LinearModel } from './linear-model.js';
import type { Trial } from './trial.js';

/** Share of the rows of each device, by index; devices with 0 take no part. Need not add up to 1. */
export type Shares = readonly number[];

/** Every op a volume. */
export function everyEnd({ ops }: Workload): number[] {
  return ops.map((_, index) => index);
}

/** Every op that multiplies a volume, with the poolings, additions and the like that follow it. */
export function multiplyingEnds(workload: Workload): number[] {
  const { ops } = workload;
  const fixed = new Set(fixedEnds(workload));
  return everyEnd(workload).filter((end) => fixed.has(end) || (ops[end + 1]?.multiplyAdds ?? 1) > 0);
}

/** What a paper may mean by a layer: every op, or every op that multiplies with what follows it. */
export function layerings(workload: Workload): number[][] {
  const [every, multiplying] = [everyEnd(workload), multiplyingEnds(workload)];
  return every.length === multiplying.length ? [every] : [every, multiplying];
}

/** Where a volume ends in every plan: where rows must be exchanged, before and after what cannot be divided, after the last op. */
export function fixedEnds({ ops, forced }: Workload): number[] {
  const ends = new Set(forced.map((op) => op - 1));
  ops.forEach(({ whole }, index) => {
    if (whole) ends.add(index - 1).add(index);
  });
  ends.add(ops.length - 1).delete(-1);
  return [...ends].sort((a, b) => a - b);
}

/** Cuts rows by shares from top to bottom; devices that get none are left out. */
export function partsOf(shares: Shares, rows: number): PlanPart[] {
  const parts = weightedParts(shares, rows).filter(({ from, to }) => to > from);
  return rows === 0 ? [{ device: largestShare(shares), from: 0, to: 0 }] : parts;
}

export function largestShare(shares: Shares): number {
  return shares.reduce((best, share, device) => (share > (shares[best] as number) ? device : best), 0);
}

/** A classical plan: at most one part per device and volume, in the order of the devices. */
export function rowPlan(workload: Workload, ends: readonly number[], shares: Shares | readonly Shares[]): WorkPlan {
  const volumes = ends.map((end, index): WorkVolume => {
    const own = (typeof shares[0] === 'number' ? shares : shares[index]) as Shares;
    return volumeOf(workload, index === 0 ? 0 : (ends[index - 1] as number) + 1, end, own);
  });
  return { volumes };
}

/** The volume of ops `start` to `end` (inclusive); one that cannot be divided goes to the device with the largest share. */
export function volumeOf({ ops }: Workload, start: number, end: number, shares: Shares): WorkVolume {
  const rows = ops[end]?.rows ?? 0;
  const whole = ops.slice(start, end + 1).some((op) => op.whole);
  return { end, parts: whole ? [{ device: largestShare(shares), from: 0, to: rows }] : partsOf(shares, rows) };
}

/** The whole model on one device. */
export function singlePlan(workload: Workload, device: number): WorkPlan {
  const plan = rowPlan(workload, fixedEnds(workload), oneShare(device));
  return workload.head === undefined ? plan : { ...plan, head: device };
}

/** All rows to one device. */
export function oneShare(device: number): Shares {
  return Array.from({ length: device + 1 }, (_, index) => (index === device ? 1 : 0));
}

export function normal(shares: Shares): number[] {
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

/** Up to this many devices, all their subsets are teams. */
const SUBSETS_UP_TO = 4;

/**
 * Sets of devices that may take part, for papers that leave that to the user: with few devices, all subsets that can be told
 * apart by rate, memory and link; with more, the first k by rate and the first k by latency of the model on each alone.
 * Single devices first. Every team is ascending.
 */
export function teams(trial: Trial, { rate }: LinearModel): number[][] {
  const { costs, network } = trial.task;
  const kind = (device: number): string => {
    const { mbps, latencyMs } = network.devices[device] ?? { mbps: 0, latencyMs: 0 };
    return `${rate[device]} ${costs[device]?.memoryBytes} ${mbps} ${latencyMs}`;
  };
  const all = costs.map((_, device) => device);
  const alone = aloneMs(trial);
  const mbps = (device: number): number => network.devices[device]?.mbps ?? 0;
  const byRate = [...all].sort((a, b) => (rate[b] as number) - (rate[a] as number) || mbps(b) - mbps(a) || a - b);
  const byLatency = [...all].sort((a, b) => compare(alone[a] as number, alone[b] as number) || a - b);
  const candidates: number[][] =
    all.length <= SUBSETS_UP_TO
      ? Array.from({ length: 2 ** all.length - 1 }, (_, mask) => all.filter((device) => ((mask + 1) >> device) & 1))
      : [...all.map((k) => byLatency.slice(0, k + 1)), ...all.map((k) => byRate.slice(0, k + 1))];
  const seen = new Set<string>();
  return candidates
    .sort((a, b) => a.length - b.length)
    .filter((team) => {
      const key = team.map(kind).sort().join();
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    })
    .map((team) => [...team].sort((a, b) => a - b));
}

/** Infinity is equal to itself. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Latency of the whole model on each device alone; also gives the trial its first plans. */
function aloneMs(trial: Trial): number[] {
  return trial.task.costs.map((_, device) => trial.latency(singlePlan(trial.task.workload, device)));
}

/** Shares of a team by some measure of each device, zero for the others. */
export function sharesOf(task: PlanningTask, team: readonly number[], measure: ArrayLike<number>): number[] {
  return task.costs.map((_, device) => (team.includes(device) ? (measure[device] as number) : 0));
}

/** How often shares are moved away from devices whose memory they overfill. */
const REPAIRS = 12;
/** Aim a little below the limit, for halo rows and rounding. */
const MARGIN = 0.98;

/**
 * Tries a plan made from shares. Where it does not fit, rows are moved away from the devices that they overfill, in proportion
 * to what is too much (all of them where the weights alone do not fit), and it is tried again. Returns the shares that fit.
 */
export function tryFitting(
  trial: Trial,
  shares: Shares,
  plan: (shares: Shares) => WorkPlan,
): { readonly ms: number; readonly shares: Shares } {
  const { costs, workload } = trial.task;
  const weights = workload.ops.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
  let now = shares;
  for (let turn = 0; turn <= REPAIRS; turn++) {
    const tried = plan(now);
    const ms = trial.latency(tried);
    if (Number.isFinite(ms) || turn === REPAIRS) return { ms, shares: now };
    const needs = trial.memoryBytes(tried);
    const fitted = now.map((share, device) => {
      const limit = costs[device]?.memoryBytes ?? Number.POSITIVE_INFINITY;
      const need = needs[device] ?? 0;
      if (share === 0 || need <= limit) return share;
      if (weights >= limit || need <= weights) return 0;
      return turn === REPAIRS - 1 ? 0 : share * MARGIN * ((limit - weights) / (need - weights));
    });
    const left = fitted.reduce((sum, share) => sum + share, 0);
    if (left <= 0 || fitted.every((share, device) => share === now[device])) break;
    now = normal(fitted);
  }
  return { ms: Number.POSITIVE_INFINITY, shares: now };
}

/** Of the candidates that fit, the best of every set of shares, best first. */
export function bestByShares<T extends { readonly ms: number; readonly shares: Shares }>(
  candidates: readonly T[],
): T[] {
  const seen = new Set<string>();
  return candidates
    .filter(({ ms }) => Number.isFinite(ms))
    .sort((a, b) => a.ms - b.ms)
    .filter(({ shares }) => {
      const key = shares.join();
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
}
