/**
 * Why a plan is as it is, for people: which devices compute and for how long, what it gains over one device, what holds it up,
 * why a device is left out, how far it is from a bound, and what more bandwidth or one more device would gain. The last two
 * questions are answered by planning again, shortly, for the changed cluster.
 */
import { type PlanLoads, type PlanningTask, simulator, type WorkPlan } from '@distredge/core';
import { auto } from './auto.js';
import { Geometry } from './search/geometry.js';
import { devicesOf, fromWorkPlan } from './search/plan-state.js';
import { aloneMs, singleDevice, withInput } from './search/starts.js';

export interface ExplainOptions {
  /** Budget of each of the two times it plans again, ms. 0 leaves them out. Default 300. */
  readonly budgetMs?: number;
  /** Plans simulated at most by each of them, for answers that do not depend on the clock. */
  readonly maxEvaluations?: number;
  /** A latency that no plan can beat, ms: see `lowerBound`. */
  readonly lowerBoundMs?: number;
  readonly seed?: number;
}

/** A sentence and what it is about: `gains` are answers to "what if". */
export interface Reason {
  readonly about: 'devices' | 'alone' | 'busiest' | 'unused' | 'bound' | 'gains';
  readonly text: string;
}

/** A gain below this share of the latency is called none. */
const NOTICEABLE = 0.005;

/**
 * Plain sentences with figures.
 * @param plan one that runs on the task's devices; throws `PLAN_INVALID` for another
 */
export async function explain(
  task: PlanningTask,
  plan: WorkPlan,
  options: ExplainOptions = {},
): Promise<readonly Reason[]> {
  const judge = simulator(task);
  const ms = judge.latency(plan);
  const loads = judge.loads(plan);
  const geometry = new Geometry(task);
  const used = devicesOf(fromWorkPlan(plan, geometry));
  const about = (what: Reason['about'], texts: readonly string[]): Reason[] =>
    texts.map((text) => ({ about: what, text }));
  const { lowerBoundMs = 0, budgetMs } = options;
  const gap = (ms / lowerBoundMs - 1) * 100;
  const bound = `No plan can take less than ${time(lowerBoundMs)}; this one takes ${gap.toFixed(1)} % more.`;
  const replanned = ms < Number.POSITIVE_INFINITY && budgetMs !== 0 ? await whatIf(task, plan, used, ms, options) : [];
  return [
    ...about('devices', [whoComputes(task, used, loads, ms)]),
    ...about('alone', againstOne(task, geometry, ms)),
    ...about('busiest', [whatHolds(task, loads, ms)]),
    ...about('unused', unused(task, geometry, used)),
    ...about('bound', lowerBoundMs > 0 ? [bound] : []),
    ...about('gains', replanned),
  ];
}

function time(ms: number): string {
  return `${ms >= 100 ? ms.toFixed(0) : ms.toFixed(1)} ms`;
}

function list(names: readonly string[]): string {
  return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

function whoComputes({ costs }: PlanningTask, used: readonly number[], { computeMs }: PlanLoads, ms: number): string {
  const names = [...used]
    .sort((a, b) => (computeMs[b] as number) - (computeMs[a] as number))
    .map((device) => `${costs[device]?.id} for ${time(computeMs[device] as number)}`);
  if (ms === Number.POSITIVE_INFINITY) return 'The plan does not fit into the memory of its devices.';
  return `One image takes ${time(ms)}. ${used.length} of ${costs.length} devices compute: ${list(names)}.`;
}

function againstOne(task: PlanningTask, geometry: Geometry, ms: number): string[] {
  const judge = simulator(task);
  let best = Number.POSITIVE_INFINITY;
  let name = '';
  task.costs.forEach(({ id }, device) => {
    const { volumes, head } = singleDevice(geometry, device);
    const alone = judge.latency(head === undefined ? { volumes } : { volumes, head });
    if (alone < best) [best, name] = [alone, id];
  });
  if (name === '') return ['No device has the memory for the whole model.'];
  if (ms === Number.POSITIVE_INFINITY) return [];
  const ratio = best / ms;
  if (ratio < 1 - NOTICEABLE) return [`${name} alone, undivided, is faster: ${time(best)}.`];
  if (ratio < 1 + NOTICEABLE) return [`${name} alone is as fast: ${time(best)}.`];
  return [`The best single device, ${name}, takes ${time(best)} undivided: ${ratio.toFixed(2)} times as long.`];
}

/** The device or link that is busy longest. */
function whatHolds({ costs }: PlanningTask, loads: PlanLoads, ms: number): string {
  const names = [...costs.map(({ id }) => id), 'the requester'];
  const busy = [
    ...Array.from(loads.computeMs, (load, at) => ({ load, what: `${names[at]} computes` })),
    ...Array.from(loads.uplinkMs, (load, at) => ({ load, what: `${names[at]} sends` })),
    ...Array.from(loads.downlinkMs, (load, at) => ({ load, what: `${names[at]} receives` })),
    { load: loads.mediumMs, what: 'the shared medium is in use' },
  ].reduce((a, b) => (b.load > a.load ? b : a));
  const share = ms < Number.POSITIVE_INFINITY ? `, ${((busy.load / ms) * 100).toFixed(0)} % of the time` : '';
  return `Busy longest: ${busy.what} for ${time(busy.load)}${share}.`;
}

/** Why devices are left out: their links, or their speed, against the best of those that compute. */
function unused(task: PlanningTask, geometry: Geometry, used: readonly number[]): string[] {
  const alone = task.costs.map((_, device) => aloneMs(geometry, device));
  const full = withInput(geometry, alone);
  const first = [...used].sort((a, b) => (full[a] as number) - (full[b] as number))[0] ?? 0;
  const slowLink: string[] = [];
  const slow: string[] = [];
  const equal: string[] = [];
  task.costs.forEach(({ id }, device) => {
    if (used.includes(device)) return;
    const transfer = (full[device] as number) - (alone[device] as number);
    const theirs = (full[first] as number) - (alone[first] as number);
    if ((full[device] as number) < 1.1 * (full[first] as number)) equal.push(id);
    else if (transfer - theirs > (alone[device] as number) - (alone[first] as number)) slowLink.push(id);
    else slow.push(`${id} (${((alone[device] as number) / (alone[first] as number)).toFixed(1)} times)`);
  });
  const name = task.costs[first]?.id ?? '';
  const sentences: string[] = [];
  if (slow.length > 0) sentences.push(`Not used, since they compute longer than ${name}: ${list(slow)}.`);
  if (slowLink.length > 0)
    sentences.push(`Not used, since their links are slower than that of ${name}: ${list(slowLink)}.`);
  if (equal.length > 0) {
    sentences.push(`Not used, since exchanging rows with them would take longer than they save: ${list(equal)}.`);
  }
  return sentences;
}

/** What twice the bandwidth, and one more device like the fastest in use, would gain. */
async function whatIf(
  task: PlanningTask,
  plan: WorkPlan,
  used: readonly number[],
  ms: number,
  { budgetMs = 300, maxEvaluations, seed = 1 }: ExplainOptions,
): Promise<string[]> {
  const { costs, network } = task;
  const limits = maxEvaluations === undefined ? { budgetMs } : { maxEvaluations };
  const gain = async (changed: PlanningTask): Promise<string> => {
    const { latencyMs } = await auto(changed, { start: [plan], seed, ...limits });
    const share = 1 - latencyMs / ms;
    if (share < NOTICEABLE) return 'would gain nothing';
    return `would save ${time(ms - latencyMs)} (${(share * 100).toFixed(0)} %) at least`;
  };
  const faster = {
    ...network,
    requester: { ...network.requester, mbps: 2 * network.requester.mbps },
    devices: network.devices.map((link) => ({ ...link, mbps: 2 * link.mbps })),
  };
  const geometry = new Geometry(task);
  const alone = costs.map((_, device) => aloneMs(geometry, device));
  const full = withInput(geometry, alone);
  const best = [...used].sort((a, b) => (full[a] as number) - (full[b] as number))[0] ?? 0;
  const more: PlanningTask = {
    ...task,
    costs: [...costs, { ...(costs[best] as (typeof costs)[number]), id: `${costs[best]?.id} (another)` }],
    network: { ...network, devices: [...network.devices, network.devices[best] as (typeof network.devices)[number]] },
  };
  return [
    `Twice the bandwidth on every link ${await gain({ ...task, network: faster })}.`,
    `One more device like ${costs[best]?.id} ${await gain(more)}.`,
  ];
}
