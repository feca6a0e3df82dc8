/**
 * Streams: images in, results out in the same order, several under way at once. Nothing here knows of devices: a *lane* is
 * whatever computes images, one program on a cluster or several clusters that take turns.
 *
 * Back-pressure: an image is asked of its source only when there is room for it. Room is counted from the moment an image is
 * taken until its result has been handed out, so a slow consumer, like a slow cluster, stops the source.
 */
import { DistrEdgeError, type Tensor } from '@distredge/core';

type Tensors = Readonly<Record<string, Tensor>>;

/** Images, by input name. */
export type Images = Iterable<Tensors> | AsyncIterable<Tensors>;

export interface StreamOptions {
  /** Images under way at once. Default: as many as the lanes take. */
  readonly inFlight?: number;
}

export interface StreamResult {
  /** The image's place in the stream, from 0. */
  readonly index: number;
  readonly outputs: Record<string, Tensor>;
  /** From when the image was taken until its result was complete, in ms. */
  readonly ms: number;
  /** Which of the lanes computed it. */
  readonly lane: number;
}

/** Something that computes images. */
export interface Lane {
  /** Images that it works on at once. */
  readonly inFlight: number;
  /** Its share of the images, as a rate; lanes of equal load take the next image by it. Default 1. */
  readonly weight?: number;
  infer(inputs: Tensors): Promise<Record<string, Tensor>>;
}

/** An image under way or done. */
interface Place {
  readonly index: number;
  readonly done: Promise<StreamResult>;
}

/**
 * Computes images on lanes; an image goes to the lane that will be done with it soonest by the lanes' weights. The first
 * error, of the source or of a lane, ends the stream in its place: results before it are handed out.
 */
export async function* streamImages(
  lanes: readonly Lane[],
  images: Images,
  options: StreamOptions = {},
): AsyncGenerator<StreamResult, void, undefined> {
  const total = lanes.reduce((sum, { inFlight }) => sum + inFlight, 0);
  const room = options.inFlight ?? total;
  if (!Number.isInteger(room) || room < 1) {
    throw new DistrEdgeError('USAGE', 'the number of images in flight is no whole number from 1', { got: `${room}` });
  }
  const source = Symbol.asyncIterator in images ? images[Symbol.asyncIterator]() : images[Symbol.iterator]();
  const busy = lanes.map(() => 0);
  const places: Place[] = [];
  let wake: (() => void) | undefined;
  let over = false;
  let asking = false;
  let taken = 0;

  /** Resolves when something has changed: an image was done or taken, or the stream is over. */
  const change = (): Promise<void> =>
    new Promise((resolve) => {
      const before = wake;
      wake = () => {
        before?.();
        resolve();
      };
    });
  const changed = (): void => {
    const call = wake;
    wake = undefined;
    call?.();
  };

  const run = async (index: number, lane: number, inputs: Tensors): Promise<StreamResult> => {
    const started = performance.now();
    busy[lane] = (busy[lane] ?? 0) + 1;
    try {
      const outputs = await (lanes[lane] as Lane).infer(inputs);
      return { index, outputs, ms: performance.now() - started, lane };
    } finally {
      busy[lane] = (busy[lane] ?? 0) - 1;
      changed();
    }
  };

  /** Takes images as long as there is room, until the source ends or the consumer goes. */
  const pump = async (): Promise<void> => {
    while (!over) {
      const lane = places.length < room ? freeLane(lanes, busy) : undefined;
      if (lane === undefined) {
        await change();
        continue;
      }
      asking = true;
      const next = await source.next();
      asking = false;
      if (next.done === true || over) break;
      const done = run(taken, lane, next.value);
      // It is looked at in its turn.
      done.catch(() => undefined);
      places.push({ index: taken, done });
      taken += 1;
      changed();
    }
  };

  let failure: { readonly error: unknown } | undefined;
  void pump()
    .catch((error: unknown) => {
      failure = { error };
    })
    .finally(() => {
      over = true;
      changed();
    });
  try {
    for (;;) {
      const first = places[0];
      if (first !== undefined) {
        const result = await first.done;
        places.shift();
        changed();
        yield result;
        continue;
      }
      if (over) break;
      await change();
    }
    if (failure !== undefined) throw failure.error;
  } finally {
    const left = !over;
    over = true;
    changed();
    // A source that is left before its end may have something to put away. One that is being asked for an image cannot be
    // waited for: it may never answer.
    const away = left ? Promise.resolve(source.return?.()).catch(() => undefined) : undefined;
    if (!asking) await away;
  }
}

/** The lane with room whose turn it is: the one that has the least to do for its weight. */
export function freeLane(lanes: readonly Lane[], busy: readonly number[]): number | undefined {
  let best: number | undefined;
  let least = Number.POSITIVE_INFINITY;
  lanes.forEach(({ inFlight, weight = 1 }, index) => {
    const own = busy[index] ?? 0;
    const load = (own + 1) / weight;
    if (own < inFlight && load < least) [best, least] = [index, load];
  });
  return best;
}
