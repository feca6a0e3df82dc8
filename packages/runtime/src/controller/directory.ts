/**
 * The controller's end of the control plane: folds what devices say into the registry, gives orders and hears their answers,
 * hands the model out, and tells the cluster about plans and events.
 */
import { randomBytes } from 'node:crypto';
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import type { Transport } from '../link/link.js';
import type { LinkFigures } from '../profile/link.js';
import { type Bus, type Endpoint, openBus } from './bus.js';
import { quickLink, slowerLink } from './links.js';
import { type Answer, decode, encode, type LinkReport, MESSAGE_VERSION, type Order } from './messages.js';
import { apply, EMPTY_REGISTRY, isOnline, type Registry, type RegistryEvent } from './registry.js';
import { eventOf } from './registry-events.js';
import { CONTROLLER, parseTopic, type Topic, topicOf } from './topics.js';

export interface DirectoryOptions {
  readonly cluster: string;
  readonly endpoint: Endpoint;
  /** For links that must be to this device. */
  readonly transportTo: (id: string) => Transport;
  readonly software: string;
  /** Where devices dial the controller; empty with an external broker. */
  readonly address: string;
  /** Name of the model that is served. */
  readonly model?: string | undefined;
  readonly keepaliveS?: number | undefined;
  readonly changed: (event: RegistryEvent, before: Registry, after: Registry) => void;
  readonly onBroker: (connected: boolean) => void;
  readonly problem: (error: DistrEdgeError) => void;
}

type Distribute<T> = T extends unknown ? Omit<T, 'version' | 'request'> : never;
/** An order without what the directory adds. */
export type NewOrder = Distribute<Order>;

interface Waiting {
  readonly id: string;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** As many orders may be unanswered at once. */
const MAX_WAITING = 4096;

export class Directory {
  readonly #options: DirectoryOptions;
  readonly #waiting = new Map<string, Waiting>();
  #bus!: Bus;
  #registry: Registry = EMPTY_REGISTRY;
  #closed = false;

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  get registry(): Registry {
    return this.#registry;
  }

  #topic(topic: Topic): string {
    return topicOf(this.#options.cluster, topic);
  }

  #status(status: 'online' | 'left' | 'lost'): Uint8Array {
    const { address, software, model } = this.#options;
    return encode('controller', {
      version: MESSAGE_VERSION,
      status,
      address,
      software,
      ...(model === undefined ? {} : { model: model.slice(0, 512) }),
      at: Date.now(),
    });
  }

  async open(): Promise<void> {
    const topic = this.#topic({ kind: 'controller' });
    this.#bus = await openBus({
      endpoint: this.#options.endpoint,
      clientId: `${CONTROLLER}-${randomBytes(8).toString('hex')}`,
      will: { topic, payload: this.#status('lost') },
      keepaliveS: this.#options.keepaliveS,
      onState: (connected) => {
        if (!this.#closed) this.#options.onBroker(connected);
      },
    });
    this.#bus.state(topic, this.#status('online'));
    await this.#bus.subscribe(`distredge/${this.#options.cluster}/devices/#`, (text, payload) =>
      this.#heard(text, payload),
    );
    await this.#bus.subscribe(this.#topic({ kind: 'ask' }), (_text, payload) => this.#asked(payload));
  }

  #heard(text: string, payload: Uint8Array): void {
    const topic = parseTopic(this.#options.cluster, text);
    if (topic === undefined || !('id' in topic) || topic.kind === 'orders' || this.#closed) return;
    try {
      if (payload.byteLength === 0) {
        if (topic.kind === 'announce') this.#take({ kind: 'forgotten', id: topic.id });
        return;
      }
      if (topic.kind === 'answer') this.#answered(topic.id, decode('answer', payload));
      else this.#take(eventOf(topic, payload));
    } catch (error) {
      if (error instanceof DistrEdgeError) this.#options.problem(error);
      else throw error;
    }
  }

  #take(event: RegistryEvent): void {
    const before = this.#registry;
    this.#registry = apply(before, event);
    if (this.#registry !== before) this.#options.changed(event, before, this.#registry);
  }

  #answered(id: string, answer: Answer): void {
    const waiting = this.#waiting.get(answer.request);
    if (waiting?.id === id) waiting.resolve(answer);
  }

  #asked(payload: Uint8Array): void {
    try {
      const { request } = decode('ask', payload);
      const reply = { version: MESSAGE_VERSION, request, at: Date.now(), software: this.#options.software };
      void this.#bus
        .publish(this.#topic({ kind: 'answers', request }), encode('answers', reply))
        .catch(() => undefined);
    } catch {
      // Nobody of ours asks like this.
    }
  }

  /**
   * Gives an order and waits until it is carried out. Rejects with the device's own error, `DEADLINE`, `LINK_CLOSED` without a
   * broker, or `CANCELLED`.
   */
  async order(id: string, order: NewOrder, deadlineMs: number): Promise<Answer> {
    if (this.#waiting.size >= MAX_WAITING) throw new DistrEdgeError('INTERNAL', 'too many orders wait for an answer');
    const request = randomBytes(8).toString('hex');
    let timer: NodeJS.Timeout | undefined;
    try {
      const answered = new Promise<Answer>((resolve, reject) => {
        this.#waiting.set(request, {
          id,
          resolve: (answer) => {
            if (answer.error === undefined) resolve(answer);
            else reject(errorOf(id, answer.error));
          },
          reject,
        });
        timer = setTimeout(() => {
          reject(
            new DistrEdgeError('DEADLINE', `a device did not carry out an order within ${deadlineMs} ms`, {
              where: `device '${id}', order '${order.kind}'`,
            }),
          );
        }, deadlineMs);
      });
      answered.catch(() => undefined);
      const message = { ...order, version: MESSAGE_VERSION, request };
      await this.#bus.publish(this.#topic({ kind: 'orders', id }), encode('orders', message));
      return await answered;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(request);
    }
  }

  /** Ends the wait for a device that is gone: its orders are given again when it is back. */
  release(id: string): void {
    const gone = new DistrEdgeError('PROVIDER_LOST', 'a device left before it carried out an order', {
      where: `device '${id}'`,
    });
    for (const waiting of this.#waiting.values()) if (waiting.id === id) waiting.reject(gone);
  }

  /** Measures the link from this process to a device. Rejects as `quickLink` does. */
  async measureLink(id: string, deadlineMs: number): Promise<void> {
    const { mbps, latencyMs } = await quickLink(this.#options.transportTo(id), this.#probeOf(id), deadlineMs);
    this.#take({
      kind: 'linked',
      report: { version: MESSAGE_VERSION, from: CONTROLLER, to: id, mbps, latencyMs, at: Date.now() },
    });
  }

  /** As `slowerLink`, for the link from this process to a device. */
  async slowerLink(id: string, known: LinkFigures, deadlineMs: number): Promise<number | undefined> {
    return slowerLink(this.#options.transportTo(id), this.#probeOf(id), known, deadlineMs);
  }

  #probeOf(id: string): string {
    const device = this.#registry.devices.get(id);
    if (device?.announcement !== undefined && isOnline(device)) return device.announcement.probe;
    throw new DistrEdgeError('PROVIDER_LOST', 'a device whose link was to be measured is gone', {
      where: `device '${id}'`,
    });
  }

  /** Takes links for what they seem to be, until they are measured. */
  suppose(reports: readonly LinkReport[]): void {
    for (const report of reports) this.#take({ kind: 'linked', report });
  }

  /** Says something that holds from now on. */
  state(topic: Topic, payload: Uint8Array): void {
    this.#bus.state(this.#topic(topic), payload);
  }

  /** Says something once, if there is a broker to say it to. */
  tell(kind: 'telemetry' | 'events', message: object): void {
    try {
      void this.#bus.publish(this.#topic({ kind }), encode(kind, message)).catch(() => undefined);
    } catch (error) {
      if (error instanceof DistrEdgeError) this.#options.problem(error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const over = new DistrEdgeError('CANCELLED', 'the controller was closed');
    for (const { reject } of this.#waiting.values()) reject(over);
    if (this.#bus === undefined) return;
    if (this.#bus.connected) this.#bus.state(this.#topic({ kind: 'controller' }), this.#status('left'));
    await this.#bus.close();
  }
}

function errorOf(
  id: string,
  { code = 'INTERNAL', message = '', where, ...facts }: Readonly<Record<string, string>>,
): Error {
  return new DistrEdgeError(code as ErrorCode, message, {
    where: where === undefined ? `device '${id}'` : `device '${id}': ${where}`,
    ...facts,
  });
}
