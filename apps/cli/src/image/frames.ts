/**
 * Pictures one after another in a stream of bytes, as `ffmpeg -f image2pipe` writes them: JPEG, PNG and PPM tell by themselves
 * where they end. At most one picture is held at a time.
 */
import { DistrEdgeError } from '@distredge/core';
import { isPpm, ppmHeader } from './ppm.js';

/** Most bytes that one picture may have. */
const MAX_BYTES = 128 * 2 ** 20;
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** Looks at a picture as it grows. */
interface Finder {
  /** The picture's length, once its end has come. */
  end(bytes: Buffer): number | undefined;
}

/** The pictures of a stream, each as the bytes of a file. Throws `IMAGE_INVALID` where something else comes, or one is cut off. */
export async function* frames(source: AsyncIterable<Uint8Array>, where: string): AsyncGenerator<Buffer> {
  const held = new Growing();
  let finder: Finder | undefined;
  let index = 0;
  for await (const chunk of source) {
    held.add(chunk);
    for (;;) {
      finder ??= finderFor(held.bytes, `${where}, picture ${index}`);
      const end = finder?.end(held.bytes);
      if (end === undefined) break;
      yield held.take(end);
      finder = undefined;
      index += 1;
    }
    if (held.bytes.length > MAX_BYTES) {
      throw new DistrEdgeError('IMAGE_INVALID', 'a picture of a stream does not end', {
        where: `${where}, picture ${index}`,
        expected: `at most ${MAX_BYTES} bytes`,
      });
    }
  }
  if (held.bytes.length === 0) return;
  throw new DistrEdgeError('IMAGE_INVALID', 'the stream ends in the middle of a picture', {
    where: `${where}, picture ${index}`,
    got: `${held.bytes.length} bytes of it`,
  });
}

/** Which kind of picture begins here; undefined while too few bytes are there to tell. */
function finderFor(bytes: Buffer, where: string): Finder | undefined {
  if (bytes.length >= 2 && bytes[0] === 0xff && bytes[1] === 0xd8) return new JpegFinder(where);
  if (bytes.length < PNG.length) {
    // A picture is longer than that; a stream that ends here is told of as cut off.
    return undefined;
  }
  if (bytes.subarray(0, PNG.length).equals(PNG)) return new PngFinder(where);
  if (isPpm(bytes)) return new PpmFinder(where);
  throw new DistrEdgeError('IMAGE_INVALID', 'something that is no picture comes in a stream of pictures', {
    where,
    expected: 'JPEG, PNG or PPM (P6) pictures, one after another',
    got: `bytes ${bytes.subarray(0, PNG.length).toString('hex')}`,
  });
}

function damaged(where: string, got: string): DistrEdgeError {
  return new DistrEdgeError('IMAGE_INVALID', 'a picture of a stream is damaged', { where, got });
}

/** Chunks: length, type, data, checksum; the last is IEND. */
class PngFinder implements Finder {
  readonly #where: string;
  #at = PNG.length;

  constructor(where: string) {
    this.#where = where;
  }

  end(bytes: Buffer): number | undefined {
    while (this.#at + 8 <= bytes.length) {
      const length = bytes.readUInt32BE(this.#at);
      if (length > MAX_BYTES) throw damaged(this.#where, `a chunk of ${length} bytes`);
      const last = bytes.toString('latin1', this.#at + 4, this.#at + 8) === 'IEND';
      const next = this.#at + 12 + length;
      if (last) return next <= bytes.length ? next : undefined;
      this.#at = next;
    }
    return undefined;
  }
}

/** Markers with their segments, then coded data in which 0xff is followed by 0 or a restart; the end is 0xff 0xd9. */
class JpegFinder implements Finder {
  readonly #where: string;
  #at = 2;
  #coded = false;

  constructor(where: string) {
    this.#where = where;
  }

  end(bytes: Buffer): number | undefined {
    for (;;) {
      if (this.#coded) {
        const marker = bytes.indexOf(0xff, this.#at);
        this.#at = marker < 0 ? Math.max(this.#at, bytes.length) : marker;
      }
      if (this.#at + 2 > bytes.length) return undefined;
      const [fill, marker = 0] = bytes.subarray(this.#at, this.#at + 2);
      if (fill !== 0xff) throw damaged(this.#where, `no marker at byte ${this.#at}`);
      if (marker === 0xff) this.#at += 1;
      else if (this.#coded && (marker === 0 || (marker >= 0xd0 && marker <= 0xd7))) this.#at += 2;
      else if (marker === 0xd9) return this.#at + 2;
      else if (marker === 0 || marker === 0xd8) throw damaged(this.#where, `marker ${marker} at byte ${this.#at}`);
      else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) this.#at += 2;
      else {
        if (this.#at + 4 > bytes.length) return undefined;
        this.#coded = marker === 0xda;
        this.#at += 2 + bytes.readUInt16BE(this.#at + 2);
      }
    }
  }
}

class PpmFinder implements Finder {
  readonly #where: string;
  #end: number | undefined;

  constructor(where: string) {
    this.#where = where;
  }

  end(bytes: Buffer): number | undefined {
    if (this.#end === undefined) {
      const header = ppmHeader(bytes);
      if (typeof header === 'string') throw damaged(this.#where, header);
      if (header === undefined) return undefined;
      this.#end = header.start + header.width * header.height * 3;
      if (this.#end > MAX_BYTES) throw damaged(this.#where, `${header.width} × ${header.height} pixels`);
    }
    return this.#end <= bytes.length ? this.#end : undefined;
  }
}

/** Bytes that are added at the end and taken from the beginning, without copying all of them every time. */
class Growing {
  #memory = Buffer.alloc(2 ** 16);
  #length = 0;

  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length);
  }

  add(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#memory.length) {
      const larger = Buffer.alloc(Math.max(length, 2 * this.#memory.length));
      larger.set(this.bytes);
      this.#memory = larger;
    }
    this.#memory.set(chunk, this.#length);
    this.#length = length;
  }

  /** A copy of the first bytes, which are then gone. */
  take(count: number): Buffer {
    const taken = Buffer.from(this.#memory.subarray(0, count));
    this.#memory.copyWithin(0, count, this.#length);
    this.#length -= count;
    return taken;
  }
}
