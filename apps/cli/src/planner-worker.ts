/** Planning on a thread of its own: a search fills its thread, and Ctrl-C must be heard meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type MessagePort, Worker } from 'node:worker_threads';
import { DistrEdgeError, type ErrorCode, type PlanningTask, type WorkPlan } from '@distredge/core';
import type { ExplainOptions, LowerBound, Planned, PlannerProgress, Reason } from '@distredge/planner';
import { createExitGate, type ExitGate, guardExit, unguardExit } from '@distredge/runtime';

export interface PlanRequest {
  readonly kind: 'plan';
  readonly planner: string;
  readonly classical: boolean;
  readonly objective?: 'latency' | 'throughput';
  /** `osds` goes on from the agent that the last such request for this model left. Default: it begins anew. */
  readonly goesOn?: boolean;
  readonly task: PlanningTask;
  /** `start`: plans to begin with, for example the one that runs now. */
  readonly options: {
    readonly budgetMs?: number;
    readonly seed?: number;
    readonly start?: readonly WorkPlan[];
    readonly together?: SideBySide;
    /** Ends the search when it is no longer 0. */
    readonly stop?: Int32Array<SharedArrayBuffer>;
  };
}

/** Which of several searches of one task it is, and ports to the others, on which they tell of plans. */
export interface SideBySide {
  readonly index: number;
  readonly count: number;
  readonly ports: readonly MessagePort[];
}

export interface ExplainRequest {
  readonly kind: 'explain';
  readonly task: PlanningTask;
  readonly plan: WorkPlan;
  readonly options: ExplainOptions;
}

export type PlannerRequest = PlanRequest | ExplainRequest | { readonly kind: 'bound'; readonly task: PlanningTask };

export type PlannerAnswer =
  | { readonly progress: PlannerProgress }
  | { readonly planned: Planned; readonly planMs: number }
  | { readonly bound: LowerBound }
  | { readonly reasons: readonly Reason[] }
  | { readonly error: Record<string, string> };

/** A plan, and how long it took to find, in ms. */
export interface TimedPlan extends Planned {
  readonly planMs: number;
}

/**
 * For how long a thread rests before it is ended, in ms. A search leaves functions that are still being compiled beside it, and
 * Node 20 aborts the whole process (`GetForegroundTaskRunner`, exit code 134) if that asks for memory while the thread goes.
 */
const REST_MS = 100;

/**
 * Room for young objects, in MB: a search makes many and keeps few. With V8's own 48 MB collecting them takes a sixth of its time; with
 * more than this, threads side by side go beyond 1 GB.
 */
const YOUNG_MB = 96;

/** Plans one thing at a time. Ends with the process at the latest. */
export class PlannerWorker {
  readonly #worker: Worker;
  /** When the thread last answered; it rests since. */
  #answered = Number.NEGATIVE_INFINITY;
  /** The process must not end while the thread is inside onnxruntime, which learning planners use. */
  readonly #gate: ExitGate = createExitGate();

  constructor() {
    guardExit(this.#gate);
    const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
    this.#worker = new Worker(new URL('./planner-thread.js', import.meta.url), {
      workerData: this.#gate,
      resourceLimits,
    });
  }

  /** The best plan found until `signal` is aborted, if it is. Rejects with what the planner throws. */
  async plan(
    request: Omit<PlanRequest, 'kind'>,
    onProgress?: (progress: PlannerProgress) => void,
    signal?: AbortSignal,
  ): Promise<TimedPlan> {
    const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const end = (): void => void Atomics.store(stop, 0, 1);
    if (signal?.aborted === true) end();
    signal?.addEventListener('abort', end);
    const options = signal === undefined ? request.options : { ...request.options, stop };
    const answer = await this.#ask({ kind: 'plan', ...request, options }, onProgress).finally(() =>
      signal?.removeEventListener('abort', end),
    );
    if ('planned' in answer) return { ...answer.planned, planMs: answer.planMs };
    throw new DistrEdgeError('INTERNAL', 'the planning thread gave another answer than a plan');
  }

  async bound(task: PlanningTask): Promise<LowerBound> {
    const answer = await this.#ask({ kind: 'bound', task });
    if ('bound' in answer) return answer.bound;
    throw new DistrEdgeError('INTERNAL', 'the planning thread gave another answer than a bound');
  }

  /** Why a plan is as it is, and what more bandwidth or devices would gain. */
  async explain(task: PlanningTask, plan: WorkPlan, options: ExplainOptions = {}): Promise<readonly Reason[]> {
    const answer = await this.#ask({ kind: 'explain', task, plan, options });
    if ('reasons' in answer) return answer.reasons;
    throw new DistrEdgeError('INTERNAL', 'the planning thread gave another answer than reasons');
  }

  /** Ends the thread; not in the middle of anything, where the end of the process does that. */
  async close(): Promise<void> {
    const rested = performance.now() - this.#answered;
    if (rested < REST_MS) await sleep(REST_MS - rested);
    await this.#worker.terminate();
    unguardExit(this.#gate);
  }

  #ask(request: PlannerRequest, onProgress?: (progress: PlannerProgress) => void): Promise<PlannerAnswer> {
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const settle = (action: () => void): void => {
        worker.off('message', heard);
        worker.off('error', failed);
        worker.off('exit', ended);
        this.#answered = performance.now();
        action();
      };
      const heard = (answer: PlannerAnswer): void => {
        if ('progress' in answer) onProgress?.(answer.progress);
        else settle(() => ('error' in answer ? reject(unpack(answer.error)) : resolve(answer)));
      };
      const failed = (error: unknown): void => settle(() => reject(error));
      const ended = (): void => settle(() => reject(new DistrEdgeError('CANCELLED', 'planning was ended')));
      worker.on('message', heard);
      worker.on('error', failed);
      worker.on('exit', ended);
      worker.postMessage(request, request.kind === 'plan' ? [...(request.options.together?.ports ?? [])] : []);
    });
  }
}

function unpack({ code = 'INTERNAL', message = '', ...facts }: Record<string, string>): Error {
  return code === 'INTERNAL' ? new Error(message) : new DistrEdgeError(code as ErrorCode, message, facts);
}
