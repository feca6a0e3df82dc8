/**
 * A provider that is stopped in the middle of a stream, for too short a time to be lost: its images are done elsewhere meanwhile,
 * and it goes on when it is let go. `npm run bench -- faults --freezes 2000` tells what that does for the tail of latency.
 */
import { analyse, compile, planByRule } from '@distredge/core';
import { connectResilient, createTcpTransport, type Turn } from '@distredge/runtime';
import { describe, expect, it } from 'vitest';
import { HurtProvider, Work } from '../../bench/_fault-cluster.js';
import { until } from '../support/cli.js';

describe('a provider that stops for a moment', () => {
  it('holds no image up: late ones are done elsewhere, right and in order', { timeout: 120_000 }, async () => {
    const work = await Work.create(3);
    const analysis = analyse(work.graph);
    const providers = [new HurtProvider(), new HurtProvider()];
    await Promise.all(providers.map((provider) => provider.start()));
    const program = compile(work.graph, planByRule(analysis, { volumes: 3, weights: [1, 1] }), analysis);
    const turns: Turn[] = [];
    const cluster = await connectResilient({
      transport: createTcpTransport(),
      addresses: providers.map(({ address }) => address),
      inFlight: 2,
      silenceMs: 60_000,
      programsFor: (devices) => [{ program, devices }],
      whole: async (inputs) => ({ ...(await work.whole.run(inputs)).outputs }),
      report: (turn) => turns.push(turn),
    });
    let [over, done, wrong] = [false, 0, 0];
    function* images() {
      for (let index = 0; !over; index++) yield work.images[index % work.images.length]?.inputs ?? {};
    }
    const stream = (async () => {
      for await (const { index, outputs } of cluster.stream(images())) {
        if (index !== done || !work.right(index, outputs)) wrong += 1;
        done += 1;
      }
    })();
    const overtaken = (): number => turns.filter((turn) => turn.type === 'raced' && turn.by === 'second').length;
    try {
      for (let round = 0; round < 2; round++) {
        const [before, overtakenBefore] = [done, overtaken()];
        // Enough for what is usual to be known, and for images to be begun again.
        await until(() => done > before + 150, 'images before');
        providers[round]?.freeze();
        await until(() => overtaken() > overtakenBefore, 'an image that is done elsewhere');
        const during = done;
        await until(() => done > during, 'an image of the stream while its provider stands still');
        providers[round]?.thaw();
      }
      const after = done;
      await until(() => done > after + 50, 'images afterwards');
      over = true;
      await stream;
    } finally {
      over = true;
      await cluster.close();
      await Promise.all(providers.map((provider) => provider.close()));
      await work.whole.close();
    }
    expect(wrong).toBe(0);
    expect(turns.filter(({ type }) => type === 'lost')).toEqual([]);
    expect(turns.filter(({ type }) => type === 'late').length).toBeGreaterThanOrEqual(2);
  });
});
