import { type DataType, DistrEdgeError } from '@distredge/core';
import { expect, it } from 'vitest';
import type { Engine, EngineInput, FixedCall } from './engine.js';
import { createPacedEngine, sleepUntil } from './paced.js';

const shape = { dtype: 'float32' as DataType, shape: [1] };
const output = (slot: number): FixedCall['outputs'][number] => ({ name: 'y', slot, fetch: false, ...shape });

/** Two steps; the second reads the first one's slot and rows of its own. Tells which ran. */
function twoSteps(): { engine: Engine; calls: FixedCall[]; rows: Uint8Array[]; ran: number[] } {
  const ran: number[] = [];
  const rows = [new Uint8Array(4), new Uint8Array(4)];
  const received = (index: number): EngineInput => ({
    name: 'x',
    tensor: { ...shape, data: rows[index] as Uint8Array },
  });
  const calls: FixedCall[] = [
    { model: 1, inputs: [[received(0)]], outputs: [output(0)] },
    { model: 1, inputs: [[{ name: 'a', slot: 0 }, received(1)]], outputs: [output(1)], release: [0] },
  ];
  const engine = {
    name: 'counts',
    blocks: true,
    fix: async () => ({
      run: async (call: number) => {
        ran.push(call);
        return { start: 0, end: 0 };
      },
      outputs: () => [],
    }),
  } as unknown as Engine;
  return { engine, calls, rows, ran };
}

it('waits until the time of the device is over, and not when there is no dilation', async () => {
  const { engine, calls } = twoSteps();
  let dilation = 2;
  const fixed = await createPacedEngine(engine, { stepMs: [20, 1e8], dilation: () => dilation }).fix(calls);
  const began = performance.now();
  const { start, end } = await fixed.run(0, 0);
  expect(performance.now() - began).toBeGreaterThanOrEqual(39.9);
  expect(end - start).toBeGreaterThanOrEqual(39.9);
  // It would wait for more than a day.
  dilation = 0;
  await fixed.run(1, 0);
});

it('tells of a step that took longer than the device would', async () => {
  const { engine, calls } = twoSteps();
  const slow = { ...engine, fix: async () => ({ run: () => sleepUntil(performance.now() + 8), outputs: () => [] }) };
  const late: [number, number][] = [];
  const paced = createPacedEngine(slow as unknown as Engine, {
    stepMs: [5, 100],
    late: (call, ms) => late.push([call, ms]),
  });
  const fixed = await paced.fix(calls);
  await fixed.run(0, 0);
  expect(late).toHaveLength(1);
  expect(late[0]?.[0]).toBe(0);
  expect(late[0]?.[1]).toBeGreaterThanOrEqual(2.5);
});

it('computes every image anew unless told otherwise', async () => {
  const { engine, calls, ran } = twoSteps();
  const fixed = await createPacedEngine(engine, { stepMs: [0, 0] }).fix(calls);
  for (let image = 0; image < 2; image++) for (const call of [0, 1]) await fixed.run(call, 0);
  expect(ran).toEqual([0, 1, 0, 1]);
});

it('spares the steps of an image whose rows are those of the last one, and no other', async () => {
  const { engine, calls, rows, ran } = twoSteps();
  const fixed = await createPacedEngine(engine, { stepMs: [0, 0], reuse: true }).fix(calls);
  const image = async (): Promise<number[]> => {
    ran.length = 0;
    for (const call of [0, 1]) await fixed.run(call, 0);
    return [...ran];
  };
  expect(await image()).toEqual([0, 1]);
  expect(await image()).toEqual([]);
  (rows[0] as Uint8Array)[2] = 1;
  expect(await image()).toEqual([0, 1]);
  expect(await image()).toEqual([]);
  // Slots share memory, so what the first step kept is made again for the second.
  (rows[1] as Uint8Array)[0] = 1;
  expect(await image()).toEqual([0, 1]);
  expect(await image()).toEqual([]);
});

it('refuses times that are not one for each step', async () => {
  const { engine, calls } = twoSteps();
  for (const stepMs of [[1], [1, -1], [1, Number.NaN], [1, 2, 3]]) {
    const error = await createPacedEngine(engine, { stepMs })
      .fix(calls)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DistrEdgeError);
    expect(error).toMatchObject({ code: 'USAGE' });
  }
});
