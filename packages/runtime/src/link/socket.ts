/**
 * What links over sockets have in common, with or without TLS: listening, a connected socket as the wire of a link, and errors that
 * say what to do. A send settles when the kernel holds its last byte, so nothing is queued here that its owner does not know of.
 */
import { connect, type Server, type Socket } from 'node:net';
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import { type Address, formatAddress, parseAddress } from './address.js';
import { FramedLink, MAX_TIMER_MS, type Wire } from './framed-link.js';
import type { Link, LinkHandlers, LinkOptions, LinkPeer } from './link.js';

/** Dialling gives up after this long, in ms. */
export const DEFAULT_DEADLINE_MS = 5000;
/** How long an idle link waits before the kernel asks whether the other end is alive. */
const KEEPALIVE_MS = 10_000;
/** How long a link that closed in good order waits for the other end to do the same. */
const LINGER_MS = 1000;

/** Up to this size a frame is copied into one piece: copying costs less than telling the system of several. */
const COPY_BYTES = 128 * 1024;

export type MakeHandlers = (link: Link) => LinkHandlers;

/** The other end's address. */
export function remoteOf(socket: Socket): string {
  return formatAddress({ host: socket.remoteAddress ?? 'unknown', port: socket.remotePort ?? 0 });
}

/** Connects. Rejects with `ADDRESS_INVALID`, `LINK_FAILED` or `DEADLINE`. */
export async function dialSocket(address: string, deadlineMs: number = DEFAULT_DEADLINE_MS): Promise<Socket> {
  const { host, port } = parseAddress(address);
  if (port === 0) {
    throw new DistrEdgeError('ADDRESS_INVALID', `${address} cannot be dialled: port 0 is no port`, {
      where: address,
      expected: 'the port that the other end listens on',
    });
  }
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(
      () => {
        socket.destroy();
        reject(socketFailure('DEADLINE', `No answer within ${deadlineMs} ms`, address, { code: 'ETIMEDOUT' }));
      },
      Math.min(deadlineMs, MAX_TIMER_MS),
    );
    const refused = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      reject(socketFailure('LINK_FAILED', `No link to ${address}`, address, error));
    };
    socket.once('error', refused);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', refused);
      // Until somebody takes the socket over, an error shows in its closing.
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

/** Starts listening; returns the address that was taken. */
export function bind(server: Server, address: string, { host, port }: Address): Promise<string> {
  return new Promise((resolve, reject) => {
    server.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code === 'EADDRINUSE' ? 'ADDRESS_IN_USE' : 'LINK_FAILED';
      reject(socketFailure(code, `Cannot listen on ${address}`, address, error));
    });
    server.listen({ host, port }, () => {
      // From here on an error is a connection that could not be accepted, for want of file descriptors, say: the dialler's
      // loss, and no reason to stop. (A promise settles once, so the handler above does nothing more.)
      const bound = server.address();
      resolve(
        bound === null || typeof bound === 'string'
          ? address
          : formatAddress({ host: bound.address, port: bound.port }),
      );
    });
  });
}

/** Stops listening and ends what was accepted, by `end`; resolves when all connections are closed. */
export function closeServer(server: Server, end: () => void): Promise<void> {
  return new Promise((resolve) => {
    // Sockets that linger keep no process alive; but a process in which somebody waits for their closing should not end before it.
    const waited = setInterval(() => {}, LINGER_MS);
    server.close(() => {
      clearInterval(waited);
      resolve();
    });
    end();
  });
}

/** What a socket's link needs besides the socket. */
export interface Adoption {
  /** The other end's address, for messages to people. */
  readonly remote: string;
  readonly handlers: MakeHandlers;
  readonly options: LinkOptions;
  /** Who the other end has proven to be, if it has. */
  readonly peer?: LinkPeer;
  /** Closes the connection at once, dropping what is queued, so that the other end notices. */
  readonly reset: () => void;
  readonly onClosed?: (link: FramedLink) => void;
}

/** Makes a connected socket a link. Rethrows what `handlers` throws, with the socket reset. */
export function adopt(socket: Socket, adoption: Adoption): FramedLink {
  let failed = (_error?: Error): void => {};
  socket.on('error', (error) => failed(error));
  socket.setKeepAlive(true, KEEPALIVE_MS);
  const { handlers, options, onClosed } = adoption;
  const link = new FramedLink(socketWire(socket, adoption), handlers, options, onClosed);
  failed = (error) => link.failed(error);
  socket.on('close', () => link.failed());
  socket.on('end', () => link.ended());
  socket.on('data', (chunk: Buffer) => link.received(chunk));
  return link;
}

function socketWire(socket: Socket, { remote, peer, reset }: Adoption): Wire {
  return {
    remote,
    ...(peer === undefined ? {} : { peer }),
    write(head, pieces, done) {
      const last = pieces.findLastIndex((piece) => piece.length > 0);
      if (last < 0) {
        socket.write(head, done);
        return;
      }
      const bytes = pieces.reduce((sum, piece) => sum + piece.length, head.length);
      if (bytes <= COPY_BYTES) {
        socket.write(Buffer.concat([head, ...pieces], bytes), done);
        return;
      }
      // Corked, the pieces leave in one writev.
      socket.cork();
      socket.write(head);
      for (let i = 0; i < last; i++) socket.write(pieces[i] as Uint8Array);
      socket.write(pieces[last] as Uint8Array, done);
      socket.uncork();
    },
    pause: () => {
      socket.pause();
    },
    resume: () => {
      socket.resume();
    },
    end() {
      // To close with unread bytes would reset the connection, and the other end could lose what it was sent last: so
      // read and drop until it has closed too, without keeping the process alive for that.
      socket.end();
      socket.resume();
      socket.unref();
      const linger = setTimeout(() => socket.destroy(), LINGER_MS).unref();
      socket.once('close', () => clearTimeout(linger));
    },
    reset,
  };
}

const HINTS: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'nothing listens there: start the other process first, and check the port'],
  ['ECONNRESET', 'something at that address closed the connection: check the port'],
  ['ENOTFOUND', 'no such host name: check its spelling, or use an IP address'],
  ['EAI_AGAIN', 'the name could not be looked up: check the network, or use an IP address'],
  ['EHOSTUNREACH', 'no route to that host: check the address and the network'],
  ['ENETUNREACH', 'no route to that network: check the address and the network'],
  ['ETIMEDOUT', 'check the address, that the other machine is on, and that no firewall drops the port'],
  ['EADDRINUSE', 'another process listens there: stop it, choose another port, or port 0 for any free one'],
  ['EADDRNOTAVAIL', 'this machine does not have that address'],
  ['EACCES', 'this user may not use that port: choose one above 1023'],
]);

export function socketFailure(
  code: ErrorCode,
  message: string,
  where: string,
  cause: { code?: string | undefined },
): DistrEdgeError {
  const got = cause.code ?? String(cause);
  const hint = HINTS.get(got);
  return new DistrEdgeError(code, message, { where, got, cause, ...(hint === undefined ? {} : { hint }) });
}
