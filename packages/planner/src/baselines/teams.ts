/** Which devices may take part, where a paper leaves that to the user. */
import type { PlanningTask } from '@distredge/core';
import { singlePlan } from './layout.js';
import type { LinearModel } from './linear-model.js';
import type { Trial } from './trial.js';

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
