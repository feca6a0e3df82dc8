/**
 * Attacks on the control plane: a device of the cluster that turned hostile, with a certificate; anybody of this machine, at a
 * broker on loopback; strangers at the broker's port; and a broker that turned hostile, against devices. Meanwhile and
 * afterwards the controller has images computed, which must come out right.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Analysis, fromPlan, planByRule, workloadOf } from '@distredge/core';
import {
  addressEndpoint,
  type Controller,
  createClusterAuthority,
  createTcpTransport,
  createTlsTransport,
  type Identity,
  modelHash,
  parseAddress,
  readDirectory,
  startController,
  tlsOptionsFor,
} from '@distredge/runtime';
import { sleep, type Work } from './_fault-cluster.js';
import { broken, CLUSTER, profileOf, randomBytesOf, randomHex, spoilt } from './_hostile-payloads.js';
import {
  type Attacker,
  admitted,
  agentOf,
  attackBroker,
  counting,
  dialTls,
  imagesMeanwhile,
  type Scene,
} from './_hostile-scene.js';
import { campaign, failures, HUNG_MS, Mutator, Tally } from './_hostile-tools.js';
import { connectPacket, hostileBroker, type Prey, publishPacket, Talk } from './_mqtt-raw.js';

/** Payloads that one connection brings, at most. */
const BATCH = 100;
/** Devices of one cluster that attack at a time. */
const HOSTILE_DEVICES = 4;

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
