import { expect, it } from 'vitest';
import { createOrtEngine } from '../engine/ort-node.js';
import { createMemoryTransport } from '../link/memory.js';
import { startProvider } from '../provider.js';
import { idleTimes, measureExchange } from './exchange.js';

it('takes what a device does not compute between its own steps', () => {
  const steps = [0, 1, 0, 1, 0].map((device) => ({ device })) as never;
  const at = (step: number, start: number, end: number) => ({ step, start, end, waitFrom: start });
  // Device 0 waits 1 ms and 3 ms, device 1 waits 2 ms; told in any order.
  const told = [at(4, 16, 20), at(0, 0, 4), at(1, 0, 5), at(3, 7, 9), at(2, 5, 13)];
  expect(idleTimes({ steps }, { steps: told })).toEqual([2, 2]);
  expect(idleTimes({ steps }, { steps: [at(0, 0, 4)] })).toEqual([]);
});

it('measures between two providers, and nothing with one', async () => {
  const transport = createMemoryTransport();
  const providers = await Promise.all(
    ['a:1', 'b:1'].map((listen) =>
      startProvider({ transport, listen, createEngine: () => createOrtEngine(), engineName: 'test' }),
    ),
  );
  try {
    const addresses = providers.map(({ address }) => address);
    const { mbps, latencyMs } = await measureExchange({ transport, addresses, mbps: 1000, images: 3 });
    expect(mbps).toBe(1000);
    expect(latencyMs).toBeGreaterThanOrEqual(0);
    expect(await measureExchange({ transport, addresses: ['a:1'], mbps: 1000 })).toEqual({ mbps: 1000, latencyMs: 0 });
  } finally {
    await Promise.all(providers.map((provider) => provider.close()));
  }
});
