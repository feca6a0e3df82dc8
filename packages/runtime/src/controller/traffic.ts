/**
 * Links, judged by the rows that images send over them anyway. A message is late by as much as it arrives later after the step that made it
 * than it usually did; since both times are compared with themselves, it does not matter that clocks differ. What comes out is
 * which links to look at, within an image.
 */
import { type Program, REQUESTER } from '@distredge/core';
import { median } from '../median.js';
import type { RunProgress, RunTrace } from '../run-timeline.js';
import { type Star, type StarLink, starOf } from './network.js';
import { linkKey, type Registry } from './registry.js';
import { CONTROLLER } from './topics.js';

/** One message of a program, and by how much later than usual it arrives, in ms. */
export interface Lateness {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly lateMs: number;
  /** Whether it is still on its way: then it is at least so late. */
  readonly open?: true;
}

/** Smaller messages tell of the latency rather than of the rate. */
const LEAST_BYTES = 16_384;
/** So do those of less than this share of the largest one between the same ends: what is late by chance counts for much there. */
const LEAST_SHARE = 0.25;
/** A rate is taken for changed by this factor or more. */
const CHANGED = 1.3;
const RECENT = 3;

/** From when each message could leave until it had arrived, in ms, by the clocks of its ends. */
function delaysOf(
  { messages }: Pick<Program, 'messages'>,
  trace: Pick<RunTrace, 'steps' | 'messages'>,
): Map<number, number> {
  const ends = new Map(trace.steps.map(({ step, end }) => [step, end]));
  const delays = new Map<number, number>();
  for (const { message, arrived } of trace.messages) {
    const { after = -1 } = messages[message] ?? {};
    const left = after < 0 ? 0 : ends.get(after);
    if (left !== undefined) delays.set(message, arrived - left);
  }
  return delays;
}

/** Messages that are quicker than usual by so many ms each, on average, are what is usual from then on. */
const BETTER_MS = 2;
/** Otherwise what is usual follows slowly, by this share each time: clocks drift apart. */
const FOLLOW = 0.005;

/** Watches the messages of one generation. */
export class TrafficWatch {
  readonly #program: Pick<Program, 'messages'>;
  readonly #ids: readonly string[];
  readonly #window: number;
  #usual = new Map<number, number>();
  #recent: Map<number, number>[] = [];
  #links: Registry['links'] = new Map();

  /** @param ids of the program's devices */
  constructor(program: Pick<Program, 'messages'>, ids: readonly string[], window: number = RECENT) {
    this.#program = program;
    this.#ids = ids;
    this.#window = window;
  }

  /** The links, as they were taken for when messages took what is usual. */
  get links(): Registry['links'] {
    return this.#links;
  }

  /** Takes one image's times; `links`: what they are taken for. */
  add(trace: RunTrace, links: Registry['links'] = new Map()): void {
    this.#recent.push(delaysOf(this.#program, trace));
    if (this.#recent.length < this.#window) return;
    this.#recent = this.#recent.slice(-this.#window);
    const now = this.#middle(this.#window);
    let gained = 0;
    for (const [number, usual] of this.#usual) {
      const late = (now.get(number) ?? usual) - usual;
      gained -= late;
      this.#usual.set(number, usual + FOLLOW * late);
    }
    if (this.#usual.size > 0 && gained < BETTER_MS * this.#usual.size) return;
    this.#usual = now;
    this.#links = links;
  }

  #middle(images: number): Map<number, number> {
    const recent = this.#recent.slice(-images);
    const numbers = [...(recent[0]?.keys() ?? [])];
    return new Map(numbers.map((number) => [number, median(recent.flatMap((delays) => delays.get(number) ?? []))]));
  }

  /** How late the messages of the last images were. */
  late(images: number = this.#window): Lateness[] {
    const now = this.#middle(images);
    return [...now].flatMap(([number, delay]): Lateness[] => {
      const message = this.#program.messages[number];
      const usual = this.#usual.get(number);
      if (message === undefined || usual === undefined) return [];
      return [{ ...this.#endsOf(message), bytes: message.bytes, lateMs: delay - usual }];
    });
  }

  #endsOf({ from, to }: Program['messages'][number]): Pick<Lateness, 'from' | 'to'> {
    const nameOf = (device: number): string => (device === REQUESTER ? CONTROLLER : (this.#ids[device] ?? CONTROLLER));
    return { from: nameOf(from), to: nameOf(to) };
  }

  /**
   * How late the messages of an image are that is not done: those that are there, and those that have left and are not. Of one of which
   * enough has come, that part is taken for the message. What came before says nothing of a link on which something is late now.
   */
  midway(progress: RunProgress): Lateness[] {
    const ends = new Map(progress.steps.map(({ step, end }) => [step, end]));
    const arrived = delaysOf(this.#program, progress);
    const parts = new Map(progress.arriving.map(({ message, bytes }) => [message, bytes]));
    const late: Lateness[] = [];
    for (const [number, usual] of this.#usual) {
      const message = this.#program.messages[number];
      const left = message === undefined || message.after < 0 ? 0 : ends.get(message.after);
      if (message === undefined || left === undefined) continue;
      const delay = arrived.get(number);
      if (delay !== undefined) {
        late.push({ ...this.#endsOf(message), bytes: message.bytes, lateMs: delay - usual });
        continue;
      }
      const at = message.to === REQUESTER ? progress.elapsedMs : progress.at.get(message.to);
      if (at === undefined) continue;
      const part = parts.get(number) ?? 0;
      const tells = part >= Math.max(LEAST_BYTES, LEAST_SHARE * message.bytes);
      const bytes = tells ? part : message.bytes;
      const lateMs = at - left - usual * (bytes / message.bytes);
      late.push({ ...this.#endsOf(message), bytes, lateMs, open: true });
    }
    const stuck = new Set(
      late.filter(({ open, lateMs }) => open && lateMs > 0).map(({ from, to }) => linkKey(from, to)),
    );
    return late.filter(({ open, from, to }) => open || !stuck.has(linkKey(from, to)));
  }
}

/**
 * The ends whose links seem to have become slower, and what they carry now, in 10⁶ bit/s. An end is blamed only for what all its large messages
 * agree on: a link with one quick message is quick. As few ends as explain all slow pairs are blamed, those that explain most first; where
 * two explain the same, the device rather than the controller, on which all others depend.
 */
export function slowerEnds(
  late: readonly Lateness[],
  ids: readonly string[],
  links: Registry['links'],
): Map<string, number> {
  const star = starOf(ids, links);
  const pairs = pairsOf(late, (end) => endOf(star, ids, end));
  const rates = new Map<string, number>();
  const ownOf = (end: string): SeenPair[] => pairs.filter(({ ends }) => ends.includes(end));
  const isSlower = ({ mbps, was }: SeenPair): boolean => mbps * CHANGED <= was;
  let unexplained = pairs.filter(isSlower);
  const slower = [...ids, CONTROLLER].filter((end) => ownOf(end).length > 0 && ownOf(end).every(isSlower));
  while (unexplained.length > 0 && slower.length > 0) {
    const explains = (end: string): number => unexplained.filter(({ ends }) => ends.includes(end)).length;
    const [worst = ''] = slower.sort((a, b) => explains(b) - explains(a));
    if (explains(worst) === 0) break;
    rates.set(worst, Math.max(...ownOf(worst).map(({ mbps }) => mbps)));
    unexplained = unexplained.filter(({ ends }) => !ends.includes(worst));
  }
  return rates;
}

/** What the quickest message of a pair says of its rate. */
interface SeenPair {
  readonly ends: readonly [string, string];
  readonly was: number;
  readonly mbps: number;
}

/** Pairs that have sent each other large messages; none is faster than it was. */
function pairsOf(late: readonly Lateness[], linkOf: (end: string) => StarLink): SeenPair[] {
  const largest = new Map<string, number>();
  for (const { from, to, bytes } of late)
    largest.set(linkKey(from, to), Math.max(bytes, largest.get(linkKey(from, to)) ?? 0));
  const seen = new Map<string, SeenPair>();
  for (const { from, to, bytes, lateMs } of late) {
    const key = linkKey(from, to);
    if (bytes < Math.max(LEAST_BYTES, LEAST_SHARE * (largest.get(key) ?? 0)) || from === to) continue;
    const was = Math.min(linkOf(from).mbps, linkOf(to).mbps);
    const usualMs = (bytes * 8) / (was * 1000);
    const mbps = (was * usualMs) / (usualMs + Math.max(0, lateMs));
    if (mbps > (seen.get(key)?.mbps ?? 0)) seen.set(key, { ends: [from, to], was, mbps });
  }
  return [...seen.values()];
}

function endOf(star: Star, ids: readonly string[], id: string): StarLink {
  return star.devices[ids.indexOf(id)] ?? star.requester;
}
