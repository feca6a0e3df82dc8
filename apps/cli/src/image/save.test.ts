import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RgbImage } from '@distredge/zoo';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadImage } from './load.js';
import { saveImage } from './save.js';

const image: RgbImage = { width: 8, height: 5, data: Uint8Array.from({ length: 120 }, (_, at) => (at * 37) % 256) };

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'distredge-save-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe('saveImage', () => {
  it('writes a PNG that holds every byte, over an older file, and leaves nothing else', async () => {
    const path = join(folder, 'out.PNG');
    await writeFile(path, 'older');
    await saveImage(path, image);
    expect(await loadImage(path)).toEqual({ ...image, data: Buffer.from(image.data) });
    expect(await readdir(folder)).toEqual(['out.PNG']);
  });

  it('writes a JPEG without chroma subsampling', async () => {
    await saveImage(join(folder, 'out.jpg'), image);
    const header = await sharp(await readFile(join(folder, 'out.jpg'))).metadata();
    expect(header).toMatchObject({ format: 'jpeg', width: 8, height: 5, chromaSubsampling: '4:4:4' });
  });

  it('refuses a name of another format, and a malformed picture, before it writes', async () => {
    for (const name of ['out.bmp', 'out', 'png']) {
      await expect(saveImage(join(folder, name), image)).rejects.toMatchObject({ code: 'FILE', got: name });
    }
    const short = { ...image, data: image.data.subarray(1) };
    await expect(saveImage(join(folder, 'out.png'), short)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    expect(await readdir(folder)).toEqual([]);
  });

  it('says where it could not write, and leaves no temporary file', async () => {
    const missing = join(folder, 'none', 'out.png');
    await expect(saveImage(missing, image)).rejects.toMatchObject({ code: 'FILE', where: missing, got: 'ENOENT' });
    const taken = join(folder, 'taken.png');
    await mkdir(taken);
    await expect(saveImage(taken, image)).rejects.toMatchObject({ code: 'FILE', where: taken });
    expect(await readdir(folder)).toEqual(['taken.png']);
  });
});
