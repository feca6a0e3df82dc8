/** A testbed process's side of the talk with its parent: it carries out orders one after another and ends with its parent. */
import { DistrEdgeError } from '@distredge/core';
import type { Answer, Asked, MemberSettings, Order } from './orders.js';

export function settings(): MemberSettings {
  return JSON.parse(process.argv[2] ?? '{}') as MemberSettings;
}

/** Tells the parent that the process is ready (a provider: where it listens), and serves its orders. */
export function serve(ready: string, obey: (order: Order) => unknown): void {
  const answer = (value: Answer): void => {
    process.send?.(value);
  };
  let before: Promise<void> = Promise.resolve();
  process.on('message', ({ id, order }: Asked) => {
    before = before.then(async () => {
      try {
        answer({ id, done: (await obey(order)) ?? null });
      } catch (error) {
        answer({
          id,
          failed: error instanceof DistrEdgeError ? error.toJSON() : { code: 'INTERNAL', message: String(error) },
        });
      }
    });
  });
  process.once('disconnect', () => process.exit());
  // Ctrl-C reaches the whole group: the parent ends its processes in good order.
  process.on('SIGINT', () => undefined);
  answer({ ready });
}
