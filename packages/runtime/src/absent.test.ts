/** When lost devices are looked for, on a clock that the test sets. */
import { describe, expect, it } from 'vitest';
import { Absent } from './absent.js';

function scene() {
  const clock = { ms: 1000 };
  const absent = new Absent(100, () => clock.ms);
  /** Milliseconds until the device is due again, in steps of 10. */
  const wait = (): number => {
    const from = clock.ms;
    while (absent.due().length === 0) clock.ms += 10;
    return clock.ms - from;
  };
  return { clock, absent, wait };
}

describe('a lost device', () => {
  it('is absent until it is found', () => {
    const { absent } = scene();
    expect(absent.has(2)).toBe(false);
    absent.lose(2);
    expect(absent.has(2)).toBe(true);
    expect(absent.has(1)).toBe(false);
    absent.find(2);
    expect(absent.has(2)).toBe(false);
    expect(absent.due()).toEqual([]);
  });

  it('is looked for in regular intervals, which losing it again does not put off', () => {
    const { absent, clock, wait } = scene();
    absent.lose(0);
    expect(wait()).toBe(100);
    expect(wait()).toBe(100);
    clock.ms += 50;
    absent.lose(0);
    expect(wait()).toBe(50);
  });

  it('is looked for the more rarely the more often it was lost, up to a limit', () => {
    const { absent, wait } = scene();
    const waits = Array.from({ length: 7 }, () => {
      absent.lose(0);
      const ms = wait();
      absent.find(0);
      return ms;
    });
    expect(waits).toEqual([100, 200, 400, 800, 1600, 1600, 1600]);
  });

  it('is trusted again when it stayed for long', () => {
    const { absent, clock, wait } = scene();
    for (let times = 0; times < 3; times++) {
      absent.lose(0);
      wait();
      absent.find(0);
    }
    clock.ms += 900;
    absent.lose(0);
    expect(wait()).toBe(100);
  });
});
