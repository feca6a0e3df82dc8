/**
 * Plans prepared ahead of time: for each of the busiest devices of the plan in force, one that does without it. When that device is
 * lost, or its link or it has become slow, the next image runs on such a plan at once, and what suits better is searched for and
 * loaded meanwhile. They are made one after another, when nothing else is being planned, and cost their devices the memory of rows and results;
 * models and weights are those of the other plans mostly.
 */
import { compile, type PlanningTask, type PlanSimulator, simulator, toPlan, type WorkPlan } from '@distredge/core';
import { tryConnect } from '../requester.js';
import type { Context } from './context.js';
import type { Generation } from './generation.js';
import type { Prepared } from './generations.js';
import { isOnline } from './registry.js';
import { Search } from './search.js';
import { type Asked, askedOf, moved } from './task.js';

export interface StandbyTerms {
  /** The plan in force. */
  current(): Generation | undefined;
  /** Whether a plan is being made for which these had better wait. */
  busy(): boolean;
  /** How much longer than profiled a device takes. */
  readonly pace: ReadonlyMap<string, number>;
  /** A stand-in that is in force by now has failed. */
  failed(prepared: Prepared, error: Error): void;
}

/** A plan that is ready, and the device that it does without. */
interface Standby {
  readonly without: string;
  readonly prepared: Prepared;
}

/** Devices that are prepared for to be missed, where nothing else is said. */
const MOST = 3;
/** A plan must have been in force for so long, with nothing else being planned, before stand-ins are prepared. */
const QUIET_MS = 500;
/** After one could not be prepared, or has failed: twice as long each time, up to so long. */
const AGAIN_MS = 5000;
const MOST_AGAIN_MS = 80_000;
/** One whose predicted time has changed by less than this share is still what would be planned; another one must be faster by that. */
const SAME = 0.15;
/** Weights that a device lacks take this share of the slowest link: images need the rest. */
const TRAVEL_SHARE = 0.25;
const DIAL_MS = 5000;

export class Standbys {
  readonly #context: Context;
  readonly #terms: StandbyTerms;
  readonly #ready = new Map<string, Standby>();
  #timer: NodeJS.Timeout | undefined;
  #making = false;
  /** Whether something has changed since plans began to be made. */
  #changed = false;
  /** How often in a row one of them could not be made. */
  #failures = 0;
  /** Whether weights are on their way to devices that will load them. */
  #travelling = false;
  #ending: AbortController | undefined;
  #search: Search | undefined;

  constructor(context: Context, terms: StandbyTerms) {
    this.#context = context;
    this.#terms = terms;
  }

  /** Whether devices load one: they have less time for images. */
  get loading(): boolean {
    return this.#making && !this.#travelling;
  }

  get #most(): number {
    return this.#context.options.standbys ?? MOST;
  }

  /** What is known has changed, or another plan is in force: looks after a while which plans should stand by. */
  refresh(ms: number = QUIET_MS): void {
    if (this.#most === 0 || this.#context.closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#make(), ms);
    this.#timer.unref();
  }

  /** The stand-in that is the fastest for this task, and what it takes, in ms; undefined where none suits its devices. */
  best(asked: Asked, judge: PlanSimulator): { readonly prepared: Prepared; readonly ms: number } | undefined {
    let best: { prepared: Prepared; ms: number } | undefined;
    for (const { prepared } of this.#ready.values()) {
      const work = this.#works(prepared) ? moved(prepared.work, prepared.ids, asked.ids) : undefined;
      const ms = work === undefined ? Number.POSITIVE_INFINITY : judge.latency(work);
      if (ms < (best?.ms ?? Number.POSITIVE_INFINITY)) best = { prepared, ms };
    }
    return best;
  }

  /** Whether all its devices are there and none of them has failed. */
  #works({ ids, cluster }: Prepared): boolean {
    const { registry, suspects } = this.#context;
    const used = new Set(cluster.program.steps.map(({ device }) => device));
    return [...used].every((index) => {
      const id = ids[index] ?? '';
      const device = registry.devices.get(id);
      return device !== undefined && isOnline(device) && !suspects.has(id);
    });
  }

  /** Hands one out, to be in force from now on. */
  take(prepared: Prepared): void {
    for (const [id, standby] of this.#ready) if (standby.prepared === prepared) this.#ready.delete(id);
  }

  /** Gives up looking for one: a plan that is needed now is looked for first. */
  yieldSearch(): void {
    this.#search?.end();
  }

  /** Gives up preparing one: a plan that is needed now comes first. */
  yield(): void {
    this.yieldSearch();
    this.#ending?.abort();
  }

  /** By the work that the plan in force gives them: those whose loss matters most come first. */
  #busiest(generation: Generation): string[] {
    const { cluster, ids } = generation.facts;
    const flops = new Map<string, number>();
    for (const { device, flops: work } of cluster.program.steps)
      flops.set(ids[device] ?? '', (flops.get(ids[device] ?? '') ?? 0) + work);
    return [...flops.keys()].sort((a, b) => (flops.get(b) ?? 0) - (flops.get(a) ?? 0)).slice(0, this.#most);
  }

  async #make(): Promise<void> {
    const context = this.#context;
    const current = this.#terms.current();
    if (context.closed || current === undefined) return;
    if (this.#making) {
      this.#changed = true;
      return;
    }
    if (this.#terms.busy()) {
      this.refresh();
      return;
    }
    const isOver = (): boolean => context.closed || this.#terms.busy() || this.#terms.current() !== current;
    this.#making = true;
    this.#changed = false;
    let failed = false;
    const wanted = this.#busiest(current);
    for (const [id, { prepared }] of this.#ready)
      if (!wanted.includes(id) || !this.#works(prepared)) await this.#drop(id);
    for (const id of wanted) {
      if (isOver()) break;
      try {
        await this.#one(id, isOver);
      } catch (error) {
        // The others may be possible all the same.
        failed = true;
        context.problem(error);
      }
    }
    this.#making = false;
    this.#ending = undefined;
    this.#failures = failed ? this.#failures + 1 : 0;
    if (this.#changed || isOver()) this.refresh();
    else if (failed) this.refresh(Math.min(MOST_AGAIN_MS, AGAIN_MS * 2 ** (this.#failures - 1)));
  }

  /** Sees to it that a plan without this device stands by, where there can be one. */
  async #one(without: string, isOver: () => boolean): Promise<void> {
    const context = this.#context;
    const { model, options } = context;
    if (model === undefined) return;
    const asked = askedOf(model, context.registry, new Set([...context.suspects, without]), this.#terms.pace);
    if (asked === undefined) return this.#drop(without);
    const judge = simulator(asked.task);
    const before = this.#ready.get(without)?.prepared;
    const work = before === undefined ? undefined : moved(before.work, before.ids, asked.ids);
    const isMs = work === undefined ? Number.POSITIVE_INFINITY : judge.latency(work);
    const wasMs = before?.predicted.latencyMs ?? 0;
    if (before?.ids.join() === asked.ids.join() && Math.abs(isMs - wasMs) <= SAME * wasMs) return;
    const start = work === undefined ? [] : [work];
    this.#search = new Search(options.plan, asked.task, { urgent: true, start });
    const next = await this.#search.plan;
    this.#search = undefined;
    if (next === undefined || isOver() || judge.latency(next) > (1 - SAME) * isMs) return;
    const prepared = await this.#prepare(asked, next, judge);
    if (prepared === undefined) return;
    this.#ready.set(without, { without, prepared });
    await before?.cluster.close();
    const devices = [...new Set(prepared.cluster.program.steps.map(({ device }) => prepared.ids[device] ?? ''))].sort();
    context.tell({ type: 'standby', without, devices, predictedMs: prepared.predicted.latencyMs });
  }

  async #prepare(asked: Asked, work: WorkPlan, judge: PlanSimulator): Promise<Prepared | undefined> {
    const context = this.#context;
    const { model, options } = context;
    if (model === undefined) return undefined;
    const plan = toPlan(model.workload, work, asked.ids.length);
    const ending = new AbortController();
    this.#ending = ending;
    this.#travelling = false;
    let prepared: Prepared | undefined;
    const { transport, prepareMs, silenceMs = 2000, requestMs = 20_000, inFlight = 1, identity } = options;
    const attempt = await tryConnect(compile(model.graph, plan, model.analysis), {
      transport,
      addresses: asked.addresses,
      ids: identity === undefined ? undefined : asked.ids,
      deadlineMs: DIAL_MS,
      silenceMs,
      requestMs,
      inFlight,
      weightsMbps: TRAVEL_SHARE * slowest(asked.task),
      progress: (sent, wanted) => {
        this.#travelling = sent < wanted;
      },
      signal: ending.signal,
      ...(prepareMs === undefined ? {} : { prepareMs }),
      failed: (error) => {
        if (prepared !== undefined) this.#lost(prepared, error);
      },
    });
    this.#travelling = false;
    if ('error' in attempt) {
      if (ending.signal.aborted || context.closed) return undefined;
      throw attempt.error;
    }
    if (context.closed || ending.signal.aborted) {
      await attempt.cluster.close();
      return undefined;
    }
    prepared = { ids: asked.ids, work, plan, predicted: judge.run(work), cluster: attempt.cluster };
    return prepared;
  }

  #lost(prepared: Prepared, error: Error): void {
    const standby = [...this.#ready.values()].find((one) => one.prepared === prepared);
    if (standby === undefined) {
      this.#terms.failed(prepared, error);
      return;
    }
    this.#ready.delete(standby.without);
    this.refresh(AGAIN_MS);
  }

  async #drop(without: string): Promise<void> {
    const standby = this.#ready.get(without);
    this.#ready.delete(without);
    await standby?.prepared.cluster.close();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.yield();
    for (const id of [...this.#ready.keys()]) await this.#drop(id);
  }
}

/** The rate of the slowest link, in 10⁶ bit/s. */
function slowest({ network }: PlanningTask): number {
  return Math.min(network.requester.mbps, ...network.devices.map(({ mbps }) => mbps));
}
