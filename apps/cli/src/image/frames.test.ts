/** Pictures in a stream: found whole however the bytes are cut, and anything else is refused. */
import { DistrEdgeError } from '@distredge/core';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { frames } from './frames.js';
import { decodeImage } from './load.js';

const [WIDTH, HEIGHT] = [37, 21];
const pixels = (seed: number): Buffer =>
  Buffer.from(Array.from({ length: WIDTH * HEIGHT * 3 }, (_, at) => (at * (seed + 7) + ((at * at) % 13)) % 256));
const picture = (seed: number) => sharp(pixels(seed), { raw: { width: WIDTH, height: HEIGHT, channels: 3 } });
const ppm = (seed: number, head = `P6\n# made here\n${WIDTH} ${HEIGHT}\n255\n`): Buffer =>
  Buffer.concat([Buffer.from(head), pixels(seed)]);

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(bytes: Buffer, size: number): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for await (const frame of frames(cut(bytes, size), 'there')) found.push(frame);
  return found;
}

async function mixed(): Promise<Buffer[]> {
  return [
    await picture(1).jpeg().toBuffer(),
    await picture(2).png().toBuffer(),
    ppm(3),
    await picture(4).jpeg({ progressive: true }).toBuffer(),
    await picture(5).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
    await picture(6).png({ progressive: true }).toBuffer(),
    ppm(7, `P6 ${WIDTH}\t${HEIGHT} 255\n`),
  ];
}

describe('pictures of a stream', () => {
  it.each([1, 7, 1000, 10_000_000])('are found whole in chunks of %d bytes', async (size) => {
    const files = await mixed();
    const found = await all(Buffer.concat(files), size);
    expect(found.length).toBe(files.length);
    for (const [index, frame] of found.entries())
      expect(frame.equals(files[index] as Buffer), `picture ${index}`).toBe(true);
  });

  it('are decoded as the files that they are', async () => {
    for (const [index, file] of (await mixed()).entries()) {
      const image = await decodeImage(file, 'there');
      const turned = index === 4;
      expect([image.width, image.height], `picture ${index}`).toEqual(turned ? [HEIGHT, WIDTH] : [WIDTH, HEIGHT]);
    }
    expect(Buffer.from((await decodeImage(ppm(3), 'there')).data).equals(pixels(3))).toBe(true);
  });

  it('may be none', async () => {
    expect(await all(Buffer.alloc(0), 10)).toEqual([]);
  });

  it.each<[string, () => Promise<Buffer> | Buffer, RegExp]>([
    ['text', () => Buffer.from('hello, world'), /no picture comes/],
    ['a picture and text', () => Buffer.concat([ppm(1), Buffer.from('hello, world')]), /no picture comes/],
    ['half a PPM', () => ppm(1).subarray(0, 100), /ends in the middle/],
    ['half a header', () => Buffer.from('P6\n12'), /ends in the middle/],
    ['half a PNG', async () => (await picture(1).png().toBuffer()).subarray(0, -5), /ends in the middle/],
    ['half a JPEG', async () => (await picture(1).jpeg().toBuffer()).subarray(0, -2), /ends in the middle/],
    ['a JPEG without markers', () => Buffer.from('ffd8414141414141', 'hex'), /damaged/],
    ['a PNG with an endless chunk', () => Buffer.from('89504e470d0a1a0affffffff49444154', 'hex'), /damaged/],
    ['a PPM of 16 bits', () => Buffer.from('P6 2 2 65535\n'), /damaged/],
    ['a PPM that is too large', () => Buffer.from('P6 99999 99999 255\n'), /damaged/],
    ['a PPM of no pixels', () => Buffer.from('P6 0 2 255\n'), /damaged/],
  ])('are not %s', async (_, bytes, message) => {
    const error: unknown = await all(await bytes(), 5).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(DistrEdgeError);
    expect(error).toMatchObject({ code: 'IMAGE_INVALID', message: expect.stringMatching(message) });
    expect((error as DistrEdgeError).where).toMatch(/^there, picture \d$/);
  });
});
