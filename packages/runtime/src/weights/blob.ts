/** Weights and models as blobs: bytes that are named by their SHA-256, wherever they are kept. */
import { createHash } from 'node:crypto';
import { DistrEdgeError } from '@distredge/core';

/** A file that holds exactly a blob's bytes. Nobody changes it; it may lose its name once it has been opened. */
export interface WeightFile {
  readonly path: string;
  readonly bytes: number;
}

/** Where a blob's bytes are. */
export type WeightSource = Uint8Array | WeightFile;

/** A blob whose bytes are right. It stays where it is until it is released. */
export interface HeldBlob {
  readonly hash: string;
  readonly bytes: number;
  readonly source: WeightSource;
  release(): void;
}

/** One blob of a device's program, in the order in which they travel. */
export interface Blob {
  /** Index in the program's models. */
  readonly model: number;
  /** undefined for the model's own bytes. */
  readonly location: string | undefined;
  readonly bytes: number;
}

/** The blobs of a program: for each model its bytes, then those of its weights that no earlier model had. */
export function blobsOf(
  models: readonly {
    readonly bytes: number;
    readonly weights: readonly { readonly location: string; readonly bytes: number }[];
  }[],
): Blob[] {
  const seen = new Set<string>();
  return models.flatMap(({ bytes, weights }, model) => {
    const fresh = weights.filter(({ location }) => !seen.has(location));
    for (const { location } of fresh) seen.add(location);
    return [
      { model, location: undefined, bytes },
      ...fresh.map(({ location, bytes: size }) => ({ model, location, bytes: size })),
    ];
  });
}

/** The SHA-256 of bytes, as 64 hex digits. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes that are hashed without a pause: some 10 ms on a slow core. */
const SLICE = 2 ** 22;
/** Blobs from this size on are hashed once for each model. Smaller ones may share a buffer with anything. */
const REMEMBERED = 2 ** 16;

/** By owner (a graph, whose constants never change), and by buffer: `offset:length` → SHA-256. */
const hashes = new WeakMap<object, WeakMap<object, Map<string, Promise<string>>>>();

/**
 * The SHA-256 of bytes that belong to `owner` and stay as they are while it lives. Other work of this thread is let through
 * in between.
 */
export function hashOnce(owner: object, bytes: Uint8Array): Promise<string> {
  if (bytes.byteLength < REMEMBERED) return Promise.resolve(sha256(bytes));
  const owned = hashes.get(owner) ?? new WeakMap<object, Map<string, Promise<string>>>();
  hashes.set(owner, owned);
  const known = owned.get(bytes.buffer) ?? new Map<string, Promise<string>>();
  owned.set(bytes.buffer, known);
  const key = `${bytes.byteOffset}:${bytes.byteLength}`;
  const hash = known.get(key) ?? hashInSlices(bytes);
  known.set(key, hash);
  return hash;
}

async function hashInSlices(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.byteLength; at += SLICE) {
    hash.update(bytes.subarray(at, at + SLICE));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return hash.digest('hex');
}

/** Refuses bytes that are not what they were called. */
export function wrongBytes(name: string, got: string): DistrEdgeError {
  return new DistrEdgeError('PROTOCOL', 'weights came whose bytes are not those that their hash names', {
    where: `blob ${name.slice(0, 16)}`,
    expected: `SHA-256 ${name}`,
    got: `SHA-256 ${got}`,
    hint: 'they were changed on the way, or where they come from: send them again',
  });
}
