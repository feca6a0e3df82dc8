/**
 * A changing network on the testbed: rates are changed by `tc` every second of the model, images follow one another without a
 * pause, and the plan is the one that re-planning (`Adapter`) chose from the rates of the second before. What the images take
 * is held against a planner that knows every second's rates beforehand, in simulation.
 *
 * All plans that will be adopted are planned and prepared before the first image: this measures what re-planning gains on real
 * links, not how fast a controller measures, prepares and switches.
 */
import { DistrEdgeError, fromPlan, type Plan, type Scenario, simulator, toPlan } from '@distredge/core';
import { sleepUntil } from '@distredge/runtime';
import { replay, traced } from '../_replay.js';
import { mean, processorMs } from '../_workloads.js';
import { chooseDilation } from './dilation.js';
import { Session, type SessionOptions } from './session.js';

/** As `npm run bench -- dynamic` plans, but by processor time: other programs do not make plans worse. */
const TIMES = { budgetMs: 80, backgroundMs: 800, clairvoyantMs: 300, firstMs: 2000 };
/** By how much slower than for single images: here the mean counts, with every image that something disturbed. */
const SLOWER = 2;
/** Every plan is loaded on all its devices: more need more memory than most machines have. */
const MAX_PLANS = 24;

export interface DynamicMeasured {
  readonly scenario: string;
  readonly seconds: number;
  /** Distinct plans, and how often one took the place of another. */
  readonly plans: number;
  readonly switches: number;
  readonly dilation: number;
  /** For every second of the model, images per second: measured, simulated for the same plans, and simulated for the clairvoyant planner. */
  readonly measuredIps: readonly number[];
  readonly predictedIps: readonly number[];
  readonly clairvoyantIps: readonly number[];
  /** Mean over seconds of measured over clairvoyant. */
  readonly ofClairvoyant: number;
  readonly images: number;
  readonly difference: number;
}

export async function measureDynamic(
  scenario: Scenario,
  seconds: number,
  options: SessionOptions,
  opened: (session: Session) => void,
  tell: (text: string) => void,
): Promise<DynamicMeasured> {
  const { cluster, model, id } = scenario;
  const { base: task, at, seconds: length } = traced(scenario, seconds);
  tell('plans');
  const replayed = await replay(scenario, { seconds: length, ...TIMES, now: processorMs });
  const { plans, inForce } = distinct(replayed.plans.map((plan) => toPlan(task.workload, plan, task.costs.length)));
  const session = await Session.open({ cluster, model, task }, options);
  opened(session);
  const chosen = plans.map((plan) => chooseDilation(simulator(task).run(fromPlan(task.workload, plan))));
  const dilation = options.dilation ?? Math.ceil(SLOWER * Math.max(...chosen));
  let difference = 0;
  for (const [slot, plan] of plans.entries()) {
    tell(`prepares plan ${slot + 1} of ${plans.length}`);
    difference = Math.max(difference, await session.prepare(plan, slot, dilation));
  }
  const ratesOf = (second: number): number[] => {
    const { requester, devices } = at(second).network;
    return [requester, ...devices].map(({ mbps }) => mbps);
  };
  await session.run(ratesOf(1), dilation);
  const began = performance.now();
  for (let second = 1; second <= length; second++) {
    tell(`second ${second} of ${length}`);
    if (second > 1) await session.rates(ratesOf(second), dilation);
    await session.stream(inForce[second - 1] as number);
    await sleepUntil(began + second * 1000 * dilation);
  }
  const streamed = await session.halt(60_000 + 10_000 * dilation);
  const measuredIps = perSecond(streamed.images, length, dilation);
  return {
    scenario: id,
    seconds: length,
    plans: plans.length,
    switches: inForce.filter((plan, index) => index > 0 && plan !== inForce[index - 1]).length,
    dilation,
    measuredIps,
    predictedIps: replayed.adaptive,
    clairvoyantIps: replayed.clairvoyant,
    ofClairvoyant: mean(measuredIps.map((ips, index) => ips / (replayed.clairvoyant[index] as number))),
    images: streamed.images.length,
    difference: Math.max(difference, streamed.difference),
  };
}

/** Distinct plans, and which of them is in force in seconds 1, 2 … */
function distinct(all: readonly Plan[]): { readonly plans: readonly Plan[]; readonly inForce: readonly number[] } {
  const known = new Map<string, number>();
  const plans: Plan[] = [];
  const inForce = all.map((plan) => {
    const key = JSON.stringify(plan);
    const index = known.get(key) ?? plans.push(plan) - 1;
    known.set(key, index);
    return index;
  });
  if (plans.length > MAX_PLANS) {
    throw new DistrEdgeError('USAGE', 'these seconds take more plans than can be loaded at once', {
      expected: `at most ${MAX_PLANS} plans`,
      got: `${plans.length}`,
      hint: 'measure fewer seconds',
    });
  }
  return { plans, inForce };
}

/** Images in each second of the model; one that spans two counts for both by its share. */
export function perSecond(
  images: readonly { readonly began: number; readonly ended: number }[],
  seconds: number,
  dilation: number,
): number[] {
  const counts = Array.from({ length: seconds }, () => 0);
  for (const { began, ended } of images) {
    const [from, to] = [began / (1000 * dilation), ended / (1000 * dilation)];
    for (let second = Math.floor(from); second < Math.min(to, seconds); second++) {
      const inside = Math.min(to, second + 1) - Math.max(from, second);
      counts[second] = (counts[second] ?? 0) + inside / (to - from);
    }
  }
  return counts;
}
