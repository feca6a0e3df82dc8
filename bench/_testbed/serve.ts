/** A testbed process's side of the talk with its parent: it carries out orders one after another and ends with its parent. */
import { constants, setPriority } from 'node:os';
import { DistrEdgeError } from '@distredge/core';
import type { Answer, Asked, MemberSettings, Order } from './orders.js';

/**
 * Before other programs, or as they are: what the testbed's processes do while time is measured is short, and late only
 * where this machine is busy otherwise, which is none of the scenario's business.
 */
export function hurry(before: boolean): void {
  const { PRIORITY_HIGHEST, PRIORITY_NORMAL } = constants.priority;
  setPriority(before ? PRIORITY_HIGHEST : PRIORITY_NORMAL);
}

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
