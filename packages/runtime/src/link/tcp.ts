/** Links over TCP sockets. Bytes only; everything a frame is about happens in `framed-link.ts`. */
import { createServer } from 'node:net';
import { parseAddress } from './address.js';
import type { Link, LinkOptions, Listener, Transport } from './link.js';
import { adopt, bind, closeServer, dialSocket, type MakeHandlers, remoteOf } from './socket.js';

/** The transport between processes. Addresses are `host:port`; port 0 listens on any free port. */
export function createTcpTransport(): Transport {
  return { name: 'tcp', dial, listen };
}

async function dial(address: string, handlers: MakeHandlers, options: LinkOptions = {}): Promise<Link> {
  const socket = await dialSocket(address, options.deadlineMs);
  return adopt(socket, { remote: address, handlers, options, reset: () => void socket.resetAndDestroy() });
}

async function listen(address: string, handlers: MakeHandlers, options: LinkOptions = {}): Promise<Listener> {
  const { host, port } = parseAddress(address);
  const links = new Set<Link>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const reset = (): void => {
      socket.resetAndDestroy();
    };
    const onClosed = (link: Link): void => {
      links.delete(link);
    };
    try {
      links.add(adopt(socket, { remote: remoteOf(socket), handlers, options, reset, onClosed }));
    } catch {
      // The owner refused this connection, which has been reset; the listener goes on.
    }
  });
  const taken = await bind(server, address, { host, port });
  let closing: Promise<void> | undefined;
  return {
    address: taken,
    close: () => {
      closing ??= closeServer(server, () => {
        for (const link of links) link.close();
      });
      return closing;
    },
  };
}
