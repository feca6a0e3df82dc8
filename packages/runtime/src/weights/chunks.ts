/**
 * Chunks of a blob: pieces of at most 1 MiB whose ends are those of the whole tensor's chunks, whichever slice of it the blob is. So two
 * slices of one tensor have all chunks in common that lie in both, and a device that has one of them lacks only the rest of the other.
 */
import { DistrEdgeError } from '@distredge/core';
import { hashOnce } from './blob.js';

const CHUNK_BYTES: number = 2 ** 20;
/** Smaller blobs travel as a whole. */
const LEAST_BYTES: number = 2 * CHUNK_BYTES;

/** What a blob consists of. */
export interface Chunks {
  /** Bytes of the first chunk; all others are whole but the last one. */
  readonly first: number;
  /** SHA-256 of each. */
  readonly hashes: readonly string[];
}

/** From one byte up to another one, which is not part of it. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** Where the chunks of a blob lie. */
export function spansOf(bytes: number, first: number): Span[] {
  const spans: Span[] = [];
  for (let from = 0, to = first; from < bytes; from = to, to += CHUNK_BYTES)
    spans.push({ from, to: Math.min(to, bytes) });
  return spans;
}

/**
 * The chunks of bytes that belong to `owner` and stay as they are while it lives; undefined for few bytes. They are laid by the buffer
 * that the bytes are a view of: slices of a tensor share one.
 */
export async function chunksOf(owner: object, bytes: Uint8Array): Promise<Chunks | undefined> {
  if (bytes.byteLength < LEAST_BYTES) return undefined;
  const first = CHUNK_BYTES - (bytes.byteOffset % CHUNK_BYTES);
  const hashes: string[] = [];
  for (const { from, to } of spansOf(bytes.byteLength, first))
    hashes.push(await hashOnce(owner, bytes.subarray(from, to)));
  return { first, hashes };
}

/** Throws `PROTOCOL` for chunks that are not those of so many bytes. */
export function checkChunks({ first, hashes }: Chunks, bytes: number): void {
  const most = Math.ceil(bytes / CHUNK_BYTES) + 1;
  if (first <= CHUNK_BYTES && hashes.length <= most && spansOf(bytes, first).length === hashes.length) return;
  throw new DistrEdgeError('PROTOCOL', 'a weight has other chunks than its size says', {
    expected: `chunks of ${CHUNK_BYTES} bytes for ${bytes} bytes`,
    got: `${hashes.length} chunks, the first one of ${first} bytes`,
  });
}

/** Where a chunk is. */
export interface ChunkPlace {
  /** The blob, and its size. */
  readonly blob: string;
  readonly bytes: number;
  readonly span: Span;
}

/** Which blob has which chunks, as those say who sent it: whoever uses one checks what it has put together. */
export class ChunkIndex {
  readonly #places = new Map<string, ChunkPlace>();
  readonly #blobs = new Map<string, Chunks>();

  learn(blob: string, bytes: number, chunks: Chunks): void {
    if (this.#blobs.has(blob)) return;
    this.#blobs.set(blob, chunks);
    for (const [index, span] of spansOf(bytes, chunks.first).entries())
      this.#places.set(chunks.hashes[index] as string, { blob, bytes, span });
  }

  /** A blob is kept no more. */
  forget(blob: string): void {
    for (const hash of this.#blobs.get(blob)?.hashes ?? [])
      if (this.#places.get(hash)?.blob === blob) this.#places.delete(hash);
    this.#blobs.delete(blob);
  }

  find(hash: string, bytes: number): ChunkPlace | undefined {
    const place = this.#places.get(hash);
    return place !== undefined && place.span.to - place.span.from === bytes ? place : undefined;
  }
}
