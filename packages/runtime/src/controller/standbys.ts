/**
 * Plans prepared ahead of time: for each of the busiest devices of the plan in force, one that does without it. When that device is
 * lost, or its link or it has become slow, the next image runs on such a plan at once, and what suits better is searched for and
 * loaded meanwhile. They are made one after another, when nothing else is being planned, and cost their devices the memory of rows and results;
 * models and weights are those of the other plans mostly. The plan that was in force before stays ready, too: networks come back to what they were.
 */
import { compile, type PlanningTask, type PlanSimulator, simulator, toPlan, type WorkPlan } from '@distredge/core';
import { type Cluster, tryConnect } from '../requester.js';
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
const QUIET_MS = 100;
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
  /** The plan that was in force before. */
  #former: Generation | undefined;
  /** The one that is being prepared; `done` when it stands by, or cannot. */
  #coming: { readonly asked: Asked; readonly work: WorkPlan; readonly done: Promise<void> } | undefined;
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

  /** Whether one is searched for or loaded: there is less time for images. */
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

  /** A plan that works is in force no more: keeps it ready, in place of the one before. */
  keep(generation: Generation): void {
    if (this.#most === 0 || this.#context.closed) {
      generation.retire();
      return;
    }
    const spare = this.#rested;
    if (spare === undefined || !this.#adopt(spare)) this.#former?.retire();
    generation.keep();
    this.#former = generation;
  }

  /** Has a plan that is ready stand by for the loss of a device for which none does; whether there is such a device. */
  #adopt(prepared: Prepared): boolean {
    const current = this.#terms.current();
    if (current === undefined || !this.#works(prepared)) return false;
    const used = usedBy(prepared);
    const without = this.#busiest(current).find((id) => !used.includes(id) && !this.#ready.has(id));
    if (without === undefined) return false;
    this.take(prepared);
    void this.#stand(without, prepared);
    return true;
  }

  /** The plan that was in force before, once its images are done. */
  get #rested(): Prepared | undefined {
    const former = this.#former;
    return former === undefined || former.closed || former.inFlight > 0 ? undefined : former.facts;
  }

  /** The stand-in that is the fastest for this task, and what it takes, in ms; undefined where none suits its devices. */
  best(asked: Asked, judge: PlanSimulator): { readonly prepared: Prepared; readonly ms: number } | undefined {
    let best: { prepared: Prepared; ms: number } | undefined;
    for (const prepared of [...[...this.#ready.values()].map((one) => one.prepared), this.#rested]) {
      const ms = prepared === undefined ? Number.POSITIVE_INFINITY : this.#judge(prepared, asked, judge);
      if (prepared !== undefined && ms < (best?.ms ?? Number.POSITIVE_INFINITY)) best = { prepared, ms };
    }
    return best;
  }

  /** What a plan that is ready takes for this task, in ms; Infinity where it does not suit its devices. */
  #judge(prepared: Prepared, asked: Asked, judge: PlanSimulator): number {
    const work = this.#works(prepared) ? moved(prepared.work, prepared.ids, asked.ids) : undefined;
    return work === undefined ? Number.POSITIVE_INFINITY : judge.latency(work);
  }

  /** The one that is being loaded, and what it takes for this task, in ms; undefined where none is, or not for these devices. */
  coming(asked: Asked, judge: PlanSimulator): { readonly ms: number; readonly done: Promise<void> } | undefined {
    if (this.#coming === undefined || !this.loading) return undefined;
    const work = moved(this.#coming.work, this.#coming.asked.ids, asked.ids);
    return work === undefined ? undefined : { ms: judge.latency(work), done: this.#coming.done };
  }

  /** Whether all its devices are there and none of them has failed. */
  #works({ ids, cluster }: Prepared): boolean {
    const { registry, suspects } = this.#context;
    return usedBy({ ids, cluster }).every((id) => {
      const device = registry.devices.get(id);
      return device !== undefined && isOnline(device) && !suspects.has(id);
    });
  }

  /** Hands one out, to be in force from now on. */
  take(prepared: Prepared): void {
    for (const [id, standby] of this.#ready) if (standby.prepared === prepared) this.#ready.delete(id);
    if (this.#former?.facts !== prepared) return;
    this.#former.handOn();
    this.#former = undefined;
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
    const isMs = before === undefined ? Number.POSITIVE_INFINITY : this.#judge(before, asked, judge);
    const wasMs = before?.predicted.latencyMs ?? 0;
    if (before?.ids.join() === asked.ids.join() && Math.abs(isMs - wasMs) <= SAME * wasMs) return;
    const former = this.#rested;
    const formerMs = former === undefined ? Number.POSITIVE_INFINITY : this.#judge(former, asked, judge);
    const start = [before, former].flatMap((one) => (one && moved(one.work, one.ids, asked.ids)) ?? []);
    this.#search = new Search(options.plan, asked.task, { urgent: true, start });
    const next = await this.#search.plan;
    this.#search = undefined;
    if (next === undefined || isOver()) return;
    const enough = judge.latency(next) / (1 - SAME);
    if (isMs < enough) return;
    if (former !== undefined && formerMs < enough && this.#rested === former) {
      this.take(former);
      const work = moved(former.work, former.ids, asked.ids) ?? former.work;
      await this.#stand(without, { ...former, predicted: judge.run(work) });
      return;
    }
    const done = this.#prepare(asked, next, judge).then((made) => (made ? this.#stand(without, made) : undefined));
    this.#coming = { asked, work: next, done };
    await done.finally(() => {
      this.#coming = undefined;
    });
  }

  /** From now on this one stands by for the loss of a device. */
  async #stand(without: string, prepared: Prepared): Promise<void> {
    const before = this.#ready.get(without);
    this.#ready.set(without, { without, prepared });
    const { latencyMs: predictedMs } = prepared.predicted;
    this.#context.tell({ type: 'standby', without, devices: usedBy(prepared).sort(), predictedMs });
    await before?.prepared.cluster.close();
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
        if (prepared !== undefined && !this.lost(prepared.cluster)) this.#terms.failed(prepared, error);
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

  /** A cluster has failed; whether its plan stood by for the loss of a device, and was not in force. */
  lost(cluster: Cluster): boolean {
    if (this.#former?.facts.cluster === cluster) this.#former = undefined;
    const standby = [...this.#ready.values()].find(({ prepared }) => prepared.cluster === cluster);
    if (standby === undefined) return false;
    this.#ready.delete(standby.without);
    this.refresh(AGAIN_MS);
    return true;
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
    await this.#former?.close();
  }
}

/** The devices that a plan has work for. */
function usedBy({ ids, cluster }: Pick<Prepared, 'ids' | 'cluster'>): string[] {
  return [...new Set(cluster.program.steps.map(({ device }) => ids[device] ?? ''))];
}

/** The rate of the slowest link, in 10⁶ bit/s. */
function slowest({ network }: PlanningTask): number {
  return Math.min(network.requester.mbps, ...network.devices.map(({ mbps }) => mbps));
}
