import { DistrEdgeError } from '@distredge/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Announcement,
  decode,
  decodeModel,
  encode,
  encodeModel,
  MAX_PAYLOAD,
  MESSAGE_VERSION,
} from './messages.js';

const ANNOUNCEMENT: Announcement = {
  version: MESSAGE_VERSION,
  session: 's1',
  id: 'a',
  name: 'A',
  address: '127.0.0.1:1',
  probe: '127.0.0.1:2',
  cpu: 'c',
  cores: 4,
  memoryMb: 100,
  threads: 1,
  engine: 'e',
  software: '0',
  at: 5,
};

const text = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe('messages', () => {
  it('are read as they are written', () => {
    expect(decode('announce', encode('announce', ANNOUNCEMENT))).toEqual(ANNOUNCEMENT);
    const model = { version: MESSAGE_VERSION, name: 'm', size: { height: 4, width: 5 } } as const;
    const read = decodeModel(encodeModel(model, Uint8Array.of(1, 2, 3)));
    expect(read.header).toEqual(model);
    expect([...read.packed]).toEqual([1, 2, 3]);
  });

  it.each([
    ['another version', { ...ANNOUNCEMENT, version: 2 }],
    ['something more', { ...ANNOUNCEMENT, extra: 1 }],
    ['something less', { ...ANNOUNCEMENT, probe: undefined }],
    ['a name that leads elsewhere', { ...ANNOUNCEMENT, id: '../b' }],
    ['no number', { ...ANNOUNCEMENT, memoryMb: 'much' }],
    ['an impossible number', { ...ANNOUNCEMENT, cores: -1 }],
    ['a long text', { ...ANNOUNCEMENT, cpu: 'x'.repeat(1000) }],
    ['null', null],
    ['a list', []],
  ])('with %s are refused', (_what, message) => {
    expect(() => decode('announce', text(message))).toThrow(DistrEdgeError);
  });

  it('that are too long are refused before they are read', () => {
    expect(() => decode('status', new Uint8Array(MAX_PAYLOAD.status + 1).fill(0x20))).toThrow('too long');
    expect(() => encode('status', { text: 'x'.repeat(MAX_PAYLOAD.status) })).toThrow('too long');
    expect(() => decodeModel(new Uint8Array(MAX_PAYLOAD.model + 1))).toThrow('no length');
  });

  it('of models that are cut off are refused', () => {
    const whole = encodeModel({ version: MESSAGE_VERSION, name: 'm' }, Uint8Array.of(1));
    for (const bytes of [whole.subarray(0, 3), whole.subarray(0, 20), Uint8Array.of(255, 255, 255, 255, 0)])
      expect(() => decodeModel(bytes)).toThrow(DistrEdgeError);
  });

  it('whatever comes, only the one class of errors is thrown', () => {
    const valid = encode('announce', ANNOUNCEMENT);
    const kinds = [
      'announce',
      'status',
      'link',
      'orders',
      'answer',
      'controller',
      'ask',
      'answers',
      'profile',
    ] as const;
    const mutated = fc.array(fc.tuple(fc.nat(valid.byteLength - 1), fc.nat(255)), { maxLength: 6 }).map((changes) => {
      const bytes = valid.slice();
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
    fc.assert(
      fc.property(
        fc.oneof(mutated, fc.uint8Array({ maxLength: 200 }), fc.json().map(text)),
        fc.constantFrom(...kinds),
        (bytes, kind) => {
          for (const read of [() => decode(kind, bytes), () => decodeModel(bytes)]) {
            try {
              read();
            } catch (error) {
              expect(error).toBeInstanceOf(DistrEdgeError);
            }
          }
        },
      ),
      { numRuns: 2000, seed: 1 },
    );
  });
});
