/** TLS sockets as an MQTT broker and its clients use them: options of both ends, roles, and guards on open connections. */
import { once } from 'node:events';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseAddress } from '../link/address.js';
import type { Identity, PeerIdentity, Role } from './contract.js';
import { type TestCluster, testCluster } from './fixtures.js';
import { memberUri, parseMember } from './names.js';
import { guardSocket, tlsOptionsFor } from './peer.js';
import { importKey, issueCertificate, newKeys } from './x509.js';

let cluster: TestCluster;
let device: Identity;
beforeAll(async () => {
  cluster = await testCluster();
  device = await cluster.device('device');
});
afterAll(() => cluster.remove());

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

type Guarded = { readonly socket: TLSSocket; readonly peer: PeerIdentity };

/** A server that guards its sockets, and a client that connects; the client's end once it is through, or its error. */
async function meet(
  serving: Identity,
  client: Identity,
  server?: Role,
): Promise<{ near: Guarded | Error; far: Promise<Guarded> }> {
  let met: (far: Guarded) => void = () => {};
  const far = new Promise<Guarded>((resolve) => {
    met = resolve;
  });
  const listener = createServer(tlsOptionsFor(serving), (socket) => {
    socket.on('error', () => {});
    cleanUps.push(() => socket.destroy());
    met({ socket, peer: guardSocket(serving, socket) });
  }).listen(0, '127.0.0.1');
  cleanUps.push(() => listener.close());
  await once(listener, 'listening');
  const address = `127.0.0.1:${(listener.address() as { port: number }).port}`;
  const socket = connect({
    ...parseAddress(address),
    ...tlsOptionsFor(client, server === undefined ? {} : { server }),
  });
  cleanUps.push(() => socket.destroy());
  const near = await new Promise<Guarded | Error>((resolve) => {
    socket.on('error', resolve);
    socket.once('secureConnect', () => resolve({ socket, peer: guardSocket(client, socket) }));
  });
  return { near, far };
}

describe('options for TLS', () => {
  it('let a device reach its controller, and each know who the other is', async () => {
    const { near, far } = await meet(cluster.authority.identity, device, 'controller');
    expect((near as Guarded).peer).toMatchObject({ role: 'controller', clusterId: device.clusterId });
    expect((await far).peer).toMatchObject({ role: 'device', deviceId: device.deviceId });
  });

  it('keep a client that wants the controller from a device that listens in its place', async () => {
    const { near } = await meet(await cluster.device('liar'), device, 'controller');
    expect(near).toMatchObject({ code: 'PEER_REFUSED', expected: 'the controller', got: 'a device' });
  });

  it('refuse a certificate issued by a member, which is no CA', async () => {
    const keys = await newKeys();
    const uri = memberUri(device.clusterId, 'controller', '0123456789abcdef');
    const signer = { certificate: device.certificate, privateKey: await importKey(device.key) };
    const own = await issueCertificate(signer, { name: 'x', uri, publicKey: keys.publicKey, days: 1 });
    const liar: Identity = { ...device, certificate: `${own}\n${device.certificate}`, key: keys.pem };
    const { near } = await meet(liar, device);
    expect(near).toBeInstanceOf(Error);
    expect((near as Error).message).toMatch(/key usage does not include certificate signing|invalid CA/);
  });
});

describe('a guard', () => {
  it('cuts an open connection when the certificate of its other end ends', async () => {
    const keys = await newKeys();
    const facts = { name: 'short', uri: memberUri(device.clusterId, 'controller', '0'.repeat(16)), days: 0.01 };
    const certificate = await issueCertificate(cluster.authority.signer, { ...facts, publicKey: keys.publicKey });
    const short: Identity = { ...device, role: 'controller', certificate, key: keys.pem };
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
    const { near } = await meet(short, device);
    const { socket } = near as Guarded;
    const failed = new Promise((resolve) => socket.once('error', resolve));
    vi.advanceTimersByTime(0.009 * 86_400_000);
    expect(socket.destroyed).toBe(false);
    vi.advanceTimersByTime(0.002 * 86_400_000);
    expect(socket.destroyed).toBe(true);
    expect(await failed).toMatchObject({ code: 'PEER_REFUSED', got: `ended: ${'0'.repeat(16)}` });
  });

  it('lets go of its socket and of the list when the socket closes', async () => {
    const own = await testCluster();
    cleanUps.push(() => own.remove());
    const [a, b] = [await own.device('a'), await own.device('b')];
    let listening = 0;
    const { revocations } = a;
    const onChange = revocations.onChange.bind(revocations);
    vi.spyOn(revocations, 'onChange').mockImplementation((listener) => {
      const stop = onChange(listener);
      listening += 1;
      return () => {
        listening -= 1;
        stop();
      };
    });
    const { near } = await meet(b, a);
    expect(listening).toBe(1);
    const { socket } = near as Guarded;
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
    expect(listening).toBe(0);
  });
});

describe("a member's name", () => {
  const id = 'a'.repeat(32);
  it.each([
    undefined,
    '',
    'DNS:localhost',
    `URI:distredge://${id}/device/${'b'.repeat(15)}`,
    `URI:distredge://${id}/owner/${'b'.repeat(16)}`,
    `URI:distredge://${id}/device/${'b'.repeat(16)}, URI:distredge://${id}/controller/${'b'.repeat(16)}`,
    `DNS:x, URI:distredge://${id}/device/${'b'.repeat(16)}`,
    `URI:"distredge://${id}/device/${'b'.repeat(16)}"`,
  ])('is not %j', (names) => expect(parseMember(names)).toBeUndefined());
  it('is read as it is written', () => {
    const uri = memberUri(id, 'device', 'b'.repeat(16));
    expect(parseMember(`URI:${uri}`)).toEqual({ clusterId: id, role: 'device', deviceId: 'b'.repeat(16) });
  });
});
