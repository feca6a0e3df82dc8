import type { PlanningTask } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Net, randomTask, taskOn } from '../baselines/fixtures.js';
import type { MoveContext } from './context.js';
import { Geometry } from './geometry.js';
import type { PlanState } from './plan-state.js';
import { Random } from './random.js';
import { snapped } from './snap.js';
import { starts } from './starts.js';

/** One layer of 16 rows on two devices that compute four rows in the time of one. */
function stairs(): PlanningTask {
  const net = new Net(16);
  const task = taskOn(net.workload([net.layer({ channels: 4, multiplyAdds: 27, weightBytes: 100 })]), [
    { rate: 9000 },
    { rate: 9000 },
  ]);
  const costs = task.costs.map((device) => ({
    ...device,
    opMs: device.opMs.map((table) => table.map((_, rows) => 4 * Math.ceil(rows / 4))),
  }));
  return { ...task, costs };
}

function cutAt(row: number): PlanState {
  const parts = [
    { device: 0, from: 0, to: row, key: 0 },
    { device: 1, from: row, to: 16, key: 0 },
  ];
  return { volumes: [{ start: 0, end: 0, parts }], order: undefined, head: undefined };
}

function contextOf(task: PlanningTask, seed: number): MoveContext {
  return { geometry: new Geometry(task), random: new Random(seed), form: { classical: false }, devices: [0, 1] };
}

describe('new cuts', () => {
  it('go to a step of the times of both parts nearby, or stay', () => {
    const task = stairs();
    const found = new Set<number | undefined>();
    for (let seed = 1; seed <= 40; seed++) {
      found.add(snapped(cutAt(4), cutAt(7), contextOf(task, seed)).volumes[0]?.parts[0]?.to);
    }
    expect([...found].sort()).toEqual([7, 8]);
  });

  it('stay where they were before the move', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const state = cutAt(7);
      expect(snapped(state, { ...state, volumes: [...state.volumes] }, contextOf(stairs(), seed)).volumes).toEqual(
        state.volumes,
      );
    }
  });

  it('leave every volume tiled by parts with rows', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const context = contextOf(randomTask(seed), seed);
      let before: PlanState | undefined;
      for (const { state } of starts(context.geometry, context.form, { index: 0, count: 1 })) {
        const next = snapped(before ?? state, state, context);
        for (const { end, parts } of next.volumes) {
          expect(parts[0]?.from).toBe(0);
          expect(parts.at(-1)?.to).toBe(context.geometry.rows(end));
          parts.forEach((part, i) => {
            expect(part.to).toBeGreaterThan(part.from);
            expect(part.from).toBe(i === 0 ? 0 : parts[i - 1]?.to);
          });
        }
        before = state;
      }
    }
  });
});
