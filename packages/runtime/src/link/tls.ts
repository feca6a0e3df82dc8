/**
 * Links over TLS 1.3 between members of one cluster. Both ends show certificates of the cluster's CA, and a link knows who its other
 * end is; it closes as soon as that device is revoked. Nothing is resumed: every connection proves itself anew.
 *
 * Once the handshake is through, the listener says in four bytes whether it accepts the dialler: with TLS 1.3 a dialler would
 * otherwise learn of its refusal only when its first frame is lost.
 */
import { createServer as createNetServer, type Socket } from 'node:net';
import { createServer, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import type { Identity } from '../security/contract.js';
import { guardSocket, tlsOptionsFor } from '../security/peer.js';
import { parseAddress } from './address.js';
import { MAX_TIMER_MS } from './framed-link.js';
import type { Link, LinkOptions, LinkPeer, Listener, Transport } from './link.js';
import {
  adopt,
  bind,
  closeServer,
  DEFAULT_DEADLINE_MS,
  dialSocket,
  type MakeHandlers,
  remoteOf,
  socketFailure,
} from './socket.js';

const ALPN = 'distredge-link/1';
const DEFAULT_HANDSHAKE_MS = 5000;
const DEFAULT_MAX_HANDSHAKES = 64;
/** How long a dialler that is told of its refusal may take to close. */
const FAREWELL_MS = 1000;

/** The listener's first bytes, in version 1: come in, or stay out. */
const ACCEPTED: Uint8Array = Uint8Array.of(0x44, 0x45, 1, 0);
const REFUSED: Uint8Array = Uint8Array.of(0x44, 0x45, 1, 1);

export interface TlsTransportOptions {
  /** How long a handshake that a listener takes part in may last, in ms. Default 5000. */
  readonly handshakeMs?: number;
  /** Handshakes that a listener takes part in at a time; further connections are dropped. Default 64. */
  readonly maxHandshakes?: number;
  /** Hears of every connection that a listener refused, for logs. */
  readonly onRefused?: (remote: string, error: DistrEdgeError) => void;
}

/** The transport between machines. Addresses are `host:port`; port 0 listens on any free port. */
export function createTlsTransport(identity: Identity, options: TlsTransportOptions = {}): Transport {
  return {
    name: 'tls',
    dial: (address, handlers, linkOptions) => dial(identity, address, handlers, linkOptions),
    listen: (address, handlers, linkOptions) => listen(identity, options, address, handlers, linkOptions),
  };
}

async function dial(
  identity: Identity,
  address: string,
  handlers: MakeHandlers,
  options: LinkOptions = {},
): Promise<Link> {
  const { deadlineMs = DEFAULT_DEADLINE_MS } = options;
  const until = performance.now() + deadlineMs;
  const raw = await dialSocket(address, deadlineMs);
  const socket = tlsConnect({ ...tlsOptionsFor(identity), socket: raw, ALPNProtocols: [ALPN] });
  const reset = (): void => {
    raw.resetAndDestroy();
  };
  try {
    await welcomed(socket, address, Math.max(until - performance.now(), 1), deadlineMs);
    let link: Link | undefined;
    const peer = guardSocket(identity, socket, (error) => link?.close(error));
    checkPeer(peer, address, options.expectPeer);
    link = adopt(socket, { remote: address, handlers, options, peer, reset });
    socket.resume();
    return link;
  } catch (error) {
    reset();
    throw error;
  }
}

/** Resolves when the handshake is through and the listener has accepted this end. */
function welcomed(socket: TLSSocket, address: string, ms: number, deadlineMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let secure = false;
    let head: Buffer = Buffer.alloc(0);
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      socket.off('data', data);
      socket.off('end', ended);
      socket.off('close', ended);
      socket.pause();
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(
      () => settle(socketFailure('DEADLINE', `No answer within ${deadlineMs} ms`, address, { code: 'ETIMEDOUT' })),
      Math.min(ms, MAX_TIMER_MS),
    );
    const ended = (): void => settle(dropped(address, secure));
    const data = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      if (head.length < ACCEPTED.length) return;
      const status = head.subarray(0, ACCEPTED.length);
      settle(ACCEPTED.every((byte, i) => status[i] === byte) ? undefined : notAccepted(address, status));
      if (head.length > ACCEPTED.length) socket.unshift(head.subarray(ACCEPTED.length));
    };
    socket.once('secureConnect', () => {
      secure = true;
    });
    socket.on('error', (error) => settle(handshakeFailure(error, address, secure)));
    socket.once('end', ended);
    socket.once('close', ended);
    socket.on('data', data);
  });
}

async function listen(
  identity: Identity,
  { handshakeMs = DEFAULT_HANDSHAKE_MS, maxHandshakes = DEFAULT_MAX_HANDSHAKES, onRefused }: TlsTransportOptions,
  address: string,
  handlers: MakeHandlers,
  options: LinkOptions = {},
): Promise<Listener> {
  const links = new Set<Link>();
  /** The sockets under handshakes that are not through, by their addresses: TLS does not tell which socket it runs over. */
  const young = new Map<string, Socket>();
  const refuse = (remote: string, error: DistrEdgeError): void => onRefused?.(remote, error);

  const tls = createServer({
    ...tlsOptionsFor(identity),
    // Who is not authorized is told so, and goes no further: `guardSocket` sees to it.
    rejectUnauthorized: false,
    ALPNProtocols: [ALPN],
    handshakeTimeout: handshakeMs,
  });
  tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    const remote = remoteOf(socket);
    young.get(keyOf(socket))?.resetAndDestroy();
    socket.destroy();
    refuse(remote, handshakeFailure(error, remote, false));
  });
  tls.on('secureConnection', (socket) => {
    const remote = remoteOf(socket);
    const raw = young.get(keyOf(socket));
    young.delete(keyOf(socket));
    if (raw === undefined) {
      socket.destroy();
      return;
    }
    const reset = (): void => {
      raw.resetAndDestroy();
    };
    let link: Link | undefined;
    let peer: LinkPeer;
    try {
      peer = guardSocket(identity, socket, (error) => link?.close(error));
    } catch (error) {
      socket.on('error', () => {});
      socket.end(REFUSED);
      socket.resume();
      const timer = setTimeout(reset, FAREWELL_MS).unref();
      raw.once('close', () => clearTimeout(timer));
      refuse(remote, error as DistrEdgeError);
      return;
    }
    socket.write(ACCEPTED);
    const onClosed = (closed: Link): void => {
      links.delete(closed);
    };
    try {
      link = adopt(socket, { remote, handlers, options, peer, reset, onClosed });
      links.add(link);
    } catch {
      // The owner refused this connection, which has been reset; the listener goes on.
    }
  });

  // Who dials from now on sees the new certificate; links that are open go on.
  const stop = identity.onRenewed(() => tls.setSecureContext(tlsOptionsFor(identity)));
  const server = createNetServer({ allowHalfOpen: true, noDelay: true }, (raw) => {
    const remote = remoteOf(raw);
    raw.on('error', () => {});
    if (young.size >= maxHandshakes) {
      raw.resetAndDestroy();
      refuse(remote, tooMany(remote, maxHandshakes));
      return;
    }
    const key = keyOf(raw);
    young.set(key, raw);
    raw.once('close', () => {
      if (young.get(key) === raw) young.delete(key);
    });
    tls.emit('connection', raw);
  });
  const taken = await bind(server, address, parseAddress(address));
  let closing: Promise<void> | undefined;
  return {
    address: taken,
    close: () => {
      closing ??= closeServer(server, () => {
        stop();
        for (const raw of young.values()) raw.resetAndDestroy();
        for (const link of links) link.close();
      });
      return closing;
    },
  };
}

/** Tells the connections of one listener apart. */
function keyOf(socket: Socket): string {
  return `${remoteOf(socket)} ${socket.localAddress}`;
}

function checkPeer(peer: LinkPeer, where: string, expected: string | undefined): void {
  if (expected === undefined || peer.deviceId === expected) return;
  throw new DistrEdgeError('PEER_REFUSED', 'Another device answers at this address', {
    where,
    expected: `device ${expected}`,
    got: `device ${peer.deviceId}`,
    hint: 'the address may have gone to another machine: look at the devices of the cluster again',
  });
}

const REJOIN = 'if it was revoked, its certificate ended, or it is of another cluster, it has to join again';

function notAccepted(where: string, status: Uint8Array): DistrEdgeError {
  if (REFUSED.every((byte, i) => status[i] === byte)) {
    return new DistrEdgeError('PEER_REFUSED', `${where} does not accept this device`, { where, hint: REJOIN });
  }
  return new DistrEdgeError('FRAME_INVALID', 'The other end does not speak this protocol', {
    where,
    expected: Buffer.from(ACCEPTED).toString('hex'),
    got: Buffer.from(status).toString('hex'),
    hint: 'run the same version of distredge on both ends',
  });
}

function dropped(where: string, secure: boolean): DistrEdgeError {
  const when = secure ? 'after the handshake' : 'during the handshake';
  return new DistrEdgeError('LINK_FAILED', `${where} closed the connection ${when}`, {
    where,
    got: 'ECONNRESET',
    hint: secure ? REJOIN : 'check that this is the port of a distredge process that takes part in a cluster with TLS',
  });
}

/** Errors of TLS itself: certificates that OpenSSL does not accept, other versions, no TLS at all. */
function handshakeFailure(error: NodeJS.ErrnoException, where: string, secure: boolean): DistrEdgeError {
  if (error instanceof DistrEdgeError) return error;
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return dropped(where, secure);
  const got = error.code ?? error.message;
  const foreign =
    /^(CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|CRL_|INVALID_|PATH_|UNSPECIFIED|ERR_SSL_.*(CERT|UNKNOWN_CA))/.test(got);
  return new DistrEdgeError(foreign ? 'PEER_REFUSED' : 'LINK_FAILED', `No trusted link to ${where}`, {
    where,
    expected: 'TLS 1.3 with a certificate of this cluster',
    got,
    cause: error,
    hint: foreign ? REJOIN : 'check that this is the port of a distredge process that takes part in a cluster with TLS',
  });
}

function tooMany(where: string, most: number): DistrEdgeError {
  return new DistrEdgeError('LINK_FAILED', 'Too many handshakes at a time', { where, expected: `at most ${most}` });
}
