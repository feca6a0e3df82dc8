/** A join server under test, and an attacker's connections to it. Importing it sets a file of tests up. Only tests import it. */
import { once } from 'node:events';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, vi } from 'vitest';
import { parseAddress } from '../link/address.js';
import type { Identity, JoinEvent, JoinServer } from './contract.js';
import { type TestCluster, testCluster } from './fixtures.js';
import { joinCluster } from './join-client.js';
import { parseCode } from './join-code.js';
import { EXPORTER_LABEL, JOIN_ALPN, proofOf } from './join-protocol.js';
import { startJoinServer } from './join-server.js';

export let cluster: TestCluster;
export let server: JoinServer;
export let events: JoinEvent[] = [];
let notify = (): void => {};
let joined = 0;

beforeAll(async () => {
  cluster = await testCluster('Home');
});
afterAll(() => cluster.remove());

export const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** A join server of its own limits; returns its address. */
export async function serve(options: { deadlineMs?: number } = {}): Promise<string> {
  events = [];
  const onEvent = (event: JoinEvent): void => {
    events.push(event);
    notify();
  };
  server = await startJoinServer({ authority: cluster.authority, listen: '127.0.0.1:0', onEvent, ...options });
  cleanUps.push(() => server.close());
  return server.address;
}

/** Resolves when so many events were told. */
export function told(count: number): Promise<void> {
  return new Promise((resolve) => {
    notify = () => {
      if (events.length >= count) resolve();
    };
    notify();
  });
}

export const reasons = (): string[] => events.map((event) => (event.type === 'refused' ? event.reason : event.type));

export const newFolder = (): string => join(cluster.folder, `joined-${joined++}`);

export const tryJoin = (address: string, code: string, folder: string = newFolder()): Promise<Identity> =>
  joinCluster({ address, code, deviceName: 'pi 1', folder });

/** A TLS connection to a join server, as an attacker has it. */
export async function attacker(address: string): Promise<TLSSocket> {
  const socket = connect({ ...parseAddress(address), rejectUnauthorized: false, ALPNProtocols: [JOIN_ALPN] });
  socket.on('error', () => {});
  cleanUps.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

/** What a device that knows a code says first on this connection; `material`: the connection whose keying material its proof stands for. */
export async function helloOn(socket: TLSSocket, code: string, material: TLSSocket = socket): Promise<Buffer> {
  const { id, key } = parseCode(code);
  const certificate = material.getPeerX509Certificate()?.raw ?? Buffer.alloc(0);
  const exported = material.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0));
  return framed({
    type: 'hello',
    version: 1,
    code: id,
    proof: proofOf(await key(), 'device', { exported, certificate }),
  });
}

export const framed = (message: unknown): Buffer => {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
};
