/**
 * The MQTT broker inside the controller. On loopback it takes anybody of this machine; beyond, only members of the cluster, over
 * TLS. Whoever they are, devices speak of themselves only, and say only what the control plane has words for.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import type { AedesPublishPacket, Client, PublishPacket } from 'aedes';
import { formatAddress, isLoopback, parseAddress } from '../link/address.js';
import { guardSocket, type Identity, tlsOptionsFor } from '../security/index.js';
import { MAX_PAYLOAD } from './messages.js';
import { guardPackets } from './packet-guard.js';
import { isName, parseTopic } from './topics.js';

export interface BrokerOptions {
  readonly cluster: string;
  /** `host:port`; port 0 takes any free one. */
  readonly listen: string;
  /** The controller's; without one the broker stays on loopback. */
  readonly identity?: Identity | undefined;
  /** Hears of refused connections and messages, for logs. */
  readonly log?: ((line: string) => void) | undefined;
}

export interface Broker {
  /** Where devices dial it. */
  readonly address: string;
  /** A connection of the controller itself, inside the process. */
  connect(): Duplex;
  close(): Promise<void>;
}

/** Connections at once. */
const MAX_CONNECTIONS = 4096;
/** A connection that has not said who it is by then is closed. */
const HELLO_MS = 5000;
/** What all retained messages may take together. */
const MAX_RETAINED_BYTES = 256 * 2 ** 20;
const MAX_RETAINED = 65_536;
/** And those of one device: links to all others, and profiles. No device takes the room of the others. */
const MAX_DEVICE_RETAINED = 2048;
const MAX_DEVICE_BYTES = 48 * 2 ** 20;
/** Filters that one client listens to. */
const MAX_FILTERS = 256;
/** Messages with QoS 2 that the broker keeps for one client; members use QoS 1. */
const MAX_INBOUND = 4;
/** What waits for a client that does not read; one that is further behind is cut off. */
const MAX_UNREAD_BYTES = 32 * 2 ** 20;
const CLOSE_MS = 1000;

/** What the client ids of devices begin with; others only listen and ask. */
export const DEVICE_CLIENT = 'device-';
export const OBSERVER_CLIENT = 'observer-';

/** Starts a broker. Rejects with `ADDRESS_IN_USE`, `ADDRESS_INVALID`, or `ADDRESS_NOT_LOOPBACK` where an identity is missing. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const where = parseAddress(options.listen);
  if (options.identity === undefined && !isLoopback(where.host)) {
    throw new DistrEdgeError('ADDRESS_NOT_LOOPBACK', 'beyond this machine, a broker needs certificates', {
      where: options.listen,
      hint: 'listen on 127.0.0.1, or give the cluster an authority',
    });
  }
  const rules = new Rules(options);
  // Loaded here: most commands need no broker.
  const { Aedes } = await import('aedes');
  const aedes = await Aedes.createBroker({
    connectTimeout: HELLO_MS,
    maxTopicLevels: 8,
    queueLimit: 256,
    maxInflightInbound: MAX_INBOUND,
    // One that does not read would hold up all others: it is cut off by what waits for it instead.
    concurrency: 0,
    authorizeForward: (client, packet) => rules.keepsUp(client, packet),
    authenticate: (client, _user, _password, done) => done(null, rules.admits(client)),
    authorizePublish: (client, packet, done) => done(rules.publishes(client, packet)),
    authorizeSubscribe: (client, subscription, done) =>
      done(null, rules.hears(client, subscription.topic) ? subscription : null),
  });
  const refused = (client: Client, error: Error): void =>
    options.log?.(`${client.id ?? 'a connection'}: ${error.message}`);
  aedes.on('clientError', refused);
  aedes.on('connectionError', refused);

  const sockets = new Set<Socket>();
  const accept = (socket: Socket, peer: string | undefined): void => {
    if (sockets.size >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    socket.setNoDelay(true);
    const stream = guardPackets(socket);
    rules.know(stream, peer);
    aedes.handle(stream);
  };
  const server = serverFor(options, accept);
  const taken = await bind(server, options.listen, where);
  const inside = new Set<Duplex>();
  return {
    address: taken,
    connect() {
      const [near, far] = duplexPair();
      rules.trust(far);
      inside.add(near);
      near.once('close', () => inside.delete(near));
      for (const end of [near, far]) end.on('error', () => undefined);
      // The ends of a pair do not know of each other's end by themselves.
      near.once('close', () => far.destroy());
      far.once('close', () => near.destroy());
      aedes.handle(far);
      return near;
    },
    async close() {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      await Promise.race([
        new Promise<void>((resolve) => aedes.close(() => resolve())),
        new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref()),
      ]);
      for (const socket of sockets) socket.destroy();
      for (const end of inside) end.destroy();
      await closed;
    },
  };
}

function serverFor({ identity, log }: BrokerOptions, accept: (socket: Socket, peer?: string) => void): Server {
  if (identity === undefined) return createServer((socket) => accept(socket, undefined));
  const server = createTlsServer({ ...tlsOptionsFor(identity), handshakeTimeout: HELLO_MS }, (socket: TLSSocket) => {
    try {
      const { deviceId, role } = guardSocket(identity, socket);
      accept(socket, role === 'controller' ? 'controller' : deviceId);
    } catch (error) {
      log?.(`${socket.remoteAddress ?? 'a connection'}: ${error instanceof Error ? error.message : String(error)}`);
      socket.destroy();
    }
  });
  server.on('tlsClientError', (error, socket) => {
    log?.(`${socket.remoteAddress ?? 'a connection'} was refused: ${error.message}`);
    socket.destroy();
  });
  return server;
}

function bind(server: Server, listen: string, { host, port }: { host: string; port: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const inUse = error.code === 'EADDRINUSE';
      reject(
        new DistrEdgeError(inUse ? 'ADDRESS_IN_USE' : 'LINK_FAILED', `the broker cannot listen on ${listen}`, {
          where: listen,
          got: error.code ?? error.message,
          hint: inUse
            ? 'another process listens there: stop it, or choose another port'
            : 'does this machine have that address?',
          cause: error,
        }),
      );
    });
    server.listen({ host, port }, () => {
      // A connection that cannot be accepted is its dialler's loss.
      server.on('error', () => undefined);
      const bound = server.address();
      resolve(
        bound === null || typeof bound === 'string' ? listen : formatAddress({ host: bound.address, port: bound.port }),
      );
    });
  });
}

/** Who may say what. */
class Rules {
  readonly #options: BrokerOptions;
  readonly #trusted = new WeakSet<object>();
  /** Connections that were let in: the broker library asks about packets of others, too. */
  readonly #admitted = new WeakSet<object>();
  /** By connection, the device id of its certificate. */
  readonly #peers = new WeakMap<object, string | undefined>();
  /** Bytes of every retained message, and of those of every device. */
  readonly #retained = new Map<string, number>();
  readonly #retainedBy = new Map<string, { count: number; bytes: number }>();
  #retainedBytes = 0;

  constructor(options: BrokerOptions) {
    this.#options = options;
  }

  trust(stream: Duplex): void {
    this.#trusted.add(stream);
  }

  know(stream: Duplex, peer: string | undefined): void {
    this.#peers.set(stream, peer);
  }

  /** Whether a client is let in under the id that it gave itself. */
  admits(client: Client): boolean {
    const admitted = this.#trusted.has(client.conn) || this.#mayBe(client);
    if (admitted) this.#admitted.add(client.conn);
    return admitted;
  }

  #mayBe({ id, clean, conn }: Client): boolean {
    // What is kept for clients that are away has no bound; members of the cluster ask for none.
    if (!clean) return false;
    if (id.startsWith(OBSERVER_CLIENT)) return isName(id);
    const device = id.startsWith(DEVICE_CLIENT) ? id.slice(DEVICE_CLIENT.length) : '';
    if (!isName(device) || device === 'controller') return false;
    return this.#options.identity === undefined || this.#peers.get(conn) === device;
  }

  /** Whether a client may listen there: to its cluster, and the controller itself to anything. */
  hears(client: Client | null, filter: string): boolean {
    if (client === null || this.#trusted.has(client.conn)) return true;
    const { subscriptions } = client as Client & { readonly subscriptions?: Readonly<Record<string, unknown>> };
    return (
      this.#admitted.has(client.conn) &&
      filter.startsWith(`distredge/${this.#options.cluster}/`) &&
      Object.keys(subscriptions ?? {}).length < MAX_FILTERS
    );
  }

  /** The message, unless so much waits for its receiver that it is cut off. */
  keepsUp(client: Client, packet: AedesPublishPacket): AedesPublishPacket | null {
    if (client.conn.writableLength <= MAX_UNREAD_BYTES) return packet;
    client.conn.destroy(new Error('it does not read what it listens to'));
    return null;
  }

  /** Why a message is refused; its sender is then cut off. Null for one that is right. */
  publishes(client: Client | null, packet: PublishPacket): Error | null {
    const { topic: text, payload, retain } = packet;
    // The broker's own heartbeat.
    if (client === null) return null;
    if (!this.#trusted.has(client.conn) && !this.#admitted.has(client.conn))
      return new Error('it publishes before it was let in');
    const topic = parseTopic(this.#options.cluster, text);
    const bytes = payload.length;
    if (topic === undefined) return new Error('it publishes to a topic that is not of this cluster');
    if (bytes > MAX_PAYLOAD[topic.kind]) return new Error(`it publishes ${bytes} bytes to ${topic.kind}`);
    if (!this.#trusted.has(client.conn)) {
      const own = client.id.startsWith(DEVICE_CLIENT) ? client.id.slice(DEVICE_CLIENT.length) : undefined;
      const speaksOfItself = 'id' in topic && topic.id === own && topic.kind !== 'orders';
      if (!speaksOfItself && topic.kind !== 'ask')
        return new Error(`it publishes to ${topic.kind}, which is not its own`);
    }
    if (!retain) return null;
    // As it came it is a piece of all that was read with it, which would be kept, too.
    packet.payload = Buffer.from(Uint8Array.from(Buffer.from(payload)).buffer);
    return this.#keep(text, bytes, 'id' in topic ? topic.id : undefined);
  }

  /** Makes room for a retained message, of the device `id` where it is one's. */
  #keep(topic: string, bytes: number, id: string | undefined): Error | null {
    const before = this.#retained.get(topic);
    const more = bytes - (before ?? 0);
    const one = (bytes === 0 ? 0 : 1) - (before === undefined ? 0 : 1);
    const own = this.#retainedBy.get(id ?? '') ?? { count: 0, bytes: 0 };
    const [count, sum] = [own.count + one, own.bytes + more];
    if (id !== undefined && ((one > 0 && count > MAX_DEVICE_RETAINED) || (more > 0 && sum > MAX_DEVICE_BYTES)))
      return new Error('the broker keeps as much of one device as it may');
    const total = this.#retainedBytes + more;
    if ((more > 0 && total > MAX_RETAINED_BYTES) || (one > 0 && this.#retained.size >= MAX_RETAINED))
      return new Error('the broker keeps as much as it may');
    this.#retainedBytes = total;
    if (bytes === 0) this.#retained.delete(topic);
    else this.#retained.set(topic, bytes);
    if (id === undefined) return null;
    if (count === 0) this.#retainedBy.delete(id);
    else this.#retainedBy.set(id, { count, bytes: sum });
    return null;
  }
}
