import { type PlanningTask, simulator, type WorkPlan } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Net, randomTask, taskOn } from '../baselines/fixtures.js';
import { criticalParts } from './critical.js';
import { Geometry } from './geometry.js';
import { toWorkPlan } from './plan-state.js';
import { Scheduler } from './schedule.js';
import { starts } from './starts.js';

/** Two convolutions on two devices, the second device much slower. */
function task(): PlanningTask {
  const net = new Net(16);
  net.layer({ channels: 4, multiplyAdds: 27, weightBytes: 100 });
  const last = net.layer({ channels: 4, multiplyAdds: 27, weightBytes: 100 });
  return taskOn(net.workload([last]), [{ rate: 9000 }, { rate: 300 }], { mbps: 400, latencyMs: 0 });
}

describe('what holds a plan up', () => {
  it('is the slow device, where each part waits for the one before on the same device', () => {
    const parts = (rows: number): WorkPlan['volumes'][number] & object => ({
      end: rows,
      parts: [
        { device: 0, from: 0, to: 8 },
        { device: 1, from: 8, to: 16 },
      ],
    });
    const run = simulator(task()).run({ volumes: [parts(0), parts(1)] as WorkPlan['volumes'] });
    expect(criticalParts(run, 2, false)).toEqual([
      [1, 1],
      [0, 1],
    ]);
  });

  it('goes from device to device with the messages that are waited for', () => {
    const run = simulator(task()).run({
      volumes: [
        { end: 0, parts: [{ device: 1, from: 0, to: 16 }] },
        { end: 1, parts: [{ device: 0, from: 0, to: 16 }] },
      ],
    });
    expect(criticalParts(run, 2, false)).toEqual([
      [1, 0],
      [0, 0],
    ]);
  });

  it('is found in every plan, and names parts that there are', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = randomTask(seed);
      const geometry = new Geometry(random);
      for (const { state } of starts(geometry, { classical: false }, { index: 0, count: 1 })) {
        const run = simulator(random).run(toWorkPlan(state, new Scheduler(geometry), { classical: false }));
        if (run.latencyMs === Number.POSITIVE_INFINITY) continue;
        const found = criticalParts(run, state.volumes.length, random.network.medium === 'shared');
        expect(found.length).toBeGreaterThan(0);
        for (const [v, i] of found) expect(state.volumes[v]?.parts[i]).toBeDefined();
      }
    }
  });
});
