/** Waiting for changes. */
import { describe, expect, it } from 'vitest';
import { Changes } from './changes.js';

describe('changes', () => {
  it('wakes everybody who waits, once', async () => {
    const changes = new Changes();
    const waits = [changes.next(60_000), changes.next(60_000)];
    changes.wake();
    expect(await Promise.all(waits)).toEqual([true, true]);
    const later = changes.next(5);
    expect(await later).toBe(false);
  });

  it('does not begin to wait without time', async () => {
    const changes = new Changes();
    const wait = changes.next(0);
    changes.wake();
    expect(await wait).toBe(false);
  });
});
