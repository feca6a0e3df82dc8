/**
 * Attacks on the control plane: a device of the cluster that turned hostile, with a certificate; anybody of this machine, at a
 * broker on loopback; strangers at the broker's port; and a broker that turned hostile, against devices. Meanwhile and
 * afterwards the controller has images computed, which must come out right.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { gzipSync } from 'node:zlib';
import {
  type Analysis,
  fromPlan,
  PROFILE_VERSION,
  type Profile,
  planByRule,
  type Workload,
  workloadOf,
} from '@distredge/core';
import {
  addressEndpoint,
  type ClusterAuthority,
  type Controller,
  createClusterAuthority,
  createOrtEngineFor,
  createTcpTransport,
  createTlsTransport,
  ENGINE_NAME,
  type Identity,
  joinCluster,
  modelHash,
  parseAddress,
  readDirectory,
  startAgent,
  startController,
  startJoinServer,
  tlsOptionsFor,
} from '@distredge/runtime';
import { sleep, type Work } from './_fault-cluster.js';
import { campaign, failures, HUNG_MS, Mutator, Tally } from './_hostile-tools.js';
import {
  connectPacket,
  hostileBroker,
  PacketType,
  type Prey,
  packet,
  publishPacket,
  subscribePacket,
  Talk,
} from './_mqtt-raw.js';

const CLUSTER = 'target';
/** Payloads that one connection brings, at most. */
const BATCH = 100;
/** How long an attacker that has sent half a packet waits to be cut off. */
const HALF_PACKET_MS = 30;
/** After so many payloads an attacker looks whether its connection is still open. */
const LOOK_EVERY = 16;
/** Devices of one cluster that attack at a time. */
const HOSTILE_DEVICES = 4;
/** How often the controller has an image computed meanwhile, in ms. */
const IMAGE_EVERY_MS = 200;

/** Every device takes as long as the others: what a plan is worth does not matter here. */
function profileOf(id: string, { ops, tensors, model, head }: Workload, hash: string): Profile {
  return {
    version: PROFILE_VERSION,
    device: { id, engine: ENGINE_NAME, threads: 1, cpu: 'any' },
    model: { name: model, hash },
    memory_mb: 1000,
    part_ms: 0,
    input_edge_ms_per_mb: 0,
    fusion: 1,
    ops: ops.map((op) => ({
      end: tensors[op.outputs[0] ?? -1]?.name ?? '',
      rows: [1, op.rows],
      ms: [10 / op.rows, 10],
      edge_ms_per_mb: 0,
    })),
    ...(head === undefined ? {} : { head: { before_ms: 1, after_ms: 1, ...cutOf(head.cut?.channels) } }),
  };
}

function cutOf(channels: number | undefined): Pick<NonNullable<Profile['head']>, 'cut'> {
  return channels === undefined ? {} : { cut: { channels: [1, channels], ms: [1 / channels, 1] } };
}

/** What a device says when it says what it should, by topic. */
function sound(
  id: string,
  profile: Profile,
  mutate: Mutator,
  names: number,
): { readonly topic: string; readonly message: object } {
  const session = mutate.below(4) === 0 ? `s${mutate.below(1000)}` : 's';
  const at = 1 + mutate.below(1e6);
  const base = { version: 1, session, at };
  const peer = mutate.below(4) === 0 ? 'controller' : `p${mutate.below(names)}`;
  switch (mutate.below(8)) {
    case 0:
      return {
        topic: 'announce',
        message: {
          ...base,
          id,
          name: 'x',
          address: '127.0.0.1:9',
          probe: '127.0.0.1:9',
          cpu: 'x',
          cores: 1,
          memoryMb: 1000,
          threads: 1,
          engine: 'x',
          software: 'x',
        },
      };
    case 1:
    case 2:
      return { topic: 'status', message: { ...base, status: mutate.one(['online', 'left', 'lost']) } };
    case 3:
      return { topic: 'answer', message: { ...base, request: randomHex(mutate) } };
    case 4: {
      // For the model that is served, or one of which nobody knows.
      const hash = mutate.below(2) === 0 ? profile.model.hash : `abcdef${mutate.below(names)}00`.slice(0, 12);
      return { topic: `profile/${hash}`, message: { ...profile, model: { ...profile.model, hash } } };
    }
    default:
      return {
        topic: `link/${peer}`,
        message: { version: 1, from: id, to: peer, mbps: 1 + mutate.below(1000), latencyMs: 1, at },
      };
  }
}

function randomHex(mutate: Mutator): string {
  return mutate
    .below(2 ** 32)
    .toString(16)
    .padStart(8, '0');
}

/** A message that is not what it should be: another value, other bytes, other shapes, now and then as it was. */
function spoilt(message: object, mutate: Mutator): Buffer {
  switch (mutate.below(16)) {
    case 0:
      return Buffer.from(JSON.stringify(message));
    case 1:
      return Buffer.from([0x22, 0xc3, 0x28, 0xff, 0xfe, 0x22]);
    case 2:
      return Buffer.from(`{"version":${mutate.one(['1e999', '-1e999', '9'.repeat(400), '0x1', 'NaN'])},"at":-1}`);
    case 3:
      return Buffer.alloc(0);
    case 4:
      return Buffer.from('['.repeat(1 + mutate.below(900)));
    case 5:
      return Buffer.from(JSON.stringify({ ...message, more: new Array(mutate.below(200)).fill({}) }));
    case 6:
    case 7:
    case 8:
      return mutate.bytes(Buffer.from(JSON.stringify(message)));
    default:
      return mutate.json(message);
  }
}

/** As much as a profile may be, and nothing of it one: deep, or long. */
function heavy(mutate: Mutator): Buffer {
  const room = 2 ** 21 - 64;
  return mutate.below(2) === 0
    ? Buffer.from('['.repeat(room))
    : Buffer.from(`{"version":1,"ops":[${'{},'.repeat(Math.floor(room / 3) - 10)}{}]}`);
}

/** Topics that are not for a device to speak to. */
function forbidden(mutate: Mutator, other: string): string {
  const base = `distredge/${CLUSTER}`;
  return mutate.one([
    `${base}/devices/${other}/status`,
    `${base}/devices/${other}/announce`,
    `${base}/devices/${other}/orders`,
    `${base}/plan`,
    `${base}/controller`,
    `${base}/revocations`,
    `${base}/events`,
    `${base}/models/x`,
    `${base}/answers/x`,
    `${base}/devices/..%2f/status`,
    `${base}/${'a/'.repeat(mutate.below(300))}`,
    'distredge/other/plan',
    '$SYS/broker/clients',
    '/',
    `${base}/#`,
    `${base}/devices/+/status`,
    'x'.repeat(1 + mutate.below(60_000)),
    `${base}/__proto__`,
  ]);
}

/** Packets that are none, or that end a connection. */
function broken(mutate: Mutator, own: string): Buffer {
  const plain = publishPacket(own, Buffer.from('{}'), { qos: 1 });
  switch (mutate.below(9)) {
    case 0:
      return packet(PacketType.publish, 0, [Buffer.alloc(8)], 2 ** 28 - 1);
    case 1:
      return Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0xff]);
    case 2:
      return packet(PacketType.publish, 6, [Buffer.from('xx')]);
    case 3:
      return packet(mutate.below(16), mutate.below(16), [randomBytesOf(mutate, mutate.below(64))]);
    case 4:
      return connectPacket('device-again');
    case 5:
      return packet(PacketType.subscribe, 0, [Buffer.alloc(2)]);
    case 6:
      return publishPacket(own, Buffer.alloc(2 ** 21 + 1));
    case 7:
      return publishPacket(Buffer.from([0xc3, 0x28, 0xff]), Buffer.from('x'));
    default:
      return mutate.bytes(plain);
  }
}

function randomBytesOf(mutate: Mutator, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => mutate.below(256)));
}

/** Who attacks a broker, and how it is reached. */
interface Attacker {
  /** The device that it is, or says that it is. */
  readonly id: string;
  /** Of how many other devices and models it speaks: more than the broker keeps of one, or fewer. */
  readonly names: number;
  readonly clientId: string;
  dial(): Promise<Talk>;
}

/** One connection to a broker with up to `BATCH` payloads; resolves to how many. */
async function attackBroker(
  { id, names, clientId, dial }: Attacker,
  profile: Profile,
  mutate: Mutator,
  said: Tally,
  other: string,
): Promise<number> {
  const talk = await dial();
  const base = `distredge/${CLUSTER}/devices/${id}`;
  const will =
    mutate.below(3) > 0
      ? undefined
      : { topic: mutate.below(2) === 0 ? `${base}/status` : forbidden(mutate, other), payload: Buffer.from('{"x":1}') };
  talk.send(
    connectPacket(mutate.below(50) === 0 ? mutate.bytes(Buffer.from(clientId)) : clientId, will, mutate.below(20) > 0),
  );
  if (mutate.below(4) === 0)
    talk.send(subscribePacket(Array.from({ length: 1 + mutate.below(50) }, (_, at) => `distredge/${CLUSTER}/x${at}`)));
  const most = 1 + mutate.below(2 * BATCH);
  let count = 0;
  while (count < most && !talk.closed) {
    count += 1;
    const { topic, message } = sound(id, profile, mutate, names);
    const ask = mutate.below(20) === 0;
    const payload = ask
      ? spoilt({ version: 1, request: randomHex(mutate), at: 1 }, mutate)
      : mutate.below(800) === 0
        ? heavy(mutate)
        : spoilt(message, mutate);
    const qos = mutate.below(4) === 0 ? (mutate.below(100) === 0 ? 2 : 1) : 0;
    const name = ask ? `distredge/${CLUSTER}/ask` : `${base}/${payload.length > 20_000 ? 'profile/x' : topic}`;
    talk.send(publishPacket(name, payload, { qos, retain: mutate.below(2) === 0, id: count }));
    // What comes after a packet that ends the connection is not read, and does not count.
    if (count % LOOK_EVERY === 0 && (await talk.settled()) !== 'answered') break;
  }
  if (mutate.below(2) === 0) {
    talk.send(publishPacket(forbidden(mutate, other), Buffer.from('{}'), { retain: true }));
    if ((await talk.settled()) === 'hung') failures.push('the broker left a connection without an answer');
  } else {
    // It may be half a packet, the rest of which the broker waits for: as long as a keep-alive takes.
    talk.send(broken(mutate, `${base}/status`));
    for (let waited = 0; waited < HALF_PACKET_MS && !talk.closed; waited += 5) await sleep(5);
  }
  said.add(talk.closed ? 'connections: cut off' : 'connections: to their end');
  talk.end();
  return count + 1;
}

/** What a controller is told of, as counts. */
function counting(said: Tally): Pick<Parameters<typeof startController>[0], 'log' | 'onEvent'> {
  return {
    log: (line) => said.add(`broker: ${plain(line.replace(/^[^ ]*: /, ''))}`),
    onEvent: (event) => {
      if (event.type === 'problem') said.add(`controller: ${event.error.code}, ${plain(event.error.message)}`);
      else said.add(`taken as news: ${event.type}`);
    },
  };
}

const plain = (line: string): string => line.replace(/\d+/g, 'N').slice(0, 80);

function dialTls(address: string, options: object): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ ...options, ...parseAddress(address) });
    const timer = setTimeout(() => socket.destroy(new Error('hung')), HUNG_MS);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
    socket.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

/** A device that the cluster's authority has let in, as any is. */
async function admitted(authority: ClusterAuthority, folder: string, deviceName: string): Promise<Identity> {
  const server = await startJoinServer({ authority, listen: '127.0.0.1:0' });
  try {
    const { code } = authority.issueCode();
    return await joinCluster({ address: server.address, code, deviceName, folder: join(folder, deviceName) });
  } finally {
    await server.close();
  }
}

interface Scene {
  readonly work: Work;
  readonly analysis: Analysis;
  readonly workload: Workload;
  readonly hash: string;
  readonly folder: string;
}

function agentOf(
  scene: Scene,
  id: string,
  endpoint: ReturnType<typeof addressEndpoint>,
  identity: Identity,
  said: Tally,
) {
  return startAgent({
    cluster: CLUSTER,
    id,
    endpoint,
    identity,
    transport: createTlsTransport(identity),
    host: '127.0.0.1',
    createEngine: (program) => createOrtEngineFor(program, { threads: 1 }),
    engineName: ENGINE_NAME,
    measure: async (_analysis, workload) => profileOf(id, workload, scene.hash),
    memoryMb: 1000,
    software: 'bench',
    profiles: join(scene.folder, 'profiles'),
    log: (line) => said.add(`device: ${plain(line)}`),
  });
}

/** Has images computed until it is told to stop; resolves to how many, and how many of them were whole. */
function imagesMeanwhile(controller: Controller, work: Work): { stop(): Promise<readonly [number, number, number]> } {
  let over = false;
  const done = (async (): Promise<readonly [number, number, number]> => {
    let [count, whole, slowest] = [0, 0, 0];
    while (!over) {
      const image = count % work.images.length;
      try {
        const { outputs, generation, ms } = await controller.infer(work.images[image]?.inputs ?? {}, {
          deadlineMs: HUNG_MS,
        });
        if (!work.right(image, outputs)) failures.push('an image came out wrong under attack');
        whole += generation === 0 ? 1 : 0;
        slowest = Math.max(slowest, ms);
      } catch (error) {
        failures.push(`an image failed under attack: ${error instanceof Error ? error.message : error}`);
      }
      count += 1;
      await sleep(IMAGE_EVERY_MS);
    }
    return [count, whole, slowest];
  })();
  return {
    stop: () => {
      over = true;
      return done;
    },
  };
}

/** A device's certificate, in the wrong hands. */
async function againstController(scene: Scene, payloads: number, seed: number): Promise<void> {
  const mutate = new Mutator(seed);
  const authority = await createClusterAuthority(join(scene.folder, 'authority'), { clusterName: 'Target' });
  const names = ['good', 'other', ...Array.from({ length: HOSTILE_DEVICES }, (_, at) => `hostile${at}`)];
  const identities: Identity[] = [];
  for (const name of names) identities.push(await admitted(authority, scene.folder, name));
  const [good, other, ...hostile] = identities as [Identity, Identity, ...Identity[]];
  const said = new Tally();
  const controller = await startController({
    cluster: CLUSTER,
    broker: { listen: '127.0.0.1:0' },
    identity: authority.identity,
    transport: createTlsTransport(authority.identity),
    model: {
      name: 'small',
      bytes: scene.work.bytes,
      graph: scene.work.graph,
      analysis: scene.analysis,
      workload: scene.workload,
    },
    plan: async ({ costs }) =>
      fromPlan(scene.workload, planByRule(scene.analysis, { volumes: 3, weights: costs.map(() => 1) }), costs.length),
    whole: async (inputs) => (await scene.work.whole.run(inputs)).outputs,
    software: 'bench',
    ...counting(said),
  });
  const endpointOf = (identity: Identity) => addressEndpoint(controller.address, identity);
  const agents = await Promise.all(
    [good, other].map((identity) => agentOf(scene, identity.deviceId, endpointOf(identity), identity, new Tally())),
  );
  try {
    await controller.ready(2, HUNG_MS);
    said.counts.clear();
    const images = imagesMeanwhile(controller, scene.work);
    // Each has one connection at a time: the broker knows a device by its id, and a second connection ends the first.
    const free = hostile.map((identity, at): Attacker => {
      const options = tlsOptionsFor(identity, { server: 'controller' });
      return {
        id: identity.deviceId,
        names: at === 0 ? 100_000 : 400,
        clientId: `device-${identity.deviceId}`,
        dial: async () => new Talk(await dialTls(controller.address, options)),
      };
    });
    await campaign('MQTT payloads of devices of the cluster', payloads, said, free.length, async () => {
      const attacker = free.pop() as Attacker;
      const profile = profileOf(attacker.id, scene.workload, scene.hash);
      const count = await attackBroker(attacker, profile, mutate, said, good.deviceId);
      free.push(attacker);
      return count;
    });
    await strangers(controller.address, Math.ceil(payloads / 500), mutate);
    const [count, whole, slowest] = await images.stop();
    console.log(`  images meanwhile: ${count}, ${whole} of them whole, the slowest ${slowest.toFixed(0)} ms`);
    await stillThere(controller, endpointOf(good), 2);
    const image = await controller.infer(scene.work.images[0]?.inputs ?? {}, { deadlineMs: HUNG_MS });
    if (!scene.work.right(0, image.outputs)) failures.push('the image after the attack was wrong');
    console.log(`  an image afterwards: on plan ${image.generation}`);
  } finally {
    await Promise.all(agents.map((agent) => agent.close()));
    await controller.close();
  }
}

/** Connections without a certificate of the cluster: none is let in. */
async function strangers(address: string, count: number, mutate: Mutator): Promise<void> {
  const said = new Tally();
  await campaign('connections without a certificate of the cluster', count, said, 4, async () => {
    const secure = mutate.below(2) === 0;
    const talk = secure
      ? await dialTls(address, { rejectUnauthorized: false, minVersion: 'TLSv1.3' }).then(
          (socket) => new Talk(socket),
          () => undefined,
        )
      : new Talk(connect(parseAddress(address)));
    talk?.send(mutate.below(2) === 0 ? connectPacket('device-x') : randomBytesOf(mutate, 1 + mutate.below(300)));
    const how = (await talk?.settled()) ?? 'closed';
    if (how !== 'closed' || talk?.admitted === true) failures.push(`a stranger's connection was ${how}`);
    said.add(`${secure ? 'TLS without certificate' : 'no TLS'}: ${how}`);
    talk?.end();
    return 1;
  });
}

/** Whether the controller answers, and knows its devices. */
async function stillThere(
  controller: Controller,
  endpoint: ReturnType<typeof addressEndpoint>,
  devices: number,
): Promise<void> {
  const { answer, registry } = await readDirectory({ cluster: CLUSTER, endpoint, deadlineMs: HUNG_MS });
  if (answer === undefined) failures.push('the controller does not answer any more');
  console.log(
    `  afterwards: the controller answers in ${answer?.roundTripMs.toFixed(0)} ms; ${registry.devices.size} devices and ${registry.links.size} links retained`,
  );
  await controller.ready(devices, HUNG_MS);
}

/** Anybody of this machine, at a broker on loopback. */
async function onLoopback(scene: Scene, payloads: number, seed: number): Promise<void> {
  const mutate = new Mutator(seed);
  const said = new Tally();
  const controller = await startController({
    cluster: CLUSTER,
    broker: { listen: '127.0.0.1:0' },
    transport: createTcpTransport(),
    plan: async () => {
      throw new Error('there is no model to plan for');
    },
    whole: async (inputs) => inputs,
    software: 'bench',
    ...counting(said),
  });
  try {
    const profile = profileOf('x', scene.workload, scene.hash);
    await campaign('MQTT payloads of anybody, on loopback', payloads, said, 8, () => {
      const id = `d${mutate.below(3000)}`;
      const clientId = mutate.one([
        `device-${id}`,
        `device-${id}`,
        `device-${id}`,
        `observer-${id}`,
        id,
        'device-controller',
        '',
      ]);
      return attackBroker(
        { id, names: 1000, clientId, dial: async () => new Talk(connect(parseAddress(controller.address))) },
        profile,
        mutate,
        said,
        'd1',
      );
    });
    await stillThere(controller, addressEndpoint(controller.address), 0);
  } finally {
    await controller.close();
  }
}

/** A broker that turned hostile, against devices that believe it. */
async function againstDevices(scene: Scene, payloads: number, seed: number): Promise<void> {
  const mutate = new Mutator(seed);
  const said = new Tally();
  const identity = (await createClusterAuthority(join(scene.folder, 'other'), { clusterName: 'Other' })).identity;
  const preys = new Set<Prey>();
  const answered = new Map<string, () => void>();
  const id = 'victim';
  const base = `distredge/${CLUSTER}`;
  const model = Buffer.concat([
    Buffer.from([0, 0, 0, 30]),
    Buffer.from('{"version":1,"name":"small"}  '),
    gzipSync(scene.work.bytes),
  ]);
  const broker = await hostileBroker(
    (filter, prey) => {
      if (filter.endsWith('/status')) preys.add(prey);
      if (filter.includes('/models/')) prey.send(publishPacket(filter, mutate.bytes(model)));
    },
    (topic, payload) => {
      if (topic.endsWith('/answer')) answered.get(/"request":"([^"]*)"/.exec(payload.toString())?.[1] ?? '')?.();
    },
  );
  const agent = await agentOf(scene, id, addressEndpoint(broker.address), identity, said);
  const order = (): object =>
    mutate.below(2) === 0
      ? { version: 1, kind: 'profile', request: randomHex(mutate), hash: scene.hash, budgetMs: 100 }
      : {
          version: 1,
          kind: 'links',
          request: randomHex(mutate),
          peers: [{ id: 'p', address: '127.0.0.1:9' }],
          deadlineMs: 1000,
        };
  const status = { version: 1, session: 's', status: 'lost', at: 1 };
  const there = async (): Promise<Prey> => {
    for (;;) {
      for (const prey of preys) {
        if (!prey.closed) return prey;
        preys.delete(prey);
      }
      await sleep(20);
    }
  };
  try {
    await campaign('MQTT payloads of a hostile broker, to a device', payloads, said, 1, async () => {
      const prey = await there();
      const count = Math.min(payloads, 4 * BATCH);
      for (let sent = 2; sent < count; sent++) {
        const topic = mutate.one([
          `devices/${id}/orders`,
          `devices/${id}/orders`,
          `devices/${id}/status`,
          'revocations',
          'x/y',
        ]);
        const payload = topic.endsWith('orders')
          ? spoilt(order(), mutate)
          : topic.endsWith('status')
            ? spoilt(status, mutate)
            : mutate.bytes(Buffer.from(identity.ca));
        prey.send(publishPacket(`${base}/${topic}`, payload));
      }
      const how = await prey.tell(`${base}/devices/${id}/orders`, spoilt(order(), mutate));
      if (how === 'hung') failures.push('a device left its broker without an answer');
      if (mutate.below(4) === 0) {
        prey.send(broken(mutate, `${base}/x`));
        await sleep(50);
        prey.end();
      }
      return count;
    });
    const done = new Promise<boolean>((resolve) => {
      answered.set('last', () => resolve(true));
      setTimeout(() => resolve(false), HUNG_MS).unref();
    });
    const last = { version: 1, kind: 'links', request: 'last', peers: [], deadlineMs: 1000 };
    for (let tries = 0; tries < 100; tries++) {
      await (await there()).tell(`${base}/devices/${id}/orders`, Buffer.from(JSON.stringify(last)));
      if (await Promise.race([done, sleep(500).then(() => false)])) break;
    }
    if (!(await Promise.race([done, sleep(1).then(() => false)])))
      failures.push('a device does not carry out orders any more');
    else console.log('  afterwards: the device carried out a sound order');
  } finally {
    await agent.close();
    await broker.close();
  }
}

/** `payloads` against a controller, three of ten of them from anybody on loopback; and as many against a device. */
export async function attackControlPlane(
  work: Work,
  analysis: Analysis,
  payloads: number,
  seed: number,
): Promise<void> {
  if (payloads <= 0) return;
  const folder = await mkdtemp(join(tmpdir(), 'distredge-hostile-mqtt-'));
  const scene: Scene = { work, analysis, workload: workloadOf(analysis, 'small'), hash: modelHash(analysis), folder };
  try {
    await againstController(scene, Math.round(payloads * 0.7), seed);
    await onLoopback(scene, Math.round(payloads * 0.3), seed + 1);
    await againstDevices(scene, payloads, seed + 2);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
