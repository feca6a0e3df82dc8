import { expect, it } from 'vitest';
import { createMemoryTransport } from '../link/memory.js';
import { answerMessages, figuresOf, measureLink, measureLoopback } from './link.js';

it('takes half of an empty round for the latency, and what a large message adds for the rate', async () => {
  const transport = createMemoryTransport();
  const listener = await answerMessages(transport, 'there');
  // Each exchange looks at the clock twice: empty ones take 2 ms, large ones 2 ms and 1 ms for 125000 bytes.
  const gaps = [2, 3];
  let [time, looks] = [0, 0];
  const now = (): number => {
    if (looks % 2 === 1) time += gaps[((looks - 1) / 2) % 2] ?? 0;
    looks += 1;
    return time;
  };
  const figures = await measureLink(transport, listener.address, { bytes: 125_000, rounds: 5, now });
  expect(figures.latencyMs).toBeCloseTo(1);
  expect(figures.mbps).toBeCloseTo(1000);
  await listener.close();
});

it('goes by the quickest empty message where most of them waited behind other traffic', () => {
  const bytes = 125_000;
  expect(figuresOf([2, 2.2, 2.4], [52, 52.2, 52.4], bytes)).toEqual({ mbps: 20, latencyMs: 1.1 });
  // By the middle of these, it would be 500 Mbit/s.
  expect(figuresOf([2, 50, 51], [52, 52, 53], bytes)).toEqual({ mbps: 20, latencyMs: 1 });
  // And of those with bytes: by their middle, 8.
  expect(figuresOf([2, 50, 51], [52, 127, 140], bytes)).toEqual({ mbps: 20, latencyMs: 1 });
});

it('ends early where messages take long, with a few of each size', async () => {
  const transport = createMemoryTransport();
  const listener = await answerMessages(transport, 'there');
  let [time, looks] = [0, 0];
  const now = (): number => {
    if (looks++ % 2 === 1) time += 100;
    return time;
  };
  const { latencyMs } = await measureLink(transport, listener.address, { bytes: 1000, rounds: 12, limitMs: 400, now });
  expect(latencyMs).toBe(50);
  // One round to warm up, and five.
  expect(time).toBe(1200);
  await listener.close();
});

it('stays finite where size makes no difference', async () => {
  const transport = createMemoryTransport();
  const listener = await answerMessages(transport, 'there');
  const figures = await measureLink(transport, listener.address, { bytes: 1000, rounds: 3, busy: true, now: () => 0 });
  expect(figures.latencyMs).toBe(0);
  expect(figures.mbps).toBeCloseTo(1e9);
  await listener.close();
});

it('measures between two processes', async () => {
  const { mbps, latencyMs } = await measureLoopback({ rounds: 5 });
  expect(mbps).toBeGreaterThan(0);
  expect(latencyMs).toBeGreaterThan(0);
});
