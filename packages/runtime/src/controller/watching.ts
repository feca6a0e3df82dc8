/**
 * Holds what images take against what was predicted, now and then and between images, without load of its own: what comes of it is
 * how fast devices truly compute, what links truly carry, and that another plan is due.
 */
import type { SimulatedRun } from '@distredge/core';
import type { RunTrace } from '../run-timeline.js';
import type { Context } from './context.js';
import { DriftWatch } from './drift.js';
import type { PlanReason } from './events.js';
import type { Generation } from './generation.js';
import type { LinkSurvey } from './link-survey.js';
import { MESSAGE_VERSION } from './messages.js';
import { starOf } from './network.js';
import { Rhythm } from './rhythm.js';
import { slowerEnds, TrafficWatch } from './traffic.js';

/** No traces are asked for more often than this. */
const TRACE_MS = 100;
/** Links that were just measured are not measured again for the same images. */
const AGAIN_MS = 3000;
/** A device without work whose pace is off by less than this share is as fast as its profile says. */
const FORGIVEN = 0.05;
/** How long links wait to be measured while a plan is being made. */
const SETTLED_MS = 2000;
/** A device that takes so many times as long as it did is to be left at once. */
const MUCH_SLOWER = 2;
/** So many images in a row that are much slower are no chance. */
const FEW_SLOW = 2;
/** An image is looked at before it ends when it has taken so many times as long as usual, and so many ms more. */
const SUSPICIOUS = 1.25;
const LEAST_LATE_MS = 5;
/** Its rows tell something when one is late by this share of what images take. */
const LATE_SHARE = 0.25;
/** It is looked at again after this share of what images take, and so often at most. */
const LOOK_AGAIN = 0.15;
const MOST_LOOKS = 20;
/** Devices that do not tell of it within so many ms compute, or cannot: what the others tell counts. */
const LOOK_MS = 30;
/** One that does not tell in so many looks in a row seems to be badly connected. */
const SILENT_LOOKS = 2;
/** Rates that differ by less than this factor are the same. */
const SAME_RATE = 1.2;
/** So many times of images are kept for telemetry, at most. */
const MOST_TIMES = 1000;

export interface PlanningTerms {
  /** Has a plan made; `sudden`: one that stands by had better take over until then. */
  need(reason: PlanReason, sudden?: boolean): void;
  /** Resolves when no plan is being made, or after so many ms. */
  settled(ms: number): Promise<void>;
  /** Whether a plan is searched for or loaded: what devices compute meanwhile says nothing, and what images take little. */
  busy(): boolean;
}

export class Watching {
  readonly #context: Context;
  readonly #links: LinkSurvey;
  readonly #planning: PlanningTerms;
  #watch:
    | {
        readonly generation: Generation;
        readonly drift: DriftWatch;
        readonly traffic: TrafficWatch;
        readonly rhythm: Rhythm;
      }
    | undefined;
  #tracedAt = 0;
  #imagesSinceTrace: number[] = [];
  #linksLookedAt: number = Number.NEGATIVE_INFINITY;
  readonly #pace = new Map<string, number>();
  /** Whether links are being looked at. */
  #checking = false;

  constructor(context: Context, links: LinkSurvey, planning: PlanningTerms) {
    this.#context = context;
    this.#links = links;
    this.#planning = planning;
  }

  /** How much longer than profiled a device takes. */
  get pace(): ReadonlyMap<string, number> {
    return this.#pace;
  }

  /**
   * A device that has no work is taken to be somewhat nearer to its profile again: whatever held it up may be over, and only work
   * can show it. Returns whether that changes anything.
   */
  forgive(id: string): boolean {
    const pace = this.#pace.get(id);
    if (pace === undefined) return false;
    const next = Math.sqrt(pace);
    if (Math.abs(next - 1) < FORGIVEN) this.#pace.delete(id);
    else this.#pace.set(id, next);
    return true;
  }

  /** Watches a plan, which should take what was simulated; `ids` are the devices of the simulation. */
  from(generation: Generation, run: SimulatedRun, ids: readonly string[]): void {
    const computeMs = new Array<number>(generation.facts.ids.length).fill(0);
    for (const event of run.events) {
      const device = event.kind === 'compute' ? generation.facts.ids.indexOf(ids[event.device] ?? '') : -1;
      if (event.kind === 'compute' && device >= 0)
        computeMs[device] = (computeMs[device] ?? 0) + event.end - event.start;
    }
    const { cluster, ids: own } = generation.facts;
    const terms = this.#context.options.drift;
    const drift = new DriftWatch(computeMs, run.latencyMs, terms);
    // What messages usually take is not forgotten where the same plan is judged anew.
    const traffic =
      this.#watch?.generation === generation ? this.#watch.traffic : new TrafficWatch(cluster.program, own);
    this.#watch = { generation, drift, traffic, rhythm: new Rhythm(terms?.window) };
    this.#imagesSinceTrace = [];
  }

  /**
   * An image begins. Where it takes longer than usual, looks at its rows before it ends: a large message that is late tells of its
   * link at once. Returns what is to be called when it has ended.
   */
  begun(generation: Generation): () => void {
    const { lateAfter, expected } = generation.pace;
    const sole = generation.inFlight === 0 && this.#watch?.generation === generation;
    if (!sole || lateAfter === undefined || expected === undefined) return () => undefined;
    let ended = false;
    let looks = 0;
    const silent = new Map<string, number>();
    const look = async (): Promise<void> => {
      looks += 1;
      const found = await this.#lookMidway(generation, expected, silent);
      if (ended || found || looks >= MOST_LOOKS) return;
      timer = setTimeout(() => void look(), LEAST_LATE_MS + LOOK_AGAIN * expected);
    };
    let timer = setTimeout(() => void look(), LEAST_LATE_MS + SUSPICIOUS * expected);
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }

  /**
   * Looks at an image that is not done, and has the links checked that it shows to be slow; whether it shows any.
   * @param silent in how many looks in a row devices have not told; kept up to date
   */
  async #lookMidway(generation: Generation, expectedMs: number, silent: Map<string, number>): Promise<boolean> {
    const watch = this.#watch;
    if (watch?.generation !== generation) return false;
    const progress = await generation.progress(LOOK_MS);
    const context = this.#context;
    if (progress === undefined || this.#watch !== watch || context.closed) return false;
    const { ids } = generation.facts;
    const late = watch.traffic.midway(progress);
    const least = Math.max(LEAST_LATE_MS, LATE_SHARE * expectedMs);
    const isLate = late.some(({ lateMs }) => lateMs >= least);
    const ends = isLate ? this.#news(slowerEnds(late, ids, watch.traffic.links), ids) : new Set<string>();
    for (const id of generation.devices) {
      silent.set(id, progress.at.has(ids.indexOf(id)) ? 0 : (silent.get(id) ?? 0) + 1);
      if ((silent.get(id) ?? 0) >= SILENT_LOOKS) ends.add(id);
    }
    if (ends.size === 0) return false;
    await this.#check(generation, progress.elapsedMs / expectedMs, ends);
    return true;
  }

  /** Of ends that seem to be slower, with what they carry, those of which it is not known. */
  #news(rates: ReadonlyMap<string, number>, ids: readonly string[]): Set<string> {
    const { requester, devices } = starOf(ids, this.#context.registry.links);
    const known = (end: string): number => (devices[ids.indexOf(end)] ?? requester).mbps;
    return new Set([...rates].flatMap(([end, mbps]) => (known(end) > SAME_RATE * mbps ? [end] : [])));
  }

  /** An image was done; looks at what it took where, or, while others are under way, at how often they come. */
  observe(generation: Generation, ms: number): void {
    this.#imagesSinceTrace.push(ms);
    if (this.#imagesSinceTrace.length > MOST_TIMES) this.#imagesSinceTrace.shift();
    const now = performance.now();
    const watch = this.#watch;
    if (watch?.generation !== generation) return;
    const disturbed = this.#planning.busy();
    const slower = disturbed ? undefined : watch.rhythm.add(now, generation.inFlight > 0);
    if (slower !== undefined && now - this.#linksLookedAt >= AGAIN_MS) void this.#ask(generation, slower);
    if (generation.inFlight > 0 || now - this.#tracedAt < TRACE_MS) return;
    this.#tracedAt = now;
    void this.#lookAt(generation, disturbed);
  }

  /**
   * Links seem to be slow, and images therefore to take so many times as long: looks at them, and where it is so, has planned for that
   * and then all links measured. Rows may be late because a device is busy.
   */
  async #check(generation: Generation, factor: number, ends: ReadonlySet<string>): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    const found = await this.#glance(ends);
    this.#checking = false;
    if (!found) return;
    await this.#ask(generation, factor, { measures: performance.now() - this.#linksLookedAt >= AGAIN_MS });
  }

  /** Has planned for links that became much slower, as far as a glance tells; whether any has. `ends`: as for `LinkSurvey.glance`. */
  async #glance(ends?: ReadonlySet<string>): Promise<boolean> {
    const slower = await this.#links.glance(ends);
    if (slower > 0) this.#planning.need('drift', true);
    return slower > 0;
  }

  /** Has the links measured that may be why images take so many times as long. `blind`: nothing else says which of them it is. */
  async #ask(generation: Generation, factor: number, { measures = true, blind = false } = {}): Promise<void> {
    if (measures) this.#linksLookedAt = performance.now();
    this.#context.tell({ type: 'drift', generation: generation.facts.number, what: 'network', factor });
    if (!measures) return;
    // Measuring would only hold a plan up that is being prepared for what is known already.
    if (!blind) await this.#planning.settled(SETTLED_MS);
    else await this.#glance();
    const { measured } = await this.#links.measure('all');
    if (measured > 0) this.#planning.need(blind ? 'drift' : 'measured', blind);
    this.#linksLookedAt = performance.now();
  }

  /** Looks at the last image. `disturbed`: a plan was being searched for or loaded meanwhile. */
  async #lookAt(generation: Generation, disturbed: boolean): Promise<void> {
    const context = this.#context;
    const trace = await generation.trace();
    const watch = this.#watch;
    if (trace === undefined || watch?.generation !== generation || context.closed) return;
    const { ids, number, predicted } = generation.facts;
    const computeMs = computeMsOf(trace, generation);
    if (disturbed) {
      const factor = watch.drift.addDisturbed({ totalMs: trace.totalMs, computeMs });
      if (factor === undefined || performance.now() - this.#linksLookedAt < AGAIN_MS) return;
      watch.drift.restart();
      await this.#ask(generation, factor, { blind: true });
      return;
    }
    context.directory.tell('telemetry', {
      version: MESSAGE_VERSION,
      at: Date.now(),
      generation: number,
      predictedMs: predicted.latencyMs,
      images: this.#imagesSinceTrace.splice(0),
      last: { totalMs: trace.totalMs, computeMs, steps: trace.steps.length, messages: trace.messages.length },
    });
    watch.traffic.add(trace, context.registry.links);
    const { factors, network, sudden } = watch.drift.add({ totalMs: trace.totalMs, computeMs });
    for (const [device, factor] of factors) {
      const id = ids[device] ?? '';
      this.#pace.set(id, (this.#pace.get(id) ?? 1) * factor);
      context.tell({ type: 'drift', generation: number, what: 'compute', factor, id });
    }
    if (factors.size > 0)
      this.#planning.need(
        'drift',
        [...factors.values()].some((factor) => factor >= MUCH_SLOWER),
      );
    const changed = network !== undefined || sudden !== undefined;
    if (!changed || performance.now() - this.#linksLookedAt < AGAIN_MS) return;
    // Links that became faster can wait until they are measured.
    const factor = network ?? sudden?.factor ?? 1;
    const late = factor > 1 ? watch.traffic.late(sudden?.images) : [];
    const ends = this.#news(slowerEnds(late, ids, watch.traffic.links), ids);
    // One slow image may be anything, unless its rows tell which link it was; a few that are much slower had better be looked into.
    const slow = sudden !== undefined && sudden.images >= FEW_SLOW && sudden.factor >= MUCH_SLOWER;
    if (network === undefined && !slow && ends.size === 0) return;
    if (network === undefined && !slow) {
      await this.#check(generation, factor, ends);
      return;
    }
    watch.drift.restart();
    await this.#ask(generation, factor, { blind: factor >= MUCH_SLOWER || ends.size > 0 });
  }
}

/** By device, what it computed for an image, in ms. */
function computeMsOf({ steps }: RunTrace, { facts: { ids, cluster } }: Generation): number[] {
  const computeMs = new Array<number>(ids.length).fill(0);
  for (const { step, start, end } of steps) {
    const device = cluster.program.steps[step]?.device ?? -1;
    if (device >= 0) computeMs[device] = (computeMs[device] ?? 0) + end - start;
  }
  return computeMs;
}
