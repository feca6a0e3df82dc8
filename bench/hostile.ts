/**
 * Mutated bytes against a provider, a join server, a controller and devices: what comes of them; `npm run bench -- hostile
 * [--frames N] [--joins N] [--mqtt N] [--seed N]`. Of fifty frames 49 have sound headers and go through memory, to reach what
 * lies behind the link; one is raw bytes over TCP. Joins are conversations over TLS; for MQTT see `_hostile-mqtt.ts`. Ends with
 * real images and a real join; fails where anything hung, crashed, was let in, or where memory grew with the number of attacks.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { parseArgs } from 'node:util';
import { analyse, compile, type Program, planByRule } from '@distredge/core';
import {
  connect as connectCluster,
  createClusterAuthority,
  createMemoryTransport,
  createOrtEngineFor,
  createTcpTransport,
  engineName,
  FrameKind,
  joinCluster,
  type Link,
  type Provider,
  parseAddress,
  startJoinServer,
  startProvider,
  type Transport,
} from '@distredge/runtime';
import { Work } from './_fault-cluster.js';
import { attackControlPlane } from './_hostile-mqtt.js';
import { campaign, failures, HUNG_MS, Mutator, Tally } from './_hostile-tools.js';

const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '20000' },
    joins: { type: 'string', default: '1000' },
    mqtt: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
  },
});
const [FRAMES, JOINS, MQTT, SEED] = [values.frames, values.joins, values.mqtt, values.seed].map(Number) as [
  number,
  number,
  number,
  number,
];
/** Links and connections under attack at a time. */
const WIDTH = 32;
/** A frame's header: see packages/runtime/src/link/frame.ts. */
const HEADER_BYTES = 16;

const mutate = new Mutator(SEED);

interface Sample {
  readonly kind: FrameKind;
  readonly message?: object;
  readonly payload: Uint8Array;
}

/** A transport, and whatever is said over it to `heard`: control messages, as JSON. */
function recording(transport: Transport, heard: (payload: Uint8Array) => void): Transport {
  return {
    ...transport,
    dial: async (address, handlers, options) => {
      const link = await transport.dial(address, handlers, options);
      const send: Link['send'] = (header, pieces) => {
        if (header.kind === FrameKind.control) heard(Buffer.concat(pieces));
        return link.send(header, pieces);
      };
      return new Proxy(link, {
        get: (target, name) => {
          const value: unknown = name === 'send' ? send : Reflect.get(target, name, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

/** Frames as they should be: what a requester says to the provider at this address, and what others might. */
async function samples(program: Program, transport: Transport, address: string): Promise<readonly Sample[]> {
  const said: Sample[] = [];
  const control = (payload: Uint8Array): Sample => ({
    kind: FrameKind.control,
    message: JSON.parse(Buffer.from(payload).toString()) as object,
    payload: Uint8Array.from(payload),
  });
  const cluster = await connectCluster(program, {
    transport: recording(transport, (payload) => said.push(control(payload))),
    addresses: [address],
  });
  await cluster.trace();
  await cluster.close();
  const [{ version }, { token }] = said.map(({ message }) => message) as [{ version: number }, { token: string }];
  const others = [
    { type: 'peer', version, token, to: 0, device: 1 },
    { type: 'failed', error: { code: 'INTERNAL', message: 'x' } },
  ].map((message) => control(Buffer.from(JSON.stringify(message))));
  return [
    ...said,
    ...others,
    { kind: FrameKind.data, payload: new Uint8Array(256) },
    { kind: FrameKind.blob, payload: new Uint8Array(256) },
    { kind: FrameKind.ping, payload: new Uint8Array(0) },
    { kind: FrameKind.pong, payload: new Uint8Array(0) },
  ];
}

/** Provider on `transport`; what it says of refusals is counted. */
function provide(transport: Transport, listen: string, said: Tally): Promise<Provider> {
  return startProvider({
    transport,
    listen,
    engineName: engineName(),
    createEngine: (program) => createOrtEngineFor(program, { threads: 1 }),
    helloMs: 5000,
    weightsMs: 5000,
    log: (line) =>
      said.add(
        line
          .replace(/\d+/g, 'N')
          .replace(/^[^ ]*#N: |^127[^ ]*: /, '')
          .slice(0, 90),
      ),
  });
}

/** One end of a link that sends anything and listens to nothing. */
async function attackLink(
  transport: Transport,
  address: string,
  list: readonly Sample[],
  budget: number,
): Promise<number> {
  let open = true;
  const link: Link = await transport.dial(address, () => ({
    allocate: ({ length }) => new Uint8Array(length),
    frame: () => undefined,
    closed: () => {
      open = false;
    },
  }));
  const send = (sample: Sample, payload: Uint8Array, request: number, channel: number): Promise<void> =>
    link.send({ kind: sample.kind, request, channel }, [payload]).catch(() => undefined);
  const [hello, prepare] = list as readonly [Sample, Sample];
  // Some say hello first, and some of those announce a sound program.
  const depth = mutate.below(8);
  if (depth > 2) await send(hello, hello.payload, 0, 0);
  if (depth === 7 && mutate.below(20) === 0) await send(prepare, prepare.payload, 0, 0);
  let sent = 0;
  while (open && sent < budget && sent < 50) {
    const sample = list[mutate.below(list.length)] as Sample;
    const odd = [0, 1, 2, 255, 2 ** 31, 2 ** 32 - 1];
    const number = (): number => odd[mutate.below(odd.length)] ?? 0;
    const spoil = sample.message !== undefined && mutate.below(2) === 0;
    const payload = spoil ? mutate.json(sample.message as object) : mutate.bytes(sample.payload);
    await send(sample, payload, number(), number());
    sent += 1;
    // What was sent is read, and what is to be said about it is said.
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  link.close();
  return sent;
}

/** Raw bytes to a provider's port, one frame; resolves to how it ended. */
function attackSocket(address: string, list: readonly Sample[]): Promise<string> {
  const frame = ({ kind, payload }: Sample): Buffer => {
    const head = Buffer.alloc(HEADER_BYTES);
    head.write('DE');
    head[2] = 1;
    head[3] = kind;
    head.writeUInt32LE(payload.length, 12);
    return Buffer.concat([head, payload]);
  };
  return new Promise((resolve) => {
    const socket = connect(parseAddress(address));
    const timer = setTimeout(() => {
      socket.destroy();
      resolve('hung');
    }, HUNG_MS);
    let how = 'closed';
    let answered = false;
    socket.on('error', () => {
      how = 'reset';
    });
    socket.on('data', () => {
      answered = true;
    });
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(answered ? `${how}, after an answer` : how);
    });
    const spoilt = mutate.bytes(frame(list[mutate.below(list.length)] as Sample));
    socket.end(mutate.below(2) === 0 ? spoilt : Buffer.concat([frame(list[0] as Sample), spoilt]));
  });
}

/** One conversation with a join server, from an address of its own; resolves to how it ended. */
function attackJoin(address: string, source: string): Promise<string> {
  const hello = { type: 'hello', version: 1, code: 'ABC', proof: '0'.repeat(64) };
  const body = mutate.below(2) === 0 ? mutate.json(hello) : Buffer.from(JSON.stringify(hello));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  const bytes = mutate.below(8) === 0 ? Buffer.concat([head, body]) : mutate.bytes(Buffer.concat([head, body]));
  return new Promise((resolve) => {
    const raw = connect({ ...parseAddress(address), localAddress: source });
    const socket = tlsConnect({ socket: raw, rejectUnauthorized: false, ALPNProtocols: ['distredge-join/1'] });
    let told = '';
    const timer = setTimeout(() => {
      socket.destroy();
      resolve('hung');
    }, HUNG_MS);
    for (const end of [raw, socket]) end.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      told += chunk.toString('latin1');
    });
    socket.once('close', () => {
      clearTimeout(timer);
      if (told.includes('welcome')) resolve('let in');
      else resolve(told.includes('refused') ? 'told of its refusal' : 'closed without a word');
    });
    socket.once('secureConnect', () => socket.end(bytes));
  });
}

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    failures.push(`${event}: ${error instanceof Error ? error.stack : error}`);
    console.error(failures.at(-1));
    process.exitCode = 1;
  });
}

const work = await Work.create(SEED, 1);
const analysis = analyse(work.graph);
const program = compile(work.graph, planByRule(analysis, { volumes: 3, weights: [1] }), analysis);

/** Whether a provider still computes an image, and computes it right. */
async function stillServes(transport: Transport, address: string): Promise<void> {
  const cluster = await connectCluster(program, { transport, addresses: [address] });
  if (!work.right(0, await cluster.infer(work.images[0]?.inputs ?? {}))) failures.push('the image after it was wrong');
  await cluster.close();
}

const memory = createMemoryTransport();
const behind = new Tally();
const inMemory = await provide(memory, 'provider', behind);
const list = await samples(program, memory, 'provider');
behind.counts.clear();
await campaign('frames with sound headers', Math.round(FRAMES * 0.98), behind, WIDTH, () =>
  attackLink(memory, 'provider', list, FRAMES),
);
await stillServes(memory, 'provider');
await inMemory.close();

const ends = new Tally();
const tcp = createTcpTransport();
const onTcp = await provide(tcp, '127.0.0.1:0', new Tally());
await campaign('frames of raw bytes', Math.round(FRAMES * 0.02), ends, WIDTH, async () => {
  const how = await attackSocket(onTcp.address, list);
  ends.add(how);
  if (how === 'hung') failures.push('a connection hung');
  return 1;
});
await stillServes(tcp, onTcp.address);
await onTcp.close();

const folder = await mkdtemp(join(tmpdir(), 'distredge-hostile-'));
try {
  const authority = await createClusterAuthority(join(folder, 'authority'), { clusterName: 'Target' });
  const talks = new Tally();
  const onEvent = (event: { type: string; reason?: string }): void =>
    talks.add(`reported: ${event.reason ?? event.type}`);
  const server = await startJoinServer({ authority, listen: '127.0.0.1:0', onEvent });
  const { code } = authority.issueCode({ ttlMs: 86_400_000 });
  let number = 0;
  await campaign('joins', JOINS, talks, WIDTH, async () => {
    number += 1;
    const at = Math.floor(number / 8);
    const how = await attackJoin(server.address, `127.${1 + (at >> 14)}.${(at >> 6) & 255}.${1 + (at & 63)}`);
    talks.add(how);
    if (how === 'hung' || how === 'let in') failures.push(`a join was ${how}`);
    return 1;
  });
  const joined = await joinCluster({
    address: server.address,
    code,
    deviceName: 'after',
    folder: join(folder, 'device'),
  });
  if (authority.devices().length !== 1 || joined.clusterId !== authority.clusterId)
    failures.push('somebody else joined');
  await server.close();
} finally {
  await rm(folder, { recursive: true, force: true });
}
await attackControlPlane(work, analysis, MQTT, SEED);
await work.whole.close();

console.log(
  failures.length === 0
    ? '\nNothing hung, crashed or was let in; an image and a join afterwards came out right.'
    : `\nFAILED:\n${[...new Set(failures)].slice(0, 20).join('\n')}`,
);
process.exitCode = failures.length === 0 ? 0 : 1;
