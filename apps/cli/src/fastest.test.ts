import { expect, test } from 'vitest';
import { fastest } from './fastest.js';

const trial = (name: string, ...ms: readonly number[]) => ({ name, ms, times: [] as number[] });

/** Times that come one after another, the last one again and again. */
async function next({ ms, times }: ReturnType<typeof trial>): Promise<void> {
  times.push(ms[Math.min(times.length, ms.length - 1)] as number);
}

test('slow ones are left out early, and the last two take turns', async () => {
  const order: string[] = [];
  const trials = [trial('a', 9), trial('b', 3), trial('c', 7), trial('d', 2), trial('e', 8)];
  const best = await fastest(trials, (one) => {
    order.push(one.name);
    return next(one);
  });
  expect(best.name).toBe('d');
  expect(order.join('')).toBe(['abcde', 'abcde', 'dbc', 'dbc', 'db', 'db'].join(''));
});

test('one lucky moment does not decide', async () => {
  const trials = [trial('steady', 5), trial('lucky', 1, 9), trial('slow', 20)];
  expect((await fastest(trials, next)).name).toBe('steady');
});

test('neither does one bad moment', async () => {
  const trials = [trial('disturbed', 50, 4), trial('a', 5), trial('b', 6), trial('c', 7)];
  expect((await fastest(trials, next)).name).toBe('disturbed');
});

test('of one there is one', async () => {
  expect((await fastest([trial('only', 1)], next)).name).toBe('only');
});
