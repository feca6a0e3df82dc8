import { DistrEdgeError, deviceProgram } from '@distredge/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepareMessage, smallProgram } from './fixtures.js';
import { type Frame, FrameKind } from './link/link.js';
import {
  type Control,
  checkVersion,
  failedMessage,
  layOut,
  PROTOCOL_VERSION,
  type Prepare,
  parseControl,
  programOf,
  reportedError,
  within,
} from './protocol.js';

const frame = (payload: Uint8Array): Frame => ({
  kind: FrameKind.control,
  request: 0,
  channel: 0,
  length: payload.length,
  payload,
});
const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** The code of what an action throws; 'fine' where it throws nothing. */
function codeOf(action: () => unknown): string {
  try {
    action();
    return 'fine';
  } catch (error) {
    return error instanceof DistrEdgeError ? error.code : `not ours: ${String(error)}`;
  }
}

const program = smallProgram(2);
const error = { code: 'ENGINE_FAILED', message: 'no', where: 'here' };
const MESSAGES: readonly Control[] = [
  { type: 'hello', version: PROTOCOL_VERSION },
  { type: 'welcome', version: PROTOCOL_VERSION, engine: 'e', pid: 7 },
  prepareMessage(program, 0, ['a', 'b']),
  { type: 'wanted', blobs: [{ blob: 3, from: 0 }] },
  { type: 'ready', residentBytes: 12 },
  { type: 'peer', version: PROTOCOL_VERSION, token: '0'.repeat(32), to: 0, device: 1 },
  { type: 'peer-welcome' },
  { type: 'trace' },
  { type: 'progress' },
  {
    type: 'progressed',
    at: 5,
    request: 1,
    steps: [{ step: 0, start: 1, end: 2, waitFrom: 0 }],
    messages: [{ message: 3, arrived: 1 }],
    arriving: [{ message: 4, bytes: 17 }],
  },
  {
    type: 'traced',
    residentBytes: 1,
    request: 1,
    steps: [{ step: 0, start: 1, end: 2, waitFrom: 0 }],
    messages: [{ message: 0, arrived: 1 }],
  },
  { type: 'failed', error, peer: 1 },
];

describe('parseControl', () => {
  it.each(MESSAGES.map((message) => [message.type, message] as const))('reads back %s', (_, message) => {
    expect(parseControl(frame(bytesOf(message)))).toEqual(message);
  });

  it('throws nothing but PROTOCOL, whatever bytes come', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((text) => new TextEncoder().encode(text)),
        ),
        (bytes) => {
          expect(['fine', 'PROTOCOL']).toContain(codeOf(() => parseControl(frame(bytes))));
        },
      ),
      { seed: 1, numRuns: 500 },
    );
  });

  it('throws nothing but PROTOCOL on messages with a part put in place of another, and neither does reading the program', () => {
    fc.assert(
      fc.property(fc.constantFrom(...MESSAGES), fc.nat(), strangeValue(), (message, place, value) => {
        const changed = replaced(message, place, value);
        const outcome = codeOf(() => {
          const parsed = parseControl(frame(bytesOf(changed)));
          if (parsed.type === 'prepare') programOf(parsed);
        });
        expect(['fine', 'PROTOCOL']).toContain(outcome);
      }),
      { seed: 2, numRuns: 2000 },
    );
  });

  it('says what is wrong', () => {
    expect(() => parseControl(frame(bytesOf({ type: 'hello', version: 'one' })))).toThrow(
      expect.objectContaining({ code: 'PROTOCOL', where: 'version', hint: expect.stringContaining('same version') }),
    );
  });
});

function strangeValue(): fc.Arbitrary<unknown> {
  return fc.oneof(
    fc.constantFrom<unknown>(null, '', -1, 0, 1, 2 ** 24, 2 ** 40, 1e308, 0.5, true, [], {}, '__proto__', [[]], ['a']),
    fc.jsonValue({ maxDepth: 2 }),
  );
}

/** A copy with one of its values, by number in walking order, put in place of another; keys count as values. */
function replaced(message: unknown, place: number, value: unknown): unknown {
  const places: [Record<string, unknown>, string][] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const key of Object.keys(node)) {
      places.push([node as Record<string, unknown>, key]);
      walk((node as Record<string, unknown>)[key]);
    }
  };
  const copy: unknown = structuredClone(message);
  walk(copy);
  const [owner, key] = places[place % places.length] as (typeof places)[number];
  if (place % 7 === 0) delete owner[key];
  else owner[key] = value;
  return copy;
}

describe('programOf', () => {
  const part = deviceProgram(program, 0).program;
  const message = (change: object): Prepare => prepareMessage(program, 0, ['a', 'b'], change) as Prepare;
  const [step] = part.steps;

  it('takes the program as it was made', () => {
    expect(programOf(message({}))).toEqual(JSON.parse(JSON.stringify(part)));
  });

  it.each<[string, object]>([
    ['a step of a model that is not there', { models: [] }],
    ['a device that is not in the cluster', { device: 9 }],
    ['a message from nobody', { receives: part.receives.map((item) => ({ ...item, from: 7 })) }],
    ['a message listed twice', { receives: [...part.receives, ...part.receives] }],
    ['a message that never comes', { receives: [] }],
    ['messages smaller than their pieces', { receives: part.receives.map((item) => ({ ...item, bytes: 8 })) }],
    ['a slot that is not there', { steps: [{ ...step, release: [99] }] }],
    [
      'pieces on one another',
      {
        steps: part.steps.map((item) => ({
          ...item,
          sends: item.sends.map((send) => ({ ...send, pieces: [...send.pieces, ...send.pieces] })),
        })),
      },
    ],
    [
      'a message to itself',
      { steps: part.steps.map((item) => ({ ...item, sends: item.sends.map((send) => ({ ...send, to: 0 })) })) },
    ],
  ])('refuses %s', (_, change) => {
    expect(codeOf(() => programOf(message(change)))).toBe('PROTOCOL');
  });

  it('wants an address for each device', () => {
    expect(codeOf(() => programOf({ ...message({}), peers: ['a'] }))).toBe('PROTOCOL');
  });
});

describe('errors on their way', () => {
  it('keep code and facts, and gain the process they came from', () => {
    const sent = failedMessage(new DistrEdgeError('ENGINE_FAILED', 'no', { where: 'here', got: 'g', hint: 'h' }), 3);
    const parsed = parseControl(frame(bytesOf(sent)));
    expect(parsed).toMatchObject({ type: 'failed', peer: 3 });
    if (parsed.type !== 'failed') throw new Error('impossible');
    expect(reportedError(parsed, 'device 1').toJSON()).toEqual({
      code: 'ENGINE_FAILED',
      message: 'no',
      where: 'device 1: here',
      got: 'g',
      hint: 'h',
    });
  });

  it('are shortened to what the other end takes', () => {
    const sent = failedMessage(new Error('x'.repeat(100_000)));
    expect(codeOf(() => parseControl(frame(bytesOf(sent))))).toBe('fine');
  });
});

it('checkVersion says what to install', () => {
  expect(() => checkVersion(PROTOCOL_VERSION + 1, 'there')).toThrow(
    expect.objectContaining({ code: 'PROTOCOL', where: 'there' }),
  );
  expect(codeOf(() => checkVersion(PROTOCOL_VERSION, 'there'))).toBe('fine');
});

it('within rejects with DEADLINE and the place, and not when it was in time', async () => {
  const never = new Promise<never>(() => undefined);
  await expect(within(never, 5, 'it was not done', () => 'here')).rejects.toMatchObject({
    code: 'DEADLINE',
    message: 'it was not done within 5 ms',
    where: 'here',
  });
  await expect(within(Promise.resolve(7), 5, 'it was not done', () => 'here')).resolves.toBe(7);
});

it('layOut fills the gaps between pieces with zeros', () => {
  const parts = layOut(
    [
      { offset: 0, data: Uint8Array.of(1) },
      { offset: 8, data: Uint8Array.of(2, 3) },
    ],
    16,
  );
  expect([...Buffer.concat(parts)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0]);
});
