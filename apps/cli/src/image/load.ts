/** Reads a photo from disk as plain RGB, with limits, and says plainly what is wrong with a file that is not one. */
import { readFile, stat } from 'node:fs/promises';
import { DistrEdgeError, type ErrorFacts } from '@distredge/core';
import type { RgbImage, Size } from '@distredge/zoo';
import sharp, { type Metadata, type Sharp } from 'sharp';
import { fileError } from './file-error.js';
import { isPpm, ppmHeader } from './ppm.js';

/** How to read a photo. */
export interface LoadOptions {
  /** The size to stretch the picture to, in pixels, ignoring its proportions; its own size where absent. */
  readonly size?: Size;
  /** Most pixels a picture may have, before resizing. Default 64 million. */
  readonly maxPixels?: number;
  /** Most bytes a file may have. Default 128 MiB. */
  readonly maxBytes?: number;
}

const WANTED = 'a JPEG, PNG or WebP file';
const FORMATS: ReadonlySet<string> = new Set(['jpeg', 'png', 'webp']);
const DEFAULT_MAX_PIXELS = 64_000_000;
const DEFAULT_MAX_BYTES = 128 * 2 ** 20;

function imageError(path: string, message: string, facts: ErrorFacts): DistrEdgeError {
  return new DistrEdgeError('IMAGE_INVALID', message, { where: path, ...facts });
}

/** The bytes of a file; FILE where it cannot be read, IMAGE_INVALID where it is empty or too large. */
async function readBounded(path: string, maxBytes: number): Promise<Buffer> {
  const failed = (error: unknown): never => {
    throw fileError(error, path, 'read');
  };
  const stats = await stat(path).catch(failed);
  if (!stats.isFile()) {
    throw new DistrEdgeError('FILE', 'this is not a plain file', {
      where: path,
      expected: WANTED,
      got: stats.isDirectory() ? 'a folder' : 'a device or a pipe',
      hint: 'name the photo itself',
    });
  }
  if (stats.size === 0) {
    throw imageError(path, 'the file is empty', { expected: WANTED, got: '0 bytes', hint: 'copy the photo again' });
  }
  if (stats.size > maxBytes) {
    const facts = { expected: `at most ${maxBytes} bytes`, got: `${stats.size} bytes`, hint: 'save the photo smaller' };
    throw imageError(path, 'the file is too large for a photo', facts);
  }
  return await readFile(path).catch(failed);
}

/** What the file's header says; IMAGE_INVALID where it is not one of the formats or has too many pixels. */
async function checkHeader(path: string, decoder: Sharp, maxPixels: number): Promise<void> {
  let header: Metadata;
  try {
    header = await decoder.metadata();
  } catch (error) {
    const hint = 'open the file in a picture viewer to see what it is';
    throw imageError(path, 'the file is not a picture, or its start is damaged', {
      expected: WANTED,
      hint,
      cause: error,
    });
  }
  if (!FORMATS.has(header.format)) {
    throw imageError(path, 'this kind of picture is not read', {
      expected: WANTED,
      got: header.format,
      hint: 'save the picture as JPEG or PNG',
    });
  }
  if (header.width * header.height > maxPixels) {
    throw imageError(path, 'the picture has too many pixels', {
      expected: `at most ${maxPixels} pixels`,
      got: `${header.width} × ${header.height}`,
      hint: 'save the photo smaller',
    });
  }
}

/** The pixels of a binary PPM. */
function ppmDecoder(path: string, bytes: Uint8Array, maxPixels: number): Sharp {
  const header = ppmHeader(bytes);
  const broken = typeof header === 'string' || header === undefined;
  if (broken || bytes.length < header.start + header.width * header.height * 3) {
    throw imageError(path, 'the picture is truncated or damaged', {
      expected: 'a binary PPM with 8 bits a channel',
      ...(typeof header === 'string' ? { got: header } : {}),
    });
  }
  const { width, height, start } = header;
  if (width * height > maxPixels) {
    throw imageError(path, 'the picture has too many pixels', {
      expected: `at most ${maxPixels} pixels`,
      got: `${width} × ${height}`,
    });
  }
  return sharp(bytes.subarray(start, start + width * height * 3), { raw: { width, height, channels: 3 } });
}

/**
 * Decodes a JPEG, PNG or WebP file to 8-bit sRGB: upright by its EXIF orientation, an embedded colour profile
 * applied, transparency laid over white, of an animation the first picture. With `size` it is stretched to that
 * size by Lanczos-3 (which averages when it shrinks). Throws FILE where the file cannot be read, and
 * IMAGE_INVALID where it is no such picture, is truncated or damaged, or goes over a limit.
 */
export async function loadImage(path: string, options: LoadOptions = {}): Promise<RgbImage> {
  return decodeImage(await readBounded(path, options.maxBytes ?? DEFAULT_MAX_BYTES), path, options);
}

/** As `loadImage`, from the bytes of a file or of a binary PPM; `path` is for messages. */
export async function decodeImage(bytes: Uint8Array, path: string, options: LoadOptions = {}): Promise<RgbImage> {
  const { size, maxPixels = DEFAULT_MAX_PIXELS } = options;
  // The pixel limit is ours (checkHeader), so that the error states the size; sharp's own would not.
  const decoder = isPpm(bytes)
    ? ppmDecoder(path, bytes, maxPixels)
    : sharp(bytes, { failOn: 'error', limitInputPixels: false });
  if (!isPpm(bytes)) await checkHeader(path, decoder, maxPixels);
  let pipeline = decoder.autoOrient();
  if (size !== undefined) {
    pipeline = pipeline.resize(size.width, size.height, { fit: 'fill', kernel: 'lanczos3', fastShrinkOnLoad: false });
  }
  try {
    const raw = pipeline.flatten({ background: '#ffffff' }).toColourspace('srgb').raw({ depth: 'uchar' });
    const { data, info } = await raw.toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data };
  } catch (error) {
    const hint = 'the file may be cut short: copy or download the photo again';
    throw imageError(path, 'the picture is truncated or damaged', { hint, cause: error });
  }
}
