/**
 * Makes plans when they are due, one at a time, in the background: asks the planner, holds its plan against the one in force, has it
 * prepared on its devices, and switches. What cannot be planned or prepared is tried again after a while.
 */
import { compile, type PlanSimulator, type SimulatedRun, simulator, toPlan, type WorkPlan } from '@distredge/core';
import { type Cluster, tryConnect } from '../requester.js';
import type { Context } from './context.js';
import type { PlanReason } from './events.js';
import type { Generation } from './generation.js';
import type { Generations, Prepared } from './generations.js';
import { Search } from './search.js';
import type { Standbys } from './standbys.js';
import { backOff } from './suspects.js';
import { type Asked, askedOf, moved, type ServedModel } from './task.js';

export interface ReplanningTerms {
  readonly generations: Generations;
  /** Plans that are ready already. */
  readonly standbys: Standbys;
  /** How much longer than profiled a device takes. */
  readonly pace: ReadonlyMap<string, number>;
  suspect(id: string): void;
  /** Looks whether links are much slower than known; how many are. */
  glance(): Promise<number>;
  /** The plan in force stays, judged anew: `run` is what it should take now, on devices `ids`. */
  kept(generation: Generation, run: SimulatedRun, ids: readonly string[]): void;
}

const DIAL_MS = 5000;
/**
 * For so long at least, and at most, an image waits for a plan that is being prepared while another one is in force; in between, for as much
 * as it would take longer on that.
 */
const HOLD_MS = 150;
const MOST_HOLD_MS = 600;
/** Nothing is loaded for so long after a plan that stood by has taken over, and how often it is looked whether it still works. */
const REST_MS = 1500;
const REST_LOOK_MS = 25;
/** A plan that stands by replaces one that works where it takes less than this share of what that takes: a better one comes soon. */
const STAND_IN = 0.85;
/** One that will soon stand by is waited for where it takes no more than so many times what the best plan takes. */
const AS_GOOD = 1.15;
/** Share by which a new plan must be faster where nothing else is said. */
const MARGIN = 0.03;
/** What links are is looked at again before a plan comes into force that was asked for longer ago than this. */
const OLD_MS = 500;
/** Searches for which there is time that are given up in a row because of what has changed meanwhile: then one is let finish. */
const MOST_GIVEN_UP = 3;

/** Why a plan is due, and since when. */
interface Due {
  readonly reason: PlanReason;
  readonly since: number;
}

/** The same of one that is ready, and how long it was searched for, in ms. */
interface Made extends Due {
  readonly planMs: number;
}

export class Replanning {
  readonly #context: Context;
  readonly #terms: ReplanningTerms;
  #due: Due | undefined;
  /** What is looked for at the moment, and why. */
  #search: (Due & { readonly search: Search }) | undefined;
  /** A search for which there is time that had to make room for an urgent one. */
  #postponed: Due | undefined;
  #givenUp = 0;
  #adapting: Promise<void> | undefined;
  /** Plans that could not be prepared, one after another. */
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  /** The plan that is being prepared: loading models may keep its devices from saying that they are there. */
  #preparing:
    | {
        readonly work: WorkPlan;
        readonly asked: Asked;
        readonly ids: ReadonlySet<string>;
        readonly stop: AbortController;
      }
    | undefined;
  /** Those of plans that stood by before they came into force. */
  readonly #stoodBy = new WeakSet<Cluster>();
  #holdMs = 0;

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
    return this.#holdMs;
  }

  isPreparing(id: string): boolean {
    return this.#preparing?.ids.has(id) ?? false;
  }

  /** A device has failed: a plan that is being prepared on it need not be waited for. */
  without(id: string): void {
    if (this.isPreparing(id)) this.#preparing?.stop.abort();
  }

  /** Has a plan made soon; the first reason counts until it is. `sudden`: one that stands by may replace the one in force at once. */
  need(reason: PlanReason, sudden = false): void {
    const { model, closed } = this.#context;
    if (model === undefined || closed) return;
    const since = performance.now();
    const { generations } = this.#terms;
    if (generations.current === undefined || sudden) this.#standInFor(model, reason, since);
    this.#due ??= { reason, since };
    this.#reconsider(model);
    this.#makeRoom(reason);
    this.#adapting ??= this.#adapt(model).finally(() => {
      this.#adapting = undefined;
      // What came up when the last plan was just done.
      if (this.#due !== undefined) this.need(this.#due.reason);
      this.#context.wake();
    });
  }

  /** Gives up a plan that is being prepared where it is no better than the one in force by what is known by now. */
  #reconsider(model: ServedModel): void {
    if (this.#preparing === undefined) return;
    const { work, asked, stop } = this.#preparing;
    try {
      if (this.#pays(model, work, asked) === false) stop.abort();
    } catch (error) {
      this.#context.problem(error);
    }
  }

  /** Whether a plan is better than the one in force by what is known by now; undefined where it cannot run any more. */
  #pays(model: ServedModel, work: WorkPlan, { ids }: Asked): boolean | undefined {
    const now = this.#known(model);
    const next = now === undefined ? undefined : moved(work, ids, now.asked.ids);
    if (now === undefined || next === undefined) return undefined;
    return now.judge.latency(next) < now.runningMs * this.#margin;
  }

  /**
   * Ends a search whose plan would be for a cluster that is no more, so that the next one begins at once. A search for which images wait
   * is ended only where a device is lost to it: otherwise it is done before another one would be.
   */
  #makeRoom(reason: PlanReason): void {
    this.#terms.standbys.yieldSearch();
    if (this.#search === undefined) return;
    const { search, ...due } = this.#search;
    const lost = reason === 'lost' || reason === 'failed';
    if (!lost && (search.urgent || (reason !== 'drift' && this.#givenUp >= MOST_GIVEN_UP))) return;
    if (!search.urgent && (lost || reason === 'drift')) this.#postponed = due;
    this.#givenUp += 1;
    search.end();
  }

  async #adapt(model: ServedModel): Promise<void> {
    const context = this.#context;
    while (this.#due !== undefined && !context.closed) {
      // Devices that join together are planned for together.
      await new Promise((resolve) => setImmediate(resolve));
      const { reason, since } = this.#due;
      this.#due = undefined;
      clearTimeout(this.#retry);
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
      } finally {
        this.#holdMs = 0;
      }
      if (this.#due === undefined) {
        this.#due = this.#postponed;
        this.#postponed = undefined;
      }
      context.wake();
    }
  }

  /** Puts the best plan that stands by in force, if there is one and none is in force, or a slower one. */
  #standInFor(model: ServedModel, reason: PlanReason, since: number): void {
    const { generations, standbys } = this.#terms;
    // The first plan is what there is before any stand-in.
    if (generations.count === 0) return;
    try {
      const now = this.#known(model);
      if (now === undefined) return;
      const { asked, judge, runningMs } = now;
      const best = standbys.best(asked, judge);
      const running = generations.current;
      if (best === undefined || !(best.ms < runningMs * STAND_IN)) return;
      this.#standIn(best.prepared, asked, judge, { reason, since, planMs: 0 });
      running?.supersede(runningMs);
      // What is being prepared was planned for something else.
      this.#preparing?.stop.abort();
    } catch (error) {
      this.#context.problem(error);
    }
  }

  /** The devices that there are by now, what judges plans for them, and what the plan in force takes there, ms; Infinity where it cannot run. */
  #known(model: ServedModel): { asked: Asked; judge: PlanSimulator; runningMs: number } | undefined {
    const { registry, suspects } = this.#context;
    const asked = askedOf(model, registry, suspects, this.#terms.pace);
    if (asked === undefined) return undefined;
    const judge = simulator(asked.task);
    const running = this.#terms.generations.current;
    const work = running === undefined ? undefined : moved(running.facts.work, running.facts.ids, asked.ids);
    return { asked, judge, runningMs: work === undefined ? Number.POSITIVE_INFINITY : judge.latency(work) };
  }

  /** Puts a plan in force that stood by. */
  #standIn(prepared: Prepared, asked: Asked, judge: PlanSimulator, { reason, since, planMs }: Made): void {
    const { generations, standbys, kept } = this.#terms;
    const work = moved(prepared.work, prepared.ids, asked.ids);
    if (work === undefined) return;
    standbys.take(prepared);
    // Its devices have images to answer.
    standbys.yield();
    const tookMs = performance.now() - since;
    const run = judge.run(work);
    const now = { ...prepared, predicted: run };
    const generation = generations.switchTo(now, { reason, tookMs, planMs, prepareMs: 0 });
    this.#stoodBy.add(prepared.cluster);
    // The devices of the simulation may be others than those it was prepared among.
    kept(generation, run, asked.ids);
  }

  /** Another plan must take less than this share of what the one in force takes. */
  get #margin(): number {
    return 1 - (this.#context.options.margin ?? MARGIN);
  }

  /**
   * Waits for a plan that is being made ready to stand by, where it takes no more than `mostMs`, and puts it in force: one is there
   * sooner than another could be. Whether one is in force.
   */
  async #comesSoon(asked: Asked, judge: PlanSimulator, mostMs: number, made: Made): Promise<boolean> {
    const { generations, standbys } = this.#terms;
    const running = generations.current;
    const coming = standbys.coming(asked, judge);
    if (running === undefined || coming === undefined || coming.ms > mostMs) return false;
    await coming.done.catch(() => undefined);
    const best = standbys.best(asked, judge);
    if (best === undefined || best.ms > mostMs || generations.current !== running || this.#context.closed) return false;
    const work = moved(running.facts.work, running.facts.ids, asked.ids);
    this.#standIn(best.prepared, asked, judge, made);
    if (work !== undefined) running.supersede(judge.latency(work));
    return true;
  }

  async #planFor(model: ServedModel, asked: Asked, reason: PlanReason, since: number): Promise<void> {
    const { options } = this.#context;
    const { generations, standbys } = this.#terms;
    const judge = simulator(asked.task);
    const running = generations.current;
    // The plan in force, among the devices that there are now.
    const before = running === undefined ? undefined : moved(running.facts.work, running.facts.ids, asked.ids);
    const start = before === undefined ? [] : [before];
    const asking = performance.now();
    const search = new Search(options.plan, asked.task, { urgent: running === undefined || reason === 'drift', start });
    this.#search = { search, reason, since };
    const work = await search.plan.finally(() => {
      this.#search = undefined;
    });
    const planMs = performance.now() - asking;
    // The next one is due.
    if (work === undefined) return;
    this.#givenUp = 0;
    if (!search.urgent) this.#postponed = undefined;
    const bestMs = judge.latency(work);
    let runningMs: number | undefined;
    if (running !== undefined && running === generations.current && before !== undefined) {
      runningMs = judge.latency(before);
      if (!(bestMs < runningMs * this.#margin)) {
        this.#context.tell({ type: 'kept', generation: running.facts.number, runningMs, bestMs });
        this.#terms.kept(running, judge.run(before), asked.ids);
        return;
      }
      const urgent = reason === 'drift' && !this.#stoodBy.has(running.facts.cluster);
      if (urgent) this.#holdMs = Math.min(MOST_HOLD_MS, Math.max(HOLD_MS, runningMs - bestMs));
      if (urgent && (await this.#comesSoon(asked, judge, AS_GOOD * bestMs, { reason, since, planMs }))) return;
    }
    await this.#rest(running);
    if (this.#context.closed) return;
    // Something has failed meanwhile: the next plan is about what is left.
    if (this.#isStale(asked) || generations.current !== running) {
      this.need('failed');
      return;
    }
    const plan = toPlan(model.workload, work, asked.ids.length);
    const { transport, prepareMs, silenceMs = 2000, requestMs = 20_000, inFlight = 1 } = options;
    let cluster: Cluster | undefined;
    const preparing = performance.now();
    standbys.yield();
    const program = compile(model.graph, plan, model.analysis);
    const stop = new AbortController();
    const used = new Set(program.steps.map(({ device }) => asked.ids[device] ?? ''));
    this.#preparing = { work, asked, ids: used, stop };
    const attempt = await tryConnect(program, {
      transport,
      addresses: asked.addresses,
      ids: options.identity === undefined ? undefined : asked.ids,
      deadlineMs: DIAL_MS,
      silenceMs,
      requestMs,
      inFlight,
      signal: stop.signal,
      failed: (error) => {
        if (cluster !== undefined && !standbys.lost(cluster)) generations.failed(cluster, error);
      },
      ...(prepareMs === undefined ? {} : { prepareMs }),
    }).finally(() => {
      this.#preparing = undefined;
    });
    if ('error' in attempt) {
      for (const index of attempt.lost) if (asked.ids[index] !== undefined) this.#terms.suspect(asked.ids[index]);
      if (attempt.lost.size > 0 || stop.signal.aborted) this.need('failed');
      if (stop.signal.aborted) return;
      throw attempt.error;
    }
    this.#failures = 0;
    cluster = attempt.cluster;
    const readyAt = performance.now();
    const isOld = running !== undefined && readyAt - asking > OLD_MS;
    const slower = isOld && !stop.signal.aborted ? await this.#terms.glance() : 0;
    // A device may have failed, or the controller have been closed, when it was just ready.
    if (stop.signal.aborted || this.#isStale(asked) || this.#context.closed) {
      await cluster.close();
      this.need('failed');
      return;
    }
    // It was made for faster links.
    if (slower > 0 && this.#pays(model, work, asked) !== true) {
      await cluster.close();
      this.need('drift', true);
      return;
    }
    const prepared = { ids: asked.ids, work, plan, predicted: judge.run(work), cluster };
    const tookMs = performance.now() - since;
    generations.switchTo(prepared, { reason, tookMs, planMs, prepareMs: readyAt - preparing });
    if (reason === 'drift' && runningMs !== undefined) running?.supersede(runningMs);
  }

  /** Lets a plan that has just taken over answer an image or two before its devices load the next one; not once it has failed itself. */
  async #rest(running: Generation | undefined): Promise<void> {
    const end = running !== undefined && this.#stoodBy.has(running.facts.cluster) ? running.since + REST_MS : 0;
    while (this.#terms.generations.current === running && performance.now() < end && !this.#context.closed)
      await new Promise((resolve) => setTimeout(resolve, REST_LOOK_MS));
  }

  /** Whether a device that a plan is for has failed since it was asked for. */
  #isStale({ ids }: Asked): boolean {
    return ids.some((id) => this.#context.suspects.has(id));
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
    this.#search?.search.end();
    this.#preparing?.stop.abort();
  }
}
