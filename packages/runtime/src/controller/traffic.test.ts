import { REQUESTER } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import type { RunTrace } from '../run-timeline.js';
import { MESSAGE_VERSION as version } from './messages.js';
import { starOf } from './network.js';
import { apply, EMPTY_REGISTRY, type Registry } from './registry.js';
import { CONTROLLER } from './topics.js';
import { type Lateness, slowerEnds, TrafficWatch } from './traffic.js';

const IDS = ['a', 'b', 'c'];
const BYTES = 250_000;

/** Every pair at 200 Mbit/s, except for ends that are slower. */
function network(slow: Readonly<Record<string, number>> = {}): Registry {
  const rate = (end: string): number => slow[end] ?? 200;
  const ends = [CONTROLLER, ...IDS];
  return ends
    .flatMap((from, index) => ends.slice(index + 1).map((to) => [from, to] as const))
    .reduce(
      (state, [from, to]) =>
        apply(state, {
          kind: 'linked',
          report: { version, from, to, mbps: Math.min(rate(from), rate(to)), latencyMs: 1, at: 1 },
        }),
      EMPTY_REGISTRY,
    );
}

/** How late a message is when its link goes from one rate to another, in Mbit/s. */
const late = (from: string, to: string, was: number, is: number, bytes = BYTES): Lateness => ({
  from,
  to,
  bytes,
  lateMs: (bytes * 8) / (is * 1000) - (bytes * 8) / (was * 1000),
});

/** What the ends are taken for: the controller, and the devices. */
function after({ links }: Registry, told: readonly Lateness[]): number[] {
  const rates = slowerEnds(told, IDS, links);
  const { requester, devices } = starOf(IDS, links);
  return [requester, ...devices].map(({ mbps }, at) => Math.round(rates.get([CONTROLLER, ...IDS][at] ?? '') ?? mbps));
}

describe('slower ends, from traffic', () => {
  it('finds the one end that became slow among those that send to each other', () => {
    const told = [
      late(CONTROLLER, 'a', 200, 200),
      late(CONTROLLER, 'b', 200, 20),
      late('a', 'b', 200, 20),
      late('b', CONTROLLER, 200, 20),
      late('a', CONTROLLER, 200, 200),
    ];
    expect(after(network(), told)).toEqual([200, 200, 20, 200]);
  });

  it('finds the controller where all that it sends and gets is slow', () => {
    const told = [
      ...IDS.map((id) => late(CONTROLLER, id, 200, 20)),
      late('a', 'b', 200, 200),
      late('b', 'c', 200, 200),
    ];
    expect(after(network(), told)).toEqual([20, 200, 200, 200]);
  });

  it('blames one end for a pair that only one of its ends can explain, and the device where both can', () => {
    // All rows go to b first, so the controller sends to nobody else.
    const told = [late(CONTROLLER, 'b', 200, 20), late('b', 'a', 200, 20), late('b', CONTROLLER, 200, 20)];
    expect(after(network(), told)).toEqual([200, 200, 20, 200]);
    expect(after(network(), [late(CONTROLLER, 'b', 200, 20)])).toEqual([200, 200, 20, 200]);
  });

  it('finds two ends that became slow at once', () => {
    const told = [
      late(CONTROLLER, 'a', 200, 20),
      late(CONTROLLER, 'b', 200, 30),
      late(CONTROLLER, 'c', 200, 200),
      late('a', 'c', 200, 20),
    ];
    expect(after(network(), told)).toEqual([200, 20, 30, 200]);
  });

  it('does not let a small message that came early hide that a large one was late', () => {
    const early = { from: CONTROLLER, to: 'a', bytes: 20_000, lateMs: -0.7 };
    expect(after(network(), [late(CONTROLLER, 'a', 200, 20), early])).toEqual([200, 20, 200, 200]);
  });

  it('says nothing of an end that became faster', () => {
    expect(after(network({ b: 20 }), [late(CONTROLLER, 'b', 20, 200), late('a', 'b', 20, 200)])).toEqual([
      200, 200, 20, 200,
    ]);
  });

  it('says nothing where little has changed, or only small messages are late', () => {
    const same = [200, 200, 200, 200];
    expect(after(network(), [late(CONTROLLER, 'a', 200, 180)])).toEqual(same);
    expect(after(network(), [late(CONTROLLER, 'a', 200, 2, 1000)])).toEqual(same);
    expect(slowerEnds([], IDS, network().links)).toEqual(new Map());
  });

  it('believes the quickest of the messages of a link', () => {
    expect(after(network(), [late(CONTROLLER, 'a', 200, 20), late(CONTROLLER, 'a', 200, 190)])).toEqual([
      200, 200, 200, 200,
    ]);
  });
});

describe('a watch on traffic', () => {
  const messages = [
    { after: -1, from: REQUESTER, to: 0, pieces: [], bytes: 100 },
    { after: 0, from: 0, to: 1, pieces: [], bytes: 200 },
  ];
  /** The clock of device 1 is `ahead`. */
  const trace = (first: number, second: number, ahead = 5000): RunTrace => ({
    totalMs: 0,
    steps: [{ step: 0, waitFrom: 0, start: 0, end: 10 }],
    messages: [
      { message: 0, arrived: first },
      { message: 1, arrived: 10 + ahead + second },
    ],
    residentBytes: [],
  });

  it('tells how much later messages arrive than they did, whatever the clocks say', () => {
    const watch = new TrafficWatch({ messages }, ['a', 'b']);
    for (const jitter of [0, 1, 0]) watch.add(trace(3 + jitter, 4));
    for (let image = 0; image < 3; image++) watch.add(trace(3, 44));
    const rounded = watch.late().map((one) => ({ ...one, lateMs: Math.round(one.lateMs) }));
    expect(rounded).toEqual([
      { from: CONTROLLER, to: 'a', bytes: 100, lateMs: 0 },
      { from: 'a', to: 'b', bytes: 200, lateMs: 40 },
    ]);
  });

  it('tells of the last image alone', () => {
    const watch = new TrafficWatch({ messages }, ['a', 'b']);
    for (let image = 0; image < 3; image++) watch.add(trace(3, 4));
    watch.add(trace(3, 44));
    expect(watch.late(1).map(({ lateMs }) => lateMs)).toEqual([0, 40]);
    expect(watch.late().map(({ lateMs }) => lateMs)).toEqual([0, 0]);
  });

  it('keeps what was usual while messages are late, and what links were then; better times are the usual ones from then on', () => {
    const watch = new TrafficWatch({ messages }, ['a', 'b']);
    const [before, after] = [network().links, network({ b: 20 }).links];
    for (let image = 0; image < 3; image++) watch.add(trace(3, 4), before);
    for (let image = 0; image < 6; image++) watch.add(trace(30, 40), after);
    expect(watch.late().map(({ lateMs }) => Math.round(lateMs))).toEqual([26, 35]);
    expect(watch.links).toBe(before);
    for (let image = 0; image < 3; image++) watch.add(trace(2, -100), after);
    expect(watch.late().map(({ lateMs }) => lateMs)).toEqual([0, 0]);
    expect(watch.links).toBe(after);
  });
});

describe('an image that is not done', () => {
  const messages = [
    { after: -1, from: REQUESTER, to: 0, pieces: [], bytes: 100_000 },
    { after: -1, from: REQUESTER, to: 1, pieces: [], bytes: 200_000 },
    { after: 0, from: 0, to: REQUESTER, pieces: [], bytes: 50_000 },
  ];
  const step = { step: 0, waitFrom: 0, start: 4, end: 20 };
  const watched = (): TrafficWatch => {
    const watch = new TrafficWatch({ messages }, ['a', 'b']);
    const whole = [4, 8, 22].map((arrived, message) => ({ message, arrived }));
    for (let image = 0; image < 3; image++)
      watch.add({ totalMs: 30, steps: [step], messages: whole, residentBytes: [] });
    return watch;
  };
  const progress = { steps: [], messages: [{ message: 0, arrived: 4 }], arriving: [], elapsedMs: 45 };

  it('tells at least how late what has left is, and nothing of what has not', () => {
    const at = new Map([
      [0, 45],
      [1, 45],
    ]);
    expect(watched().midway({ ...progress, at })).toEqual([
      { from: CONTROLLER, to: 'a', bytes: 100_000, lateMs: 0 },
      { from: CONTROLLER, to: 'b', bytes: 200_000, lateMs: 37, open: true },
    ]);
    expect(watched().midway({ ...progress, at: new Map() })).toHaveLength(1);
  });

  it('takes a part that has come for the message, where it is large enough', () => {
    const at = new Map([[1, 48]]);
    const of = (bytes: number) => watched().midway({ ...progress, at, arriving: [{ message: 1, bytes }] })[1];
    expect(of(100_000)).toEqual({ from: CONTROLLER, to: 'b', bytes: 100_000, lateMs: 44, open: true });
    expect(of(1000)).toEqual({ from: CONTROLLER, to: 'b', bytes: 200_000, lateMs: 40, open: true });
  });

  it('does not let what came before hide what is stuck on the same link', () => {
    const late = watched().midway({ ...progress, steps: [step], at: new Map() });
    expect(late.map(({ from, to, open }) => [from, to, open])).toEqual([['a', CONTROLLER, true]]);
    expect(late[0]?.lateMs).toBe(23);
  });
});
