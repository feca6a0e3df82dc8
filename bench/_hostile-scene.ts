import { join } from 'node:path';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { Analysis, Profile, Workload } from '@distredge/core';
import {
  type addressEndpoint,
  type ClusterAuthority,
  type Controller,
  createOrtEngineFor,
  createTlsTransport,
  engineName,
  type Identity,
  joinCluster,
  parseAddress,
  startAgent,
  type startController,
  startJoinServer,
} from '@distredge/runtime';
import { sleep, type Work } from './_fault-cluster.js';
import { broken, CLUSTER, forbidden, heavy, profileOf, randomHex, sound, spoilt } from './_hostile-payloads.js';
import { failures, HUNG_MS, type Mutator, type Tally } from './_hostile-tools.js';
import { connectPacket, publishPacket, subscribePacket, type Talk } from './_mqtt-raw.js';

/** Payloads that one connection brings, at most. */
export const BATCH = 100;
/** How long an attacker that has sent half a packet waits to be cut off. */
const HALF_PACKET_MS = 30;
/** After so many payloads an attacker looks whether its connection is still open. */
const LOOK_EVERY = 16;
/** How often the controller has an image computed meanwhile, in ms. */
const IMAGE_EVERY_MS = 200;

/** Who attacks a broker, and how it is reached. */
export interface Attacker {
  /** The device that it is, or says that it is. */
  readonly id: string;
  /** Of how many other devices and models it speaks: more than the broker keeps of one, or fewer. */
  readonly names: number;
  readonly clientId: string;
  dial(): Promise<Talk>;
}

/** One connection to a broker with up to `BATCH` payloads; resolves to how many. */
export async function attackBroker(
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
export function counting(said: Tally): Pick<Parameters<typeof startController>[0], 'log' | 'onEvent'> {
  return {
    log: (line) => said.add(`broker: ${plain(line.replace(/^[^ ]*: /, ''))}`),
    onEvent: (event) => {
      if (event.type === 'problem') said.add(`controller: ${event.error.code}, ${plain(event.error.message)}`);
      else said.add(`taken as news: ${event.type}`);
    },
  };
}

export const plain = (line: string): string => line.replace(/\d+/g, 'N').slice(0, 80);

export function dialTls(address: string, options: object): Promise<TLSSocket> {
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
export async function admitted(authority: ClusterAuthority, folder: string, deviceName: string): Promise<Identity> {
  const server = await startJoinServer({ authority, listen: '127.0.0.1:0' });
  try {
    const { code } = authority.issueCode();
    return await joinCluster({ address: server.address, code, deviceName, folder: join(folder, deviceName) });
  } finally {
    await server.close();
  }
}

export interface Scene {
  readonly work: Work;
  readonly analysis: Analysis;
  readonly workload: Workload;
  readonly hash: string;
  readonly folder: string;
}

export function agentOf(
  scene: Scene,
  id: string,
  endpoint: ReturnType<typeof addressEndpoint>,
  identity: Identity,
  said: Tally,
): ReturnType<typeof startAgent> {
  return startAgent({
    cluster: CLUSTER,
    id,
    endpoint,
    identity,
    transport: createTlsTransport(identity),
    host: '127.0.0.1',
    createEngine: (program) => createOrtEngineFor(program, { threads: 1 }),
    engineName: engineName(),
    measure: async (_analysis, workload) => profileOf(id, workload, scene.hash),
    memoryMb: 1000,
    software: 'bench',
    profiles: join(scene.folder, 'profiles'),
    log: (line) => said.add(`device: ${plain(line)}`),
  });
}

/** Has images computed until it is told to stop; resolves to how many, and how many of them were whole. */
export function imagesMeanwhile(
  controller: Controller,
  work: Work,
): { stop(): Promise<readonly [number, number, number]> } {
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
