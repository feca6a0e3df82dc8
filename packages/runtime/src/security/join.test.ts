/** Joining, as it goes and as it must not: used, expired and guessed codes, hostile messages. */
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { connect as netConnect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { parseAddress } from '../link/address.js';
import { rejection } from '../link/recorder.js';
import { loadIdentity } from './identity.js';
import { joinCluster } from './join-client.js';
import { parseCode } from './join-code.js';
import {
  attacker,
  cleanUps,
  cluster,
  events,
  framed,
  helloOn,
  newFolder,
  reasons,
  serve,
  server,
  told,
  tryJoin,
} from './join-scene.js';

/** A code of the same name with another secret, and so another check digit. */
function wrongCode(code: string): string {
  const plain = code.replace(/-/g, '');
  for (const digit of '0123456789ABCDEFGHJKMNPQRSTVWXYZ') {
    for (const check of '0123456789ABCDEFGHJKMNPQRSTVWXYZ') {
      const other = `${plain.slice(0, 3)}${digit}${plain.slice(4, 15)}${check}`;
      try {
        if (other !== plain) {
          parseCode(other);
          return other;
        }
      } catch {
        // Not its check digit.
      }
    }
  }
  throw new Error('there is none');
}

describe('joining', () => {
  it('gives a device an identity of the cluster, once for a code', async () => {
    const address = await serve();
    const { code, expires } = cluster.authority.issueCode();
    expect(code).toMatch(/^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}$/);
    expect(expires - Date.now()).toBeGreaterThan(590_000);
    const folder = newFolder();
    const identity = await tryJoin(address, code.toLowerCase().replace(/-/g, ' '), folder);
    expect(identity).toMatchObject({
      clusterId: cluster.authority.clusterId,
      clusterName: 'Home',
      deviceName: 'pi 1',
      role: 'device',
    });
    expect(await loadIdentity(folder)).toMatchObject({
      deviceId: identity.deviceId,
      certificate: identity.certificate,
    });
    expect(cluster.authority.devices().at(-1)).toMatchObject({ deviceId: identity.deviceId, revoked: false });
    expect(events).toEqual([
      { type: 'joined', remote: expect.stringContaining('127.0.0.1'), deviceId: identity.deviceId, deviceName: 'pi 1' },
    ]);

    const again = await rejection(tryJoin(address, code), 'JOIN_REFUSED');
    expect(again.message).toContain('used already');
    expect(reasons()).toEqual(['joined', 'code-used']);
  });

  it('keeps keys for their owner only', async () => {
    const address = await serve();
    const folder = newFolder();
    await tryJoin(address, cluster.authority.issueCode().code, folder);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    for (const file of await readdir(folder)) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
  });

  it('gives one device the code that two use at once', async () => {
    const address = await serve();
    const { code } = cluster.authority.issueCode();
    const tries = await Promise.allSettled([1, 2, 3].map(() => tryJoin(address, code)));
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await told(3);
    expect(reasons().sort()).toEqual(['code-used', 'code-used', 'joined']);
  });

  it('refuses a code that has run out, and says so to who knows it', async () => {
    const address = await serve();
    const { code, expires } = cluster.authority.issueCode({ ttlMs: 60_000 });
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(expires + 1);
    expect((await rejection(tryJoin(address, code), 'JOIN_REFUSED')).message).toContain('run out');
    expect(reasons()).toEqual(['code-expired']);
  });

  it('ends a code after five wrong guesses, whoever guesses', async () => {
    const address = await serve();
    const { code } = cluster.authority.issueCode();
    const wrong = wrongCode(code);
    for (let i = 0; i < 5; i++) await rejection(tryJoin(address, wrong), 'JOIN_REFUSED');
    expect(reasons().at(-1)).toBe('code-dead');
    const late = await rejection(tryJoin(address, code), 'JOIN_REFUSED');
    expect(late.message).not.toContain('used');
    expect(reasons()).toEqual([...Array.from({ length: 4 }, () => 'wrong-code'), 'code-dead', 'code-dead']);
    // Another code is not concerned.
    await tryJoin(address, cluster.authority.issueCode().code);
  });

  it('listens no more to a source of ten wrong guesses, until its time is over', async () => {
    const address = await serve();
    for (let i = 0; i < 10; i++) await guess(address);
    expect(reasons()).toEqual(Array.from({ length: 10 }, () => 'wrong-code'));
    const { code } = cluster.authority.issueCode();
    await rejection(tryJoin(address, code), 'LINK_FAILED');
    expect(reasons().at(-1)).toBe('too-many-attempts');
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(Date.now() + 600_001);
    await tryJoin(address, cluster.authority.issueCode().code);
  });

  it.each([
    ['', 'the code'],
    ['ABCD-EFGH', 'the code'],
    ['UUUU-UUUU-UUUU-UUUU', 'the code'],
  ])('notices that %j is no code, without asking anybody', async (code) => {
    await rejection(tryJoin('127.0.0.1:1', code), 'USAGE');
  });

  it('notices a wrong letter, without asking anybody', async () => {
    const { code } = cluster.authority.issueCode();
    const end = code.at(-1) === '0' ? '1' : '0';
    await rejection(tryJoin('127.0.0.1:1', code.slice(0, -1) + end), 'USAGE');
  });

  it.each(['', ' x', 'x'.repeat(65), 'a\nb', '../x', '<b>'])('refuses %j as a name', async (deviceName) => {
    const { code } = cluster.authority.issueCode();
    await rejection(joinCluster({ address: '127.0.0.1:1', code, deviceName, folder: newFolder() }), 'USAGE');
  });
});

/** One guess at a code; resolves when it was answered. */
async function guess(address: string): Promise<void> {
  const socket = await attacker(address);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  socket.write(framed({ type: 'hello', version: 1, code: '000', proof: '0'.repeat(64) }));
  await closed;
}

it('a device that breaks off before it has its certificate may use its code again', async () => {
  const address = await serve();
  const { code } = cluster.authority.issueCode();
  const socket = await attacker(address);
  socket.write(await helloOn(socket, code));
  await once(socket, 'data');
  expect((await rejection(tryJoin(address, code), 'JOIN_REFUSED')).message).toContain('used already');
  socket.destroy();
  await told(2);
  await tryJoin(address, code);
  expect(reasons()).toEqual(['code-used', 'connection', 'joined']);
});

describe('a join server', () => {
  const length = (bytes: number): Buffer => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(bytes);
    return head;
  };

  it.each([
    ['4 GiB', length(0xffff_ffff)],
    ['one byte more than it may be', length(64 * 1024 + 1)],
    ['nothing', length(0)],
    ['no JSON', Buffer.concat([length(3), Buffer.from('abc')])],
    ['no object', framed(null)],
    ['an unknown message', framed({ type: 'x' })],
    ['a message with more in it', framed({ type: 'hello', version: 1, code: 'ABC', proof: '0'.repeat(64), more: 1 })],
    ['a later message first', framed({ type: 'request', deviceName: 'x', csr: '-----BEGIN CERTIFICATE REQUEST' })],
    ['another version', framed({ type: 'hello', version: 2, code: 'ABC', proof: '0'.repeat(64) })],
  ])('refuses a message of %s', async (_, bytes) => {
    const address = await serve();
    const socket = await attacker(address);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    socket.write(bytes);
    await Promise.all([told(1), closed]);
    expect(reasons()).toEqual(['malformed']);
  });

  it('refuses a request for a certificate that is none', async () => {
    const address = await serve();
    const csr = '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n';
    const socket = await attacker(address);
    socket.write(await helloOn(socket, cluster.authority.issueCode().code));
    await once(socket, 'data');
    socket.write(framed({ type: 'request', deviceName: 'x', csr }));
    await told(1);
    expect(reasons()).toEqual(['malformed']);
  });

  it('gives up a device that stands still in the middle of a message', async () => {
    const address = await serve({ deadlineMs: 200 });
    const socket = await attacker(address);
    socket.resume();
    socket.write(Buffer.concat([length(100), Buffer.from('{')]));
    await told(1);
    expect(reasons()).toEqual(['deadline']);
  });

  it('gives up a stranger who does not speak TLS', async () => {
    const address = await serve({ deadlineMs: 200 });
    const open = (): Socket => {
      const socket = netConnect(parseAddress(address));
      socket.on('error', () => {});
      cleanUps.push(() => socket.destroy());
      return socket;
    };
    open().write('GET / HTTP/1.1\r\n\r\n');
    open();
    await told(2);
    expect(reasons()).toEqual(['connection', 'connection']);
  });

  it('holds few connections of one source at a time', async () => {
    const address = await serve();
    const held = Array.from({ length: 8 }, () => netConnect(parseAddress(address)));
    for (const socket of held) cleanUps.push(() => socket.destroy());
    await Promise.all(held.map((socket) => once(socket, 'connect')));
    await rejection(tryJoin(address, cluster.authority.issueCode().code), 'LINK_FAILED');
    await told(1);
    expect(reasons()).toEqual(['too-many-connections']);
  });

  it('ends its conversations when it is closed', async () => {
    const address = await serve();
    const socket = await attacker(address);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    await Promise.all([server.close(), server.close(), closed]);
  });
});
