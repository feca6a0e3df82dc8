/** Plans within the devices' memory: rows are moved away from devices that cannot hold theirs. */
import { isGather, type Workload, type WorkPlan } from '@distredge/core';
import { normal, type Shares } from './layout.js';
import type { Trial } from './trial.js';

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
  let now = shares;
  for (let turn = 0; turn <= REPAIRS; turn++) {
    const tried = plan(now);
    const ms = trial.latency(tried);
    if (Number.isFinite(ms) || turn === REPAIRS) return { ms, shares: now };
    const needs = trial.memoryBytes(tried);
    const loaded = weightsOn(workload, tried, costs.length);
    const fitted = now.map((share, device) => {
      const limit = costs[device]?.memoryBytes ?? Number.POSITIVE_INFINITY;
      const need = needs[device] ?? 0;
      const weights = loaded[device] as number;
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

/** Per device, the bytes of the weights it holds under a plan with its head on one device. */
function weightsOn({ ops, head: tail }: Workload, { volumes, head }: WorkPlan, devices: number): Float64Array {
  const bytes = new Float64Array(devices);
  const sum = (held: readonly { readonly weightBytes: number }[]): number =>
    held.reduce((total, { weightBytes }) => total + weightBytes, 0);
  let start = 0;
  for (const volume of volumes) {
    if (isGather(volume)) continue;
    const own = sum(ops.slice(start, volume.end + 1));
    for (const device of new Set(volume.parts.map((part) => part.device)))
      bytes[device] = (bytes[device] as number) + own;
    start = volume.end + 1;
  }
  if (tail !== undefined && typeof head === 'number') {
    const { before, cut, after } = tail;
    bytes[head] = (bytes[head] as number) + sum([...before, ...(cut === undefined ? [] : [cut]), ...after]);
  }
  return bytes;
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
