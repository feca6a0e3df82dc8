/** Writes a picture to disk, whole or not at all. */
import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { DistrEdgeError } from '@distredge/core';
import { checkImage, type RgbImage } from '@distredge/zoo';
import sharp from 'sharp';
import { fileError } from './file-error.js';

/** JPEG quality, 1..100: high enough that thin coloured lines stay clean, without chroma subsampling. */
const JPEG_QUALITY = 92;

async function encode(image: RgbImage, path: string): Promise<Buffer> {
  checkImage(image);
  const { width, height, data } = image;
  const pipeline = sharp(data, { raw: { width, height, channels: 3 } });
  switch (extname(path).toLowerCase()) {
    case '.png':
      return pipeline.png().toBuffer();
    case '.jpg':
    case '.jpeg':
      return pipeline.jpeg({ quality: JPEG_QUALITY, chromaSubsampling: '4:4:4' }).toBuffer();
    default:
      throw new DistrEdgeError('FILE', 'the name does not say which picture format to write', {
        where: path,
        expected: 'a name that ends in .png, .jpg or .jpeg',
        got: basename(path),
        hint: 'end the name in .png',
      });
  }
}

/**
 * Writes a picture as PNG or JPEG, by the ending of `path`. It is written beside its place under another name,
 * flushed, then renamed: a reader sees the old file or the new one, and a failure leaves neither a part nor the
 * temporary file. Throws FILE where that cannot be done, IMAGE_INVALID where the picture is malformed.
 */
export async function saveImage(path: string, image: RgbImage): Promise<void> {
  const bytes = await encode(image, path);
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError(error, path, 'write');
  }
}
