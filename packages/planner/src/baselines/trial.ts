/**
 * Where a baseline tries its candidate plans: a paper leaves some choices open (how many devices, which host, which
 * device runs the head), and those are settled by simulating every candidate and keeping the best.
 */
import {
  type DeviceCosts,
  DistrEdgeError,
  type NetworkLink,
  type PlanningTask,
  type PlanSimulator,
  simulator,
  type WorkPlan,
} from '@distredge/core';
import { nowMs } from '../clock.js';
import type { Planned, Planner, PlannerOptions } from '../planner.js';
import { bytesPerMs } from './linear-model.js';

/** Two latencies closer than this, relatively, are the same: the plan tried first stays. */
const SAME = 1e-9;

export class Trial {
  readonly task: PlanningTask;
  readonly #simulator: PlanSimulator;
  readonly #options: PlannerOptions;
  readonly #until: number;
  #evaluations = 0;
  #best: { readonly plan: WorkPlan; readonly latencyMs: number } | undefined;

  constructor(task: PlanningTask, options: PlannerOptions = {}) {
    this.task = task;
    this.#simulator = simulator(task);
    this.#options = options;
    this.#until = options.budgetMs === undefined ? Number.POSITIVE_INFINITY : nowMs() + options.budgetMs;
  }

  /** Whether the search should end: something that fits is known, and the caller's time is up. */
  get stopped(): boolean {
    return this.#best !== undefined && (this.#options.signal?.aborted === true || nowMs() > this.#until);
  }

  get evaluations(): number {
    return this.#evaluations;
  }

  get best(): WorkPlan | undefined {
    return this.#best?.plan;
  }

  get bestMs(): number {
    return this.#best?.latencyMs ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Latency of a plan in ms, Infinity where it does not fit into memory. The best plan tried is kept.
   * @param bound whoever asks has no use for a plan that takes at least this long: the answer is then the latency or Infinity
   */
  latency(plan: WorkPlan, bound?: number): number {
    this.#evaluations += 1;
    const latencyMs = this.#simulator.latency(plan, bound);
    if (latencyMs < this.bestMs * (1 - SAME)) this.#best = { plan, latencyMs };
    return latencyMs;
  }

  /** Per device, the bytes that a plan needs. */
  memoryBytes(plan: WorkPlan): readonly number[] {
    this.#evaluations += 1;
    return this.#simulator.run(plan).memoryBytes;
  }

  progress(done: number, note: string): void {
    this.#options.onProgress?.({ done, bestMs: this.bestMs, note });
  }

  /** The best plan tried. Throws `PLAN_INVALID` where none fitted into the devices' memory. */
  planned(name: string): Planned {
    if (this.#best === undefined) {
      const limits = this.task.costs.map(({ id, memoryBytes }) => `${id}: ${Math.round(memoryBytes / 1e6)} MB`);
      throw new DistrEdgeError('PLAN_INVALID', `${name} finds no plan that fits into the devices' memory`, {
        where: this.task.workload.model,
        expected: 'weights and rows of every part within its device’s memory',
        got: limits.join(', '),
        hint: 'Add devices with more memory, or use a planner that may cut the model in other ways',
      });
    }
    return { ...this.#best, evaluations: this.#evaluations };
  }
}

/** A planner that tries candidates in the order given and returns the best of them. Deterministic unless a budget ends it early. */
export function baseline(name: string, source: string, search: (trial: Trial) => void): Planner {
  return {
    name,
    source,
    async plan(task, options) {
      if (task.costs.length === 0) {
        throw new DistrEdgeError('PLAN_INVALID', 'there is no device to plan for', { where: 'devices' });
      }
      const trial = new Trial(task, options);
      search(trial);
      trial.progress(1, name);
      return trial.planned(name);
    },
  };
}

/** Tries each device of `devices` as the one that runs the head of `plan`; returns the best latency. */
function tryHeads(trial: Trial, plan: WorkPlan, devices: readonly number[]): number {
  if (trial.task.workload.head === undefined) return trial.latency(plan);
  return Math.min(...devices.map((head) => trial.latency({ ...plan, head })));
}

/** Tries every device as the head's of the best plan so far: one that computes no rows may still be the best for it. */
export function settleHead(trial: Trial): void {
  if (trial.best !== undefined && trial.task.workload.head !== undefined && !trial.stopped) {
    tryHeads(
      trial,
      trial.best,
      trial.task.costs.map((_, device) => device),
    );
  }
}

/** Time of the whole head on one device, ms. */
function headMs({ headBeforeMs, headCutMs, headAfterMs }: DeviceCosts): number {
  return headBeforeMs + (headCutMs.at(-1) ?? 0) + headAfterMs;
}

/** The plan with its head on one device; undefined leaves it as it is. */
export function withHead(plan: WorkPlan, head: number | undefined): WorkPlan {
  return head === undefined ? plan : { ...plan, head };
}

/** How many devices of a team are tried for the head of every plan. */
const HEADS = 3;

/** Devices of a team where the head would be done soonest, best first; `[undefined]` where the model has no head. */
export function likelyHeads(
  { workload, costs, network }: PlanningTask,
  team: readonly number[],
): (number | undefined)[] {
  const { head, tensors } = workload;
  if (head === undefined) return [undefined];
  const bytes = head.reads.reduce((sum, tensor) => {
    const { rows = 0, bytesPerRow = 0 } = tensors[tensor] ?? {};
    return sum + rows * bytesPerRow;
  }, head.resultBytes);
  const ms = (device: number): number => {
    const link = network.devices[device] as NetworkLink;
    return headMs(costs[device] as DeviceCosts) + bytes / bytesPerMs(link, link) + link.latencyMs;
  };
  return [...team].sort((a, b) => ms(a) - ms(b) || a - b).slice(0, HEADS);
}
