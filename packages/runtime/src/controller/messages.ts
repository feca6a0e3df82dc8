/**
 * The messages of the control plane and their checks. All but models are small JSON objects; whatever is too long, is no JSON
 * or has another form than declared here is refused before anything looks at it. No tensor is among them: rows and weights go
 * from device to device.
 */
import { DistrEdgeError, type Profile, parseProfile } from '@distredge/core';
import * as z from 'zod';
import { isName, type TopicKind } from './topics.js';

export const MESSAGE_VERSION = 1;

/** The longest payload of every kind, in bytes. */
export const MAX_PAYLOAD: Readonly<Record<TopicKind, number>> = {
  controller: 4096,
  plan: 2 ** 20,
  revocations: 2 ** 19,
  model: 2 ** 22,
  telemetry: 2 ** 18,
  events: 2 ** 14,
  ask: 1024,
  answers: 4096,
  announce: 2 ** 13,
  status: 1024,
  orders: 2 ** 16,
  answer: 2 ** 14,
  profile: 2 ** 21,
  link: 1024,
};

/** No packet of MQTT is longer than this, in bytes. */
export const MAX_PACKET_BYTES: number = Math.max(...Object.values(MAX_PAYLOAD)) + 1024;

const version: z.ZodLiteral<typeof MESSAGE_VERSION> = z.literal(MESSAGE_VERSION);
const name: z.ZodType<string> = z.string().refine(isName, 'not a name');
const text: z.ZodString = z.string().max(512);
const address: z.ZodString = z.string().min(3).max(300);
const wall: z.ZodNumber = z.number().min(0).max(1e15);
const time: z.ZodNumber = z.number().min(0).max(86_400_000);

const announcement = z.strictObject({
  version,
  session: name,
  id: name,
  name: text,
  address,
  probe: address,
  cpu: text,
  cores: z.int().min(1).max(65_536),
  memoryMb: z.number().positive().max(1e9),
  threads: z.int().min(1).max(4096),
  engine: text,
  software: text,
  at: wall,
});

const status = z.strictObject({ version, session: name, status: z.enum(['online', 'left', 'lost']), at: wall });

const link = z.strictObject({
  version,
  from: name,
  to: name,
  mbps: z.number().positive().max(1e9),
  latencyMs: time,
  at: wall,
});

const order = z.discriminatedUnion('kind', [
  z.strictObject({
    version,
    kind: z.literal('profile'),
    request: name,
    hash: name,
    budgetMs: z.number().min(1).max(3_600_000),
  }),
  z.strictObject({
    version,
    kind: z.literal('links'),
    request: name,
    peers: z.array(z.strictObject({ id: name, address })).max(1024),
    deadlineMs: z.number().min(1).max(600_000),
  }),
]);

const failure = z.strictObject({
  code: z.string().max(64),
  message: text,
  where: text.optional(),
  expected: text.optional(),
  got: text.optional(),
  hint: text.optional(),
});
const answer = z.strictObject({ version, request: name, session: name, at: wall, error: failure.optional() });

const controller = z.strictObject({
  version,
  status: z.enum(['online', 'left', 'lost']),
  address: z.string().max(300),
  software: text,
  model: text.optional(),
  at: wall,
});

const ask = z.strictObject({ version, request: name, at: wall });
const reply = z.strictObject({ version, request: name, at: wall, software: text });

const modelHeader = z.strictObject({
  version,
  name: text,
  shapes: z
    .record(
      z.string().max(512),
      z
        .array(
          z
            .int()
            .min(1)
            .max(1 << 24),
        )
        .max(16),
    )
    .optional(),
  size: z
    .strictObject({
      height: z
        .int()
        .min(1)
        .max(1 << 20),
      width: z
        .int()
        .min(1)
        .max(1 << 20),
    })
    .optional(),
});

/** What a device says of itself when it joins. */
export interface Announcement {
  readonly version: typeof MESSAGE_VERSION;
  /** New with every start of the device's process. */
  readonly session: string;
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** Where its provider is dialled. */
  readonly address: string;
  /** Where its answering end for link measurements is dialled. */
  readonly probe: string;
  readonly cpu: string;
  readonly cores: number;
  /** For models and rows, in 10⁶ bytes. */
  readonly memoryMb: number;
  readonly threads: number;
  readonly engine: string;
  readonly software: string;
  /** Wall clock in ms since the epoch. */
  readonly at: number;
}

/** `lost` is said by the broker, as the device's last will. */
export interface DeviceStatus {
  readonly version: typeof MESSAGE_VERSION;
  readonly session: string;
  readonly status: 'online' | 'left' | 'lost';
  readonly at: number;
}

/** A measured link, as the simulator takes it. */
export interface LinkReport {
  readonly version: typeof MESSAGE_VERSION;
  readonly from: string;
  readonly to: string;
  /** 10⁶ bit/s. */
  readonly mbps: number;
  readonly latencyMs: number;
  readonly at: number;
}

export type Order =
  | {
      readonly version: typeof MESSAGE_VERSION;
      readonly kind: 'profile';
      readonly request: string;
      readonly hash: string;
      readonly budgetMs: number;
    }
  | {
      readonly version: typeof MESSAGE_VERSION;
      readonly kind: 'links';
      readonly request: string;
      readonly peers: readonly { readonly id: string; readonly address: string }[];
      readonly deadlineMs: number;
    };

/** That an order was carried out, or why not. */
export interface Answer {
  readonly version: typeof MESSAGE_VERSION;
  readonly request: string;
  readonly session: string;
  readonly at: number;
  readonly error?: Readonly<Record<string, string>> | undefined;
}

export interface ControllerStatus {
  readonly version: typeof MESSAGE_VERSION;
  readonly status: 'online' | 'left' | 'lost';
  /** Where it listens for devices; empty with a broker of its own. */
  readonly address: string;
  readonly software: string;
  readonly model?: string | undefined;
  readonly at: number;
}

export interface Ask {
  readonly version: typeof MESSAGE_VERSION;
  readonly request: string;
  readonly at: number;
}

export interface Reply {
  readonly version: typeof MESSAGE_VERSION;
  readonly request: string;
  readonly at: number;
  readonly software: string;
}

/** What stands before a model's bytes. */
export interface ModelHeader {
  readonly version: typeof MESSAGE_VERSION;
  readonly name: string;
  readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  readonly size?: { readonly height: number; readonly width: number } | undefined;
}

interface Messages {
  announce: Announcement;
  status: DeviceStatus;
  link: LinkReport;
  orders: Order;
  answer: Answer;
  controller: ControllerStatus;
  ask: Ask;
  answers: Reply;
  profile: Profile;
}

const schemas: { readonly [K in Exclude<keyof Messages, 'profile'>]: z.ZodType } = {
  announce: announcement,
  status,
  link,
  orders: order,
  answer,
  controller,
  ask,
  answers: reply,
};

function refused(kind: TopicKind, message: string, facts: { expected?: string; got?: string }): DistrEdgeError {
  return new DistrEdgeError('PROTOCOL', `a message of the control plane ${message}`, { where: kind, ...facts });
}

function json(kind: TopicKind, payload: Uint8Array): unknown {
  if (payload.byteLength > MAX_PAYLOAD[kind]) {
    throw refused(kind, 'is too long', {
      expected: `at most ${MAX_PAYLOAD[kind]} bytes`,
      got: `${payload.byteLength}`,
    });
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch {
    throw refused(kind, 'is no JSON', { got: `${payload.byteLength} bytes` });
  }
}

function checked(kind: TopicKind, schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw refused(kind, 'has another form than agreed', {
    got: `${(issue?.path ?? []).join('.')}: ${issue?.message ?? 'unknown'}`.slice(0, 200),
  });
}

/** Checks a payload that came from the broker. Throws `PROTOCOL`, or `PROFILE_INVALID` for a profile. */
export function decode<K extends keyof Messages>(kind: K, payload: Uint8Array): Messages[K] {
  const value = json(kind, payload);
  if (kind === 'profile') return parseProfile(value) as Messages[K];
  return checked(kind, schemas[kind as keyof typeof schemas], value) as Messages[K];
}

/** A message as bytes. Throws `INTERNAL` for one that its receivers would refuse. */
export function encode(kind: TopicKind, message: object): Uint8Array {
  const bytes = new TextEncoder().encode(JSON.stringify(message));
  if (bytes.byteLength <= MAX_PAYLOAD[kind]) return bytes;
  throw new DistrEdgeError('INTERNAL', 'a message of the control plane is too long to be sent', {
    where: kind,
    expected: `at most ${MAX_PAYLOAD[kind]} bytes`,
    got: `${bytes.byteLength}`,
  });
}

const HEADER_BYTES = 4;

/** A model to be profiled: the length of a JSON header (32 bits, big endian), the header, the model packed by gzip. */
export function encodeModel(header: ModelHeader, packed: Uint8Array): Uint8Array {
  const head = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(HEADER_BYTES + head.byteLength + packed.byteLength);
  new DataView(bytes.buffer).setUint32(0, head.byteLength);
  bytes.set(head, HEADER_BYTES);
  bytes.set(packed, HEADER_BYTES + head.byteLength);
  if (bytes.byteLength <= MAX_PAYLOAD.model) return bytes;
  throw new DistrEdgeError(
    'MODEL_LIMIT',
    'the model is too large to be handed out for profiling, even without weights',
    {
      where: header.name,
      expected: `at most ${MAX_PAYLOAD.model} bytes, packed`,
      got: `${bytes.byteLength}`,
      hint: 'keep large constants as initialisers, not in Constant nodes',
    },
  );
}

/** Checks and takes apart a model message. Throws `PROTOCOL`. */
export function decodeModel(payload: Uint8Array): { readonly header: ModelHeader; readonly packed: Uint8Array } {
  if (payload.byteLength > MAX_PAYLOAD.model || payload.byteLength < HEADER_BYTES) {
    throw refused('model', 'has no length that a model has', { got: `${payload.byteLength} bytes` });
  }
  const length = new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getUint32(0);
  if (length > 2 ** 16 || HEADER_BYTES + length > payload.byteLength) {
    throw refused('model', 'is cut off', { got: `a header of ${length} bytes` });
  }
  const value = json('orders', payload.subarray(HEADER_BYTES, HEADER_BYTES + length));
  return {
    header: checked('model', modelHeader, value) as ModelHeader,
    packed: payload.subarray(HEADER_BYTES + length),
  };
}
