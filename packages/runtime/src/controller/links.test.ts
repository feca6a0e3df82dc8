import { expect, it } from 'vitest';
import type { Link, Transport } from '../link/link.js';
import { createMemoryTransport } from '../link/memory.js';
import { answerMessages } from '../profile/link.js';
import { quicker, quickLink, slowerLink } from './links.js';

/** A transport that carries so much towards the other end, in 10⁶ bit/s. */
function throttled(transport: Transport, mbps: number): Transport {
  const slow = (link: Link): Link =>
    Object.assign(Object.create(link) as Link, {
      send: async (head: Parameters<Link['send']>[0], payload: Parameters<Link['send']>[1]) => {
        const bytes = payload.reduce((sum, { byteLength }) => sum + byteLength, 0);
        if (bytes > 0) await new Promise((resolve) => setTimeout(resolve, (bytes * 8) / (mbps * 1000)));
        await link.send(head, payload);
      },
      close: (error?: Error) => link.close(error),
    });
  return { ...transport, dial: async (...call) => slow(await transport.dial(...call)) };
}

it('tells at a glance that a link carries much less than it did', async () => {
  const transport = createMemoryTransport();
  const listener = await answerMessages(transport, 'there');
  const link = throttled(transport, 10);
  const mbps = await slowerLink(link, listener.address, { mbps: 1000, latencyMs: 0.1 }, 10_000);
  expect(mbps).toBeGreaterThan(0);
  expect(mbps).toBeLessThan(15);
  // It was never faster than this.
  expect(await slowerLink(link, listener.address, { mbps: 0.5, latencyMs: 0.1 }, 10_000)).toBeUndefined();
  await listener.close();
});

it('ends a measurement at its deadline', async () => {
  const transport = createMemoryTransport();
  const listener = await answerMessages(transport, 'there');
  const link = throttled(transport, 0.01);
  for (const measure of [
    quickLink(link, listener.address, 50),
    slowerLink(link, listener.address, { mbps: 100, latencyMs: 0 }, 50),
  ])
    await expect(measure).rejects.toMatchObject({ code: 'DEADLINE' });
  await listener.close();
});

it('goes by the quickest empty message of all', () => {
  // 250 kB in 10 ms, and empty messages that took 12 ms there and back, like those: as if they cost nothing.
  const { mbps, latencyMs } = quicker({ mbps: 20_000, latencyMs: 6 }, 1, 250_000);
  expect(mbps).toBeCloseTo(2000 / 10.1, 6);
  expect(latencyMs).toBe(1);
  expect(quicker({ mbps: 200, latencyMs: 1 }, 3, 250_000)).toEqual({ mbps: 200, latencyMs: 1 });
});
