import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { DistrEdgeError } from '@distredge/core';
import type { RgbImage } from '@distredge/zoo';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadImage } from './load.js';

const RED = [255, 0, 0];
const BLUE = [0, 0, 255];

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'distredge-load-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

/** A blue picture whose columns left of `split` are red. */
async function halves(width: number, height: number, split = width / 2): Promise<Sharp> {
  const left = await sharp({ create: { width: split, height, channels: 3, background: '#f00' } })
    .png()
    .toBuffer();
  const base = sharp({ create: { width, height, channels: 3, background: '#00f' } });
  return sharp(
    await base
      .composite([{ input: left, left: 0, top: 0 }])
      .png()
      .toBuffer(),
  );
}

function pixel(image: RgbImage, x: number, y: number): number[] {
  const at = 3 * (y * image.width + x);
  return [...image.data.slice(at, at + 3)];
}

async function failure(path: string, options: Parameters<typeof loadImage>[1] = {}): Promise<DistrEdgeError> {
  const error = await loadImage(path, options).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof DistrEdgeError)) throw new Error(`not a DistrEdgeError: ${String(error)}`);
  expect(error.where).toBe(path);
  return error;
}

describe('loadImage', () => {
  it.each(['png', 'webp', 'jpeg'] as const)('decodes %s at its own size', async (format) => {
    const options = format === 'png' ? {} : format === 'webp' ? { lossless: true } : { quality: 100 };
    const path = await file(`halves.${format}`, await (await halves(64, 32)).toFormat(format, options).toBuffer());
    const image = await loadImage(path);
    expect([image.width, image.height, image.data.length]).toEqual([64, 32, 64 * 32 * 3]);
    for (const [x, colour] of [
      [10, RED],
      [50, BLUE],
    ] as const) {
      const distance = pixel(image, x, 16).map((value, channel) => Math.abs(value - (colour[channel] ?? 0)));
      expect(Math.max(...distance)).toBeLessThanOrEqual(format === 'jpeg' ? 2 : 0);
    }
  });

  it('stretches to the given size without keeping proportions, cropping or borders', async () => {
    const path = await file('wide.png', await (await halves(200, 50, 40)).png().toBuffer());
    const image = await loadImage(path, { size: { width: 40, height: 80 } });
    expect([image.width, image.height]).toEqual([40, 80]);
    for (const y of [0, 79]) {
      expect([0, 3].map((x) => pixel(image, x, y))).toEqual([RED, RED]);
      expect([12, 39].map((x) => pixel(image, x, y))).toEqual([BLUE, BLUE]);
    }
  });

  it('averages when it shrinks', async () => {
    const stripes = Buffer.from(Array.from({ length: 128 * 128 * 3 }, (_, at) => (Math.floor(at / 3) % 2) * 255));
    const raw = { width: 128, height: 128, channels: 3 } as const;
    const path = await file('stripes.png', await sharp(stripes, { raw }).png().toBuffer());
    const image = await loadImage(path, { size: { width: 16, height: 16 } });
    const [value = 0] = pixel(image, 8, 8);
    expect(Math.abs(value - 127.5)).toBeLessThan(8);
  });

  it('turns the picture upright before it resizes', async () => {
    // Orientation 6: to be shown turned by 90° clockwise, so the left half comes to lie on top.
    const bytes = await (await halves(64, 32)).jpeg({ quality: 100 }).withMetadata({ orientation: 6 }).toBuffer();
    const path = await file('turned.jpg', bytes);
    const own = await loadImage(path);
    expect([own.width, own.height]).toEqual([32, 64]);
    const image = await loadImage(path, { size: { width: 20, height: 30 } });
    expect([image.width, image.height]).toEqual([20, 30]);
    expect(pixel(image, 10, 4)[0]).toBeGreaterThan(240);
    expect(pixel(image, 10, 25)[2]).toBeGreaterThan(240);
  });

  it('makes RGB of grey, of transparent and of 16-bit pictures', async () => {
    const grey = sharp(Buffer.from([0, 90, 180, 255]), { raw: { width: 2, height: 2, channels: 1 } });
    const greyImage = await loadImage(await file('grey.png', await grey.toColourspace('b-w').png().toBuffer()));
    expect([...greyImage.data]).toEqual([0, 0, 0, 90, 90, 90, 180, 180, 180, 255, 255, 255]);

    const clear = sharp({ create: { width: 2, height: 1, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0 } } });
    expect([...(await loadImage(await file('clear.png', await clear.png().toBuffer()))).data]).toEqual(
      Array(6).fill(255),
    );

    const deep = sharp({ create: { width: 1, height: 1, channels: 3, background: '#336699' } }).toColourspace('rgb16');
    const deepImage = await loadImage(await file('deep.png', await deep.png().toBuffer()));
    expect([...deepImage.data]).toEqual([0x33, 0x66, 0x99]);
  });

  it('says that the file is missing, is a folder, is empty, or is no picture', async () => {
    expect(await failure(join(folder, 'none.jpg'))).toMatchObject({ code: 'FILE', got: 'ENOENT' });
    expect(await failure(folder)).toMatchObject({ code: 'FILE', got: 'a folder' });
    expect(await failure(await file('empty.jpg', ''))).toMatchObject({ code: 'IMAGE_INVALID', got: '0 bytes' });
    const text = await failure(await file('text.jpg', 'this is a text, whatever its name says\n'.repeat(40)));
    expect(text).toMatchObject({ code: 'IMAGE_INVALID', message: expect.stringContaining('not a picture') });
  });

  it.each(['jpeg', 'png', 'webp'] as const)('refuses a truncated or damaged %s', async (format) => {
    const noise = sharp({
      create: {
        width: 200,
        height: 200,
        channels: 3,
        background: '#888',
        noise: { type: 'gaussian', mean: 128, sigma: 40 },
      },
    });
    const bytes = await noise.toFormat(format).toBuffer();
    for (const part of [0.02, 0.5, 0.95]) {
      const path = await file(`cut-${part}.${format}`, bytes.subarray(0, Math.floor(bytes.length * part)));
      expect(await failure(path)).toMatchObject({ code: 'IMAGE_INVALID', hint: expect.any(String) });
    }
  });

  it('refuses other formats by name, even behind a photo ending', async () => {
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="10" height="10"/></svg>';
    expect(await failure(await file('drawing.png', svg))).toMatchObject({ code: 'IMAGE_INVALID', got: 'svg' });
    const gif = await (await halves(4, 4)).gif().toBuffer();
    expect(await failure(await file('film.gif', gif))).toMatchObject({ code: 'IMAGE_INVALID', got: 'gif' });
  });

  it('keeps to the limits of pixels and bytes', async () => {
    const bytes = await (await halves(100, 50)).png().toBuffer();
    const path = await file('limits.png', bytes);
    expect(await failure(path, { maxPixels: 4999 })).toMatchObject({ code: 'IMAGE_INVALID', got: '100 × 50' });
    expect((await failure(path, { maxBytes: bytes.length - 1 })).got).toBe(`${bytes.length} bytes`);
    await expect(loadImage(path, { maxPixels: 5000, maxBytes: bytes.length })).resolves.toMatchObject({ width: 100 });
  });

  it('refuses a header that claims more pixels than the default limit, before it decodes', async () => {
    const bytes = await (await halves(4, 4)).png().toBuffer();
    const huge = Buffer.from(bytes);
    huge.writeUInt32BE(40_000, 16);
    huge.writeUInt32BE(30_000, 20);
    huge.writeUInt32BE(crc32(huge.subarray(12, 29)), 29);
    expect(await failure(await file('bomb.png', huge))).toMatchObject({ got: '40000 × 30000' });
  });
});
