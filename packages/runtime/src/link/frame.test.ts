import { DistrEdgeError } from '@distredge/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeHeader, encodeHeader, FrameDecoder, HEADER_BYTES } from './frame.js';
import { type Frame, type FrameHeader, FrameKind } from './link.js';

const uint32 = fc.oneof(fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff), fc.nat(0xffff_ffff));
const kind = fc.constantFrom(...Object.values(FrameKind));
const frame: fc.Arbitrary<Frame> = fc
  .record({ kind, request: uint32, channel: uint32, payload: fc.uint8Array({ maxLength: 200 }) })
  .map((fields) => ({ ...fields, length: fields.payload.length }));
/** Chunk sizes, used in turn. */
const sizes = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 20 });

function encode(frames: readonly Frame[]): Uint8Array {
  return Buffer.concat(frames.flatMap((each) => [encodeHeader(each), each.payload]));
}

function* fragments(bytes: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = at + (lengths[i % lengths.length] ?? 1);
    yield bytes.subarray(at, end);
    at = end;
  }
}

describe('the header codec', () => {
  it('reads what it wrote', () => {
    fc.assert(
      fc.property(fc.record({ kind, request: uint32, channel: uint32, length: uint32 }), (header) => {
        const bytes = encodeHeader(header);
        expect(bytes).toHaveLength(HEADER_BYTES);
        expect(decodeHeader(bytes)).toEqual(header);
      }),
    );
  });

  it('is little-endian and starts with its name and version', () => {
    const bytes = encodeHeader({ kind: FrameKind.data, request: 0x01020304, channel: 5, length: 0x0a0b0c0d });
    expect([...bytes]).toEqual([0x44, 0x45, 1, 3, 4, 3, 2, 1, 5, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a]);
  });

  it.each([
    ['kind', { kind: 0 as FrameKind }],
    ['request', { request: -1 }],
    ['channel', { channel: 1.5 }],
    ['length', { length: 2 ** 32 }],
  ])('refuses to write a wrong %s, and names it', (where, wrong) => {
    const header: FrameHeader = { kind: FrameKind.data, request: 0, channel: 0, length: 0, ...wrong };
    expect(() => encodeHeader(header)).toThrow(expect.objectContaining({ code: 'FRAME_INVALID', where }));
  });

  it.each([
    ['magic', 0],
    ['magic', 1],
    ['version', 2],
    ['kind', 3],
  ])('refuses to read a wrong %s (byte %i), and names it', (where, at) => {
    const bytes = encodeHeader({ kind: FrameKind.data, request: 0, channel: 0, length: 0 });
    bytes[at] = 0xee;
    expect(() => decodeHeader(bytes)).toThrow(expect.objectContaining({ code: 'FRAME_INVALID', where }));
  });

  it('refuses to read a header that is cut short', () => {
    expect(() => decodeHeader(new Uint8Array(HEADER_BYTES - 1))).toThrow('cut short');
  });
});

describe('the frame decoder', () => {
  it('gives the same frames however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), sizes, (frames, lengths) => {
        const decoder = new FrameDecoder({ maxFrameBytes: 200 });
        const got: Frame[] = [];
        for (const chunk of fragments(encode(frames), lengths)) {
          expect(decoder.push(chunk, (each) => got.push(each) > 0)).toBe(chunk.length);
        }
        expect(got).toEqual(frames.map((each) => ({ ...each, payload: Uint8Array.from(each.payload) })));
        expect(decoder.midFrame).toBe(false);
      }),
    );
  });

  it('stops after a frame when it is told to, and goes on from there', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 8 }), (frames) => {
        const decoder = new FrameDecoder({ maxFrameBytes: 200 });
        let rest = encode(frames);
        for (const expected of frames) {
          const got: Frame[] = [];
          const used = decoder.push(rest, (each) => {
            got.push(each);
            return false;
          });
          expect(used).toBe(HEADER_BYTES + expected.length);
          expect(got.map((each) => each.request)).toEqual([expected.request]);
          rest = rest.subarray(used);
        }
        expect(rest).toHaveLength(0);
      }),
    );
  });

  it('knows whether it is in the middle of a frame', () => {
    const bytes = encode([{ kind: FrameKind.blob, request: 0, channel: 0, length: 2, payload: Uint8Array.of(1, 2) }]);
    const decoder = new FrameDecoder({ maxFrameBytes: 2 });
    for (let at = 0; at < bytes.length; at++) {
      expect(decoder.midFrame).toBe(at > 0);
      expect(decoder.arriving?.received).toBe(at < HEADER_BYTES ? undefined : at - HEADER_BYTES);
      decoder.push(bytes.subarray(at, at + 1), () => true);
    }
    expect(decoder.midFrame).toBe(false);
  });

  it('reads payloads into the buffers that allocate gives, and lets it refuse', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), sizes, (frames, lengths) => {
        const buffers: Uint8Array[] = [];
        const allocate = (header: FrameHeader): Uint8Array => {
          const buffer = new Uint8Array(header.length);
          buffers.push(buffer);
          return buffer;
        };
        const decoder = new FrameDecoder({ allocate, maxFrameBytes: 0 });
        const got: Frame[] = [];
        for (const chunk of fragments(encode(frames), lengths)) decoder.push(chunk, (each) => got.push(each) > 0);
        expect(got.every((each, i) => each.payload === buffers[i])).toBe(true);
        expect(buffers).toHaveLength(frames.length);
      }),
    );
    const refuse = (): never => {
      throw new RangeError('no');
    };
    const decoder = new FrameDecoder({ allocate: refuse, maxFrameBytes: 0 });
    const header = encodeHeader({ kind: FrameKind.data, request: 0, channel: 0, length: 0 });
    expect(() => decoder.push(header, () => true)).toThrow(RangeError);
  });

  it('takes a payload of the limit, and refuses a larger one at its header, before allocating', () => {
    fc.assert(
      fc.property(uint32, fc.integer({ min: 0, max: 4096 }), (length, maxFrameBytes) => {
        const decoder = new FrameDecoder({ maxFrameBytes });
        const take = () =>
          decoder.push(encodeHeader({ kind: FrameKind.data, request: 0, channel: 0, length }), () => true);
        if (length <= maxFrameBytes) expect(take()).toBe(HEADER_BYTES);
        else expect(take).toThrow(expect.objectContaining({ code: 'FRAME_INVALID', where: 'length' }));
      }),
      {
        examples: [
          [4096, 4096],
          [4097, 4096],
          [0, 0],
        ],
      },
    );
  });

  it('answers any bytes with frames within the limit or one DistrEdgeError', () => {
    const noise = fc.uint8Array({ maxLength: 300 });
    const mutation = fc.record({ at: fc.nat(), byte: fc.nat(255), cut: fc.boolean() });
    const mutated = fc
      .tuple(fc.array(frame, { minLength: 1, maxLength: 6 }), fc.array(mutation, { minLength: 1, maxLength: 4 }), noise)
      .map(([frames, mutations, tail]) => {
        let bytes = Uint8Array.from(encode(frames));
        for (const { at, byte, cut } of mutations) {
          const place = at % (bytes.length || 1);
          if (cut) bytes = Uint8Array.from([...bytes.subarray(0, place), ...bytes.subarray(place + 1)]);
          else bytes[place] = byte;
        }
        return Uint8Array.from([...bytes, ...tail]);
      });
    fc.assert(
      fc.property(fc.oneof(noise, mutated), sizes, (bytes, lengths) => {
        const limit = 100;
        const decoder = new FrameDecoder({ maxFrameBytes: limit });
        try {
          for (const chunk of fragments(bytes, lengths)) {
            const used = decoder.push(chunk, (each) => {
              expect(each.length).toBeLessThanOrEqual(limit);
              expect(each.payload).toHaveLength(each.length);
              return true;
            });
            expect(used).toBe(chunk.length);
          }
        } catch (error) {
          if (!(error instanceof DistrEdgeError)) throw error;
          expect(error.code).toBe('FRAME_INVALID');
          expect(error.where).toMatch(/^(magic|version|kind|length)$/);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
