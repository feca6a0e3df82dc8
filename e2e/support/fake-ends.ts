/** Ends of a link that do not do what they should: providers for requesters to meet, and what a stranger sends to a provider. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll } from 'vitest';
import { encodeHeader } from '../../packages/runtime/src/link/frame.js';
import { FrameKind } from '../../packages/runtime/src/link/link.js';
import { PROTOCOL_VERSION } from '../../packages/runtime/src/protocol.js';

export { PROTOCOL_VERSION };

const servers = new Set<Server>();
const sockets = new Set<Socket>();

/** Call once in a file of tests: no fake outlives it. */
export function endFakesWithTests(): void {
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
    sockets.clear();
    servers.clear();
  });
}

/** Listens on a free loopback port; returns its address. */
export function fakeProvider(behave: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    behave(socket);
  });
  servers.add(server);
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const bound = server.address();
      resolve(`127.0.0.1:${typeof bound === 'object' ? (bound?.port ?? 0) : 0}`);
    });
  });
}

/** Connects to a provider, sends this, and resolves with all that comes back when the provider closes or `ms` are over. */
export function stranger(address: string, bytes: Uint8Array, ms: number): Promise<{ closed: boolean; got: Buffer }> {
  return new Promise((resolve) => {
    const got: Buffer[] = [];
    const socket = connect(Number(address.split(':')[1]), '127.0.0.1', () => socket.write(bytes));
    sockets.add(socket);
    const settle = (closed: boolean): void => {
      clearTimeout(timer);
      resolve({ closed, got: Buffer.concat(got) });
    };
    const timer = setTimeout(() => settle(false), ms);
    socket.on('data', (data) => got.push(data));
    socket.on('error', () => undefined);
    socket.on('end', () => settle(true));
    socket.on('close', () => settle(true));
  });
}

/** A frame that carries a control message. */
export function control(message: unknown): Buffer {
  return frame(FrameKind.control, Buffer.from(JSON.stringify(message)));
}

export function frame(kind: FrameKind, payload: Uint8Array, request = 0, channel = 0): Buffer {
  return Buffer.concat([encodeHeader({ kind, request, channel, length: payload.length }), payload]);
}

export const WELCOME: Buffer = control({ type: 'welcome', version: PROTOCOL_VERSION, engine: 'none', pid: 1 });
export const READY: Buffer = control({ type: 'ready', residentBytes: 1 });
