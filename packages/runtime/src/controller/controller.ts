/**
 * The controller: keeps one plan in force over the devices that are there, and answers images whatever happens to them.
 *
 * Two things go on side by side. In the background what is new is measured (`profile-survey.ts`, `link-survey.ts`), planned for, prepared
 * and switched to between two images (`replanning.ts`, `generations.ts`). In front every image runs on the plan in force; when that
 * fails, on the next plan, or whole on this machine (`answering.ts`). Neither ever waits for the other without a deadline. Here
 * they meet: what a device says, or an image shows, becomes what is to be done.
 */
import { DistrEdgeError } from '@distredge/core';
import type { Transport } from '../link/link.js';
import { towards } from '../link/towards.js';
import { answers } from '../probe.js';
import { modelHash } from '../profile/measure.js';
import type { Images, StreamOptions, StreamResult } from '../stream.js';
import { Answering } from './answering.js';
import { startBroker } from './broker.js';
import type { Endpoint } from './bus.js';
import { Changes } from './changes.js';
import type { Context } from './context.js';
import type { Controller, ControllerOptions, Inferred } from './contract.js';
import { Directory } from './directory.js';
import type { ControllerEvent } from './events.js';
import type { Tensors } from './generation.js';
import { Generations } from './generations.js';
import { LinkSurvey } from './link-survey.js';
import { MESSAGE_VERSION } from './messages.js';
import { packModel } from './model-message.js';
import { ProfileSurvey } from './profile-survey.js';
import { type DeviceRecord, isOnline, linkKey, onlineDevices, type Registry, type RegistryEvent } from './registry.js';
import { Replanning } from './replanning.js';
import { Standbys } from './standbys.js';
import { Suspects } from './suspects.js';
import { plannable, type ServedModel } from './task.js';
import { Throttle } from './throttle.js';
import { checkName } from './topics.js';
import { Watching } from './watching.js';

const PROBE_MS = 2000;
/** A link whose rate differs by no more than this share is what it was. */
const SAME_LINK = 0.1;
/** Problems that are told: a member that says nonsense without end does not fill the log. */
const PROBLEMS = { burst: 20, perSecond: 2 };
/** How often those who wait for the cluster to be ready look, though nothing seems to have changed. */
const LOOK_MS = 500;

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

class Serving implements Controller, Context {
  address = '';
  readonly options: ControllerOptions;
  readonly model: ServedModel | undefined;
  directory!: Directory;
  readonly #undo: (() => Promise<void>)[] = [];
  readonly #changes = new Changes();
  readonly #problems = new Throttle(PROBLEMS);
  readonly #suspects: Suspects;
  readonly #links: LinkSurvey;
  readonly #profiles: ProfileSurvey;
  readonly #watching: Watching;
  readonly #generations: Generations;
  readonly #standbys: Standbys;
  readonly #replanning: Replanning;
  readonly #answering: Answering;
  #closed = false;

  constructor(options: ControllerOptions) {
    this.options = options;
    const { model } = options;
    if (model !== undefined) this.model = { ...model, hash: modelHash(model.analysis) };
    const suspect = (id: string): void => {
      this.#suspects.add(id);
      this.#replanning.without(id);
    };
    this.#suspects = new Suspects({
      answers: (id) => this.#answers(id),
      back: () => this.#replanning.need('joined'),
    });
    this.#links = new LinkSurvey(this, () => this.#replanning.need('drift', true));
    this.#profiles = new ProfileSurvey(this, async () => {
      if ((await this.#links.measure('new')).measured > 0) this.#replanning.need('measured');
    });
    this.#watching = new Watching(this, this.#links, {
      need: (reason, sudden) => this.#replanning.need(reason, sudden),
      settled: async (ms) => {
        const end = performance.now() + ms;
        while (this.#replanning.busy && (await this.#changes.next(end - performance.now())));
      },
      busy: () => this.#standbys.loading || this.#replanning.busy,
    });
    this.#generations = new Generations(this, {
      switched: (generation) => {
        this.#watching.from(generation, generation.facts.predicted, generation.facts.ids);
        this.#standbys.refresh();
      },
      replaced: (generation) => this.#standbys.keep(generation),
      abandoned: (reason) => this.#replanning.need(reason),
      suspect,
    });
    this.#standbys = new Standbys(this, {
      current: () => this.#generations.current,
      busy: () => this.#replanning.busy,
      pace: this.#watching.pace,
      failed: ({ cluster }, error) => this.#generations.failed(cluster, error),
    });
    this.#replanning = new Replanning(this, {
      generations: this.#generations,
      standbys: this.#standbys,
      pace: this.#watching.pace,
      suspect,
      glance: async () => {
        const slower = await this.#links.glance();
        if (slower > 0) void this.#links.measure('all').then(() => this.#replanning.need('measured'));
        return slower;
      },
      kept: (generation, run, ids) => {
        this.#watching.from(generation, run, ids);
        this.#standbys.refresh();
      },
    });
    this.#answering = new Answering(this, {
      generations: this.#generations,
      changes: this.#changes,
      planning: () => this.#replanning.busy,
      holdMs: () => (this.#closed ? 0 : this.#replanning.holdMs),
      begun: (generation) => this.#watching.begun(generation),
      observe: (generation, ms) => this.#watching.observe(generation, ms),
    });
  }

  async open(): Promise<void> {
    const { cluster, broker, identity, software, model, keepaliveS, log } = this.options;
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
      transportTo: (id) => this.#transportTo(id),
      software,
      address: this.address,
      model: model?.name,
      keepaliveS,
      changed: (event, before, after) => this.#changed(event, before, after),
      onBroker: (connected) => this.tell({ type: 'broker', connected }),
      problem: (error) => this.problem(error),
    });
    this.directory = directory;
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
    if (model !== undefined && this.model !== undefined) {
      const { name, bytes, shapes, size } = model;
      const bind = { ...(shapes === undefined ? {} : { shapes }), ...(size === undefined ? {} : { size }) };
      directory.state({ kind: 'model', hash: this.model.hash }, packModel({ name, bytes, bind }));
      this.#links.watch({
        current: () => this.#generations.current,
        isBusy: (id) => this.#profiles.isBusy(id),
        looked: (id, differs) => {
          if (this.#watching.forgive(id) || differs) this.#replanning.need('measured');
        },
      });
    }
  }

  get registry(): Registry {
    return this.directory.registry;
  }

  get suspects(): ReadonlySet<string> {
    return this.#suspects.ids;
  }

  get closed(): boolean {
    return this.#closed;
  }

  wake(): void {
    this.#changes.wake();
  }

  tell(event: ControllerEvent): void {
    if (this.#closed) return;
    this.options.onEvent?.(event);
    if (event.type === 'broker') return;
    const error = 'error' in event ? { error: event.error.toJSON() } : {};
    this.directory.tell('events', { version: MESSAGE_VERSION, at: Date.now(), ...event, ...error });
  }

  problem(error: unknown): void {
    if (this.#closed) return;
    const known =
      error instanceof DistrEdgeError ? error : new DistrEdgeError('INTERNAL', String(error), { cause: error });
    const held = this.#problems.pass();
    if (held !== undefined) this.tell({ type: 'problem', error: known, ...(held === 0 ? {} : { held }) });
  }

  get generation(): Controller['generation'] {
    const { current } = this.#generations;
    if (current === undefined) return undefined;
    const { number, predicted } = current.facts;
    return { number, devices: current.devices, predictedMs: predicted.latencyMs };
  }

  devices(): readonly DeviceRecord[] {
    return [...this.registry.devices.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** What devices say. */
  #changed(event: RegistryEvent, before: Registry, after: Registry): void {
    if (event.kind === 'linked') {
      const { from, to, mbps, latencyMs } = event.report;
      const was = before.links.get(linkKey(from, to))?.mbps ?? 0;
      if (Math.abs(mbps - was) <= SAME_LINK * mbps) return;
      this.tell({ type: 'link', from, to, mbps, latencyMs });
      return;
    }
    if (event.kind === 'profiled') {
      this.tell({ type: 'profiled', id: event.id });
      if (event.profile.model.hash === this.model?.hash) this.#replanning.need('joined');
      return;
    }
    const id = event.kind === 'announced' ? event.announcement.id : event.id;
    const [was, is] = [before.devices.get(id), after.devices.get(id)];
    const wasThere = was !== undefined && isOnline(was);
    const isThere = is !== undefined && isOnline(is);
    const name = is?.announcement?.name ?? was?.announcement?.name ?? id;
    const restarted = wasThere && isThere && was.announcement?.session !== is.announcement?.session;
    if (wasThere && (!isThere || restarted)) {
      this.directory.release(id);
      this.tell({ type: 'device', id, name, change: is?.status?.status === 'left' ? 'left' : 'lost' });
      const { current } = this.#generations;
      if (current?.uses(id) === true && !this.#replanning.isPreparing(id)) this.#generations.abandon(current, 'lost');
    }
    if (isThere && (!wasThere || restarted)) {
      this.#suspects.trust(id);
      this.tell({ type: 'device', id, name, change: 'joined' });
      this.#replanning.need('joined');
      this.#profiles.look();
    }
    this.wake();
  }

  /** For links that must be to this device. */
  #transportTo(id: string): Transport {
    const { transport, identity } = this.options;
    return identity === undefined ? transport : towards(transport, () => id);
  }

  /** Whether a device that failed can be planned with again. */
  async #answers(id: string): Promise<boolean> {
    const device = this.registry.devices.get(id);
    if (device?.announcement === undefined || !isOnline(device)) return false;
    if (!(await answers(this.#transportTo(id), device.announcement.address, PROBE_MS))) return false;
    // It may have failed because a link is not what it was, or is no more.
    const { measured, failed } = await this.#links.measure({ of: id });
    return measured > 0 && failed === 0;
  }

  infer(inputs: Tensors, options?: { readonly deadlineMs?: number }): Promise<Inferred> {
    return this.#answering.infer(inputs, options);
  }

  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined> {
    return this.#answering.stream(images, options);
  }

  async ready(devices: number, deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    const known = (): DeviceRecord[] => plannable(this.registry, this.model?.hash ?? '', new Set());
    const isReady = (): boolean => {
      if (onlineDevices(this.registry).length < devices) return false;
      if (this.model === undefined || devices === 0) return true;
      const planned = this.#generations.current !== undefined && !this.#replanning.busy;
      // Of those that count; one more that says it is there, and never measures, holds up nobody.
      return known().length >= devices && planned && known().every(({ id }) => !this.#profiles.isBusy(id));
    };
    while (!isReady()) {
      if (this.#closed) throw new DistrEdgeError('CANCELLED', 'the controller was closed');
      if (!(await this.#changes.next(Math.min(LOOK_MS, end - performance.now()))) && performance.now() >= end) {
        throw new DistrEdgeError('DEADLINE', `the cluster was not ready within ${deadlineMs} ms`, {
          where: this.options.cluster,
          expected: `${devices} devices with a profile, and a plan`,
          got: `${onlineDevices(this.registry).length} devices, ${known().length} with a profile`,
          hint: 'join more devices (distredge join), or look at what distredge devices and distredge doctor say',
        });
      }
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#suspects.close();
    this.#replanning.close();
    this.#links.close();
    this.wake();
    await this.#generations.close();
    await this.#standbys.close();
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) await undo();
  }
}
