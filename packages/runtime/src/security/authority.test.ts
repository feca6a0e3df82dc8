/** What is kept on disk and taken back: authority, identities, revocation lists; damaged, mixed up, set back or open to others. */
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { rejection } from '../link/recorder.js';
import { createClusterAuthority } from './authority.js';
import { type TestCluster, testCluster } from './fixtures.js';
import { loadIdentity, saveIdentity } from './identity.js';
import { CodeBook } from './join-code.js';
import { JoinLimits, sourceOf } from './join-limits.js';
import { HeldRevocations } from './revocations.js';
import { issueCertificate, keyOfRequest, makeCrl, makeRequest, newKeys, readCrl } from './x509.js';

let cluster: TestCluster;
let foreign: TestCluster;
beforeAll(async () => {
  cluster = await testCluster('Home');
  foreign = await testCluster('Other');
});
afterAll(() => Promise.all([cluster.remove(), foreign.remove()]));

/** A copy of the cluster's folder `from`, to spoil. */
async function copy(from: string, name: string): Promise<string> {
  const folder = join(cluster.folder, name);
  const walk = async (source: string, target: string): Promise<void> => {
    await mkdir(target, { recursive: true, mode: 0o700 });
    for (const entry of await readdir(source, { withFileTypes: true })) {
      const [a, b] = [join(source, entry.name), join(target, entry.name)];
      if (entry.isDirectory()) await walk(a, b);
      else await copyFile(a, b);
    }
  };
  await walk(join(cluster.folder, from), folder);
  return folder;
}

describe('an authority', () => {
  it('is the same when it is opened again, in private files', async () => {
    const { authority, folder } = cluster;
    const again = await createClusterAuthority(join(folder, 'authority'), { clusterName: 'Home' });
    expect(again.clusterId).toBe(authority.clusterId);
    expect(again.identity.certificate).toBe(authority.identity.certificate);
    expect((await stat(join(folder, 'authority'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(folder, 'authority', 'authority.json'))).mode & 0o777).toBe(0o600);
    expect(authority.clusterId).not.toBe(foreign.authority.clusterId);
  });

  it('refuses a folder of another cluster, a damaged one, and one that others may read', async () => {
    await cluster.device('one');
    const folder = await copy('authority', 'spoilt');
    await rejection(createClusterAuthority(folder, { clusterName: 'Hall' }), 'USAGE');
    const ledger = await readFile(join(folder, 'devices.json'), 'utf8');
    await writeFile(join(folder, 'devices.json'), ledger.slice(0, -20), { mode: 0o600 });
    await rejection(createClusterAuthority(folder, { clusterName: 'Home' }), 'IDENTITY_INVALID');
    await writeFile(join(folder, 'devices.json'), ledger);
    await createClusterAuthority(folder, { clusterName: 'Home' });
    await chmod(join(folder, 'authority.json'), 0o640);
    const error = await rejection(createClusterAuthority(folder, { clusterName: 'Home' }), 'IDENTITY_INVALID');
    expect(error).toMatchObject({ got: '640', hint: expect.stringContaining('chmod 600') });
  });

  it('makes its list again when it was lost or set back, with a higher number', async () => {
    const [a, b] = [await cluster.device('lost-a'), await cluster.device('lost-b')];
    await cluster.authority.revoke(a.deviceId);
    const older = cluster.authority.identity.revocations.pem;
    await cluster.authority.revoke(b.deviceId);
    const { version } = cluster.authority.identity.revocations;
    for (const [name, spoil] of [
      ['lost', (file: string) => rm(file)],
      ['set-back', (file: string) => writeFile(file, older, { mode: 0o600 })],
      ['spoilt-list', (file: string) => writeFile(file, 'x', { mode: 0o600 })],
    ] as const) {
      const folder = await copy('authority', name);
      await spoil(join(folder, 'controller', 'revocations.pem'));
      const again = await createClusterAuthority(folder, { clusterName: 'Home' });
      expect(again.identity.revocations.version).toBe(version + 1);
      const { serials } = await readCrl(again.identity.revocations.pem, again.identity.ca);
      expect(serials.size).toBe(2);
      expect(again.devices().filter(({ revoked }) => revoked)).toHaveLength(2);
    }
  });

  it('revokes devices only, once, by their id', async () => {
    const { authority } = cluster;
    await rejection(authority.revoke('0123456789abcdef'), 'USAGE');
    await rejection(authority.revoke(authority.identity.deviceId), 'USAGE');
    const device = await cluster.device('once');
    await authority.revoke(device.deviceId);
    const { version } = authority.identity.revocations;
    await authority.revoke(device.deviceId);
    expect(authority.identity.revocations.version).toBe(version);
  });

  it.each([0, 999, 86_400_001, Number.NaN])('issues no code for %d ms', (ttlMs) => {
    expect(() => cluster.authority.issueCode({ ttlMs })).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('accepts only requests for P-256 keys that signed them', async () => {
    const keys = await newKeys();
    const good = await makeRequest(keys);
    await keyOfRequest(good);
    const [label, ...lines] = good.trim().split('\n');
    const der = Buffer.from(lines.slice(0, -1).join(''), 'base64');
    const last = der.length - 1;
    der[last] = (der[last] ?? 0) ^ 1;
    await rejection(keyOfRequest(`${label}\n${der.toString('base64')}\n${lines.at(-1)}`), 'JOIN_REFUSED');
    const other = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, ['sign', 'verify']);
    await rejection(keyOfRequest(await makeRequest({ ...other, pem: '' })), 'JOIN_REFUSED');
    await rejection(keyOfRequest('-----BEGIN CERTIFICATE REQUEST-----\n'), 'JOIN_REFUSED');
  });
});

describe('an identity on disk', () => {
  const write = (folder: string, record: object) =>
    writeFile(join(folder, 'identity.json'), JSON.stringify(record), { mode: 0o600 });

  it('is refused where there is none, or it is damaged or mixed up', async () => {
    await cluster.device('mixed');
    const other = await foreign.device('mixed');
    const folder = await copy('mixed', 'mixed-copy');
    const kept = JSON.parse(await readFile(join(folder, 'identity.json'), 'utf8')) as Record<string, unknown>;
    await write(folder, kept);
    await loadIdentity(folder);
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
    for (const spoilt of [
      { ...kept, ca: other.ca },
      { ...kept, certificate: other.certificate, key: other.key },
      { ...kept, key },
      { ...kept, key: 'x' },
      { ...kept, certificate: kept['ca'], ca: kept['certificate'] },
      { ...kept, version: 2 },
      { ...kept, more: true },
      {},
      [],
    ]) {
      await write(folder, spoilt);
      await rejection(loadIdentity(folder), 'IDENTITY_INVALID');
    }
    await writeFile(join(folder, 'identity.json'), '{', { mode: 0o600 });
    await rejection(loadIdentity(folder), 'IDENTITY_INVALID');
    expect((await rejection(loadIdentity(join(folder, 'nowhere')), 'IDENTITY_INVALID')).hint).toContain('join');
  });

  it('is refused where others may read it', async () => {
    await cluster.device('readable');
    await chmod(join(cluster.folder, 'readable', 'identity.json'), 0o644);
    await rejection(loadIdentity(join(cluster.folder, 'readable')), 'IDENTITY_INVALID');
  });

  it('is kept in no folder that others may write to', async () => {
    const folder = join(cluster.folder, 'shared');
    await mkdir(folder);
    await chmod(folder, 0o777);
    await rejection(createClusterAuthority(folder, { clusterName: 'Home' }), 'IDENTITY_INVALID');
    expect((await stat(folder)).mode & 0o777).toBe(0o777);
    expect(await readdir(folder)).toEqual([]);
  });

  it('is refused once it has ended, before it begins, and once it knows that it was revoked', async () => {
    const device = await cluster.device('ended');
    const folder = join(cluster.folder, 'ended');
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      vi.setSystemTime(Date.now() + 731 * 86_400_000);
      expect((await rejection(loadIdentity(folder), 'IDENTITY_INVALID')).got).toContain('it ended');
      vi.setSystemTime(0);
      expect((await rejection(loadIdentity(folder), 'IDENTITY_INVALID')).hint).toContain('clock');
    } finally {
      vi.useRealTimers();
    }
    await loadIdentity(folder);
    await cluster.authority.revoke(device.deviceId);
    await device.revocations.accept(cluster.authority.identity.revocations.pem);
    expect((await rejection(loadIdentity(folder), 'IDENTITY_INVALID')).got).toContain('was revoked');
  });

  it('is no member with a certificate of the CA for something else', async () => {
    const keys = await newKeys();
    const { authority } = cluster;
    const facts = { name: 'x', uri: 'https://example/', publicKey: keys.publicKey, days: 1 };
    const record = {
      clusterName: 'Home',
      deviceName: 'x',
      certificate: await issueCertificate(authority.signer, facts),
      key: keys.pem,
      ca: authority.identity.ca,
    };
    await rejection(saveIdentity(join(cluster.folder, 'other-use'), record), 'IDENTITY_INVALID');
  });
});

describe('a revocation list', () => {
  it('is taken over when it is newer, kept, and never set back', async () => {
    const { signer, identity } = cluster.authority;
    const file = join(cluster.folder, 'list.pem');
    const held = await HeldRevocations.open(identity.ca, file);
    let changes = 0;
    const stop = held.onChange(() => {
      changes += 1;
    });
    const [one, two] = [await makeCrl(signer, 1, ['1f']), await makeCrl(signer, 2, ['1f', 'c0ffee'])];
    expect([held.version, held.pem]).toEqual([0, '']);
    expect(await held.accept(two)).toBe(true);
    expect(await held.accept(two)).toBe(false);
    expect([held.version, held.has('1f'), held.has('c0ffee'), held.has('c0ffe')]).toEqual([2, true, true, false]);
    const error = await rejection(held.accept(one), 'PEER_REFUSED');
    expect(error).toMatchObject({ expected: 'version 2 or later', got: 'version 1' });
    expect([held.version, held.has('c0ffee'), changes]).toEqual([2, true, 1]);
    stop();
    const again = await HeldRevocations.open(identity.ca, file);
    expect([again.version, again.has('c0ffee')]).toEqual([2, true]);
    await rejection(again.accept(one), 'PEER_REFUSED');
    await held.accept(await makeCrl(signer, 300, []));
    expect([held.version, held.has('c0ffee'), changes]).toEqual([300, false, 1]);
  });

  it('counts only with the signature of the own CA, and is refused whatever else it is', async () => {
    const { signer, identity } = cluster.authority;
    const good = await makeCrl(signer, 5, ['1f']);
    const readCrlText = async (text: string) => (await HeldRevocations.open(identity.ca)).accept(text);
    expect(await readCrlText(good)).toBe(true);
    const [label, ...lines] = good.trim().split('\n');
    const der = Buffer.from(lines.slice(0, -1).join(''), 'base64');
    for (let at = 0; at < der.length; at++) {
      const spoilt = Buffer.from(der);
      spoilt[at] = (spoilt[at] ?? 0) ^ (1 << (at % 8));
      await rejection(readCrlText(`${label}\n${spoilt.toString('base64')}\n${lines.at(-1)}\n`), 'PEER_REFUSED');
    }
    for (const longer of [Buffer.concat([der, Buffer.alloc(1)]), der.subarray(0, -1), der.subarray(1)]) {
      await rejection(readCrlText(`${label}\n${longer.toString('base64')}\n${lines.at(-1)}\n`), 'PEER_REFUSED');
    }
    const held = await HeldRevocations.open(identity.ca);
    await rejection(held.accept(await makeCrl(foreign.authority.signer, 9, [])), 'PEER_REFUSED');
    for (const text of [
      '',
      good.replace(/X509 CRL/g, 'CERTIFICATE'),
      identity.ca,
      'x'.repeat(2 ** 20 + 1),
      good + good,
    ]) {
      await rejection(held.accept(text), 'PEER_REFUSED');
    }
    expect(held.version).toBe(0);
  });

  it('of many entries comes back with all of them, and OpenSSL reads it', async () => {
    const { signer, identity } = cluster.authority;
    const serials = Array.from({ length: 1000 }, (_, i) => `4${(i + 1).toString(16).padStart(31, '0')}`);
    const pem = await makeCrl(signer, 70_000, serials);
    const read = await readCrl(pem, identity.ca);
    expect(read.version).toBe(70_000);
    expect([...read.serials]).toEqual(serials);
    expect(() => createSecureContext({ ca: identity.ca, crl: pem })).not.toThrow();
  });
});

describe('what is counted', () => {
  it('takes an IPv6 network of 64 bits for one source', () => {
    expect(sourceOf('192.168.1.9')).toBe('192.168.1.9');
    expect(sourceOf('::ffff:192.168.1.9')).toBe('192.168.1.9');
    expect(sourceOf('fe80::1%eth0')).toBe(sourceOf('fe80::2%eth1'));
    expect(sourceOf('2001:db8:1:2:3:4:5:6')).toBe(sourceOf('2001:db8:1:2::9'));
    expect(sourceOf('2001:db8:1:2::1')).not.toBe(sourceOf('2001:db8:1:3::1'));
    expect(sourceOf(undefined)).toBe('unknown');
  });

  it('stays bounded, however many sources fail', () => {
    const limits = new JoinLimits();
    for (let i = 0; i < 10_000; i++) limits.failed(`source ${i}`);
    for (let i = 0; i < 10; i++) limits.failed('the last');
    expect(limits.exhausted('the last')).toBe(true);
    expect(limits.sources).toBeLessThanOrEqual(4096);
  });

  it('holds a bounded number of open codes', () => {
    const book = new CodeBook();
    for (let i = 0; i < 64; i++) book.issue();
    expect(() => book.issue()).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
