/**
 * Planning on all cores: `auto` searches from several seeds at once, one on each thread. They share what there is to begin with, tell each
 * other what they find, and the best plan counts. A search freezes into one of many good plans, and which one is chance; another seed helps
 * more than more time.
 */
import { availableParallelism } from 'node:os';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { type PlanningTask, simulator, type WorkPlan } from '@distredge/core';
import type { ExplainOptions, LowerBound, PlannerProgress, Reason } from '@distredge/planner';
import { PlannerWorker, type PlanRequest, type TimedPlan } from './planner-worker.js';

/** More seeds bring little more, and every thread has memory of its own. */
const MOST_THREADS = 4;
/** The planner whose searches differ by their seed. */
const SEEDED = 'auto';

/** What plans on one thread. */
type Thread = Pick<PlannerWorker, 'plan' | 'bound' | 'explain' | 'close'>;

/** Plans one thing at a time, as `PlannerWorker` does. Ends with the process at the latest. */
export class PlannerThreads {
  readonly #make: () => Thread;
  readonly #first: Thread;
  readonly #others: Thread[] = [];
  readonly #threads: number;

  /**
   * @param threads searches at once; default: as many as there are cores, four at most
   * @param make starts a thread; tests put in others
   */
  constructor(
    threads: number = Math.min(availableParallelism(), MOST_THREADS),
    make: () => Thread = () => new PlannerWorker(),
  ) {
    this.#threads = threads;
    this.#make = make;
    this.#first = make();
  }

  /**
   * The seeds of one request are `seed` and those after it. `planMs` is until the last search has ended, `evaluations` counts
   * the plans of all. Rejects with what the planner throws.
   */
  async plan(request: Omit<PlanRequest, 'kind'>, onProgress?: (progress: PlannerProgress) => void): Promise<TimedPlan> {
    if (request.planner !== SEEDED) return this.#first.plan(request, onProgress);
    while (this.#others.length < this.#threads - 1) this.#others.push(this.#make());
    const { seed = 1 } = request.options;
    const told: PlannerProgress[] = [];
    const ports = connected(this.#threads);
    const searches = [this.#first, ...this.#others].map((worker, index) => {
      const together = { index, count: this.#threads, ports: ports[index] ?? [] };
      return worker.plan({ ...request, options: { ...request.options, seed: seed + index, together } }, (progress) => {
        told[index] = progress;
        onProgress?.(overall(told.filter((item) => item !== undefined)));
      });
    });
    const settled = await Promise.allSettled(searches);
    const plans = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const [first, ...rest] = plans;
    if (first === undefined) throw (settled[0] as PromiseRejectedResult).reason;
    const judge = request.objective === 'throughput' ? simulator(request.task) : undefined;
    const judged = ({ plan, latencyMs }: TimedPlan): number => judge?.loads(plan).periodMs ?? latencyMs;
    const best = rest.reduce((so, plan) => (judged(plan) < judged(so) ? plan : so), first);
    const evaluations = plans.reduce((sum, plan) => sum + plan.evaluations, 0);
    return { ...best, evaluations, planMs: Math.max(...plans.map(({ planMs }) => planMs)) };
  }

  bound(task: PlanningTask): Promise<LowerBound> {
    return this.#first.bound(task);
  }

  explain(task: PlanningTask, plan: WorkPlan, options: ExplainOptions = {}): Promise<readonly Reason[]> {
    return this.#first.explain(task, plan, options);
  }

  async close(): Promise<void> {
    await Promise.all([this.#first, ...this.#others].map((worker) => worker.close()));
  }
}

/** For each of so many, a port to every other one. */
function connected(count: number): MessagePort[][] {
  const ports: MessagePort[][] = Array.from({ length: count }, () => []);
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) {
      const { port1, port2 } = new MessageChannel();
      ports[a]?.push(port1);
      ports[b]?.push(port2);
    }
  }
  return ports;
}

/** How far searches side by side are, and the best of them. */
function overall(told: readonly PlannerProgress[]): PlannerProgress {
  const best = told.reduce((so, item) => (item.bestMs < so.bestMs ? item : so));
  return { ...best, done: Math.min(...told.map(({ done }) => done)) };
}
