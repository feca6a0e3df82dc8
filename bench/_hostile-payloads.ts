import { PROFILE_VERSION, type Profile, type Workload } from '@distredge/core';
import { engineName } from '@distredge/runtime';
import type { Mutator } from './_hostile-tools.js';
import { connectPacket, PacketType, packet, publishPacket } from './_mqtt-raw.js';

/** The cluster that is attacked. */
export const CLUSTER = 'target';

/** Every device takes as long as the others: what a plan is worth does not matter here. */
export function profileOf(id: string, { ops, tensors, model, head }: Workload, hash: string): Profile {
  return {
    version: PROFILE_VERSION,
    device: { id, engine: engineName(), threads: 1, cpu: 'any' },
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
export function sound(
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

export function randomHex(mutate: Mutator): string {
  return mutate
    .below(2 ** 32)
    .toString(16)
    .padStart(8, '0');
}

/** A message that is not what it should be: another value, other bytes, other shapes, now and then as it was. */
export function spoilt(message: object, mutate: Mutator): Buffer {
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
export function heavy(mutate: Mutator): Buffer {
  const room = 2 ** 21 - 64;
  return mutate.below(2) === 0
    ? Buffer.from('['.repeat(room))
    : Buffer.from(`{"version":1,"ops":[${'{},'.repeat(Math.floor(room / 3) - 10)}{}]}`);
}

/** Topics that are not for a device to speak to. */
export function forbidden(mutate: Mutator, other: string): string {
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
export function broken(mutate: Mutator, own: string): Buffer {
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

export function randomBytesOf(mutate: Mutator, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => mutate.below(256)));
}
