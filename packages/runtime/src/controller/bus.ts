/**
 * One member's connection to the broker: comes back by itself, says its retained state again whenever it does (a broker that was
 * restarted knows nothing), and never waits without a deadline. What is no state and cannot be sent at once is refused, so
 * nothing piles up while the broker is away.
 */
import { connect as netConnect } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import type { MqttClient } from 'mqtt';
import { isLoopback, parseAddress } from '../link/address.js';
import { within } from '../protocol.js';
import { guardSocket, type Identity, tlsOptionsFor } from '../security/index.js';
import { MAX_PACKET_BYTES } from './messages.js';
import { guardPackets } from './packet-guard.js';
import { matches } from './topics.js';

/** How a broker is reached. */
export interface Endpoint {
  /** For people. */
  readonly name: string;
  /** A fresh connection. */
  open(): Duplex;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

export interface BusOptions {
  readonly endpoint: Endpoint;
  readonly clientId: string;
  /** What the broker says, retained, when this member is gone without a word. */
  readonly will?: { readonly topic: string; readonly payload: Uint8Array } | undefined;
  /**
   * A member that is silent for one and a half times as long is gone. A process that ends is missed at once, and one that is
   * frozen by its data links; so this may be slower than a model takes to load. Default 6 s.
   */
  readonly keepaliveS?: number | undefined;
  /** Longest wait for the first connection, and for every acknowledgement, in ms. Default 10000. */
  readonly deadlineMs?: number | undefined;
  /** Told whenever the connection comes or goes. */
  readonly onState?: ((connected: boolean) => void) | undefined;
}

export type BusHandler = (topic: string, payload: Uint8Array) => void;

export interface Bus {
  readonly connected: boolean;
  /** Says something that holds from now on: at once, and again after every reconnection. Empty: no longer. Bounded by the number of topics. */
  state(topic: string, payload: Uint8Array): void;
  /** Says something once. Rejects with `LINK_CLOSED` without a connection, or `DEADLINE`. */
  publish(topic: string, payload: Uint8Array): Promise<void>;
  /** Calls `handler` for messages that the filter matches, until the returned function is called. Rejects with `DEADLINE`. */
  subscribe(filter: string, handler: BusHandler): Promise<() => void>;
  /** Leaves in good order, what was said before included; the last will is not said. */
  close(): Promise<void>;
}

const KEEPALIVE_S = 6;
const RECONNECT_MS = 500;
const DEADLINE_MS = 10_000;
const LEAVE_MS = 1000;
/** Topics that one member keeps a state in. */
const MAX_STATES = 65_536;

/** A broker at `host:port` on this machine, or, with an identity, anywhere, over TLS. */
export function addressEndpoint(address: string, identity?: Identity): Endpoint {
  const { host, port } = parseAddress(address);
  if (identity === undefined) {
    if (!isLoopback(host)) throw unprotected(address);
    return { name: address, open: () => netConnect({ host, port, noDelay: true }) };
  }
  return {
    name: address,
    open() {
      const socket = tlsConnect({ ...tlsOptionsFor(identity, { server: 'controller' }), host, port });
      socket.once('secureConnect', () => {
        try {
          guardSocket(identity, socket);
        } catch (error) {
          socket.destroy(error as Error);
        }
      });
      return socket;
    },
  };
}

/**
 * An external broker: `mqtts://user:password@host:port`, or `mqtt://…` on this machine. `ca` (PEM) is trusted instead of the
 * system's authorities.
 */
export function brokerEndpoint(text: string, ca?: string): Endpoint {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw notABroker(text);
  }
  const secure = url.protocol === 'mqtts:';
  if ((!secure && url.protocol !== 'mqtt:') || url.hostname === '' || url.pathname.length > 1) throw notABroker(text);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port === '' ? (secure ? 8883 : 1883) : Number(url.port);
  const name = `${url.protocol}//${url.host}`;
  if (!secure && !isLoopback(host)) throw unprotected(name);
  return {
    name,
    open: () =>
      secure
        ? tlsConnect({ host, port, servername: host, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) })
        : netConnect({ host, port, noDelay: true }),
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
  };
}

/** Connects. Rejects with `LINK_FAILED` and why, or `DEADLINE`. */
export async function openBus(options: BusOptions): Promise<Bus> {
  // Loaded here: most commands need no bus.
  const mqtt = await import('mqtt');
  const bus = new MqttBus(mqtt.MqttClient, options);
  try {
    await bus.ready();
    return bus;
  } catch (error) {
    await bus.close();
    throw error;
  }
}

class MqttBus implements Bus {
  readonly #options: BusOptions;
  readonly #client: MqttClient;
  readonly #states = new Map<string, Uint8Array>();
  readonly #handlers = new Map<string, Set<BusHandler>>();
  /** What `onState` was told last. */
  #told = false;
  #lastError: Error | undefined;
  #closed = false;

  constructor(Client: typeof MqttClient, options: BusOptions) {
    this.#options = options;
    const { endpoint, clientId, will, keepaliveS = KEEPALIVE_S, deadlineMs = DEADLINE_MS } = options;
    this.#client = new Client(
      () => {
        const stream = guardPackets(endpoint.open(), MAX_PACKET_BYTES);
        stream.on('error', (error: Error) => {
          this.#lastError = error;
        });
        return stream as never;
      },
      {
        clientId,
        clean: true,
        protocolVersion: 4,
        keepalive: keepaliveS,
        reconnectPeriod: RECONNECT_MS,
        reconnectOnConnackError: true,
        connectTimeout: Math.min(deadlineMs, 5000),
        queueQoSZero: false,
        resubscribe: false,
        timerVariant: 'native',
        ...(endpoint.username === undefined ? {} : { username: endpoint.username }),
        ...(endpoint.password === undefined ? {} : { password: endpoint.password }),
        ...(will === undefined
          ? {}
          : { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true } }),
      },
    );
    this.#client.on('error', (error) => {
      this.#lastError = error;
    });
    this.#client.on('connect', () => this.#again());
    // Every attempt to come back that fails closes, too.
    this.#client.on('close', () => this.#tell(false));
    this.#client.on('message', (topic, payload) => this.#heard(topic, payload));
  }

  get connected(): boolean {
    return this.#client.connected;
  }

  get #deadlineMs(): number {
    return this.#options.deadlineMs ?? DEADLINE_MS;
  }

  async ready(): Promise<void> {
    if (this.connected) return;
    let stop = (): void => undefined;
    const connected = new Promise<void>((resolve, reject) => {
      const failed = (error: Error & { code?: number | string }): void => {
        // A broker that refuses the name or the password will not think better of it.
        if (typeof error.code === 'number') reject(this.#noBroker(error));
      };
      this.#client.once('connect', () => resolve());
      this.#client.on('error', failed);
      stop = () => this.#client.off('error', failed);
    });
    try {
      await within(connected, this.#deadlineMs, 'the broker did not answer', () => this.#options.endpoint.name);
    } catch (error) {
      throw this.#lastError === undefined ? error : this.#noBroker(this.#lastError);
    } finally {
      stop();
    }
  }

  #noBroker(cause: Error & { code?: number | string }): DistrEdgeError {
    if (cause instanceof DistrEdgeError) return cause;
    const refusedName = cause.code === 4 || cause.code === 5;
    return new DistrEdgeError('LINK_FAILED', 'no connection to the broker', {
      where: this.#options.endpoint.name,
      got: cause.message,
      hint: refusedName
        ? 'check the user name and the password, and that no other device of the cluster has the same name'
        : 'is the controller (distredge up) or the broker running, and is this its address?',
      cause,
    });
  }

  state(topic: string, payload: Uint8Array): void {
    if (!this.#states.has(topic) && this.#states.size >= MAX_STATES) {
      throw new DistrEdgeError('INTERNAL', 'too many topics have a state', { where: topic });
    }
    this.#states.set(topic, payload);
    if (this.connected) this.#say(topic, payload);
  }

  #say(topic: string, payload: Uint8Array): void {
    // Whether or not this arrives: a lost connection is followed by another one, and all is said again.
    this.#client.publish(topic, Buffer.from(payload), { qos: 1, retain: true }, () => undefined);
  }

  /** Everything that was subscribed to and said before, on a fresh connection. */
  #again(): void {
    this.#lastError = undefined;
    for (const filter of this.#handlers.keys()) this.#client.subscribe(filter, { qos: 1 }, () => undefined);
    for (const [topic, payload] of this.#states) {
      this.#say(topic, payload);
      if (payload.byteLength === 0) this.#states.delete(topic);
    }
    this.#tell(true);
  }

  #tell(connected: boolean): void {
    if (this.#told === connected) return;
    this.#told = connected;
    this.#options.onState?.(connected);
  }

  async publish(topic: string, payload: Uint8Array): Promise<void> {
    if (!this.connected || this.#closed) {
      throw new DistrEdgeError('LINK_CLOSED', 'there is no connection to the broker', {
        where: this.#options.endpoint.name,
      });
    }
    const sent = new Promise<void>((resolve, reject) => {
      this.#client.publish(topic, Buffer.from(payload), { qos: 1 }, (error) =>
        error ? reject(this.#unsaid(topic, error)) : resolve(),
      );
    });
    await within(sent, this.#deadlineMs, 'the broker did not take a message', () => topic);
  }

  #unsaid(where: string, cause: Error): DistrEdgeError {
    return new DistrEdgeError('LINK_CLOSED', 'the broker refused a message or a subscription, or went away', {
      where: `${this.#options.endpoint.name}, ${where}`,
      got: cause.message,
      hint: 'may this user read and write below distredge/ there?',
      cause,
    });
  }

  async subscribe(filter: string, handler: BusHandler): Promise<() => void> {
    const known = this.#handlers.get(filter);
    if (known === undefined) this.#handlers.set(filter, new Set([handler]));
    else known.add(handler);
    if (this.connected) {
      const done = new Promise<void>((resolve, reject) => {
        this.#client.subscribe(filter, { qos: 1 }, (error) =>
          error ? reject(this.#unsaid(filter, error)) : resolve(),
        );
      });
      await within(done, this.#deadlineMs, 'the broker did not take a subscription', () => filter);
    }
    return () => {
      const left = this.#handlers.get(filter);
      left?.delete(handler);
      if (left?.size !== 0) return;
      this.#handlers.delete(filter);
      if (this.connected) this.#client.unsubscribe(filter, () => undefined);
    };
  }

  #heard(topic: string, payload: Uint8Array): void {
    for (const [filter, handlers] of this.#handlers) {
      if (matches(filter, topic)) for (const handler of [...handlers]) handler(topic, payload);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await new Promise<void>((resolve) => {
      // A broker that does not answer is left without a word.
      const timer = setTimeout(() => this.#client.end(true, () => resolve()), LEAVE_MS);
      this.#client.end(!this.connected, () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function unprotected(where: string): DistrEdgeError {
  return new DistrEdgeError('ADDRESS_NOT_LOOPBACK', 'the control plane leaves this machine only encrypted', {
    where,
    expected: 'mqtts:// for a broker, a joined device (distredge join --code) for a controller',
    hint: 'use mqtts://, or join with the code that the controller prints',
  });
}

function notABroker(text: string): DistrEdgeError {
  return new DistrEdgeError('ADDRESS_INVALID', 'this is not the address of a broker', {
    where: text.replace(/\/\/[^@/]*@/, '//…@').slice(0, 200),
    expected: 'mqtts://user:password@host:port, or mqtt:// on this machine',
  });
}
