/**
 * The words that requester, providers and peers exchange before the first image and when something goes wrong: JSON in
 * control frames, one closed set of messages, each checked on arrival. Images themselves travel as data frames, whose
 * meaning is fixed by the program both ends hold.
 */
import { type DeviceProgram, DistrEdgeError, type ErrorCode, parseDeviceProgram } from '@distredge/core';
import * as z from 'zod';
import { type Frame, FrameKind, type Link } from './link/link.js';
import type { Chunks } from './weights/chunks.js';

/** Both ends must speak the same. */
export const PROTOCOL_VERSION = 4;
/** The channel of the frame that opens a request on a device. */
export const BEGIN_CHANNEL = 0xffff_ffff;
/** Largest control message. Programs of deep networks on many devices stay well under it. */
export const MAX_CONTROL_BYTES: number = 64 * 2 ** 20;
/** The most images that may be in flight on one program: every device holds memory for as many. */
export const MAX_IN_FLIGHT = 64;
/** Blobs travel in frames of at most this size, so that a link is never blocked by one for long. */
export const BLOB_CHUNK_BYTES: number = 2 ** 20;
/** The most models and weights of a device's program. */
const MAX_BLOBS = 200_000;

/** An error as plain data. */
export interface ErrorFields {
  readonly code: string;
  readonly message: string;
  readonly where?: string | undefined;
  readonly expected?: string | undefined;
  readonly got?: string | undefined;
  readonly hint?: string | undefined;
}

/** A requester's first words. */
export interface Hello {
  readonly type: 'hello';
  readonly version: number;
}

/** A provider's answer to `hello`. */
export interface Welcome {
  readonly type: 'welcome';
  readonly version: number;
  readonly engine: string;
  readonly pid: number;
}

/** Asks a provider to load its part of a program, and names the blobs of which it consists. */
export interface Prepare {
  readonly type: 'prepare';
  /** Tells the devices of one program from others: 32 hex digits. */
  readonly token: string;
  /** Address of every device; a device dials those with a higher index that it exchanges rows with. */
  readonly peers: readonly string[];
  /** Id of every device, where certificates prove it. */
  readonly ids?: readonly string[] | undefined;
  /** Longest time one request may take on the device, in ms. */
  readonly requestMs: number;
  /** How many requests may be open at once. Default 1. */
  readonly inFlight?: number | undefined;
  /** SHA-256 of each blob of the program (`weights/blob.ts` says in which order), as 64 hex digits. */
  readonly hashes: readonly string[];
  /** The chunks of large blobs (`weights/chunks.ts`), by index. */
  readonly chunks?: readonly (Chunks & { readonly blob: number })[] | undefined;
  /** A `DeviceProgram`, unchecked. */
  readonly program?: unknown;
}

/** A blob that a provider lacks, by its index, and from which byte on, up to which one, it is to be sent. */
export interface WantedBlob {
  readonly blob: number;
  readonly from: number;
  /** Default: to its end. */
  readonly to?: number | undefined;
}

/** A provider's answer to `prepare`: what is to be sent, in this order. Said again where a blob must come once more. */
export interface Wanted {
  readonly type: 'wanted';
  readonly blobs: readonly WantedBlob[];
}

export interface Ready {
  readonly type: 'ready';
  readonly residentBytes: number;
}

/** A device's first words to another device of its program. */
export interface Peer {
  readonly type: 'peer';
  readonly version: number;
  readonly token: string;
  /** The device it means: one provider may be several devices of a program. */
  readonly to: number;
  /** The device it is. */
  readonly device: number;
}

/** When the steps of the last request ran and its messages arrived, in ms since the epoch by the device's own clock. */
export interface Traced {
  readonly type: 'traced';
  readonly residentBytes: number;
  readonly request: number;
  readonly steps: readonly {
    readonly step: number;
    readonly start: number;
    readonly end: number;
    readonly waitFrom: number;
  }[];
  readonly messages: readonly { readonly message: number; readonly arrived: number }[];
}

/** How far the oldest image under way has come on a device: a `traced` of what has happened so far, at `at` by the device's own clock. */
export interface Progressed extends Omit<Traced, 'type' | 'residentBytes'> {
  readonly type: 'progressed';
  readonly at: number;
  /** Messages of which a part is here: so many bytes. */
  readonly arriving: readonly { readonly message: number; readonly bytes: number }[];
}

/** The sender cannot go on; `peer` is the device it lost, if that is why. */
export interface Failed {
  readonly type: 'failed';
  readonly error: ErrorFields;
  readonly peer?: number | undefined;
}

export type Control =
  | Hello
  | Welcome
  | Prepare
  | Wanted
  | Ready
  | Peer
  | { readonly type: 'peer-welcome' }
  | { readonly type: 'trace' }
  | Traced
  | { readonly type: 'progress' }
  | Progressed
  | Failed;

const token: z.ZodString = z.string().regex(/^[0-9a-f]{32}$/);
const text: z.ZodString = z.string().max(8192);
const member: z.ZodNumber = z.int().min(0).max(1023);

const errorSchema: z.ZodType<ErrorFields> = z.strictObject({
  code: z.string().regex(/^[A-Z_]{1,40}$/),
  message: text,
  where: text.optional(),
  expected: text.optional(),
  got: text.optional(),
  hint: text.optional(),
});

const timeline = {
  request: z.int().min(0),
  steps: z
    .array(z.strictObject({ step: z.int().min(0), start: z.number(), end: z.number(), waitFrom: z.number() }))
    .max(1_000_000),
  messages: z.array(z.strictObject({ message: z.int().min(0), arrived: z.number() })).max(1_000_000),
};

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const index = z.int().min(0).max(MAX_BLOBS);
const place = z
  .int()
  .min(0)
  .max(2 ** 40);

const schema: z.ZodType<Control> = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('hello'), version: z.int() }),
  z.strictObject({ type: z.literal('welcome'), version: z.int(), engine: text, pid: z.int().min(0) }),
  z.strictObject({
    type: z.literal('prepare'),
    token,
    peers: z.array(text).max(1024),
    ids: z.array(z.string().min(1).max(64)).max(1024).optional(),
    requestMs: z
      .int()
      .min(1)
      .max(2 ** 31 - 1),
    inFlight: z.int().min(1).max(MAX_IN_FLIGHT).optional(),
    hashes: z.array(hash).max(MAX_BLOBS),
    chunks: z
      .array(
        z.strictObject({
          blob: index,
          first: z.int().min(1).max(BLOB_CHUNK_BYTES),
          hashes: z.array(hash).max(MAX_BLOBS),
        }),
      )
      .max(MAX_BLOBS)
      .optional(),
    program: z.unknown(),
  }),
  z.strictObject({
    type: z.literal('wanted'),
    blobs: z.array(z.strictObject({ blob: index, from: place, to: place.optional() })).max(MAX_BLOBS),
  }),
  z.strictObject({ type: z.literal('ready'), residentBytes: z.number().min(0) }),
  z.strictObject({ type: z.literal('peer'), version: z.int(), token, to: member, device: member }),
  z.strictObject({ type: z.literal('peer-welcome') }),
  z.strictObject({ type: z.literal('trace') }),
  z.strictObject({
    type: z.literal('traced'),
    residentBytes: z.number().min(0),
    ...timeline,
  }),
  z.strictObject({ type: z.literal('progress') }),
  z.strictObject({
    type: z.literal('progressed'),
    at: z.number(),
    ...timeline,
    arriving: z.array(z.strictObject({ message: z.int().min(0), bytes: z.int().min(0) })).max(1024),
  }),
  z.strictObject({ type: z.literal('failed'), error: errorSchema, peer: member.optional() }),
]);

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** Sends a control message. */
export function sendControl(link: Link, message: Control): Promise<void> {
  return link.send({ kind: FrameKind.control, request: 0, channel: 0 }, [encoder.encode(JSON.stringify(message))]);
}

/** Reads a control frame. Throws `PROTOCOL` on anything that is not one of the messages. */
export function parseControl(frame: Frame): Control {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(frame.payload));
  } catch (cause) {
    throw new DistrEdgeError('PROTOCOL', 'a control message is not JSON', { expected: 'UTF-8 JSON', cause });
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new DistrEdgeError('PROTOCOL', 'a control message is not one of the known ones', {
      where: (issue?.path ?? []).join('.'),
      got: issue?.message ?? '',
      hint: 'are both ends the same version of distredge?',
    });
  }
  return result.data;
}

/** The program inside a `prepare` message, checked. */
export function programOf(message: Prepare): DeviceProgram {
  const program = parseDeviceProgram(message.program);
  if (message.peers.length !== program.devices) {
    throw new DistrEdgeError('PROTOCOL', 'there is not one address for each device', {
      expected: `${program.devices}`,
      got: `${message.peers.length}`,
    });
  }
  if (message.ids !== undefined && message.ids.length !== program.devices) {
    throw new DistrEdgeError('PROTOCOL', 'there is not one id for each device', {
      expected: `${program.devices}`,
      got: `${message.ids.length}`,
    });
  }
  return program;
}

/** An error as it crosses a link. */
export function failedMessage(error: unknown, peer?: number): Control {
  const facts =
    error instanceof DistrEdgeError
      ? error.toJSON()
      : { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
  const short = Object.fromEntries(Object.entries(facts).map(([key, value]) => [key, value.slice(0, 8000)]));
  return { type: 'failed', error: errorSchema.parse(short), ...(peer === undefined ? {} : { peer }) };
}

/** The error that another process reported, as one of ours; `where` gains the process it came from. */
export function reportedError({ error }: Failed, from: string): DistrEdgeError {
  const { code, message, where, ...facts } = error;
  return new DistrEdgeError(code as ErrorCode, message, {
    where: where === undefined ? from : `${from}: ${where}`,
    ...Object.fromEntries(Object.entries(facts).filter((entry): entry is [string, string] => entry[1] !== undefined)),
  });
}

/** Checks a version given by the other end. */
export function checkVersion(version: number, remote: string): void {
  if (version === PROTOCOL_VERSION) return;
  throw new DistrEdgeError('PROTOCOL', 'the other end speaks another version of the protocol', {
    where: remote,
    expected: `${PROTOCOL_VERSION}`,
    got: `${version}`,
    hint: 'install the same version of distredge on both',
  });
}

/** Milliseconds since the epoch, finer than `Date.now()`. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/** A promise that rejects with `DEADLINE` if it has not settled in time. `what` completes "… within 5 ms". */
export async function within<T>(promise: Promise<T>, ms: number, what: string, where: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new DistrEdgeError('DEADLINE', `${what} within ${ms} ms`, {
          where: where(),
          hint: 'is the process frozen, or the deadline too short for this model?',
        }),
      );
    }, ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The pieces of a message laid out at their offsets, with the zero bytes between them. */
export function layOut(
  pieces: readonly { readonly offset: number; readonly data: Uint8Array }[],
  bytes: number,
): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  const fill = (to: number): void => {
    if (to > at) parts.push(new Uint8Array(to - at));
    at = to;
  };
  for (const { offset, data } of pieces) {
    fill(offset);
    parts.push(data);
    at += data.byteLength;
  }
  fill(bytes);
  return parts;
}
