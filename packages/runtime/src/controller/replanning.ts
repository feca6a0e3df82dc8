/**
 * Makes plans when they are due, one at a time, in the background: asks the planner, holds its plan against the one in force, has it
 * prepared on its devices, and switches. What cannot be planned or prepared is tried again after a while.
 */
import { compile, type SimulatedRun, simulator, toPlan } from '@distredge/core';
import { tryConnect } from '../requester.js';
import type { Context } from './context.js';
import type { PlanReason } from './events.js';
import type { Generation } from './generation.js';
import type { Generations } from './generations.js';
import { backOff } from './suspects.js';
import { type Asked, askedOf, moved, type ServedModel } from './task.js';

export interface ReplanningTerms {
  readonly generations: Generations;
  /** How much longer than profiled a device takes. */
  readonly pace: ReadonlyMap<string, number>;
  suspect(id: string): void;
  /** The plan in force stays, judged anew: `run` is what it should take now, on devices `ids`. */
  kept(generation: Generation, run: SimulatedRun, ids: readonly string[]): void;
}

const DIAL_MS = 5000;
/** No image waits longer than this for a plan that is being prepared while another one is in force. */
const HOLD_MS = 500;
/** Share by which a new plan must be faster where nothing else is said. */
const MARGIN = 0.03;

export class Replanning {
  readonly #context: Context;
  readonly #terms: ReplanningTerms;
  /** Why the next plan is due, and since when. */
  #due: { readonly reason: PlanReason; readonly since: number } | undefined;
  #adapting: Promise<void> | undefined;
  /** Plans that could not be prepared, one after another. */
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  readonly #ending = new AbortController();
  /** Devices on which a plan is being prepared: loading models may keep them from saying that they are there. */
  #preparing: readonly string[] = [];
  #hold = false;

  constructor(context: Context, terms: ReplanningTerms) {
    this.#context = context;
    this.#terms = terms;
  }

  /** Whether a plan is being made. */
  get busy(): boolean {
    return this.#adapting !== undefined;
  }

  /**
   * For how long, in ms, an image that comes now had better wait for the plan that is being prepared: the plan in force has turned
   * out slow, and an image on it would hold the preparation up. 0 where it need not.
   */
  get holdMs(): number {
    return this.#hold ? HOLD_MS : 0;
  }

  isPreparing(id: string): boolean {
    return this.#preparing.includes(id);
  }

  /** Has a plan made soon; the first reason counts until it is. */
  need(reason: PlanReason): void {
    const { model, closed } = this.#context;
    if (model === undefined || closed) return;
    this.#due ??= { reason, since: performance.now() };
    this.#adapting ??= this.#adapt(model).finally(() => {
      this.#adapting = undefined;
      // What came up when the last plan was just done.
      if (this.#due !== undefined) this.need(this.#due.reason);
      this.#context.wake();
    });
  }

  async #adapt(model: ServedModel): Promise<void> {
    const context = this.#context;
    while (this.#due !== undefined && !context.closed) {
      // Devices that join together are planned for together.
      await new Promise((resolve) => setImmediate(resolve));
      const { reason, since } = this.#due;
      this.#due = undefined;
      try {
        const asked = askedOf(model, context.registry, context.suspects, this.#terms.pace, (_id, error) =>
          context.problem(error),
        );
        if (asked === undefined) this.#terms.generations.clear();
        else await this.#planFor(model, asked, reason, since);
      } catch (error) {
        context.problem(error);
        // Where nothing has changed meanwhile, the same would fail again at once.
        if (this.#due === undefined) this.#later();
      }
      context.wake();
    }
  }

  async #planFor(model: ServedModel, asked: Asked, reason: PlanReason, since: number): Promise<void> {
    const { options } = this.#context;
    const { generations } = this.#terms;
    const judge = simulator(asked.task);
    const running = generations.current;
    // The plan in force, among the devices that there are now.
    const before = running === undefined ? undefined : moved(running.facts.work, running.facts.ids, asked.ids);
    const start = before === undefined ? [] : [before];
    const asking = performance.now();
    const work = await options.plan(asked.task, { urgent: running === undefined || reason === 'drift', start });
    const planMs = performance.now() - asking;
    const bestMs = judge.latency(work);
    if (running !== undefined && running === generations.current && before !== undefined) {
      const runningMs = judge.latency(before);
      if (!(bestMs < runningMs * (1 - (options.margin ?? MARGIN)))) {
        this.#context.tell({ type: 'kept', generation: running.facts.number, runningMs, bestMs });
        this.#terms.kept(running, judge.run(before), asked.ids);
        return;
      }
      this.#hold = reason === 'drift';
    }
    const plan = toPlan(model.workload, work, asked.ids.length);
    const { transport, prepareMs, silenceMs = 2000, requestMs = 20_000, inFlight = 1 } = options;
    let generation: Generation | undefined;
    const preparing = performance.now();
    this.#preparing = asked.ids;
    const attempt = await tryConnect(compile(model.graph, plan, model.analysis), {
      transport,
      addresses: asked.addresses,
      ids: options.identity === undefined ? undefined : asked.ids,
      deadlineMs: DIAL_MS,
      silenceMs,
      requestMs,
      inFlight,
      signal: this.#ending.signal,
      failed: (error) => {
        if (generation !== undefined) generations.giveUp(generation, error);
      },
      ...(prepareMs === undefined ? {} : { prepareMs }),
    }).finally(() => {
      this.#preparing = [];
      this.#hold = false;
    });
    if ('error' in attempt) {
      for (const index of attempt.lost) if (asked.ids[index] !== undefined) this.#terms.suspect(asked.ids[index]);
      if (attempt.lost.size > 0) this.need('failed');
      throw attempt.error;
    }
    this.#failures = 0;
    const { cluster } = attempt;
    if (this.#context.closed) {
      await cluster.close();
      return;
    }
    const prepared = { ids: asked.ids, work, plan, predicted: judge.run(work), cluster };
    const tookMs = performance.now() - since;
    generation = generations.switchTo(prepared, { reason, tookMs, planMs, prepareMs: performance.now() - preparing });
  }

  /** Plans again after a while, the longer the more often it failed. */
  #later(): void {
    if (this.#context.closed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.need('failed'), backOff(this.#failures));
    this.#failures += 1;
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#ending.abort();
  }
}
