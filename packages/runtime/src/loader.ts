/**
 * Takes a program's models and weights as they arrive, loads each model as soon as it is whole, and lets go of bytes that no
 * later model needs. Sizes come from the checked program; a frame that does not fit them is refused before it is read.
 *
 * Blobs come in the order of the program: for each model its bytes, then those of its weights that no earlier model had.
 */
import { DistrEdgeError } from '@distredge/core';
import { free } from './engine/free.js';
import type { Job } from './job.js';
import type { Frame, FrameHeader } from './link/link.js';

interface Blob {
  readonly model: number;
  /** undefined for the model's own bytes. */
  readonly location: string | undefined;
  readonly bytes: number;
}

/** The blobs of a program, in the order in which they travel. */
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

export class Loader {
  readonly #job: Job;
  readonly #done: () => void;
  readonly #blobs: readonly Blob[];
  readonly #weights = new Map<string, Uint8Array>();
  readonly #lastUse = new Map<string, number>();
  #at = 0;
  #filled = 0;
  #current: Uint8Array | undefined;
  #model: Uint8Array | undefined;

  /** `done` is called when every model is loaded. */
  constructor(job: Job, maxBytes: number, done: () => void) {
    this.#job = job;
    this.#done = done;
    const { models } = job.program;
    this.#blobs = blobsOf(models);
    const total = this.#blobs.reduce((sum, { bytes }) => sum + bytes, 0);
    if (this.#blobs.some(({ bytes }) => bytes === 0)) {
      throw new DistrEdgeError('PROTOCOL', 'a program names a model or a weight of 0 bytes');
    }
    if (total > maxBytes) {
      throw new DistrEdgeError('PROVIDER_FAILED', 'the models are larger than this provider takes', {
        expected: `≤ ${maxBytes} bytes`,
        got: `${total} bytes`,
      });
    }
    models.forEach(({ weights }, model) => {
      for (const { location } of weights) this.#lastUse.set(location, model);
    });
  }

  /** Begins; a program without models is done at once. */
  start(): void {
    if (this.#blobs.length === 0) this.#done();
  }

  /** The place for a blob's next bytes. */
  allocate(header: FrameHeader): Uint8Array {
    const blob = this.#blobs[this.#at];
    if (
      blob === undefined ||
      header.channel !== this.#at ||
      this.#filled + header.length > blob.bytes ||
      header.length === 0
    ) {
      throw new DistrEdgeError('PROTOCOL', 'weights came that the program does not name', {
        where: `blob ${header.channel}`,
        got: `${header.length} bytes`,
      });
    }
    this.#current ??= roomFor(blob.bytes);
    return this.#current.subarray(this.#filled, this.#filled + header.length);
  }

  async receive(frame: Frame): Promise<void> {
    const blob = this.#blobs[this.#at] as Blob;
    this.#filled += frame.length;
    if (this.#filled < blob.bytes) return;
    const bytes = this.#current as Uint8Array;
    if (blob.location === undefined) this.#model = bytes;
    else this.#weights.set(blob.location, bytes);
    this.#current = undefined;
    this.#filled = 0;
    this.#at += 1;
    if (this.#blobs[this.#at]?.model === blob.model) return;
    await this.#load(blob.model);
    if (this.#at === this.#blobs.length) this.#done();
  }

  async #load(model: number): Promise<void> {
    const wanted = this.#job.program.models[model]?.weights ?? [];
    const weights = new Map(
      wanted.map(({ location }): [string, Uint8Array] => [location, this.#weights.get(location) as Uint8Array]),
    );
    const bytes = this.#model as Uint8Array;
    this.#model = undefined;
    await this.#job.load(bytes, weights);
    // The engine has its own copy; waiting for the garbage collector would keep the weights in memory twice.
    for (const [location, data] of weights) {
      if (this.#lastUse.get(location) !== model) continue;
      this.#weights.delete(location);
      free(data);
    }
  }
}

function roomFor(bytes: number): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new DistrEdgeError('PROVIDER_FAILED', 'there is no memory for a model', { got: `${bytes} bytes`, cause });
  }
}
