/**
 * Real devices of unlike speed on one machine: each provider is pinned to a core and limited to a share of it by a cgroup
 * (version 1, controller `cpu`). What such a device takes is what the processor takes, measured by a profile, divided by its share.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import {
  analyse,
  type Cluster,
  type DeviceCosts,
  DistrEdgeError,
  loadGraph,
  networkOf,
  type PlanningTask,
  profileCosts,
  workloadOf,
} from '@distredge/core';
import { createOrtEngine, measureProfile } from '@distredge/runtime';
import { buildZooModel } from '@distredge/zoo';

const ROOT = '/sys/fs/cgroup/cpu';
const NAME = /^dedge-testbed-(\d+)-\d+$/;
/** Short against what a part takes, or parts would get more or less than their share of it. */
const PERIOD_US = 4000;

/** What is missing to limit processes, in words; undefined where nothing is. */
export function missingForQuotas(): string | undefined {
  if (!existsSync(`${ROOT}/cpu.cfs_quota_us`)) return `the cgroup controller cpu, version 1, at ${ROOT}`;
  return undefined;
}

/** Weight against other programs, which is 1024: they do not take away what a device has a right to. The most that there is. */
const WEIGHT = 262_144;

/** Limits a process with all its threads to a share of one core. */
export function limit(pid: number, member: number, share: number): void {
  const folder = `${ROOT}/dedge-testbed-${process.pid}-${member}`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/cpu.cfs_period_us`, `${PERIOD_US}`);
  writeFileSync(`${folder}/cpu.cfs_quota_us`, `${Math.round(PERIOD_US * share)}`);
  writeFileSync(`${folder}/cpu.shares`, `${WEIGHT}`);
  writeFileSync(`${folder}/cgroup.procs`, `${pid}`);
}

/** Removes the cgroups of these processes' testbeds, whose members have ended. */
export function removeQuotas(which: (pid: number) => boolean): void {
  if (missingForQuotas() !== undefined) return;
  for (const name of readdirSync(ROOT)) {
    const pid = NAME.exec(name)?.[1];
    if (pid === undefined || !which(Number(pid))) continue;
    // A process that was just killed may still be listed; its cgroup is left to the next start.
    if (readFileSync(`${ROOT}/${name}/cgroup.procs`, 'utf8') === '') rmdirSync(`${ROOT}/${name}`);
  }
}

/** The core that a device is pinned to. */
export function coreOf(device: number): number {
  return device % cpus().length;
}

/** Throws `USAGE` where a core would have to give more than it has. */
export function checkShares(shares: readonly number[]): void {
  const perCore = new Map<number, number>();
  shares.forEach((share, device) => {
    perCore.set(coreOf(device), (perCore.get(coreOf(device)) ?? 0) + share);
  });
  const most = Math.max(...perCore.values());
  if (most <= 1) return;
  throw new DistrEdgeError('USAGE', 'the devices would need more cores than there are', {
    where: '--real',
    expected: `at most 100 for each of ${cpus().length} cores, dealt in turn`,
    got: `${Math.round(100 * most)} on one of them`,
  });
}

/** The task for the first devices of a cluster, each with a share of a core of this machine, by a profile measured now. */
export async function realTask(model: string, cluster: Cluster, shares: readonly number[]): Promise<PlanningTask> {
  const built = buildZooModel(model);
  const analysis = analyse(loadGraph(built.bytes, built));
  const workload = workloadOf(analysis, model);
  const engine = createOrtEngine();
  try {
    const device = { id: 'core', cpu: cpus()[0]?.model ?? 'unknown' };
    const profile = await measureProfile(analysis, workload, { engine, device, memoryMb: totalmem() / 1e6 });
    const costs = profileCosts(workload, profile, 'core');
    return { workload, costs: shares.map((share) => slowed(costs, share)), network: networkOf(cluster) };
  } finally {
    await engine.close();
  }
}

/** The same device with this share of its time. */
function slowed(costs: DeviceCosts, share: number): DeviceCosts {
  const times = (values: Float64Array): Float64Array => values.map((value) => value / share);
  const { partMs, edgeMsPerByte } = costs;
  return {
    ...costs,
    opMs: costs.opMs.map(times),
    readMsPerByte: times(costs.readMsPerByte),
    ...(partMs === undefined ? {} : { partMs: partMs / share }),
    ...(edgeMsPerByte === undefined ? {} : { edgeMsPerByte: times(edgeMsPerByte) }),
    headBeforeMs: costs.headBeforeMs / share,
    headCutMs: times(costs.headCutMs),
    headAfterMs: costs.headAfterMs / share,
  };
}
