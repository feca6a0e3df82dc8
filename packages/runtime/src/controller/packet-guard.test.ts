import { type Duplex, duplexPair } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { guardPackets, PacketLengths } from './packet-guard.js';

/** A packet as MQTT frames it: type, length, so many bytes. */
function packet(length: number): Buffer {
  const digits: number[] = [];
  for (let left = length; digits.length === 0 || left > 0; left = Math.floor(left / 128))
    digits.push((left % 128) + (left >= 128 ? 128 : 0));
  return Buffer.concat([Buffer.from([0x30, ...digits]), Buffer.alloc(length, 7)]);
}

describe('packet lengths', () => {
  it('are followed however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(300), { maxLength: 10 }),
        fc.integer({ min: 1, max: 50 }),
        fc.boolean(),
        (sizes, step, tooLong) => {
          const stream = Buffer.concat([...sizes, ...(tooLong ? [301] : [])].map(packet));
          const lengths = new PacketLengths(300, 300);
          const look = (): void => {
            for (let at = 0; at < stream.length; at += step) lengths.look(stream.subarray(at, at + step));
          };
          if (tooLong) expect(look).toThrow('too long');
          else expect(look).not.toThrow();
        },
      ),
      { numRuns: 300, seed: 1 },
    );
  });

  it('of the first packet may be less', () => {
    expect(() => new PacketLengths(10, 300).look(packet(11))).toThrow('too long');
    expect(() => new PacketLengths(10, 300).look(Buffer.concat([packet(10), packet(300)]))).not.toThrow();
  });

  it('that never end are refused', () => {
    expect(() => new PacketLengths().look(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80]))).toThrow('too long');
  });
});

describe('a guarded stream', () => {
  it('passes packets both ways, and both ends', async () => {
    const [near, far] = duplexPair() as [Duplex, Duplex];
    const guarded = guardPackets(near);
    const got: Buffer[] = [];
    guarded.on('data', (chunk: Buffer) => got.push(chunk));
    far.write(packet(3));
    guarded.write('answer');
    expect(String(await new Promise((resolve) => far.once('data', resolve)))).toBe('answer');
    const closed = new Promise((resolve) => guarded.once('close', resolve));
    far.end();
    await closed;
    expect(Buffer.concat(got)).toEqual(packet(3));
  });

  it('ends with an error when a packet is too long', async () => {
    const [near, far] = duplexPair() as [Duplex, Duplex];
    const guarded = guardPackets(near);
    const failed = new Promise<Error>((resolve) => guarded.once('error', resolve));
    guarded.resume();
    far.on('error', () => undefined);
    far.write(packet(100_000));
    expect((await failed).message).toContain('too long');
    expect(near.destroyed).toBe(true);
  });
});
