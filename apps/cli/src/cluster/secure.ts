/** Where this machine keeps the secrets of clusters, and how it finds its own address on a network. */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { homedir, networkInterfaces } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { DistrEdgeError } from '@distredge/core';
import { formatAddress, parseAddress } from '@distredge/runtime';

/** `$XDG_STATE_HOME/distredge`, or the same under `~/.local/state`: what a user would miss, unlike a cache. */
function stateFolder(env: NodeJS.ProcessEnv = process.env): string {
  const given = env['XDG_STATE_HOME'] ?? '';
  return join(isAbsolute(given) ? given : join(homedir(), '.local', 'state'), 'distredge');
}

/** Where the controller of a cluster keeps its certificate authority. */
export function authorityFolder(cluster: string): string {
  return join(stateFolder(), 'clusters', cluster);
}

/** Where a device keeps the identity that it got when it joined. */
export function deviceFolder(): string {
  return join(stateFolder(), 'device');
}

/** Devices join one port above the one where the control plane listens. */
export function joinAddress(address: string): string {
  const { host, port } = parseAddress(address);
  if (port > 0 && port < 65_535) return formatAddress({ host, port: port + 1 });
  throw new DistrEdgeError('ADDRESS_INVALID', 'the port above this one is where devices join, so it must be there', {
    where: address,
    expected: 'a port from 1 to 65534',
  });
}

/** The address of this machine that packets to another one leave from; nothing is sent. Rejects with `LINK_FAILED` without a route. */
export async function ownHostTowards(address: string): Promise<string> {
  const { host, port } = parseAddress(address);
  const unreachable = (cause: NodeJS.ErrnoException): DistrEdgeError =>
    new DistrEdgeError('LINK_FAILED', `there is no way from this machine to ${address}`, {
      where: address,
      got: cause.code ?? cause.message,
      hint: 'check the address and the network; distredge doctor ADDRESS looks closer',
      cause,
    });
  const found = await lookup(host).catch((cause: NodeJS.ErrnoException) => {
    throw unreachable(cause);
  });
  const socket = createSocket(found.family === 6 ? 'udp6' : 'udp4');
  try {
    return await new Promise<string>((resolve, reject) => {
      socket.once('error', (cause) => reject(unreachable(cause)));
      socket.connect(port, found.address, () => resolve(socket.address().address));
    });
  } finally {
    socket.close();
  }
}

/** Addresses by which others may reach this machine, those of the wider network first. */
export function reachableHosts(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.filter(({ internal, family }) => !internal && family === 'IPv4').map(({ address }) => address);
}

/** What to tell others to dial for something that listens on `address`. */
export function tellable(address: string): string {
  const { host, port } = parseAddress(address);
  if (host !== '0.0.0.0' && host !== '::') return address;
  return formatAddress({ host: reachableHosts()[0] ?? '127.0.0.1', port });
}
