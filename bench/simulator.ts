/** Plans simulated in a second, by the fast simulator and the reference; `npm run bench -- simulator [MODEL OF THE ZOO]`. */

import {
  analyse,
  type Cluster,
  loadGraph,
  type PlanningTask,
  type PlanSimulator,
  referenceSimulator,
  simulator,
  taskOf,
  type WorkPlan,
  type WorkVolume,
  workloadOf,
} from '@distredge/core';
import { buildZooModel } from '@distredge/zoo';
import { seeded } from './_seeded.js';

const TYPES = ['nano', 'pi4', 'xavier', 'tx2'];
const SECONDS = 1.5;
const WALKS = 20;
const STEPS = 50;

function clusterOf(count: number): Cluster {
  const devices = Array.from({ length: count }, (_, index) => {
    const type = TYPES[index % TYPES.length] ?? 'nano';
    return { id: `${type}-${index}`, type, mbps: 100, latency_ms: 1 };
  });
  return { version: 1, medium: 'switched', requester: { mbps: 100, latency_ms: 1 }, devices };
}

/** Six volumes, each over all devices as far as its rows go, with uneven shares. */
function drawPlan({ workload, costs }: PlanningTask, random: () => number): WorkPlan {
  const { ops } = workload;
  const ends = Array.from({ length: 6 }, (_, index) => Math.floor(((index + 0.2 + 0.8 * random()) * ops.length) / 6));
  const volumes = [...new Set([...ends.map((end) => Math.min(end, ops.length - 1)), ops.length - 1])].sort(
    (a, b) => a - b,
  );
  return {
    volumes: volumes.map((end) => {
      const height = ops[end]?.rows ?? 1;
      const cuts = costs
        .slice(1)
        .map(() => Math.floor(random() * (height + 1)))
        .sort((a, b) => a - b);
      return { end, parts: [...cuts, height].map((to, device) => ({ device, from: cuts[device - 1] ?? 0, to })) };
    }),
  };
}

/** What a search does most: the plan with one cut moved by a row. */
function moved(plan: WorkPlan, random: () => number): WorkPlan {
  const at = Math.floor(random() * plan.volumes.length);
  const volume = plan.volumes[at] as WorkVolume;
  const parts = volume.parts.map((part) => ({ ...part }));
  const cut = 1 + Math.floor(random() * (parts.length - 1));
  const [above, below] = [parts[cut - 1], parts[cut]];
  if (above !== undefined && below !== undefined) {
    const row = Math.min(below.to, Math.max(above.from, below.from + (random() < 0.5 ? -1 : 1)));
    above.to = row;
    below.from = row;
  }
  return { volumes: plan.volumes.map((other, index) => (index === at ? { end: volume.end, parts } : other)) };
}

/**
 * Plans in a second of processor time. `bounded`: one no better than the best so far may be given up; `kept`: what a plan has in
 * common with the one before it is not read again.
 */
function rate(
  simulate: PlanSimulator,
  walks: readonly (readonly WorkPlan[])[],
  { bounded = false, kept = false }: { readonly bounded?: boolean; readonly kept?: boolean } = {},
): number {
  const seconds = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  let plans = 0;
  const started = seconds();
  for (;;) {
    let best = Number.POSITIVE_INFINITY;
    for (const walk of walks) {
      for (const plan of walk) {
        const ms = bounded ? simulate.latency(plan, best) : simulate.latency(plan);
        if (ms < best) best = ms;
        if (kept) simulate.keep?.(plan);
        plans++;
        if (plans % 16 === 0 && seconds() - started > SECONDS) return plans / (seconds() - started);
      }
    }
  }
}

const name = process.argv[2] ?? 'vgg16';
const model = buildZooModel(name, { weights: 'none' });
const workload = workloadOf(analyse(loadGraph(model.bytes, model)), name);
console.log(`${name}, ${workload.ops.length} ops, six volumes over all devices; plans in a second of processor time:`);
console.log('devices  parts      fast  with a bound  one volume changed  reference  fast / reference');
for (const devices of [4, 16, 64]) {
  const task = taskOf(workload, clusterOf(devices));
  const random = seeded(devices);
  const walks = Array.from({ length: WALKS }, () => {
    const walk = [drawPlan(task, random)];
    while (walk.length < STEPS) walk.push(moved(walk.at(-1) as WorkPlan, random));
    return walk;
  });
  const parts = walks.flat().flatMap(({ volumes }) => volumes.flatMap((volume) => (volume as WorkVolume).parts));
  const each = parts.filter(({ from, to }) => to > from).length / (WALKS * STEPS);
  const fast = simulator(task);
  rate(fast, walks);
  const plain = rate(fast, walks);
  const slow = rate(referenceSimulator(task), walks);
  const cells: readonly [number, number][] = [
    [devices, 7],
    [each, 7],
    [plain, 10],
    [rate(fast, walks, { bounded: true }), 14],
    [rate(simulator(task), walks, { kept: true }), 20],
    [slow, 11],
    [plain / slow, 18],
  ];
  console.log(cells.map(([value, width]) => value.toFixed(0).padStart(width)).join(''));
}
