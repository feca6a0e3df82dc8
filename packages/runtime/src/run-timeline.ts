/**
 * The timeline of an image, put together of what its devices tell: of one that is done, or of one that is under way. Each device
 * tells times by its own clock; here they become ms since the image was handed in.
 */
import { type Arriving, FrameKind } from './link/link.js';
import type { OpenImage } from './open-image.js';
import { now, type Progressed, type Traced } from './protocol.js';

/** When things happened for one image, in ms since it was handed in. Times of providers are by their own clocks. */
export interface RunTrace {
  readonly totalMs: number;
  readonly steps: readonly {
    readonly step: number;
    readonly waitFrom: number;
    readonly start: number;
    readonly end: number;
  }[];
  readonly messages: readonly { readonly message: number; readonly arrived: number }[];
  /** Resident set of each provider in bytes, by device; undefined for devices without work. */
  readonly residentBytes: readonly (number | undefined)[];
}

/** An image that is not done: what has happened so far, in ms since it was handed in, times of providers by their own clocks. */
export interface RunProgress extends Pick<RunTrace, 'steps' | 'messages'> {
  /** Messages of which a part is at its end: so many bytes. */
  readonly arriving: readonly { readonly message: number; readonly bytes: number }[];
  /** When each device looked; that of the requester is `elapsedMs`. */
  readonly at: ReadonlyMap<number, number>;
  readonly elapsedMs: number;
}

/** An image that is done; `started` by this process's clock. */
export interface DoneImage {
  readonly started: number;
  readonly totalMs: number;
  readonly arrivals: OpenImage['arrivals'];
}

/** What a device tells of an image, and what of it is on its way from there. */
interface Told<T> {
  readonly device: number;
  readonly told: T;
}

/** The times of some devices, in ms since `started`. */
function since(
  started: number,
  told: readonly Pick<Traced, 'steps' | 'messages'>[],
  arrivals: OpenImage['arrivals'],
): Pick<RunTrace, 'steps' | 'messages'> {
  const from = (time: number): number => time - started;
  return {
    steps: told.flatMap(({ steps }) =>
      steps.map(({ step, start, end, waitFrom }) => ({
        step,
        waitFrom: from(waitFrom),
        start: from(start),
        end: from(end),
      })),
    ),
    messages: [...told.flatMap(({ messages }) => messages), ...arrivals].map(({ message, arrived }) => ({
      message,
      arrived: from(arrived),
    })),
  };
}

/** The timeline of the last image, none of which is known where there was none; `devices`: how many the plan has. */
export function traceOf(last: DoneImage | undefined, told: readonly Told<Traced>[], devices: number): RunTrace {
  const { started = 0, totalMs = 0, arrivals = [] } = last ?? {};
  const residentBytes: (number | undefined)[] = new Array<undefined>(devices).fill(undefined);
  for (const { device, told: one } of told) residentBytes[device] = one.residentBytes;
  return {
    totalMs,
    ...since(
      started,
      told.map((one) => one.told),
      arrivals,
    ),
    residentBytes,
  };
}

/** How far an image under way has come. */
export function progressOf(
  { request, started, arrivals }: OpenImage,
  told: readonly (Told<Progressed | undefined> & { readonly arriving: Arriving | undefined })[],
): RunProgress {
  // Where the image has not been opened yet, a device tells of the one before.
  const mine = told.flatMap(({ told: one }) => (one?.request === request ? one : []));
  const here = told.flatMap(({ arriving }) =>
    arriving?.header.kind === FrameKind.data ? [{ message: arriving.header.channel, bytes: arriving.received }] : [],
  );
  return {
    ...since(started, mine, arrivals),
    arriving: [...mine.flatMap(({ arriving }) => arriving), ...here],
    at: new Map(
      told.flatMap(({ device, told: one }) => (one === undefined ? [] : [[device, one.at - started] as const])),
    ),
    elapsedMs: now() - started,
  };
}
