/** Unpacks gzip with a bound on what comes out, so that a small file cannot fill the memory. */
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';

const CHUNK_BYTES = 2 ** 20;

/** Whether bytes begin as a gzip file does. */
export function isPacked(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * The unpacked bytes, or undefined if they are more than `maxBytes`. Rejects with zlib's error where they are damaged or cut
 * off. `progress` hears how many bytes there are so far.
 */
export async function unpack(
  packed: Uint8Array,
  maxBytes: number,
  progress: (bytes: number) => void,
): Promise<Uint8Array | undefined> {
  // The last four bytes say how long it will be, modulo 4 GiB, if the file has one member. They may lie.
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const promised = packed.byteLength < 18 ? 0 : view.getUint32(packed.byteLength - 4, true);
  let room = Buffer.allocUnsafe(Math.min(promised, maxBytes, packed.byteLength * 1100));
  let filled = 0;
  const collect = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      if (filled + chunk.length > maxBytes) throw new TooLarge();
      if (filled + chunk.length > room.length) {
        const larger = Buffer.allocUnsafe(Math.min(maxBytes, 2 * (filled + chunk.length)));
        room.copy(larger, 0, 0, filled);
        room = larger;
      }
      chunk.copy(room, filled);
      filled += chunk.length;
      progress(filled);
    }
  };
  try {
    await pipeline([packed], createGunzip({ chunkSize: CHUNK_BYTES }), collect);
  } catch (error) {
    if (error instanceof TooLarge) return undefined;
    throw error;
  }
  return room.subarray(0, filled);
}

class TooLarge extends Error {}
