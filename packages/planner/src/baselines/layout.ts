/** From a paper's terms to plans: layers to volume ends, shares of devices to parts. */
import { type PlanPart, type Workload, type WorkPlan, type WorkVolume, weightedParts } from '@distredge/core';

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

function largestShare(shares: Shares): number {
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
