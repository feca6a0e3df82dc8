/** What the planning commands read: a model as a workload, a cluster file with its profiles, scenario files and plan files. */
import { dirname, resolve } from 'node:path';
import {
  analyse,
  type Cluster,
  DistrEdgeError,
  fromPlan,
  type Plan,
  type PlanningTask,
  type Profile,
  parseCluster,
  parsePlan,
  parseProfile,
  parseScenarios,
  profileCosts,
  type Scenario,
  type SimulatedRun,
  taskOf,
  type WorkPlan,
  workloadOf,
} from '@distredge/core';
import type { Command } from 'commander';
import { readArtifact } from './json-file.js';
import { inFile, type ModelFile, type ModelOptions, readModel } from './model-file.js';

/** The option that says which devices there are. */
export function clusterOption(command: Command): Command {
  return command.requiredOption('--cluster <file>', 'the devices and their links, as JSON (see the README)');
}

export interface PlanningFacts {
  readonly model: ModelFile;
  readonly cluster: Cluster;
  /** What the cluster is called: as it says, or as its file is. */
  readonly clusterName: string;
  readonly task: PlanningTask;
}

/** Reads a model and a cluster file. Throws what `readModel` throws, `CLUSTER_INVALID`, `PROFILE_INVALID` and `FILE`. */
export async function readTask(modelPath: string, clusterPath: string, options: ModelOptions): Promise<PlanningFacts> {
  const cluster = await readArtifact(clusterPath, 'CLUSTER_INVALID', parseCluster);
  const profiles = new Map<string, Profile>();
  for (const { profile } of cluster.devices) {
    if (profile === undefined || profiles.has(profile)) continue;
    const path = resolve(dirname(clusterPath), profile);
    profiles.set(profile, await readArtifact(path, 'PROFILE_INVALID', parseProfile));
  }
  const model = await readModel(modelPath, { ...options, weights: 'none' });
  const workload = workloadOf(analyse(model.graph), model.name);
  try {
    const task = taskOf(workload, cluster, (path, { id }) => {
      try {
        return profileCosts(workload, profiles.get(path) as Profile, id);
      } catch (error) {
        throw inFile(path, error);
      }
    });
    return { model, cluster, clusterName: cluster.name ?? clusterPath, task };
  } catch (error) {
    throw inFile(clusterPath, error);
  }
}

/** Reads a plan file and fits it to a task. Throws `PLAN_INVALID` for one of another model or cluster. */
export function readWorkPlan(path: string, task: PlanningTask): Promise<{ plan: Plan; work: WorkPlan }> {
  return readArtifact(path, 'PLAN_INVALID', (value) => {
    const plan = parsePlan(value);
    return { plan, work: fromPlan(task.workload, plan, task.costs.length) };
  });
}

/** Reads a plan file as it is. Throws `FILE` and `PLAN_INVALID`. */
export function readPlan(path: string): Promise<Plan> {
  return readArtifact(path, 'PLAN_INVALID', parsePlan);
}

export function readScenarios(path: string): Promise<Scenario[]> {
  return readArtifact(path, 'CLUSTER_INVALID', parseScenarios);
}

/** Why a plan that takes forever does: it needs more memory than a device has. */
export function doesNotFit(path: string, { costs }: PlanningTask, { memoryBytes }: SimulatedRun): DistrEdgeError {
  const short = costs.flatMap((device, index) => {
    const needed = memoryBytes[index] ?? 0;
    return needed > device.memoryBytes ? [{ ...device, needed }] : [];
  });
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  return new DistrEdgeError('PLAN_INVALID', 'the plan does not fit into the memory of the devices', {
    where: path,
    expected: short.map((device) => `${device.id}: at most ${mb(device.memoryBytes)}`).join(', '),
    got: short.map((device) => `${device.id}: ${mb(device.needed)}`).join(', '),
    hint: 'plan again for this cluster: distredge plan',
  });
}
