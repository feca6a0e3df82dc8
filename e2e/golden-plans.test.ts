/** The simulators against plans whose latency an independent simulator of the same rules gives. Skipped where the file is absent. */
import { existsSync, readFileSync } from 'node:fs';
import {
  analyse,
  loadGraph,
  type PlanGather,
  type PlanningTask,
  parseScenarios,
  referenceSimulator,
  simulator,
  taskOf,
  type WorkPlan,
  type WorkVolume,
  workloadOf,
} from '@distredge/core';
import { buildZooModel } from '@distredge/zoo';
import { describe, expect, it } from 'vitest';

const FOLDER = new URL('../../shared/scenarios/', import.meta.url);
const PLANS = new URL('golden-vgg16.json', FOLDER);
const present = existsSync(PLANS);

/** A volume with cuts gives device d the rows [cuts[d - 1], cuts[d]). */
interface Golden {
  readonly scenario: string;
  readonly from: string;
  readonly latencyMs: number;
  readonly plan: Omit<WorkPlan, 'volumes'> & {
    readonly volumes: readonly (WorkVolume | PlanGather | { readonly end: number; readonly cuts: readonly number[] })[];
  };
}

function planOf({ plan }: Golden, { workload }: PlanningTask): WorkPlan {
  const volumes = plan.volumes.map((volume) => {
    if (!('cuts' in volume)) return volume;
    const height = workload.ops[volume.end]?.rows ?? 0;
    const cuts = [0, ...volume.cuts, height];
    const parts = cuts.slice(1).map((to, device) => ({ device, from: cuts[device] ?? 0, to }));
    return { end: volume.end, parts };
  });
  return { ...plan, volumes };
}

describe.skipIf(!present)('plans for VGG-16 take what they are known to take', () => {
  const read = (file: string): unknown => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'));
  const plans = present ? (read('golden-vgg16.json') as { plans: Golden[] }).plans : [];
  const scenarios = present ? parseScenarios(read('static.json')) : [];
  const model = buildZooModel('vgg16', { weights: 'none' });
  const workload = workloadOf(analyse(loadGraph(model.bytes, model)), 'vgg16');
  it.each(plans.map((golden) => [golden.scenario, golden.from, golden] as const))('%s, %s', (id, _, golden) => {
    const cluster = scenarios.find((scenario) => scenario.id === id)?.cluster;
    if (cluster === undefined) throw new Error(`no scenario is called ${id}`);
    const task = taskOf(workload, cluster);
    const plan = planOf(golden, task);
    for (const each of [simulator(task), referenceSimulator(task)]) {
      expect(Math.abs(each.latency(plan) / golden.latencyMs - 1)).toBeLessThan(1e-6);
    }
  });
});
