/** What TLS adds to a link: who may talk, who does not any more, and what strangers on the network can do. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { Identity } from '../security/contract.js';
import { testCluster } from '../security/fixtures.js';
import { tlsOptionsFor } from '../security/peer.js';
import { issueCertificate, newKeys } from '../security/x509.js';
import { parseAddress } from './address.js';
import { describeLinkCompliance } from './compliance.js';
import { encodeHeader } from './frame.js';
import { FrameKind, type Link, type LinkHandlers, type LinkOptions } from './link.js';
import { expectCode, Recorder, rejection } from './recorder.js';
import { createTlsTransport, type TlsTransportOptions } from './tls.js';

const cluster = await testCluster();
const foreign = await testCluster('Other');
afterAll(() => Promise.all([cluster.remove(), foreign.remove()]));
const alpha = await cluster.device('alpha');
const beta = await cluster.device('beta');

describeLinkCompliance('tls', () => createTlsTransport(alpha));

/** A listener of `identity`, with what it refused. */
interface Served {
  readonly end: Recorder;
  readonly address: string;
  readonly refusals: { remote: string; error: { code: string; got?: string | undefined } }[];
  /** Resolves when so many connections were refused. */
  refused(count: number): Promise<void>;
}

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

async function serve(
  identity: Identity,
  options: TlsTransportOptions = {},
  extra: Partial<LinkHandlers> = {},
  linkOptions: LinkOptions = {},
): Promise<Served> {
  const end = new Recorder();
  const refusals: Served['refusals'] = [];
  const waiters: { readonly count: number; readonly resolve: () => void }[] = [];
  const notify = (): void => {
    for (const { count, resolve } of waiters) if (refusals.length >= count) resolve();
  };
  const transport = createTlsTransport(identity, {
    ...options,
    onRefused: (remote, error) => {
      refusals.push({ remote, error });
      notify();
    },
  });
  const listener = await transport.listen('127.0.0.1:0', end.handlers(extra), linkOptions);
  cleanUps.push(() => listener.close());
  const refused = (count: number): Promise<void> =>
    new Promise((resolve) => {
      waiters.push({ count, resolve });
      notify();
    });
  return { end, address: listener.address, refusals, refused };
}

/** Dials and closes with the test. */
async function dial(identity: Identity, address: string, near: Recorder, options: LinkOptions = {}): Promise<Link> {
  const link = await createTlsTransport(identity).dial(address, near.handlers(), options);
  cleanUps.push(() => link.close());
  return link;
}

describe('a tls link between members', () => {
  it('tells both ends who the other is', async () => {
    const { end, address } = await serve(alpha);
    const near = new Recorder();
    const link = await dial(beta, address, near);
    await end.linked();
    expect(link.peer).toMatchObject({ deviceId: alpha.deviceId, role: 'device' });
    expect(end.link.peer).toMatchObject({ deviceId: beta.deviceId, role: 'device' });
    expect(alpha.deviceId).not.toBe(beta.deviceId);
  });

  it('takes the controller for one', async () => {
    const { address } = await serve(cluster.authority.identity);
    const link = await dial(beta, address, new Recorder());
    expect(link.peer).toMatchObject({ deviceId: cluster.authority.identity.deviceId, role: 'controller' });
  });

  it('can be held to one device', async () => {
    const { end, address } = await serve(alpha);
    const near = new Recorder();
    const error = await rejection(dial(beta, address, near, { expectPeer: beta.deviceId }), 'PEER_REFUSED');
    expect(error).toMatchObject({ got: `device ${alpha.deviceId}` });
    expect(near.hasLink).toBe(false);
    expectCode(await end.closed(), 'LINK_CLOSED');
    expect((await dial(beta, address, near, { expectPeer: alpha.deviceId })).peer?.deviceId).toBe(alpha.deviceId);
  });

  it('closes at once, at both ends, when a device is revoked, and lets it in no more', async () => {
    const own = await testCluster();
    cleanUps.push(() => own.remove());
    const [host, good, thief] = [await own.device('host'), await own.device('good'), await own.device('thief')];
    const ends: Recorder[] = [];
    const refused: string[] = [];
    const transport = createTlsTransport(host, { onRefused: (_, error) => refused.push(error.got ?? '') });
    const listener = await transport.listen('127.0.0.1:0', (link) => {
      const end = new Recorder();
      ends.push(end);
      return end.handlers()(link);
    });
    cleanUps.push(() => listener.close());
    const [nearGood, nearThief, dialled] = [new Recorder(), new Recorder(), new Recorder()];
    const goodLink = await dial(good, listener.address, nearGood);
    await dial(thief, listener.address, nearThief);
    // A link that this end dialled is cut, too.
    const thiefServes = await serve(thief);
    await dial(host, thiefServes.address, dialled);

    await own.authority.revoke(thief.deviceId);
    expect(nearThief.closings).toHaveLength(0);
    expect(await host.revocations.accept(own.authority.identity.revocations.pem)).toBe(true);

    expectCode(await nearThief.closed(), 'LINK_CLOSED');
    const end = ends.find(({ link }) => link.peer?.deviceId === thief.deviceId) as Recorder;
    expect(expectCode(await end.closed(), 'PEER_REFUSED').got).toBe(`revoked: ${thief.deviceId}`);
    expect(expectCode(await dialled.closed(), 'PEER_REFUSED').got).toBe(`revoked: ${thief.deviceId}`);
    expect(nearGood.closings).toHaveLength(0);

    // The list that the listener began with knows nothing of it; what counts is the newest.
    const again = await rejection(dial(thief, listener.address, new Recorder()), 'PEER_REFUSED');
    expect(again.hint).toContain('revoked');
    expect(refused).toEqual([`revoked: ${thief.deviceId}`]);
    await rejection(dial(host, thiefServes.address, new Recorder()), 'PEER_REFUSED');
    await goodLink.send({ kind: FrameKind.ping, request: 0, channel: 0 }, []);
  });
});

/** An identity of `base` with another certificate. */
async function forged(base: Identity, facts: { uri?: string; days?: number; ca?: typeof cluster }): Promise<Identity> {
  const keys = await newKeys();
  const { signer } = (facts.ca ?? cluster).authority;
  const uri = facts.uri ?? `distredge://${base.clusterId}/device/${base.deviceId}`;
  const certificate = await issueCertificate(signer, {
    name: 'forged',
    uri,
    publicKey: keys.publicKey,
    days: facts.days ?? 1,
  });
  return { ...base, certificate, key: keys.pem };
}

describe('a tls listener refuses', () => {
  it.each([
    [
      'a device of another cluster',
      async () => ({ ...(await foreign.device('x')), ca: alpha.ca, clusterId: alpha.clusterId }),
    ],
    ['a certificate of this cluster, signed by another CA', () => forged(beta, { ca: foreign })],
    ['a certificate that has ended', () => forged(beta, { days: -0.01 })],
    [
      'a certificate that names another cluster',
      () => forged(beta, { uri: `distredge://${foreign.authority.clusterId}/device/${beta.deviceId}` }),
    ],
    ['a certificate that names no member', () => forged(beta, { uri: 'https://example/' })],
  ])('%s', async (_, make) => {
    const { end, address, refusals, refused } = await serve(alpha);
    await rejection(dial(await make(), address, new Recorder()), 'PEER_REFUSED');
    await refused(1);
    expect(refusals[0]?.error.code).toBe('PEER_REFUSED');
    expect(end.hasLink).toBe(false);
  });

  it('a dialler without a certificate', async () => {
    const { end, address, refusals, refused } = await serve(alpha);
    const { key: _key, cert: _cert, ...options } = tlsOptionsFor(beta);
    const socket = tlsConnect({ ...parseAddress(address), ...options, ALPNProtocols: ['distredge-link/1'] });
    cleanUps.push(() => socket.destroy());
    const [status] = (await once(socket, 'data')) as [Buffer];
    expect([...status]).toEqual([0x44, 0x45, 1, 1]);
    await refused(1);
    expect(refusals[0]?.error.code).toBe('PEER_REFUSED');
    expect(end.hasLink).toBe(false);
  });

  it('TLS 1.2', async () => {
    const { end, address, refusals, refused } = await serve(alpha);
    const options = { ...tlsOptionsFor(beta), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
    const socket = tlsConnect({ ...parseAddress(address), ...options, ALPNProtocols: ['distredge-link/1'] });
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    await refused(1);
    expect(refusals[0]?.error.got).toBe('ERR_SSL_UNSUPPORTED_PROTOCOL');
    expect(end.hasLink).toBe(false);
  });

  it('what is no TLS', async () => {
    const { end, address, refusals, refused } = await serve(alpha);
    const socket = await plain(address);
    socket.write(encodeHeader({ kind: FrameKind.control, request: 0, channel: 0, length: 5 }));
    await refused(1);
    expect(refusals[0]?.error.code).toBe('LINK_FAILED');
    expect(end.hasLink).toBe(false);
  });

  it('a handshake that stands still', async () => {
    const { address, refused, end } = await serve(alpha, { handshakeMs: 20 });
    const socket = await plain(address);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await Promise.all([refused(1), closed]);
    expect(end.hasLink).toBe(false);
  });

  it('more handshakes at a time than it is told to hold, and serves again when they are gone', async () => {
    const { address, refused, end } = await serve(alpha, { maxHandshakes: 2, handshakeMs: 500 });
    const first = [await plain(address), await plain(address)];
    await dial(beta, address, new Recorder()).then(
      () => expect.unreachable(),
      (error: unknown) => expectCode(error, 'LINK_FAILED'),
    );
    await refused(1);
    for (const socket of first) socket.destroy();
    let link: Link | undefined;
    while (link === undefined) link = await dial(beta, address, new Recorder()).catch(() => undefined);
    await end.linked();
  });
});

describe('a tls dialler refuses', () => {
  it.each([
    ['a listener of another cluster', () => foreign.device('y')],
    ['a listener whose certificate has ended', () => forged(alpha, { days: -0.01 })],
  ])('%s', async (_, make) => {
    const identity = await make();
    const { end, address } = await serve(identity);
    const near = new Recorder();
    await rejection(dial(beta, address, near), 'PEER_REFUSED');
    expect(near.hasLink).toBe(false);
    expect(end.hasLink && end.frames.length > 0).toBe(false);
  });

  it('gives up with DEADLINE where nobody shakes hands', async () => {
    const server = createServer((socket) => cleanUps.push(() => socket.destroy())).listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanUps.push(() => server.close());
    const { port } = server.address() as { port: number };
    await rejection(dial(beta, `127.0.0.1:${port}`, new Recorder(), { deadlineMs: 50 }), 'DEADLINE');
  });
});

/** A connection of a stranger who says nothing yet. */
async function plain(address: string): Promise<Socket> {
  const socket = connect(parseAddress(address));
  socket.on('error', () => {});
  cleanUps.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}
