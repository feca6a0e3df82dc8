/** A cluster that outlives its devices, as its owner sees it: what it is given, what it does, and what it tells. */
import type { Program, Tensor } from '@distredge/core';
import type { ConnectOptions } from './requester.js';
import type { Clock } from './straggler.js';
import type { Images, Lane, StreamOptions, StreamResult } from './stream.js';

type Tensors = Readonly<Record<string, Tensor>>;

/** What happens beside images. Devices are indices into the addresses. */
export type Turn =
  /** The program ended. `devices` are those that are to blame; none where nobody knows. */
  | { readonly type: 'lost'; readonly devices: readonly number[]; readonly error: Error }
  /** Images run on programs over these devices from now on; preparing them took so long. */
  | { readonly type: 'switched'; readonly devices: readonly number[]; readonly ms: number }
  /** An image runs whole on this machine. */
  | { readonly type: 'whole'; readonly error: Error }
  /**
   * An image is late, and is begun again on other devices, or whole where there are none. `devices` are those whose results are
   * missing; it has taken `ms`, where images take `expectedMs`.
   */
  | {
      readonly type: 'late';
      readonly devices: readonly number[];
      readonly on: readonly number[];
      readonly ms: number;
      readonly expectedMs: number;
    }
  /** An image that was begun again is done, by whoever was first. */
  | { readonly type: 'raced'; readonly by: 'first' | 'second'; readonly ms: number }
  /** A lost device answers again. */
  | { readonly type: 'returned'; readonly device: number };

/** A program, and which devices compute it: its device `i` is `devices[i]`. */
export interface Share {
  readonly program: Program;
  readonly devices: readonly number[];
  /** Its share of the images, where several programs take turns. Default 1. */
  readonly weight?: number;
}

export interface ResilientOptions extends Omit<ConnectOptions, 'signal' | 'progress' | 'failed'> {
  /**
   * What to run on these devices: one program over all of them, or several that take turns with whole images; undefined
   * where nothing is worth it, and images run whole. A program that is given again for the same devices is not loaded again.
   * What this throws is reported, and counts as undefined.
   */
  programsFor(devices: readonly number[]): Promise<readonly Share[] | undefined> | readonly Share[] | undefined;
  /** Computes an image unsplit, on this machine. One at a time is asked for. */
  whole(inputs: Tensors): Promise<Record<string, Tensor>>;
  report(turn: Turn): void;
  /** How long an image waits for a new program before it runs whole. Default 1000 ms. */
  readonly patienceMs?: number;
  /** How soon a lost device is looked for; more rarely each time it is lost again. Default 1000 ms. */
  readonly retryMs?: number;
  /** The longest time one image may take, however often it is begun again. Default 120000 ms. */
  readonly imageMs?: number;
  /** Whether an image that is late is begun again elsewhere, where that is expected to be sooner. Default true. */
  readonly overtake?: boolean;
  /** What tells late from not; for tests. */
  readonly clock?: Clock;
}

export interface ResilientCluster extends Lane {
  /** Computes one image. Rejects with `SHAPE_MISMATCH` for wrong inputs, `DEADLINE`, or the error of the whole model. */
  infer(inputs: Tensors): Promise<Record<string, Tensor>>;
  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined>;
  /** The devices that images run on now; none while they run whole. */
  readonly devices: readonly number[];
  close(): Promise<void>;
}
