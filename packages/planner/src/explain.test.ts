import { describe, expect, it } from 'vitest';
import { auto } from './auto.js';
import { Net, taskOn } from './baselines/fixtures.js';
import { explain } from './explain.js';

const net = new Net(32);
for (let layer = 0; layer < 5; layer++) net.layer({ channels: 8, multiplyAdds: 50 });
const task = taskOn(net.workload('head'), [{ rate: 9000 }, { rate: 9000 }, { rate: 20 }, { rate: 9000, mbps: 0.02 }], {
  mbps: 100,
  latencyMs: 0.1,
});

describe('explain', () => {
  it('says who computes, what that gains, what holds it up and why devices are left out', async () => {
    const { plan, latencyMs } = await auto(task, { maxEvaluations: 1500 });
    const reasons = await explain(task, plan, { maxEvaluations: 300, lowerBoundMs: latencyMs / 1.5 });
    const text = reasons.map((reason) => reason.text).join('\n');
    expect(text).toMatch(/2 of 4 devices compute: device[01] for [\d.]+ ms and device[01] for/);
    expect(text).toMatch(/The best single device, device[01], takes [\d.]+ ms undivided: \d\.\d\d times as long/);
    expect(text).toMatch(/Busy longest: /);
    expect(text).toMatch(/they compute longer than device[01]: device2 \(\d+\.0 times\)/);
    expect(text).toMatch(/their links are slower than that of device[01]: device3/);
    expect(text).toContain('this one takes 50.0 % more');
    expect(text).toMatch(/Twice the bandwidth on every link would (save [\d.]+ ms|gain nothing)/);
    expect(text).toMatch(/One more device like device[01] would save [\d.]+ ms \(\d+ %\)/);
  });

  it('leaves out what would take a search', async () => {
    const { plan } = await auto(task, { maxEvaluations: 100 });
    const reasons = await explain(task, plan, { budgetMs: 0 });
    expect(reasons.map(({ about }) => about)).not.toContain('gains');
    expect(reasons.map(({ about }) => about)).toContain('busiest');
  });
});
