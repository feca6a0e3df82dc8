/** Renewing certificates: with short lives and over real sockets. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { parseAddress } from '../link/address.js';
import { rejection } from '../link/recorder.js';
import { createTlsTransport } from '../link/tls.js';
import type { Identity, JoinEvent } from './contract.js';
import { type TestCluster, testCluster } from './fixtures.js';
import { loadIdentity } from './identity.js';
import { RENEW_ALPN } from './join-protocol.js';
import { startJoinServer } from './join-server.js';
import { tlsOptionsFor } from './peer.js';
import { keepRenewed, renewIdentity } from './renewal.js';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Certificates that end this soon are due from the first moment on. */
const SHORT_MS = 600_000;

interface Scene {
  readonly cluster: TestCluster;
  readonly device: Identity;
  readonly folder: string;
  readonly address: string;
  readonly events: JoinEvent[];
}

async function scene(memberMs: number | undefined): Promise<Scene> {
  const cluster = await testCluster('Home', memberMs);
  cleanUps.push(() => cluster.remove());
  const events: JoinEvent[] = [];
  const { authority } = cluster;
  const server = await startJoinServer({ authority, listen: '127.0.0.1:0', onEvent: (event) => events.push(event) });
  cleanUps.push(() => server.close());
  return {
    cluster,
    device: await cluster.device('pi'),
    folder: join(cluster.folder, 'pi'),
    address: server.address,
    events,
  };
}

const reasons = (events: readonly JoinEvent[]): string[] =>
  events.map((event) => (event.type === 'refused' ? event.reason : event.type));

describe('renewing a certificate', () => {
  it('gives the same device another certificate for another key, and keeps it', async () => {
    const { cluster, device, folder, address, events } = await scene(SHORT_MS);
    const before = { certificate: device.certificate, key: device.key };
    let renewed = 0;
    device.onRenewed(() => {
      renewed += 1;
    });
    await renewIdentity(device, { address, folder });
    expect(device.certificate).not.toBe(before.certificate);
    expect(device.key).not.toBe(before.key);
    expect(renewed).toBe(1);
    expect(await loadIdentity(folder)).toMatchObject({
      deviceId: device.deviceId,
      deviceName: 'pi',
      certificate: device.certificate,
      key: device.key,
    });
    expect(cluster.authority.devices().map(({ deviceId }) => deviceId)).toEqual([device.deviceId]);
    expect(events).toMatchObject([{ type: 'renewed', deviceId: device.deviceId, deviceName: 'pi' }]);
    // And the new one can be renewed in its turn.
    await renewIdentity(device, { address, folder });
    expect(reasons(events)).toEqual(['renewed', 'renewed']);
  });

  it('is refused to a device that was revoked, whichever of its certificates it shows', async () => {
    const { cluster, device, folder, address, events } = await scene(SHORT_MS);
    const old = await loadIdentity(folder);
    await renewIdentity(device, { address, folder });
    await cluster.authority.revoke(device.deviceId);
    const { certificate } = device;
    for (const identity of [device, old]) {
      const error = await rejection(renewIdentity(identity, { address, folder }), 'JOIN_REFUSED');
      expect(error.message).toContain('revoked');
    }
    expect(device.certificate).toBe(certificate);
    expect(reasons(events)).toEqual(['renewed', 'no-member', 'no-member']);
  });

  it('is refused while the certificate does not end soon, so that nobody collects them', async () => {
    const { device, folder, address, events } = await scene(undefined);
    await rejection(renewIdentity(device, { address, folder }), 'JOIN_REFUSED');
    expect(reasons(events)).toEqual(['not-due']);
  });

  it('is refused after several that were not taken over', async () => {
    const { cluster, device, folder, address, events } = await scene(SHORT_MS);
    // It never hears of its new certificate.
    for (let time = 0; time < 7; time++) {
      const again = await loadIdentity(join(cluster.folder, 'pi'));
      await renewIdentity(again, { address, folder: await emptyFolder(cluster, time) });
    }
    await rejection(renewIdentity(device, { address, folder }), 'JOIN_REFUSED');
    expect(reasons(events).at(-1)).toBe('no-member');
  });

  it('is refused to members of other clusters, to strangers, and to the controller', async () => {
    const { cluster, address, events } = await scene(SHORT_MS);
    const other = await testCluster('Home', SHORT_MS);
    cleanUps.push(() => other.remove());
    const foreign = tlsOptionsFor(await other.device('pi'));
    const own = tlsOptionsFor(cluster.authority.identity);
    const none = { ca: cluster.authority.identity.ca, minVersion: 'TLSv1.3' } as const;
    for (const options of [foreign, none, own]) {
      const count = events.length;
      const socket = connect({
        ...options,
        ...parseAddress(address),
        rejectUnauthorized: false,
        ALPNProtocols: [RENEW_ALPN],
      });
      socket.on('error', () => {});
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
      expect(events.length).toBe(count + 1);
    }
    expect(reasons(events)).toEqual(['no-member', 'no-member', 'no-member']);
  });

  it('does not believe who is not the controller', async () => {
    const { cluster, device, folder } = await scene(SHORT_MS);
    const other = await testCluster('Home');
    cleanUps.push(() => other.remove());
    const server = await startJoinServer({ authority: other.authority, listen: '127.0.0.1:0' });
    cleanUps.push(() => server.close());
    const { certificate } = device;
    const error: unknown = await renewIdentity(device, { address: server.address, folder }).catch((reason) => reason);
    expect(error).toBeInstanceOf(Error);
    expect(device.certificate).toBe(certificate);
    expect(cluster.authority.devices()).toHaveLength(1);
  });

  it('has a listener show the new certificate to whoever dials from then on', async () => {
    const { cluster, device, folder, address } = await scene(SHORT_MS);
    const transport = createTlsTransport(device);
    const listener = await transport.listen('127.0.0.1:0', () => handlers);
    cleanUps.push(() => listener.close());
    const began = new X509Certificate(device.certificate);
    let told = 0;
    await new Promise<void>((resolve, reject) => {
      cleanUps.push(
        keepRenewed(device, {
          address,
          folder,
          onRenewed: (expires) => {
            told = expires;
            resolve();
          },
          onFailed: reject,
        }),
      );
    });
    cleanUps.pop()?.();
    expect(told).toBe(Date.parse(new X509Certificate(device.certificate).validTo));
    const socket = connect({ ...tlsOptionsFor(cluster.authority.identity), ...parseAddress(listener.address) });
    socket.on('error', () => {});
    cleanUps.push(() => socket.destroy());
    await once(socket, 'secureConnect');
    const shown = socket.getPeerX509Certificate()?.fingerprint256;
    expect(shown).toBe(new X509Certificate(device.certificate).fingerprint256);
    expect(shown).not.toBe(began.fingerprint256);
  });
});

const handlers = {
  allocate: ({ length }: { length: number }) => new Uint8Array(length),
  frame: () => undefined,
  closed: () => undefined,
};

/** A folder with no identity in it. */
async function emptyFolder({ folder }: TestCluster, time: number): Promise<string> {
  const made = join(folder, `elsewhere-${time}`);
  await mkdir(made, { mode: 0o700 });
  return made;
}
