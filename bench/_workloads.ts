/** What the benchmarks of planners share: workloads of the zoo's networks, each made once, a clock, and means. */
import { analyse, loadGraph, type Workload, workloadOf } from '@distredge/core';
import { buildZooModel } from '@distredge/zoo';

const made = new Map<string, Workload>();

export function zooWorkload(name: string): Workload {
  let workload = made.get(name);
  if (workload === undefined) {
    const model = buildZooModel(name, { weights: 'none' });
    workload = workloadOf(analyse(loadGraph(model.bytes, model)), name);
    made.set(name, workload);
  }
  return workload;
}

/** Milliseconds of processor time that this process has used: a clock for budgets that other programs cannot shorten. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The middle value; the mean of the two middle ones where there are two; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return ((sorted[Math.ceil(half) - 1] ?? Number.NaN) + (sorted[Math.floor(half)] ?? Number.NaN)) / 2;
}

/** The value below which this share of the values lies; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
