/** Joining, as it goes and as it must not: used, expired and guessed codes, machines in the middle, hostile messages. */
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { connect as netConnect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseAddress } from '../link/address.js';
import { rejection } from '../link/recorder.js';
import type { JoinEvent, JoinServer } from './contract.js';
import { type TestCluster, testCluster } from './fixtures.js';
import { loadIdentity } from './identity.js';
import { joinCluster } from './join-client.js';
import { parseCode } from './join-code.js';
import { EXPORTER_LABEL, JOIN_ALPN, proofOf } from './join-protocol.js';
import { startJoinServer } from './join-server.js';

let cluster: TestCluster;
let server: JoinServer;
let events: JoinEvent[] = [];
let notify = (): void => {};
let joined = 0;

beforeAll(async () => {
  cluster = await testCluster('Home');
});
afterAll(() => cluster.remove());

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** A join server of its own limits; returns its address. */
async function serve(options: { deadlineMs?: number } = {}): Promise<string> {
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
function told(count: number): Promise<void> {
  return new Promise((resolve) => {
    notify = () => {
      if (events.length >= count) resolve();
    };
    notify();
  });
}

const reasons = () => events.map((event) => (event.type === 'joined' ? 'joined' : event.reason));

const newFolder = () => join(cluster.folder, `joined-${joined++}`);

const tryJoin = (address: string, code: string, folder = newFolder()) =>
  joinCluster({ address, code, deviceName: 'pi 1', folder });

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

/** A TLS connection to a join server, as an attacker has it. */
async function attacker(address: string): Promise<TLSSocket> {
  const socket = connect({ ...parseAddress(address), rejectUnauthorized: false, ALPNProtocols: [JOIN_ALPN] });
  socket.on('error', () => {});
  cleanUps.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

/** What a device that knows a code says first on this connection; `material`: the connection whose keying material its proof stands for. */
async function helloOn(socket: TLSSocket, code: string, material: TLSSocket = socket): Promise<Buffer> {
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

const framed = (message: unknown): Buffer => {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
};

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

describe('a machine in the middle', () => {
  /** Listens with a certificate of its own, and does with every connection what `meet` says. */
  async function middle(meet: (socket: TLSSocket, ownCa: string) => void): Promise<string> {
    const own = await testCluster('Home');
    cleanUps.push(() => own.remove());
    const { certificate, key } = own.authority.identity;
    const options = { key, cert: certificate, minVersion: 'TLSv1.3', ALPNProtocols: [JOIN_ALPN] } as const;
    const listener = createServer(options, (socket) => {
      socket.on('error', () => {});
      cleanUps.push(() => socket.destroy());
      meet(socket, own.authority.identity.ca);
    }).listen(0, '127.0.0.1');
    cleanUps.push(() => listener.close());
    await once(listener, 'listening');
    return `127.0.0.1:${(listener.address() as { port: number }).port}`;
  }

  it('that passes every byte on gets neither end to believe the other', async () => {
    const address = await serve();
    const before = cluster.authority.devices().length;
    const heard: Buffer[] = [];
    const tapped = await middle((victim) => {
      void attacker(address).then((onward) => {
        victim.on('data', (bytes: Buffer) => {
          heard.push(bytes);
          onward.write(bytes);
        });
        onward.on('data', (bytes: Buffer) => victim.write(bytes));
        onward.on('end', () => victim.end());
      });
    });
    const { code } = cluster.authority.issueCode();
    await rejection(tryJoin(tapped, code), 'JOIN_REFUSED');
    expect(reasons()).toEqual(['wrong-code']);
    expect(cluster.authority.devices()).toHaveLength(before);
    const said = Buffer.concat(heard).toString();
    expect(said).toContain('hello');
    expect(said).not.toContain('CERTIFICATE REQUEST');
    expect(said).not.toContain(code.replace(/-/g, '').slice(3, 15));
    // One wrong guess is all that it was worth: the code still works where nobody stands between.
    await tryJoin(address, code);
  });

  it.each([
    ['of its own, to which its certificate fits', (ownCa: string) => ownCa],
    ['of the cluster', () => cluster.authority.identity.ca],
  ])('that plays the controller with the CA %s is found out before it hears what the device asks', async (_, ca) => {
    const heard: Buffer[] = [];
    const fake = await middle((victim, ownCa) => {
      victim.on('data', (bytes: Buffer) => heard.push(bytes));
      victim.write(framed({ type: 'welcome', proof: 'ab'.repeat(32), clusterName: 'Home', ca: ca(ownCa) }));
    });
    const error = await rejection(tryJoin(fake, cluster.authority.issueCode().code), 'PEER_REFUSED');
    expect(error).toMatchObject({ got: 'a wrong proof', hint: expect.stringContaining('somebody on the network') });
    expect(Buffer.concat(heard).toString()).not.toContain('CERTIFICATE REQUEST');
  });

  it('cannot answer with the proof of the device', async () => {
    const fake = await middle((victim, ca) => {
      victim.once('data', (bytes: Buffer) => {
        const { proof } = JSON.parse(bytes.subarray(4).toString()) as { proof: string };
        victim.write(framed({ type: 'welcome', proof, clusterName: 'Home', ca }));
      });
    });
    const error = await rejection(tryJoin(fake, cluster.authority.issueCode().code), 'PEER_REFUSED');
    expect(error.got).toBe('a wrong proof');
  });

  it('cannot use a proof that it heard on another connection', async () => {
    const address = await serve();
    const { code } = cluster.authority.issueCode();
    const first = await attacker(address);
    const second = await attacker(address);
    second.write(await helloOn(second, code, first));
    await told(1);
    expect(reasons()).toEqual(['wrong-code']);
    // The same, on its own connection, would have been right.
    const third = await attacker(address);
    third.write(await helloOn(third, code));
    const [answer] = (await once(third, 'data')) as [Buffer];
    expect(answer.toString()).toContain('welcome');
  });

  it('that accepts and says nothing is given up with DEADLINE', async () => {
    const silent = await middle(() => {});
    const { code } = cluster.authority.issueCode();
    const options = { address: silent, code, deviceName: 'pi', folder: newFolder(), deadlineMs: 300 };
    const error: unknown = await joinCluster(options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DistrEdgeError);
    expect((error as DistrEdgeError).code).toBe('DEADLINE');
  });
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
