/** Some thousand mutated messages and frames, from fixed seeds, and recorded bytes played again: what comes of each is checked. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { DistrEdgeError } from '@distredge/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  dialRaw,
  engineOf,
  type FakeEngine,
  HELLO,
  prepareMessage,
  type RawEnd,
  sendBlobs,
  smallProgram,
  until,
} from '../fixtures.js';
import { parseAddress } from '../link/address.js';
import { encodeHeader } from '../link/frame.js';
import { FrameKind, type Transport } from '../link/link.js';
import { expectCode, Recorder, turns } from '../link/recorder.js';
import { createTcpTransport } from '../link/tcp.js';
import { createTlsTransport } from '../link/tls.js';
import { BEGIN_CHANNEL } from '../protocol.js';
import { type Provider, startProvider } from '../provider.js';
import type { Authority } from './authority.js';
import type { Identity, JoinEvent } from './contract.js';
import { type TestCluster, testCluster } from './fixtures.js';
import { JoinLimits } from './join-limits.js';
import { type Binding, proofOf } from './join-protocol.js';
import { serveJoin } from './join-server.js';
import { keyOfRequest, makeRequest, newKeys } from './x509.js';

let cluster: TestCluster;
let alpha: Identity;
let beta: Identity;
beforeAll(async () => {
  cluster = await testCluster();
  [alpha, beta] = [await cluster.device('alpha'), await cluster.device('beta')];
});
afterAll(() => cluster.remove());

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** Numbers from 0 to below 2^32, the same ones for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** `bytes` with one thing wrong, or now and then nothing. */
function mutated(bytes: Uint8Array, random: (below: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  const at = random(copy.length);
  switch (random(7)) {
    case 0:
      copy[at] = random(256);
      return copy;
    case 1:
      return copy.subarray(0, at);
    case 2:
      return Buffer.concat([copy.subarray(0, at), Buffer.from([random(256), random(256)]), copy.subarray(at)]);
    case 3:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(Math.min(copy.length, at + 1 + random(40)))]);
    case 4:
      return Buffer.concat([copy, copy.subarray(at)]);
    case 5:
      for (let i = 0; i < 8; i++) copy[random(copy.length)] = random(256);
      return copy;
    default:
      copy.writeUInt32BE(random(2 ** 32), Math.min(at, copy.length - 4));
      return copy;
  }
}

const framed = (message: unknown): Buffer => {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
};

describe('1,200 mutated conversations of joining', () => {
  it('end with one event each, and admit nobody who has not proven to know the code', async () => {
    const random = numbers(20_231);
    const key = randomBytes(32);
    const binding: Binding = { exported: randomBytes(32), certificate: randomBytes(300) };
    const { identity, clusterName } = cluster.authority;
    let proven = 0;
    let admitted = 0;
    // An authority whose one code is never used up and that writes nothing; requests are read as ever.
    const authority = {
      identity,
      clusterName,
      codes: {
        claim: async (id: string, proves: (key: Buffer) => boolean) => {
          if (id !== '7A3' || !proves(key)) return 'wrong-code';
          proven += 1;
          return { key, release: () => undefined };
        },
      },
      admit: async (request: string) => {
        await keyOfRequest(request);
        admitted += 1;
        return { deviceId: '0'.repeat(16), certificate: identity.certificate };
      },
    } as unknown as Authority;
    const hello = framed({ type: 'hello', version: 1, code: '7A3', proof: proofOf(key, 'device', binding) });
    const request = framed({ type: 'request', deviceName: 'pi', csr: await makeRequest(await newKeys()) });
    const seen = new Map<string, number>();
    for (let i = 0; i < 1200; i++) {
      const events: JoinEvent[] = [];
      const onEvent = (event: JoinEvent): void => {
        events.push(event);
      };
      const context = { authority, limits: new JoinLimits(), binding, deadlineMs: 60_000, onEvent };
      const [near, far] = duplexPair();
      const before = [proven, admitted] as const;
      const served = serveJoin(context, far, '127.0.0.1:1', 'x');
      let answer = '';
      near.on('data', (bytes: Buffer) => {
        answer += bytes.toString('latin1');
      });
      const spoilFirst = i % 2 === 0;
      const bytes = spoilFirst ? [mutated(hello, random), request] : [hello, mutated(request, random)];
      near.end(Buffer.concat(bytes));
      await served;
      near.destroy();
      far.destroy();
      expect(events).toHaveLength(1);
      const [event] = events;
      const what = event?.type === 'refused' ? event.reason : 'joined';
      seen.set(what, (seen.get(what) ?? 0) + 1);
      if (what === 'joined') expect([proven, admitted]).toEqual([before[0] + 1, before[1] + 1]);
      if (proven === before[0]) expect([admitted, answer.includes('CERTIFICATE')]).toEqual([before[1], false]);
    }
    // Both halves of the talk were reached, and nothing failed in a way that nobody thought of.
    expect([...seen.keys()].sort()).toEqual(['connection', 'joined', 'malformed', 'wrong-code']);
    expect(seen.get('malformed')).toBeGreaterThan(300);
    expect(proven).toBeGreaterThan(550);
  });
});

const program = smallProgram(1);

async function provide(transport: Transport): Promise<{ provider: Provider; engines: FakeEngine[]; log: string[] }> {
  const engines: FakeEngine[] = [];
  const log: string[] = [];
  const provider = await startProvider({
    transport,
    listen: '127.0.0.1:0',
    engineName: 'fake',
    createEngine: () => {
      const engine = engineOf(program, 0);
      engines.push(engine);
      return engine;
    },
    log: (line) => log.push(line),
  });
  cleanUps.push(() => provider.close());
  return { provider, engines, log };
}

async function prepared(transport: Transport, address: string): Promise<RawEnd> {
  const end = await dialRaw(transport, address);
  cleanUps.push(() => end.link.close());
  await end.say(HELLO);
  await end.hears('welcome');
  await end.say(prepareMessage(program, 0, ['p']));
  await sendBlobs(end, program, 0);
  await end.hears('ready');
  return end;
}

describe('1,000 mutated frames', () => {
  it('leave a provider that serves the next requester', async () => {
    const random = numbers(77);
    const transport = createTcpTransport();
    const { provider } = await provide(transport);
    const json = (message: object): Uint8Array => Buffer.from(JSON.stringify(message));
    const frames = [
      [FrameKind.control, json(HELLO)],
      [FrameKind.control, json(prepareMessage(program, 0, ['p']))],
      [FrameKind.control, json({ type: 'peer', version: 1, token: 'ab'.repeat(16), to: 0, device: 1 })],
      [FrameKind.data, randomBytes(64)],
      [FrameKind.blob, randomBytes(64)],
      [FrameKind.ping, new Uint8Array(0)],
    ] as const;
    const bytesOf = frames.map(([kind, payload]) =>
      Buffer.concat([encodeHeader({ kind, request: 1, channel: 0, length: payload.length }), payload]),
    );
    const attack = async (): Promise<void> => {
      const socket = connect(parseAddress(provider.address));
      socket.on('error', () => {});
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.resume();
      const hello = bytesOf[0] as Buffer;
      const spoilt = mutated(bytesOf[random(bytesOf.length)] as Buffer, random);
      socket.end(random(2) === 0 ? spoilt : Buffer.concat([hello, spoilt]));
      await closed;
    };
    for (let i = 0; i < 50; i++) await Promise.all(Array.from({ length: 20 }, attack));
    const end = await prepared(transport, provider.address);
    expect(end.closed).toBeUndefined();
  });
});

describe('what was sent once', () => {
  it('is refused when a member sends it again: rows of an image that is done, and rows twice', async () => {
    const { provider, engines, log } = await provide(createTlsTransport(alpha));
    const given = program.messages.flatMap(({ from, bytes }, channel) => (from === -1 ? [{ channel, bytes }] : []));
    const results = program.messages.filter(({ to }) => to === -1).length;
    const [first = { channel: 0, bytes: 0 }] = given;
    for (const replay of [1, 2]) {
      const end = await prepared(createTlsTransport(beta), provider.address);
      for (const request of [1, 2]) {
        await end.send(FrameKind.data, request, BEGIN_CHANNEL, 0);
        for (const { channel, bytes } of given) await end.send(FrameKind.data, request, channel, bytes);
        await until(() => end.rows.length === request * results);
      }
      await end.send(FrameKind.data, replay, first.channel, first.bytes).catch(() => undefined);
      await until(() => end.closed !== undefined && engines.at(-1)?.closed === true);
      expect(end.rows).toHaveLength(2 * results);
      expect(log.filter((line) => line.includes('rows of a request that is not under way'))).toHaveLength(replay);
    }
  });

  /** Passes bytes on, remembers what the dialler said, and lets the test send more to the listener. */
  async function tap(address: string): Promise<{ address: string; heard: Buffer[]; onward(): Socket }> {
    const heard: Buffer[] = [];
    let latest: Socket | undefined;
    const server = createServer((socket) => {
      const onward = connect(parseAddress(address));
      latest = onward;
      for (const end of [socket, onward]) {
        end.on('error', () => {});
        cleanUps.push(() => end.destroy());
      }
      socket.on('data', (bytes) => {
        heard.push(bytes);
        onward.write(bytes);
      });
      onward.pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanUps.push(() => server.close());
    const { port } = server.address() as { port: number };
    return { address: `127.0.0.1:${port}`, heard, onward: () => latest as Socket };
  }

  it.each([
    ['again', (record: Buffer) => record],
    ['with one bit changed', (record: Buffer) => Buffer.from(record.map((byte, i) => (i === 20 ? byte ^ 1 : byte)))],
  ])('is refused when the network plays it %s', async (_, change) => {
    const far = new Recorder();
    const listener = await createTlsTransport(alpha).listen('127.0.0.1:0', far.handlers());
    cleanUps.push(() => listener.close());
    const { address, heard, onward } = await tap(listener.address);
    const link = await createTlsTransport(beta).dial(address, new Recorder().handlers());
    cleanUps.push(() => link.close());
    const before = heard.length;
    await link.send({ kind: FrameKind.data, request: 1, channel: 2 }, [Buffer.from('an image')]);
    await far.received(1);
    onward().write(change(Buffer.concat(heard.slice(before))));
    expectCode(await far.closed(), 'LINK_CLOSED');
    expect(far.frames).toHaveLength(1);
  });

  it('is refused when somebody plays a whole connection again', async () => {
    let links = 0;
    const refusals: unknown[] = [];
    const transport = createTlsTransport(alpha, { onRefused: (_, error) => refusals.push(error) });
    const far = new Recorder();
    const listener = await transport.listen('127.0.0.1:0', (link) => {
      links += 1;
      return far.handlers()(link);
    });
    cleanUps.push(() => listener.close());
    const { address, heard } = await tap(listener.address);
    const link = await createTlsTransport(beta).dial(address, new Recorder().handlers());
    await link.send({ kind: FrameKind.data, request: 1, channel: 2 }, [Buffer.from('an image')]);
    await far.received(1);
    link.close();
    await far.closed();
    const socket = connect(parseAddress(listener.address));
    cleanUps.push(() => socket.destroy());
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    socket.write(Buffer.concat(heard));
    await closed;
    await turns(5);
    expect([links, far.frames.length, refusals.length]).toEqual([1, 1, 1]);
    expect(refusals[0]).toBeInstanceOf(DistrEdgeError);
  });
});
