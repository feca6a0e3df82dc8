/**
 * A changing network, second by second: a planner that knows the rates of the past second only, against a clairvoyant one
 * that knows those of the second it plans for and takes longer, and against keeping the first plan. Between two re-plannings the first
 * one searches in the background for the rates it knows, as a controller does, and weighs what that finds at the next re-planning;
 * the clairvoyant one does the same for the rates that come, before it answers.
 */
import { type PlanningTask, type Scenario, simulator, taskOf, type WorkPlan } from '@distredge/core';
import { Adapter, auto } from '@distredge/planner';
import { zooWorkload } from './_workloads.js';

export interface ReplayOptions {
  /** Seconds of the trace to replay; all where it has fewer. */
  readonly seconds: number;
  /** Time of one re-planning, ms. */
  readonly budgetMs: number;
  /** Time of the search between two re-plannings, ms; 0: none. */
  readonly backgroundMs: number;
  /** The clairvoyant planner's time for every second, ms. */
  readonly clairvoyantMs: number;
  /** Time of the first plan, of either, ms. */
  readonly firstMs: number;
  /** The clock that all of these are measured with. Default: the time of day. */
  readonly now?: () => number;
}

/** For every second: images per second of three planners. */
export interface Replayed {
  readonly adaptive: readonly number[];
  /** Of the adaptive planner, in force in each second. */
  readonly plans: readonly WorkPlan[];
  readonly clairvoyant: readonly number[];
  /** The first plan, kept. */
  readonly fixed: readonly number[];
  /** What each re-planning took, ms. */
  readonly planMs: readonly number[];
  readonly evaluations: readonly number[];
  readonly adoptions: number;
}

/** A scenario's task, as it is in each second of its trace, and how many of these seconds there are. */
export function traced(
  { trace_mbps: trace = [], model, cluster }: Scenario,
  most: number,
): { readonly base: PlanningTask; readonly at: (second: number) => PlanningTask; readonly seconds: number } {
  const base = taskOf(zooWorkload(model), cluster);
  const { devices } = base.network;
  return {
    base,
    at: (second) => ({
      ...base,
      network: {
        ...base.network,
        devices: devices.map((link, device) => ({ ...link, mbps: trace[device]?.[second] ?? link.mbps })),
      },
    }),
    seconds: Math.min(most, (trace[0]?.length ?? 0) - 1),
  };
}

export async function replay(scenario: Scenario, options: ReplayOptions): Promise<Replayed> {
  const { budgetMs, backgroundMs, clairvoyantMs, firstMs, now = () => performance.now() } = options;
  const { base, at, seconds } = traced(scenario, options.seconds);
  const start = { budgetMs: firstMs, seed: 1, now };
  const first = await auto(at(0), start);
  const adapter = new Adapter(at(0), first.plan, { budgetMs, now });
  const seer = new Adapter(at(0), first.plan, {
    budgetMs: clairvoyantMs,
    margin: 0,
    poolSize: 24,
    changes: 0,
    seed: 2,
    now,
  });
  const adaptive: number[] = [];
  const plans: WorkPlan[] = [];
  const clairvoyant: number[] = [];
  const fixed: number[] = [];
  const planMs: number[] = [];
  const evaluations: number[] = [];
  let adoptions = 0;
  let judge = simulator(base);
  for (let second = 1; second <= seconds; second++) {
    const began = now();
    const adapted = adapter.adapt(at(second - 1));
    planMs.push(now() - began);
    evaluations.push(adapted.evaluations);
    if (adapted.adopted) adoptions++;
    const truth = at(second);
    judge = simulator(truth, judge);
    adaptive.push(1000 / judge.latency(adapter.plan));
    plans.push(adapter.plan);
    fixed.push(1000 / judge.latency(first.plan));
    // It may take over any plan of the other, so it is never the worse one.
    seer.offer(adapter.plan);
    if (backgroundMs > 0) {
      const more = { budgetMs: backgroundMs, seed: second, now };
      adapter.offer((await auto(at(second - 1), { ...more, start: [adapter.plan] })).plan);
      seer.offer((await auto(truth, { ...more, start: [seer.plan] })).plan);
    }
    clairvoyant.push(1000 / seer.adapt(truth).latencyMs);
  }
  return { adaptive, plans, clairvoyant, fixed, planMs, evaluations, adoptions };
}
