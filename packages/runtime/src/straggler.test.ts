/** When an image is late, when it is begun again, and whose result counts; by a clock that goes when it is told to. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from './fixtures.js';
import { Credit, Pace, race } from './straggler.js';

/** A pace of images that took 10 ms, some a little more or less. */
function steady(more: readonly number[] = []): Pace {
  const pace = new Pace();
  for (let count = 0; count < 30; count++) pace.add(10 + ((count % 3) - 1) * 0.5);
  for (const ms of more) pace.add(ms);
  return pace;
}

interface Runner {
  readonly promise: Promise<string>;
  resolve(value: string): void;
  reject(error: Error): void;
}

function runner(): Runner {
  let [resolve, reject]: [Runner['resolve'], Runner['reject']] = [() => undefined, () => undefined];
  const promise = new Promise<string>((take, refuse) => {
    [resolve, reject] = [take, refuse];
  });
  return { promise, resolve, reject };
}

/** A race with everything that happens noted down. */
function scene(pace: Pace, elsewhereMs: number | undefined) {
  const clock = new ManualClock();
  const [first, second] = [runner(), runner()];
  const story: string[] = [];
  const places = { elsewhereMs };
  let over = (): boolean => false;
  const result = race({
    first: first.promise,
    pace,
    clock,
    elsewhereMs: () => places.elsewhereMs,
    again: (isOver) => {
      over = isOver;
      return second.promise;
    },
    begunAgain: (ms) => story.push(`again after ${ms}`),
    done: (by, ms) => story.push(`${by} after ${ms}`),
  });
  result.catch(() => undefined);
  return { clock, first, second, story, places, result, over: () => over() };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a pace', () => {
  it('knows what images take, and from when on one is late', () => {
    const pace = new Pace();
    expect([pace.expected, pace.lateAfter]).toEqual([undefined, undefined]);
    for (let count = 0; count < 11; count++) pace.add(10);
    expect([pace.expected, pace.lateAfter]).toEqual([10, undefined]);
    pace.add(10);
    expect([pace.expected, pace.lateAfter]).toEqual([10, 20]);
  });

  it('calls nothing late that is within the spread', () => {
    const pace = new Pace();
    for (let count = 0; count < 40; count++) pace.add(10 + (count % 11));
    expect(pace.lateAfter).toBeGreaterThan(20);
  });

  it('is not impressed by a few that were very late', () => {
    expect(steady([300, 280]).lateAfter).toBeCloseTo(steady().lateAfter ?? 0, 0);
  });

  it('expects late images to take as long again, until it knows better', () => {
    expect(steady().remaining(60)).toBe(50);
    expect(steady([300, 300, 300]).remaining(60)).toBe(50);
    expect(steady([300, 300, 300, 400]).remaining(60)).toBe(265);
  });

  it('forgets what was long ago', () => {
    const pace = steady();
    for (let count = 0; count < 200; count++) pace.add(50);
    expect(pace.expected).toBe(50);
    expect(pace.lateAfter).toBe(100);
  });
});

describe('credit', () => {
  it('is for a few images in a row, and for one in eight in the long run', () => {
    const credit = new Credit({ now: () => 0 });
    let [begun, of] = [0, 0];
    for (; credit.allows(10); begun++) credit.spend();
    expect(begun).toBe(16);
    for (begun = 0; of < 8000; of++) {
      credit.earn();
      if (!credit.allows(10)) continue;
      credit.spend();
      begun += 1;
    }
    expect(begun).toBe(1000);
  });
});

it('where nothing is done any more, an image may be begun again now and then, whatever there was before', () => {
  let ms = 0;
  const credit = new Credit({ now: () => ms });
  while (credit.allows(100)) credit.spend();
  ms = 1000;
  expect(credit.allows(100)).toBe(false);
  ms = 1001;
  expect(credit.allows(100)).toBe(true);
  credit.spend();
  expect(credit.allows(100)).toBe(false);
  ms = 1252;
  // Of what takes a moment, sooner; but not so soon that it would be for any image.
  expect(credit.allows(1)).toBe(true);
  credit.earn();
  expect(credit.allows(1)).toBe(false);
});

describe('an image', () => {
  it('that is done in time is left alone', async () => {
    const { clock, first, story, result } = scene(steady(), 5);
    clock.go(12);
    first.resolve('a');
    expect(await result).toBe('a');
    clock.go(1000);
    expect(story).toEqual([]);
    expect(clock.waiting).toBe(0);
  });

  it('is begun again when it is half as late again as that would take', async () => {
    const { clock, first, second, story, result, over } = scene(steady(), 40.2);
    clock.go(69);
    expect(story).toEqual([]);
    clock.go(1);
    expect(story).toEqual(['again after 70']);
    expect(over()).toBe(false);
    clock.go(10);
    second.resolve('b');
    expect(await result).toBe('b');
    expect(over()).toBe(true);
    first.resolve('a');
    await settled();
    expect(story).toEqual(['again after 70', 'second after 80']);
    expect(clock.waiting).toBe(0);
  });

  it('is begun again at once when it is late, where late ones are known to take long', async () => {
    const pace = steady([300, 300, 300, 300]);
    const { clock, story } = scene(pace, 40);
    clock.go(pace.lateAfter ?? 0);
    expect(story).toEqual([`again after ${pace.lateAfter}`]);
  });

  it('is not begun again where that would not pay, however late it is', async () => {
    const { clock, first, story, result } = scene(steady(), 1000);
    clock.go(900);
    first.resolve('a');
    expect(await result).toBe('a');
    expect(story).toEqual([]);
  });

  it('is begun again once there is somewhere to go', async () => {
    const { clock, story, places } = scene(steady(), undefined);
    clock.go(500);
    expect(story).toEqual([]);
    places.elsewhereMs = 20;
    clock.go(100);
    expect(story).toHaveLength(1);
  });

  it('that comes first after all counts, and the other result is dropped', async () => {
    const { clock, first, second, story, result } = scene(steady(), 20.1);
    clock.go(45);
    first.resolve('a');
    expect(await result).toBe('a');
    second.resolve('b');
    await settled();
    expect(story).toEqual(['again after 40', 'first after 45']);
  });

  it('is remembered with what it took, also where it was overtaken', async () => {
    const pace = steady([200, 200, 200]);
    const { clock, first, second, result } = scene(pace, 20);
    clock.go(50);
    second.resolve('b');
    await result;
    clock.go(250);
    first.resolve('a');
    await settled();
    expect(pace.remaining(150)).toBe(75);
  });

  it('is begun again at once when it is known to have become slow there, if that pays', async () => {
    for (const [takes, again] of [
      [200, true],
      [60, false],
    ] as const) {
      const clock = new ManualClock();
      let begun = 0;
      let tell = (_ms: number): void => undefined;
      const result = race({
        first: new Promise<string>(() => undefined),
        pace: new Pace(),
        clock,
        slowed: (call) => {
          tell = call;
          return () => undefined;
        },
        elsewhereMs: () => 50,
        again: async () => 'b',
        begunAgain: () => {
          begun += 1;
        },
        done: () => undefined,
      });
      clock.go(10);
      tell(takes);
      await settled();
      expect(begun).toBe(again ? 1 : 0);
      if (again) expect(await result).toBe('b');
    }
  });

  it('is told nothing more, and kept by nobody, once it is done', async () => {
    for (const end of ['resolve', 'reject'] as const) {
      const told = new Set<(ms: number) => void>();
      const first = runner();
      const result = race({
        first: first.promise,
        pace: new Pace(),
        clock: new ManualClock(),
        slowed: (call) => {
          told.add(call);
          return () => told.delete(call);
        },
        elsewhereMs: () => 0,
        again: async () => 'b',
        begunAgain: () => undefined,
        done: () => undefined,
      });
      result.catch(() => undefined);
      expect(told.size).toBe(1);
      if (end === 'resolve') first.resolve('a');
      else first.reject(new Error('lost'));
      await settled();
      expect(told.size).toBe(0);
    }
  });

  it('fails with its own error where it is in time, and is not begun again', async () => {
    const { clock, first, story, result } = scene(steady(), 5);
    first.reject(new Error('lost'));
    await expect(result).rejects.toThrow('lost');
    clock.go(1000);
    expect(story).toEqual([]);
  });

  it('is finished by whoever is left when one of both fails', async () => {
    const one = scene(steady(), 20);
    one.clock.go(50);
    one.first.reject(new Error('lost'));
    await settled();
    one.second.resolve('b');
    expect(await one.result).toBe('b');
    const other = scene(steady(), 20);
    other.clock.go(50);
    other.second.reject(new Error('no room'));
    await settled();
    other.first.resolve('a');
    expect(await other.result).toBe('a');
  });

  it('fails with the first error when both fail', async () => {
    const { clock, first, second, result } = scene(steady(), 20);
    clock.go(50);
    second.reject(new Error('no room'));
    first.reject(new Error('lost'));
    await expect(result).rejects.toThrow('lost');
  });
});

describe('a device that now and then stops for a moment', () => {
  /** What 1500 images took of some 10 ms each, one in twenty-five of them 100 to 200 ms longer, and 30 ms elsewhere. */
  async function images(overtake: boolean): Promise<{ readonly ms: readonly number[]; readonly begunAgain: number }> {
    const clock = new ManualClock();
    const [pace, credit] = [new Pace(), new Credit({ now: () => 0 })];
    const ms: number[] = [];
    let [state, begunAgain] = [7, 0];
    const random = (): number => {
      state = (state * 48_271) % 0x7fff_ffff;
      return state / 0x7fff_ffff;
    };
    const after = (wait: number): Promise<void> =>
      new Promise((resolve) => {
        clock.after(wait, resolve);
      });
    for (let image = 0; image < 1500; image++) {
      const started = clock.now();
      const slow = random() < 0.04;
      let done = false;
      const result = race({
        first: after(9 + 2 * random() + (slow ? 100 + 100 * random() : 0)),
        pace,
        clock,
        elsewhereMs: () => (overtake && credit.allows(10) ? 30 : undefined),
        again: () => after(30),
        begunAgain: () => {
          begunAgain += 1;
          credit.spend();
        },
        done: () => undefined,
      }).then(() => {
        done = true;
        credit.earn();
        ms.push(clock.now() - started);
      });
      while (!done) {
        clock.go(1);
        for (let turn = 0; turn < 4; turn++) await undefined;
      }
      await result;
    }
    return { ms: ms.sort((a, b) => a - b), begunAgain };
  }

  it('costs the slowest images less when those are begun again', async () => {
    const [waiting, overtaking] = [await images(false), await images(true)];
    const slowest = ({ ms }: { readonly ms: readonly number[] }): number => ms[Math.floor(0.99 * ms.length)] ?? 0;
    expect(waiting.begunAgain).toBe(0);
    expect(slowest(waiting)).toBeGreaterThan(100);
    expect(slowest(overtaking)).toBeLessThan(0.6 * slowest(waiting));
    expect(overtaking.ms.at(-1)).toBeLessThan(150);
    // No more than the slow ones.
    expect(overtaking.begunAgain).toBeLessThan(0.06 * overtaking.ms.length);
    expect(overtaking.ms[750]).toBeLessThanOrEqual(waiting.ms[750] ?? 0);
  });
});
