import { describe, expect, test } from 'vitest';
import type { Plan } from '../plan/plan.js';
import { fromPlan, toPlan } from './convert.js';
import type { WorkPlan } from './task.js';
import type { WorkEnd, Workload, WorkOp } from './workload.js';

/** Ops in a chain: op i reads what op i - 1 makes, row by row. */
function chain(rows: readonly number[], over: Partial<Workload> = {}, whole: readonly number[] = []): Workload {
  const ops = rows.map((count, index): WorkOp => {
    const row = Int32Array.from({ length: count }, (_, at) => at);
    return {
      name: `op${index}`,
      type: 'Conv',
      outputs: [index + 1],
      reads: [{ tensor: index, from: row, to: row.map((at) => at + 1) }],
      rows: count,
      weightBytes: 0,
      whole: whole.includes(index),
      multiplyAdds: 1,
      width: 1,
      channels: 1,
    };
  });
  const tensors = [rows[0] ?? 1, ...rows].map((count, index) => ({
    name: index === 0 ? 'x' : `t${index - 1}`,
    rows: count,
    bytesPerRow: 4,
  }));
  return { model: 'chain', tensors, inputs: 1, ops, forced: [], outputs: [rows.length], head: undefined, ...over };
}

function halves(rows: number, middle: number): { device: number; from: number; to: number }[] {
  return [
    { device: 1, from: 0, to: middle },
    { device: 0, from: middle, to: rows },
  ];
}

describe('plans there and back', () => {
  test('keep volumes, gathers, schedule, order and head', () => {
    const workload = chain([8, 8, 4]);
    const plan: WorkPlan = {
      volumes: [{ end: 0, parts: halves(8, 3) }, { gather: 1 }, { end: 2, parts: halves(4, 0) }],
      schedule: [
        [0, 1],
        [0, 0],
        [1, 0],
        [2, 1],
      ],
      order: [1, 0],
      head: [{ device: 1, from: 0, to: 5 }],
    };
    const artifact = toPlan(workload, plan, 2);
    expect(artifact).toEqual({
      version: 1,
      devices: 2,
      ...plan,
      volumes: [{ end: 't0', parts: halves(8, 3) }, { gather: 1 }, { end: 't2', parts: halves(4, 0) }],
    });
    expect(fromPlan(workload, artifact, 2)).toEqual(plan);
  });

  test('a volume may be said to end at any tensor inside a group, whatever its rows', () => {
    const ends = new Map<string, WorkEnd>([
      ['inner', { op: 0, place: 0, rows: 16 }],
      ['t0', { op: 0, place: 1, rows: 8 }],
      ['t1', { op: 1, place: 2, rows: 8 }],
    ]);
    const plan: Plan = {
      version: 1,
      devices: 2,
      volumes: [
        { end: 'inner', parts: halves(16, 5) },
        { end: 't1', parts: halves(8, 8) },
      ],
    };
    // 5 of 16 rows are 2.5 of 8, rounded half up.
    expect(fromPlan(chain([8, 8], { ends }), plan).volumes[0]).toEqual({ end: 0, parts: halves(8, 3) });
  });

  test('the last volume goes on to the last op, as it is compiled', () => {
    const plan: Plan = { version: 1, devices: 2, volumes: [{ end: 't0', parts: halves(8, 4) }] };
    expect(fromPlan(chain([8, 6]), plan).volumes).toEqual([{ end: 1, parts: halves(6, 3) }]);
  });
});

describe('where rows are exchanged inside a volume', () => {
  const workload = chain([8, 4, 4], { forced: [1] });
  const plan: Plan = {
    version: 1,
    devices: 2,
    volumes: [
      { end: 't1', parts: halves(4, 1) },
      { end: 't2', parts: halves(4, 2) },
    ],
  };

  test('it becomes several, at the same fractions', () => {
    expect(fromPlan(workload, plan).volumes).toEqual([
      { end: 0, parts: halves(8, 2) },
      { end: 1, parts: halves(4, 1) },
      { end: 2, parts: halves(4, 2) },
    ]);
  });

  test('nothing behind the exchange is scheduled before what it waits for', () => {
    const schedule: [number, number][] = [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ];
    expect(fromPlan(workload, { ...plan, schedule }).schedule).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [2, 0],
      [1, 1],
      [2, 1],
    ]);
  });

  test('what cannot be divided runs where the largest part is', () => {
    const island = chain([8, 4, 4], { forced: [1, 2] }, [1]);
    expect(fromPlan(island, { ...plan, volumes: [{ end: 't2', parts: halves(4, 1) }] }).volumes[1]).toEqual({
      end: 1,
      parts: [
        { device: 1, from: 0, to: 0 },
        { device: 0, from: 0, to: 4 },
      ],
    });
  });

  test('a volume that ends at partial results ends before them in the artifact', () => {
    const ends = new Map<string, WorkEnd>([
      ['t0', { op: 0, place: 0, rows: 8 }],
      ['t2', { op: 2, place: 2, rows: 8 }],
    ]);
    const pooled = chain([8, 8, 8], { ends, forced: [2] });
    const work: WorkPlan = {
      volumes: [
        { end: 1, parts: halves(8, 3) },
        { end: 2, parts: halves(8, 5) },
      ],
    };
    expect(toPlan(pooled, work, 2).volumes).toEqual([
      { end: 't0', parts: halves(8, 3) },
      { end: 't2', parts: halves(8, 5) },
    ]);
    // A volume of partial results alone becomes part of the next one.
    const alone: WorkPlan = {
      volumes: [{ end: 0, parts: halves(8, 2) }, ...work.volumes],
      schedule: [
        [0, 0],
        [0, 1],
        [1, 1],
        [1, 0],
        [2, 0],
        [2, 1],
      ],
    };
    const artifact = toPlan(pooled, alone, 2);
    expect(artifact.volumes.map((volume) => 'end' in volume && volume.end)).toEqual(['t0', 't2']);
    expect(artifact.schedule).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
  });
});

describe('a plan that does not fit', () => {
  const plan = (end: string, rows: number): Plan => ({
    version: 1,
    devices: 2,
    volumes: [{ end, parts: halves(rows, 1) }],
  });

  test.each([
    ['another tensor', plan('y', 8), "'y'"],
    ['another height', plan('t1', 9), '0 to 9'],
    ['nothing', { version: 1, devices: 2, volumes: [{ gather: 0 }] } satisfies Plan, 'none'],
    ['another order', { ...plan('t1', 8), volumes: [...plan('t1', 8).volumes, ...plan('t0', 8).volumes] }, "'t0'"],
  ])('of %s is refused', (_, given, got) => {
    expect(() => fromPlan(chain([8, 8]), given)).toThrow(expect.objectContaining({ code: 'PLAN_INVALID', got }));
  });

  test('is one for another number of devices', () => {
    expect(() => fromPlan(chain([8, 8]), plan('t1', 8), 3)).toThrow(
      expect.objectContaining({ code: 'PLAN_INVALID', expected: '3', got: '2' }),
    );
  });
});
