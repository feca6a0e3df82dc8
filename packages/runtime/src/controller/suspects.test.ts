/** Devices that failed, by a clock that the tests turn. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Suspects } from './suspects.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function watched(answers: (id: string) => Promise<boolean> = async () => true) {
  const asked: string[] = [];
  const back: string[] = [];
  const suspects = new Suspects({
    answers: (id) => {
      asked.push(id);
      return answers(id);
    },
    back: (id) => back.push(id),
  });
  return { suspects, asked, back };
}

describe('suspects', () => {
  it('takes a device back that answers, after a while', async () => {
    const { suspects, asked, back } = watched();
    suspects.add('a');
    expect([...suspects.ids]).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(999);
    expect(asked).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(back).toEqual(['a']);
    expect(suspects.ids.size).toBe(0);
  });

  it('asks less and less often while there is no answer, but at least every half minute', async () => {
    let there = false;
    const { suspects, asked, back } = watched(async () => there);
    suspects.add('a');
    await vi.advanceTimersByTimeAsync(1000 + 2000 + 4000);
    expect(asked.length).toBe(3);
    await vi.advanceTimersByTimeAsync(8000 + 16_000 + 30_000 + 30_000);
    expect(asked.length).toBe(7);
    there = true;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(back).toEqual(['a']);
  });

  it('waits longer before one that failed again soon after it was back, and forgives with time', async () => {
    const { suspects, back } = watched();
    suspects.add('a');
    await vi.advanceTimersByTimeAsync(1000);
    suspects.add('a');
    await vi.advanceTimersByTimeAsync(1999);
    expect(back).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(1);
    expect(back).toEqual(['a', 'a']);
    await vi.advanceTimersByTimeAsync(60_001);
    suspects.add('a');
    await vi.advanceTimersByTimeAsync(1000);
    expect(back.length).toBe(3);
  });

  it('counts a failure once, however many images it fails', async () => {
    const { suspects, asked } = watched();
    for (let image = 0; image < 5; image++) suspects.add('a');
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).toEqual(['a']);
  });

  it('is not asked any more once it is trusted for another reason, nor after the end', async () => {
    const { suspects, asked, back } = watched();
    suspects.add('a');
    expect(suspects.trust('a')).toBe(true);
    expect(suspects.trust('a')).toBe(false);
    suspects.add('b');
    suspects.close();
    suspects.add('c');
    await vi.advanceTimersByTimeAsync(100_000);
    expect([...asked, ...back]).toEqual([]);
  });

  it('does not take an answer for one that failed again meanwhile', async () => {
    const answers: ((there: boolean) => void)[] = [];
    const { suspects, back } = watched(() => new Promise((resolve) => answers.push(resolve)));
    suspects.add('a');
    await vi.advanceTimersByTimeAsync(1000);
    suspects.trust('a');
    suspects.add('a');
    answers[0]?.(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(back).toEqual([]);
    expect([...suspects.ids]).toEqual(['a']);
  });
});
