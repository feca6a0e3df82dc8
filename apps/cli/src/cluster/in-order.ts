/** Several tasks at once, their results one after another in the order of the tasks. */

type Task<T> = () => Promise<T>;

/**
 * Runs up to `most` tasks of a source at once, and hands each result to `done` as soon as those before it are handed out. A task is
 * asked of the source only when there is room for it; one whose result waits for an earlier one still takes room. Rejects with the
 * first error, of a task or of the source, once what was begun is over.
 */
export async function inOrder<T>(
  most: number,
  tasks: AsyncIterable<Task<T>> | Iterable<Task<T>>,
  done: (result: T) => void,
): Promise<void> {
  const source = Symbol.asyncIterator in tasks ? tasks[Symbol.asyncIterator]() : tasks[Symbol.iterator]();
  /** Of the tasks that are begun, when each result was handed out, the oldest first. */
  const open: Promise<void>[] = [];
  const running = new Set<Promise<unknown>>();
  let fail: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);
  let last: Promise<void> = Promise.resolve();
  try {
    for (;;) {
      // The source may be somebody who types: an error does not wait for his next line.
      const next = await Promise.race([source.next(), failed]);
      if (next.done === true) break;
      const result = next.value();
      const ended: Promise<unknown> = result.then(
        () => running.delete(ended),
        () => running.delete(ended),
      );
      running.add(ended);
      last = last.then(async () => done(await result));
      last.catch(fail);
      open.push(last);
      if (open.length >= most) await Promise.race([open.shift(), failed]);
    }
    await last;
  } finally {
    void Promise.resolve(source.return?.()).catch(() => undefined);
    await Promise.all(running);
    await last.catch(() => undefined);
  }
}
