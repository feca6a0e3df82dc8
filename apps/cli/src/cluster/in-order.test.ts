/** Tasks that end in whatever order. */
import { describe, expect, it } from 'vitest';
import { inOrder } from './in-order.js';

const calm = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Tasks by number, which end when they are told to. */
function tasks(count: number) {
  const begun: number[] = [];
  const ends = new Map<number, (error?: Error) => void>();
  const task = (number: number) => () => {
    begun.push(number);
    return new Promise<number>((resolve, reject) => {
      ends.set(number, (error) => (error === undefined ? resolve(number) : reject(error)));
    });
  };
  const settle = async (number: number, error?: Error): Promise<void> => {
    ends.get(number)?.(error);
    await calm();
  };
  return { begun, all: Array.from({ length: count }, (_, number) => task(number)), settle };
}

describe('tasks in order', () => {
  it('runs as many as it may, and gives results in their order', async () => {
    const { begun, all, settle } = tasks(4);
    const got: number[] = [];
    const over = inOrder(2, all, (task) => got.push(task));
    await calm();
    expect(begun).toEqual([0, 1]);
    await settle(1);
    expect([got, begun]).toEqual([[], [0, 1]]);
    await settle(0);
    expect(got).toEqual([0, 1]);
    expect(begun.slice(0, 3)).toEqual([0, 1, 2]);
    await settle(2);
    await settle(3);
    await over;
    expect(got).toEqual([0, 1, 2, 3]);
  });

  it('gives a result at once, however long the next task is awaited', async () => {
    const { all, settle } = tasks(1);
    const got: number[] = [];
    let end: () => void = () => undefined;
    const silent = new Promise<void>((resolve) => {
      end = resolve;
    });
    async function* typing() {
      yield* all;
      await silent;
    }
    const over = inOrder(4, typing(), (task) => got.push(task));
    await calm();
    await settle(0);
    expect(got).toEqual([0]);
    end();
    await over;
  });

  it('ends with an error, also while a task is awaited, when what was begun is over', async () => {
    const { all, settle } = tasks(2);
    async function* typing() {
      yield* all;
      await new Promise(() => undefined);
    }
    let ended = '';
    const over = inOrder(3, typing(), () => undefined).catch((error: Error) => {
      ended = error.message;
    });
    await calm();
    await settle(0, new Error('no'));
    expect(ended).toBe('');
    await settle(1);
    await over;
    expect(ended).toBe('no');
  });
});
