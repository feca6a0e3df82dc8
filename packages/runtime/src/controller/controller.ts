/**
 * The controller: keeps one plan in force over the devices that are there, and answers images whatever happens to them.
 *
 * Two things go on side by side. In the background, `#adapt` measures what is new, plans, prepares the plan on its devices, and
 * switches to it between two images. In front, `infer` runs every image on the plan in force; when that fails, it runs the image
 * on the next plan, or whole on this machine. Neither ever waits for the other without a deadline.
 */
import {
  type Analysis,
  compile,
  DistrEdgeError,
  type Graph,
  type PlanningTask,
  type SimulatedRun,
  simulator,
  type Tensor,
  toPlan,
  type Workload,
  type WorkPlan,
} from '@distredge/core';
import type { Transport } from '../link/link.js';
import { answers } from '../probe.js';
import { modelHash } from '../profile/measure.js';
import { within } from '../protocol.js';
import { tryConnect } from '../requester.js';
import type { Identity } from '../security/index.js';
import { type Images, type StreamOptions, type StreamResult, streamImages } from '../stream.js';
import { startBroker } from './broker.js';
import type { Endpoint } from './bus.js';
import { Directory } from './directory.js';
import { DriftWatch } from './drift.js';
import type { ControllerEvent, PlanReason } from './events.js';
import { Generation, type Tensors } from './generation.js';
import { encode, MESSAGE_VERSION } from './messages.js';
import { packModel } from './model-message.js';
import { pairsToMeasure } from './network.js';
import { type DeviceRecord, isOnline, linkKey, onlineDevices, type Registry, type RegistryEvent } from './registry.js';
import { type Asked, askedOf, moved, plannable, type ServedModel } from './task.js';
import { CONTROLLER, checkName } from './topics.js';
import { linksFromTraffic, TrafficWatch } from './traffic.js';

/** Finds a plan. `urgent`: images wait for it, or are slower than they need be. `start`: plans that are good to begin with. */
export type PlanFunction = (
  task: PlanningTask,
  options: { readonly urgent: boolean; readonly start: readonly WorkPlan[] },
) => Promise<WorkPlan>;

export interface ControllerOptions {
  readonly cluster: string;
  /** Where the broker inside the controller listens; or an external broker. */
  readonly broker: { readonly listen: string } | { readonly endpoint: Endpoint };
  /** The controller's; without one nothing leaves this machine. */
  readonly identity?: Identity | undefined;
  /** Of data links. */
  readonly transport: Transport;
  /** What is served; without a model the controller keeps the registry only. `bytes`: the ModelProto, to be handed out without its weights. */
  readonly model?:
    | {
        readonly name: string;
        readonly bytes: Uint8Array;
        readonly graph: Graph;
        readonly analysis: Analysis;
        readonly workload: Workload;
        readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
        readonly size?: { readonly height: number; readonly width: number } | undefined;
      }
    | undefined;
  readonly plan: PlanFunction;
  /** Runs an image on this machine, unsplit: the last resort. */
  readonly whole: (inputs: Tensors) => Promise<Tensors>;
  readonly software: string;
  /** How long a device measures a model. Default 8000 ms. */
  readonly profileMs?: number | undefined;
  /** One link. Default 10000 ms. */
  readonly linkMs?: number | undefined;
  /** Loading a plan's models, on the slowest device. Default 300000 ms. */
  readonly prepareMs?: number | undefined;
  /** One image on one plan. Default 20000 ms. */
  readonly requestMs?: number | undefined;
  /** A provider that does not answer for so long is lost. Default 2000 ms. */
  readonly silenceMs?: number | undefined;
  /** Images that may be under way at once. Default 1: the least memory on the devices. */
  readonly inFlight?: number | undefined;
  readonly keepaliveS?: number | undefined;
  /** Share by which a new plan must be faster. Default 0.03. */
  readonly margin?: number | undefined;
  /** Change that counts as drift, and images that a judgement takes. Defaults 0.25 and 5. */
  readonly drift?: { readonly threshold?: number; readonly window?: number } | undefined;
  readonly onEvent?: ((event: ControllerEvent) => void) | undefined;
  /** What the broker and hostile messages had refused, for logs. */
  readonly log?: ((line: string) => void) | undefined;
}

export interface Inferred {
  readonly outputs: Tensors;
  readonly ms: number;
  /** Number of the plan that the image was finished on; 0: whole on this machine. */
  readonly generation: number;
}

export interface Controller {
  /** Where devices join; empty with an external broker. */
  readonly address: string;
  /** The plan in force. */
  readonly generation:
    | { readonly number: number; readonly devices: readonly string[]; readonly predictedMs: number }
    | undefined;
  /** All devices that ever announced themselves and are not forgotten. */
  devices(): readonly DeviceRecord[];
  registry(): Registry;
  /**
   * Answers one image, by the devices or, where they fail, whole on this machine. Rejects with `DEADLINE` after `deadlineMs`
   * (default 60000), with `SHAPE_MISMATCH` for wrong inputs, and with what `whole` rejects with.
   */
  infer(inputs: Tensors, options?: { readonly deadlineMs?: number }): Promise<Inferred>;
  /** Answers a stream of images, in their order. Each is finished as `infer` finishes it. */
  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined>;
  /** Resolves once at least so many devices are measured and a plan for them is in force; at once for 0. Rejects with `DEADLINE`. */
  ready(devices: number, deadlineMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Errors after which an image can be finished otherwise. Wrong inputs would be wrong everywhere. */
const FALLS_BACK: ReadonlySet<string> = new Set([
  'PROVIDER_LOST',
  'PROVIDER_FAILED',
  'LINK_FAILED',
  'LINK_CLOSED',
  'DEADLINE',
  'PROTOCOL',
  'FRAME_INVALID',
  'ENGINE_FAILED',
  'CANCELLED',
  'PEER_REFUSED',
]);
const IMAGE_MS = 60_000;
/** How long an image that lost its plan waits for the next one, at most: after that it is run whole. */
const NEXT_PLAN_MS = 5000;
/** Plans that one image is tried on before it is run whole. */
const TRIES = 2;
/** A device that failed is asked whether it is back after so long, and then less and less often. */
const BACK_MS = 1000;
const MOST_BACK_MS = 30_000;
const PROBE_MS = 2000;
/** No traces are asked for more often than this. */
const TRACE_MS = 100;
const DIAL_MS = 5000;
/** A device that has not failed for so long is trusted as at first. */
const FORGIVEN_MS = 60_000;
/** Links that were just measured are not measured again for the same images. */
const AGAIN_MS = 3000;
/** How often links that carry nothing are looked at, and by which factor they must have changed. */
const REFRESH_MS = 15_000;
const REFRESH_CHANGE = 1.3;
/** On top of what an order is given to do. */
const ORDER_SLACK_MS = 60_000;

export async function startController(options: ControllerOptions): Promise<Controller> {
  checkName(options.cluster, 'a cluster');
  const serving = new Serving(options);
  try {
    await serving.open();
    return serving;
  } catch (error) {
    await serving.close();
    throw error;
  }
}

class Serving implements Controller {
  address = '';
  readonly #options: ControllerOptions;
  readonly #model: ServedModel | undefined;
  readonly #undo: (() => Promise<void>)[] = [];
  #directory!: Directory;
  #current: Generation | undefined;
  #generations = 0;
  #watch: { readonly generation: Generation; readonly drift: DriftWatch; readonly traffic: TrafficWatch } | undefined;
  #tracedAt = 0;
  #imagesSinceTrace: number[] = [];
  /** How much longer than profiled a device takes. */
  readonly #pace = new Map<string, number>();
  /** Devices that failed on the data links, until they answer again. */
  readonly #suspects = new Map<string, { timer: NodeJS.Timeout }>();
  /** When a device failed last, and how often it had shortly before. */
  readonly #failed = new Map<string, { readonly at: number; readonly times: number }>();
  readonly #busy = new Set<string>();
  /** Devices that could not measure the model, by their session. */
  readonly #unmeasured = new Map<string, string>();
  /** Why the next plan is due, and since when. */
  #due: { readonly reason: PlanReason; readonly since: number } | undefined;
  #adapting: Promise<void> | undefined;
  #links: Promise<number> = Promise.resolve(0);
  #refreshing = false;
  #linksLookedAt = Number.NEGATIVE_INFINITY;
  #refreshTimer: NodeJS.Timeout | undefined;
  /** Plans that could not be prepared, one after another. */
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  readonly #ending = new AbortController();
  /** Devices on which a plan is being prepared: loading models may keep them from saying that they are there. */
  #preparing: readonly string[] = [];
  readonly #changes = new Set<() => void>();
  #closed = false;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { model } = options;
    if (model !== undefined) this.#model = { ...model, hash: modelHash(model.analysis) };
  }

  async open(): Promise<void> {
    const { cluster, broker, identity, transport, software, model, keepaliveS, log } = this.#options;
    let endpoint: Endpoint;
    if ('endpoint' in broker) endpoint = broker.endpoint;
    else {
      const embedded = await startBroker({ cluster, listen: broker.listen, identity, log });
      this.#undo.push(() => embedded.close());
      this.address = embedded.address;
      endpoint = { name: 'the broker of this process', open: () => embedded.connect() };
    }
    const directory = new Directory({
      cluster,
      endpoint,
      transport,
      software,
      address: this.address,
      model: model?.name,
      keepaliveS,
      changed: (event, before, after) => this.#changed(event, before, after),
      onBroker: (connected) => this.#tell({ type: 'broker', connected }),
      problem: (error) => this.#tell({ type: 'problem', error }),
    });
    this.#directory = directory;
    this.#undo.push(() => directory.close());
    await directory.open();
    if (identity !== undefined) {
      const { revocations } = identity;
      const tell = (): void => {
        if (revocations.pem !== '') directory.state({ kind: 'revocations' }, new TextEncoder().encode(revocations.pem));
      };
      tell();
      const stop = revocations.onChange(tell);
      this.#undo.push(async () => stop());
    }
    if (model !== undefined && this.#model !== undefined) {
      const { name, bytes, shapes, size } = model;
      this.#refreshTimer = setInterval(() => void this.#refresh(), REFRESH_MS);
      directory.state(
        { kind: 'model', hash: this.#model.hash },
        packModel({
          name,
          bytes,
          bind: { ...(shapes === undefined ? {} : { shapes }), ...(size === undefined ? {} : { size }) },
        }),
      );
    }
  }

  get generation(): Controller['generation'] {
    const current = this.#current;
    if (current === undefined) return undefined;
    const { number, predicted } = current.facts;
    return { number, devices: this.#devicesOf(current), predictedMs: predicted.latencyMs };
  }

  #devicesOf(generation: Generation): string[] {
    return generation.facts.ids.filter((id) => generation.uses(id));
  }

  devices(): readonly DeviceRecord[] {
    return [...this.registry().devices.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  registry(): Registry {
    return this.#directory.registry;
  }

  #tell(event: ControllerEvent): void {
    if (this.#closed) return;
    this.#options.onEvent?.(event);
    if (event.type === 'broker') return;
    const error = 'error' in event ? { error: event.error.toJSON() } : {};
    this.#directory.tell('events', { version: MESSAGE_VERSION, at: Date.now(), ...event, ...error });
  }

  // What devices say.

  #changed(event: RegistryEvent, before: Registry, after: Registry): void {
    if (event.kind === 'linked') {
      const { from, to, mbps, latencyMs } = event.report;
      const was = before.links.get(linkKey(from, to))?.mbps ?? 0;
      if (Math.abs(mbps - was) <= 0.1 * mbps) return;
      this.#tell({ type: 'link', from, to, mbps, latencyMs });
      return;
    }
    if (event.kind === 'profiled') {
      this.#tell({ type: 'profiled', id: event.id });
      if (event.profile.model.hash === this.#model?.hash) this.#needPlan('joined');
      return;
    }
    const id = event.kind === 'announced' ? event.announcement.id : event.id;
    const [was, is] = [before.devices.get(id), after.devices.get(id)];
    const wasThere = was !== undefined && isOnline(was);
    const isThere = is !== undefined && isOnline(is);
    const name = is?.announcement?.name ?? was?.announcement?.name ?? id;
    const restarted = wasThere && isThere && was.announcement?.session !== is.announcement?.session;
    if (wasThere && (!isThere || restarted)) {
      this.#directory.release(id);
      this.#tell({ type: 'device', id, name, change: is?.status?.status === 'left' ? 'left' : 'lost' });
      if (this.#current?.uses(id) === true && !this.#preparing.includes(id)) this.#abandon(this.#current, 'lost');
    }
    if (isThere && (!wasThere || restarted)) {
      this.#trust(id);
      this.#tell({ type: 'device', id, name, change: 'joined' });
      this.#needPlan('joined');
      this.#measureNews();
    }
    this.#wake();
  }

  /** No image begins on this plan any more; those under way may end there. */
  #abandon(generation: Generation, reason: PlanReason): void {
    generation.retire();
    // Of several images that fail together, the first one has seen to it.
    if (this.#current !== generation) return;
    this.#current = undefined;
    this.#needPlan(reason);
  }

  #wake(): void {
    for (const change of [...this.#changes]) change();
  }

  // What is measured: whatever a new device makes necessary, one thing after another.

  #measureNews(): void {
    if (this.#model === undefined || this.#closed) return;
    for (const device of this.#newDevices()) {
      this.#busy.add(device.id);
      void this.#measure(this.#model, device).finally(() => {
        this.#busy.delete(device.id);
        // It may be back already from wherever it went meanwhile.
        this.#measureNews();
        this.#wake();
      });
    }
  }

  /** Devices whose profile is still to be asked for. */
  #newDevices(): DeviceRecord[] {
    const hash = this.#model?.hash;
    if (hash === undefined || this.#closed) return [];
    return onlineDevices(this.registry()).filter(
      ({ id, profiles, announcement }) =>
        !profiles.has(hash) && !this.#busy.has(id) && this.#unmeasured.get(id) !== announcement.session,
    );
  }

  /** Has one device measure the model, and the links that it brings along. Never rejects. */
  async #measure({ hash }: ServedModel, { id, announcement }: DeviceRecord): Promise<void> {
    const { profileMs = 8000 } = this.#options;
    try {
      const order = { kind: 'profile', hash, budgetMs: profileMs } as const;
      await this.#directory.order(id, order, profileMs * 4 + ORDER_SLACK_MS);
    } catch (error) {
      const there = this.registry().devices.get(id);
      // A device that is gone meanwhile is asked again when it is back; what one cannot measure it is not asked again for.
      if (there !== undefined && isOnline(there) && announcement !== undefined)
        this.#unmeasured.set(id, announcement.session);
      this.#problem(error);
      return;
    }
    if ((await this.#measureInTurn('new')) > 0) this.#needPlan('measured');
  }

  /**
   * Measures links between devices with a profile: those never measured, all, or all of one device. Resolves to how many were;
   * what goes wrong is told.
   */
  async #measureLinks(which: 'new' | 'all' | { readonly of: string }): Promise<number> {
    const { linkMs = 10_000 } = this.#options;
    const own = typeof which === 'object' ? which.of : undefined;
    const without = new Set([...this.#suspects.keys()].filter((id) => id !== own));
    const ids = plannable(this.registry(), this.#model?.hash ?? '', without).map(({ id }) => id);
    let measured = 0;
    for (const [from, to] of pairsToMeasure(ids)) {
      if (this.#closed) return 0;
      if (which === 'new' && this.registry().links.has(linkKey(from, to))) continue;
      if (own !== undefined && from !== own && to !== own) continue;
      const address = this.registry().devices.get(to)?.announcement?.probe;
      if (address === undefined) continue;
      try {
        if (from === CONTROLLER) await this.#directory.measureLink(to, linkMs);
        else {
          const peers = [{ id: to, address }];
          await this.#directory.order(from, { kind: 'links', peers, deadlineMs: linkMs }, linkMs + PROBE_MS);
        }
        measured += 1;
      } catch (error) {
        this.#problem(error);
      }
    }
    return measured;
  }

  /** The same, after all that is being measured already: side by side, measurements would disturb each other. */
  #measureInTurn(which: 'new' | 'all' | { readonly of: string }): Promise<number> {
    const links = this.#links.then(() => this.#measureLinks(which));
    this.#links = links;
    return links;
  }

  /** Looks at the links of devices that the plan in force does without: those of the others are seen from what they carry. */
  async #refresh(): Promise<void> {
    const current = this.#current;
    if (current === undefined || this.#refreshing) return;
    this.#refreshing = true;
    try {
      for (const { id } of plannable(this.registry(), this.#model?.hash ?? '', new Set(this.#suspects.keys()))) {
        if (current.uses(id) || this.#busy.has(id)) continue;
        const before = this.registry().links;
        await this.#measureInTurn({ of: id });
        const changed = [...this.registry().links].some(([key, { mbps }]) => {
          const was = before.get(key)?.mbps ?? mbps;
          return Math.max(was, mbps) > REFRESH_CHANGE * Math.min(was, mbps);
        });
        if (changed) this.#needPlan('measured');
      }
    } finally {
      this.#refreshing = false;
    }
  }

  #problem(error: unknown): void {
    if (this.#closed) return;
    const known =
      error instanceof DistrEdgeError ? error : new DistrEdgeError('INTERNAL', String(error), { cause: error });
    this.#tell({ type: 'problem', error: known });
  }

  // What is planned.

  /** Has a plan made soon; the first reason counts until it is. */
  #needPlan(reason: PlanReason): void {
    if (this.#model === undefined || this.#closed) return;
    this.#due ??= { reason, since: performance.now() };
    this.#adapting ??= this.#adapt(this.#model).finally(() => {
      this.#adapting = undefined;
      // What came up when the last plan was just done.
      if (this.#due !== undefined) this.#needPlan(this.#due.reason);
      this.#wake();
    });
  }

  async #adapt(model: ServedModel): Promise<void> {
    while (this.#due !== undefined && !this.#closed) {
      // Devices that join together are planned for together.
      await new Promise((resolve) => setImmediate(resolve));
      const { reason, since } = this.#due;
      this.#due = undefined;
      try {
        const asked = askedOf(model, this.registry(), new Set(this.#suspects.keys()), this.#pace);
        if (asked === undefined) {
          const current = this.#current;
          this.#current = undefined;
          current?.retire();
        } else await this.#planFor(model, asked, reason, since);
      } catch (error) {
        this.#problem(error);
        // Where nothing has changed meanwhile, the same would fail again at once.
        if (this.#due === undefined) this.#planLater();
      }
      this.#wake();
    }
  }

  async #planFor(model: ServedModel, asked: Asked, reason: PlanReason, since: number): Promise<void> {
    const { margin = 0.03 } = this.#options;
    const judge = simulator(asked.task);
    const running = this.#current;
    // The plan in force, among the devices that there are now.
    const before = running === undefined ? undefined : moved(running.facts.work, running.facts.ids, asked.ids);
    const start = before === undefined ? [] : [before];
    const work = await this.#options.plan(asked.task, { urgent: running === undefined || reason === 'drift', start });
    const bestMs = judge.latency(work);
    if (running !== undefined && running === this.#current && before !== undefined) {
      const runningMs = judge.latency(before);
      if (!(bestMs < runningMs * (1 - margin))) {
        this.#tell({ type: 'kept', generation: running.facts.number, runningMs, bestMs });
        this.#watchFrom(running, judge.run(before), asked.ids);
        return;
      }
    }
    const plan = toPlan(model.workload, work, asked.ids.length);
    const { transport, prepareMs, silenceMs = 2000, requestMs = 20_000, inFlight = 1 } = this.#options;
    let generation: Generation | undefined;
    this.#preparing = asked.ids;
    const attempt = await tryConnect(compile(model.graph, plan, model.analysis), {
      transport,
      addresses: asked.addresses,
      deadlineMs: DIAL_MS,
      silenceMs,
      requestMs,
      inFlight,
      signal: this.#ending.signal,
      failed: (error) => {
        if (generation !== undefined) this.#giveUp(generation, error);
      },
      ...(prepareMs === undefined ? {} : { prepareMs }),
    }).finally(() => {
      this.#preparing = [];
    });
    if ('error' in attempt) {
      if (this.#suspect(attempt.lost, asked.ids)) this.#needPlan('failed');
      throw attempt.error;
    }
    this.#failures = 0;
    generation = new Generation({
      number: ++this.#generations,
      ids: asked.ids,
      work,
      plan,
      predicted: judge.run(work),
      cluster: attempt.cluster,
    });
    if (this.#closed) {
      await generation.close();
      return;
    }
    this.#switchTo(generation, reason, performance.now() - since);
  }

  #switchTo(generation: Generation, reason: PlanReason, tookMs: number): void {
    const before = this.#current;
    this.#current = generation;
    before?.retire();
    this.#watchFrom(generation, generation.facts.predicted, generation.facts.ids);
    const { number, predicted, plan, ids } = generation.facts;
    const devices = this.#devicesOf(generation);
    this.#tell({ type: 'plan', generation: number, devices, predictedMs: predicted.latencyMs, reason, tookMs });
    try {
      const message = {
        version: MESSAGE_VERSION,
        generation: number,
        devices: ids,
        predictedMs: predicted.latencyMs,
        plan,
      };
      this.#directory.state({ kind: 'plan' }, encode('plan', message));
    } catch (error) {
      // A plan too large for the broker runs all the same.
      this.#problem(error);
    }
    // A device of the plan may have gone while it was prepared.
    const gone = devices.find((id) => {
      const device = this.registry().devices.get(id);
      return device === undefined || !isOnline(device);
    });
    if (gone !== undefined) this.#abandon(generation, 'lost');
    this.#wake();
  }

  /** Plans again after a while, the longer the more often it failed. */
  #planLater(): void {
    if (this.#closed) return;
    clearTimeout(this.#retry);
    this.#failures += 1;
    const ms = Math.min(BACK_MS * 2 ** (this.#failures - 1), MOST_BACK_MS);
    this.#retry = setTimeout(() => this.#needPlan('failed'), ms);
  }

  // What is watched.

  /** @param ids of the devices of the simulated run */
  #watchFrom(generation: Generation, run: SimulatedRun, ids: readonly string[]): void {
    const computeMs = new Array<number>(generation.facts.ids.length).fill(0);
    for (const event of run.events) {
      const device = event.kind === 'compute' ? generation.facts.ids.indexOf(ids[event.device] ?? '') : -1;
      if (event.kind === 'compute' && device >= 0)
        computeMs[device] = (computeMs[device] ?? 0) + event.end - event.start;
    }
    const { cluster, ids: own } = generation.facts;
    const drift = new DriftWatch(computeMs, run.latencyMs, this.#options.drift);
    this.#watch = { generation, drift, traffic: new TrafficWatch(cluster.program, own) };
    this.#imagesSinceTrace = [];
  }

  /** Looks, now and then and between images, at what the last image took where. */
  #observe(generation: Generation, ms: number): void {
    this.#imagesSinceTrace.push(ms);
    if (this.#imagesSinceTrace.length > 1000) this.#imagesSinceTrace.shift();
    const now = performance.now();
    if (this.#watch?.generation !== generation || generation.inFlight > 0 || now - this.#tracedAt < TRACE_MS) return;
    this.#tracedAt = now;
    void this.#lookAt(generation);
  }

  async #lookAt(generation: Generation): Promise<void> {
    const trace = await generation.trace();
    const watch = this.#watch;
    if (trace === undefined || watch?.generation !== generation || this.#closed) return;
    const { ids, number, cluster, predicted } = generation.facts;
    const computeMs = new Array<number>(ids.length).fill(0);
    for (const { step, start, end } of trace.steps) {
      const device = cluster.program.steps[step]?.device ?? -1;
      if (device >= 0) computeMs[device] = (computeMs[device] ?? 0) + end - start;
    }
    this.#directory.tell('telemetry', {
      version: MESSAGE_VERSION,
      at: Date.now(),
      generation: number,
      predictedMs: predicted.latencyMs,
      images: this.#imagesSinceTrace.splice(0),
      last: { totalMs: trace.totalMs, computeMs, steps: trace.steps.length, messages: trace.messages.length },
    });
    watch.traffic.add(trace);
    const { factors, network } = watch.drift.add({ totalMs: trace.totalMs, computeMs });
    for (const [device, factor] of factors) {
      const id = ids[device] ?? '';
      this.#pace.set(id, (this.#pace.get(id) ?? 1) * factor);
      this.#tell({ type: 'drift', generation: number, what: 'compute', factor, id });
    }
    if (factors.size > 0) this.#needPlan('drift');
    if (network === undefined || performance.now() - this.#linksLookedAt < AGAIN_MS) return;
    this.#linksLookedAt = performance.now();
    this.#tell({ type: 'drift', generation: number, what: 'network', factor: network });
    // What the late messages say, at once; what the links say when they are asked, a little later.
    const reports = linksFromTraffic(watch.traffic.late(), ids, this.registry().links, Date.now());
    if (reports.length > 0) {
      this.#directory.suppose(reports);
      this.#needPlan('drift');
    }
    if ((await this.#measureInTurn('all')) > 0) this.#needPlan('measured');
    this.#linksLookedAt = performance.now();
  }

  // What failed.

  /** Leaves devices that are to blame out of plans until they answer again. Returns whether there are any. */
  #suspect(lost: ReadonlySet<number>, ids: readonly string[]): boolean {
    for (const index of lost) {
      const id = ids[index];
      if (id === undefined || this.#suspects.has(id) || this.#closed) continue;
      // One that failed again and again is asked less and less often.
      const now = performance.now();
      const before = this.#failed.get(id);
      const times = before === undefined || now - before.at > FORGIVEN_MS ? 0 : before.times + 1;
      this.#failed.set(id, { at: now, times });
      this.#suspects.set(id, { timer: this.#askLater(id, Math.min(BACK_MS * 2 ** times, MOST_BACK_MS)) });
    }
    return lost.size > 0;
  }

  #askLater(id: string, ms: number): NodeJS.Timeout {
    return setTimeout(() => void this.#askBack(id, ms), ms);
  }

  async #askBack(id: string, ms: number): Promise<void> {
    const suspect = this.#suspects.get(id);
    if (suspect === undefined || this.#closed) return;
    const device = this.registry().devices.get(id);
    const there =
      device?.announcement !== undefined &&
      isOnline(device) &&
      (await answers(this.#options.transport, device.announcement.address, PROBE_MS)) &&
      // It may have failed because a link is not what it was.
      (await this.#measureInTurn({ of: id })) > 0;
    if (this.#suspects.get(id) !== suspect || this.#closed) return;
    if (!there) suspect.timer = this.#askLater(id, Math.min(2 * ms, MOST_BACK_MS));
    else if (this.#trust(id)) this.#needPlan('joined');
  }

  /** Plans with a device again; whether it was suspected. */
  #trust(id: string): boolean {
    clearTimeout(this.#suspects.get(id)?.timer);
    return this.#suspects.delete(id);
  }

  /** A plan failed: its devices are planned for anew, without those that are to blame. */
  #giveUp(generation: Generation, error: unknown): void {
    const { cluster, ids } = generation.facts;
    if (this.#current === generation && !this.#closed) {
      this.#suspect(cluster.lost, ids);
      if (generation.inFlight === 0) this.#problem(error);
    }
    this.#abandon(generation, 'failed');
    void generation.close();
  }

  // What is asked.

  async infer(inputs: Tensors, { deadlineMs = IMAGE_MS }: { readonly deadlineMs?: number } = {}): Promise<Inferred> {
    const started = performance.now();
    const left = (): number => deadlineMs - (performance.now() - started);
    const answer = this.#answer(inputs, left);
    answer.catch(() => undefined);
    const { outputs, generation } = await within(
      answer,
      deadlineMs,
      'the image was not done',
      () => this.#options.cluster,
    );
    return { outputs, generation, ms: performance.now() - started };
  }

  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined> {
    const infer = async (inputs: Tensors): Promise<Record<string, Tensor>> =>
      (await this.infer(inputs)).outputs as Record<string, Tensor>;
    return streamImages([{ inFlight: this.#options.inFlight ?? 1, infer }], images, options);
  }

  async #answer(inputs: Tensors, left: () => number): Promise<{ outputs: Tensors; generation: number }> {
    if (this.#closed) throw new DistrEdgeError('CANCELLED', 'the controller is closed');
    let failure: DistrEdgeError | undefined;
    for (let tries = 0; tries < TRIES; tries++) {
      const generation = this.#current ?? (await this.#next(Math.min(NEXT_PLAN_MS, left() / 2)));
      if (generation === undefined) break;
      if (failure !== undefined) this.#tell({ type: 'fallback', to: 'plan', error: failure });
      try {
        const { outputs, ms } = await generation.infer(inputs);
        this.#observe(generation, ms);
        return { outputs, generation: generation.facts.number };
      } catch (error) {
        if (!(error instanceof DistrEdgeError) || !FALLS_BACK.has(error.code) || this.#closed) throw error;
        failure = error;
        this.#giveUp(generation, error);
      }
    }
    failure ??= new DistrEdgeError('PROVIDER_LOST', 'no device of the cluster is ready', {
      where: this.#options.cluster,
    });
    this.#tell({ type: 'fallback', to: 'whole', error: failure });
    return { outputs: await this.#options.whole(inputs), generation: 0 };
  }

  /** The next plan, if one is being made over devices that are there; waits no longer than given. */
  async #next(ms: number): Promise<Generation | undefined> {
    const end = performance.now() + ms;
    while (this.#current === undefined && this.#adapting !== undefined && this.#generations > 0 && !this.#closed) {
      if (!(await this.#change(end - performance.now()))) return undefined;
    }
    return this.#current;
  }

  /** Waits for anything to change; false where nothing did in time. */
  #change(ms: number): Promise<boolean> {
    if (ms <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const end = (changed: boolean): void => {
        clearTimeout(timer);
        this.#changes.delete(woken);
        resolve(changed);
      };
      const woken = (): void => end(true);
      const timer = setTimeout(() => end(false), ms);
      this.#changes.add(woken);
    });
  }

  async ready(devices: number, deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    const hash = this.#model?.hash ?? '';
    const isReady = (): boolean => {
      if (onlineDevices(this.registry()).length < devices) return false;
      if (this.#model === undefined || devices === 0) return true;
      const known = plannable(this.registry(), hash, new Set()).length >= devices;
      return known && this.#current !== undefined && this.#adapting === undefined && this.#busy.size === 0;
    };
    while (!isReady()) {
      if (this.#closed) throw new DistrEdgeError('CANCELLED', 'the controller was closed');
      if (!(await this.#change(Math.min(500, end - performance.now()))) && performance.now() >= end) {
        throw new DistrEdgeError('DEADLINE', `the cluster was not ready within ${deadlineMs} ms`, {
          where: this.#options.cluster,
          expected: `${devices} devices with a profile, and a plan`,
          got: `${onlineDevices(this.registry()).length} devices, ${plannable(this.registry(), hash, new Set()).length} with a profile`,
          hint: 'join more devices (distredge join), or look at what distredge devices and distredge doctor say',
        });
      }
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { timer } of this.#suspects.values()) clearTimeout(timer);
    this.#suspects.clear();
    clearTimeout(this.#retry);
    clearInterval(this.#refreshTimer);
    this.#ending.abort();
    this.#wake();
    const current = this.#current;
    this.#current = undefined;
    await current?.close();
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) await undo();
  }
}
