/**
 * What a joined device runs: a provider, an end that answers link measurements, and the device's part of the control plane. It
 * announces itself, carries out the controller's orders (measure a model, measure links) and is missed by its last will.
 *
 * The data links live without the broker: when it is away, images go on, and the agent comes back by itself.
 */
import { randomBytes } from 'node:crypto';
import { cpus } from 'node:os';
import { type Analysis, type DeviceProgram, DistrEdgeError, type Profile, type Workload } from '@distredge/core';
import type { Engine } from '../engine/engine.js';
import type { Transport } from '../link/link.js';
import { towards } from '../link/towards.js';
import { readCachedProfile, writeCachedProfile } from '../profile/cache.js';
import { answerMessages } from '../profile/link.js';
import { startProvider } from '../provider.js';
import type { Identity } from '../security/index.js';
import { DEVICE_CLIENT } from './broker.js';
import { type Bus, type Endpoint, openBus } from './bus.js';
import { quickLink } from './links.js';
import { type Answer, decode, encode, MAX_PAYLOAD, MESSAGE_VERSION, type Order } from './messages.js';
import { unpackModel } from './model-message.js';
import { checkName, type Topic, topicOf } from './topics.js';

/** What a measurement is given, besides the model. */
export interface AgentMeasure {
  readonly device: { readonly id: string; readonly cpu: string; readonly engine: string; readonly threads: number };
  readonly memoryMb: number;
  readonly budgetMs: number;
  readonly signal: { readonly aborted: boolean };
}

export interface AgentOptions {
  readonly cluster: string;
  /** 1 to 64 letters, digits, dots, dashes, underscores; unique in the cluster. */
  readonly id: string;
  /** For people. Default: the id. */
  readonly name?: string | undefined;
  readonly endpoint: Endpoint;
  /** Of data links. */
  readonly transport: Transport;
  /** Hears of certificates that were taken back; undefined for a cluster without certificates. */
  readonly identity?: Identity | undefined;
  /** Where the provider and the answering end listen: a host, without port. */
  readonly host: string;
  readonly createEngine: (program: DeviceProgram) => Engine;
  readonly engineName: string;
  /** Measures a model; the agent keeps what comes of it. */
  readonly measure: (analysis: Analysis, workload: Workload, options: AgentMeasure) => Promise<Profile>;
  readonly threads?: number | undefined;
  /** For models and rows, in 10⁶ bytes. */
  readonly memoryMb: number;
  readonly software: string;
  /** Where measured profiles are kept. Default: the user's cache folder. */
  readonly profiles?: string | undefined;
  /** Folder in which weights outlive the device's process. Default: they are kept while it runs. */
  readonly cache?: string | undefined;
  readonly busyWaitMs?: number | undefined;
  readonly keepaliveS?: number | undefined;
  readonly log?: ((line: string) => void) | undefined;
}

export interface Agent {
  readonly id: string;
  /** Of the provider. */
  readonly address: string;
  /** Leaves the cluster in good order. */
  close(): Promise<void>;
}

/** Programs at once: the one in force, the one before, the next one, and those that stand by. */
const MAX_JOBS = 8;
/** Waiting for a model that the controller has announced. */
const MODEL_MS = 10_000;
/** Orders that may wait for their turn: a controller gives one at a time. */
const MAX_ORDERS = 64;

/** Joins a cluster. Rejects as `startProvider` and `openBus` do. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  checkName(options.cluster, 'a cluster');
  checkName(options.id, 'a device');
  const { transport, createEngine, engineName, log, busyWaitMs } = options;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  const undo: (() => Promise<void>)[] = [];
  try {
    const provider = await startProvider({
      transport,
      listen: `${host}:0`,
      createEngine,
      engineName,
      maxJobs: MAX_JOBS,
      cache: options.cache,
      ...(busyWaitMs === undefined ? {} : { busyWaitMs }),
      ...(log === undefined ? {} : { log }),
    });
    undo.push(() => provider.close());
    const probe = await answerMessages(transport, `${host}:0`);
    undo.push(() => probe.close());
    const member = new Member(options, provider.address, probe.address);
    undo.push(() => member.close());
    await member.open();
    return { id: options.id, address: provider.address, close: () => undone(undo) };
  } catch (error) {
    await undone(undo);
    throw error;
  }
}

async function undone(undo: (() => Promise<void>)[]): Promise<void> {
  for (let action = undo.pop(); action !== undefined; action = undo.pop()) await action();
}

/** The device's end of the control plane. */
class Member {
  readonly #options: AgentOptions;
  readonly #session: string = randomBytes(8).toString('hex');
  readonly #address: string;
  readonly #probe: string;
  readonly #stop = new AbortController();
  #bus: Bus | undefined;
  /** Orders are carried out one after another: measurements would disturb each other. */
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(options: AgentOptions, address: string, probe: string) {
    this.#options = options;
    this.#address = address;
    this.#probe = probe;
  }

  #topic(topic: Topic): string {
    return topicOf(this.#options.cluster, topic);
  }

  #status(status: 'online' | 'left' | 'lost'): Uint8Array {
    return encode('status', { version: MESSAGE_VERSION, session: this.#session, status, at: Date.now() });
  }

  async open(): Promise<void> {
    const { id, endpoint, keepaliveS } = this.#options;
    const status = this.#topic({ kind: 'status', id });
    const bus = await openBus({
      endpoint,
      clientId: `${DEVICE_CLIENT}${id}`,
      will: { topic: status, payload: this.#status('lost') },
      keepaliveS,
      onState: (connected) => this.#options.log?.(connected ? 'connected to the broker' : 'the broker is away'),
    });
    this.#bus = bus;
    await bus.subscribe(this.#topic({ kind: 'orders', id }), (_topic, payload) => this.#hear(payload));
    const { identity } = this.#options;
    if (identity !== undefined)
      await bus.subscribe(
        this.#topic({ kind: 'revocations' }),
        (_topic, payload) => void this.#revoked(identity, payload),
      );
    this.#announce();
    // The last will of an earlier connection may be said after this one's status.
    await bus.subscribe(status, (_topic, payload) => this.#correct(payload));
  }

  #announce(): void {
    const { id, name = id, threads = 1, memoryMb, engineName, software } = this.#options;
    const processors = cpus();
    const announcement = {
      version: MESSAGE_VERSION,
      session: this.#session,
      id,
      name: name.slice(0, 512),
      address: this.#address,
      probe: this.#probe,
      cpu: (processors[0]?.model ?? 'unknown').slice(0, 512),
      cores: Math.max(1, processors.length),
      memoryMb,
      threads,
      engine: engineName,
      software,
      at: Date.now(),
    };
    this.#bus?.state(this.#topic({ kind: 'announce', id }), encode('announce', announcement));
    this.#bus?.state(this.#topic({ kind: 'status', id }), this.#status('online'));
  }

  #correct(payload: Uint8Array): void {
    if (this.#stop.signal.aborted || payload.byteLength === 0) return;
    try {
      const { session, status } = decode('status', payload);
      if (session === this.#session && status === 'online') return;
    } catch {
      // Whatever it is, it is not what this device says of itself.
    }
    this.#bus?.state(this.#topic({ kind: 'status', id: this.#options.id }), this.#status('online'));
  }

  /** Takes a list of revoked certificates over; the identity itself looks whether it is newer and truly of the cluster's CA. */
  async #revoked(identity: Identity, payload: Uint8Array): Promise<void> {
    if (payload.byteLength === 0 || payload.byteLength > MAX_PAYLOAD.revocations) return;
    try {
      const taken = await identity.revocations.accept(new TextDecoder().decode(payload));
      if (taken) this.#options.log?.('took over a newer list of revoked certificates');
    } catch (error) {
      this.#options.log?.(
        `a list of revoked certificates was refused: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  #hear(payload: Uint8Array): void {
    let order: Order;
    try {
      order = decode('orders', payload);
    } catch (error) {
      this.#options.log?.(`an order was refused: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    if (this.#waiting >= MAX_ORDERS) {
      this.#options.log?.(`an order was refused: ${MAX_ORDERS} others wait for their turn`);
      return;
    }
    this.#waiting += 1;
    this.#work = this.#work
      .then(() => this.#carryOut(order))
      .finally(() => {
        this.#waiting -= 1;
      });
  }

  /** Never rejects: what goes wrong is the answer. */
  async #carryOut(order: Order): Promise<void> {
    try {
      if (this.#stop.signal.aborted) return;
      if (order.kind === 'profile') await this.#profile(order);
      else await this.#links(order);
      await this.#answer(order.request, undefined);
    } catch (error) {
      const facts = error instanceof DistrEdgeError ? error : new DistrEdgeError('INTERNAL', String(error));
      this.#options.log?.(`an order could not be carried out: ${facts.message}`);
      await this.#answer(order.request, facts);
    }
  }

  async #answer(request: string, error: DistrEdgeError | undefined): Promise<void> {
    const cut = Object.fromEntries(
      Object.entries(error?.toJSON() ?? {}).map(([key, text]) => [key, text.slice(0, 512)]),
    );
    const answer: Answer = {
      version: MESSAGE_VERSION,
      request,
      session: this.#session,
      at: Date.now(),
      ...(error === undefined ? {} : { error: cut }),
    };
    const topic = this.#topic({ kind: 'answer', id: this.#options.id });
    await this.#bus?.publish(topic, encode('answer', answer)).catch(() => undefined);
  }

  async #profile({ hash, budgetMs }: Extract<Order, { kind: 'profile' }>): Promise<void> {
    const { id, threads = 1, engineName, memoryMb, profiles, measure, log } = this.#options;
    const device = { id, engine: engineName, threads, cpu: cpus()[0]?.model ?? 'unknown' };
    const { analysis, workload } = unpackModel(await this.#model(hash), hash);
    const key = { device, model: { name: workload.model, hash } };
    let profile = await readCachedProfile(key, profiles);
    if (profile === undefined) {
      log?.(`measuring ${workload.model}`);
      profile = await measure(analysis, workload, { device, memoryMb, budgetMs, signal: this.#stop.signal });
      await writeCachedProfile(profile, profiles).catch((error: unknown) => log?.(`the profile is not kept: ${error}`));
    }
    this.#bus?.state(this.#topic({ kind: 'profile', id, hash }), encode('profile', profile));
  }

  /** The model that the controller hands out under this hash. */
  async #model(hash: string): Promise<Uint8Array> {
    const bus = this.#bus as Bus;
    const topic = this.#topic({ kind: 'model', hash });
    let stop = (): void => undefined;
    try {
      return await new Promise<Uint8Array>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new DistrEdgeError('DEADLINE', 'the model to be measured did not come', { where: topic })),
          MODEL_MS,
        );
        const subscribed = bus.subscribe(topic, (_topic, payload) => {
          clearTimeout(timer);
          resolve(payload);
        });
        stop = () => {
          clearTimeout(timer);
          subscribed.then((unsubscribe) => unsubscribe()).catch(() => undefined);
        };
        subscribed.catch(reject);
      });
    } finally {
      stop();
    }
  }

  async #links({ peers, deadlineMs }: Extract<Order, { kind: 'links' }>): Promise<void> {
    const { id, transport, cluster, identity } = this.#options;
    for (const peer of peers) {
      const to = identity === undefined ? transport : towards(transport, () => peer.id);
      const { mbps, latencyMs } = await quickLink(to, peer.address, deadlineMs);
      const report = { version: MESSAGE_VERSION, from: id, to: peer.id, mbps, latencyMs, at: Date.now() };
      this.#bus?.state(topicOf(cluster, { kind: 'link', id, peer: peer.id }), encode('link', report));
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    const bus = this.#bus;
    if (bus === undefined) return;
    const status = this.#topic({ kind: 'status', id: this.#options.id });
    if (bus.connected) bus.state(status, this.#status('left'));
    await bus.close();
    await this.#work;
  }
}
