/**
 * Small cases worked out by hand, for both simulators. A row of any tensor is 125 bytes: 1 ms at 1 Mbit/s. A row of any op
 * takes 1 ms on any device. Every link has 1 Mbit/s and 0.5 ms of latency where nothing else is said.
 */
import { describe, expect, test } from 'vitest';
import { simulator } from './simulate.js';
import { referenceSimulator } from './simulate-reference.js';
import type { PlanningTask, SimulatedEvent, SimulatedRun, WorkPlan } from './task.js';
import type { WorkHead, WorkHeadOp, WorkOp, WorkRead } from './workload.js';

const ROWS = 4;

/** Row r needs rows r - margin to r + margin. */
function window(tensor: number, margin: number): WorkRead {
  const rows = Array.from({ length: ROWS }, (_, row) => row);
  return {
    tensor,
    from: Int32Array.from(rows, (row) => Math.max(0, row - margin)),
    to: Int32Array.from(rows, (row) => Math.min(ROWS, row + 1 + margin)),
  };
}

/** Op i makes tensor i + 1 of what it reads. */
function op(index: number, reads: readonly WorkRead[], more: Partial<WorkOp> = {}): WorkOp {
  const shape = { multiplyAdds: 1, width: 1, channels: 1 };
  const base = { name: `op${index}`, type: 'Conv', outputs: [index + 1], rows: ROWS, weightBytes: 1000, whole: false };
  return { ...base, reads, ...shape, ...more };
}

interface Given {
  readonly ops: readonly WorkOp[];
  readonly devices?: number;
  readonly mbps?: readonly number[];
  readonly medium?: 'switched' | 'shared';
  readonly outputs?: readonly number[];
  readonly forced?: readonly number[];
  readonly head?: WorkHead;
  readonly memoryBytes?: number;
}

function taskOf({
  ops,
  devices = 2,
  mbps = [],
  medium = 'switched',
  outputs,
  forced = [],
  head,
  ...rest
}: Given): PlanningTask {
  const tensors = Array.from({ length: ops.length + 1 }, (_, index) => ({
    name: `t${index}`,
    rows: ROWS,
    bytesPerRow: 125,
  }));
  const all = Array.from({ length: devices }, (_, device) => device);
  return {
    workload: {
      model: 'hand',
      tensors,
      inputs: 1,
      ops,
      forced,
      outputs: outputs ?? (head === undefined ? [ops.length] : []),
      head,
    },
    costs: all.map((device) => ({
      id: `d${device}`,
      memoryBytes: rest.memoryBytes ?? Number.POSITIVE_INFINITY,
      opMs: ops.map(({ rows }) => Float64Array.from({ length: rows + 1 }, (_, r) => r)),
      readMsPerByte: new Float64Array(ops.length),
      headBeforeMs: 1,
      headCutMs: Float64Array.from({ length: 9 }, (_, n) => n),
      headAfterMs: 2,
    })),
    network: {
      medium,
      requester: { mbps: 1, latencyMs: 0.5 },
      devices: all.map((device) => ({ mbps: mbps[device] ?? 1, latencyMs: 0.5 })),
    },
  };
}

const part = (device: number, from: number, to: number): { device: number; from: number; to: number } => ({
  device,
  from,
  to,
});
const POINTWISE = [op(0, [window(0, 0)])];
const CHAIN = [op(0, [window(0, 0)]), op(1, [window(1, 1)])];
const HALVES = [part(0, 0, 2), part(1, 2, 4)];

/** Messages in order of their start, as [from, to, start, arrived, rows]. */
function messages({ events }: SimulatedRun): number[][] {
  const sent = (event: SimulatedEvent): number[][] =>
    event.kind === 'message' ? [[event.from, event.to, event.start, event.arrived, event.bytes / 125]] : [];
  return events.flatMap(sent);
}

/** Parts in order of their start, as [device, volume, part, start, end]. */
function computed({ events }: SimulatedRun): number[][] {
  return events.flatMap((event) =>
    event.kind === 'compute' ? [[event.device, event.volume, event.part, event.start, event.end]] : [],
  );
}

describe.each([
  ['reference', referenceSimulator],
  ['fast', simulator],
])('%s simulator, by hand', (_, make) => {
  test('one device: input, work and output follow one another', () => {
    const plan = { volumes: [{ end: 1, parts: [part(0, 0, 4)] }] };
    const run = make(taskOf({ ops: CHAIN })).run(plan);
    expect(messages(run)).toEqual([
      [-1, 0, 0, 4.5, 4],
      [0, -1, 12.5, 17, 4],
    ]);
    expect(computed(run)).toEqual([[0, 0, 0, 4.5, 12.5]]);
    expect(run.latencyMs).toBe(17);
  });

  test('fused ops compute their halo rows twice', () => {
    // Each half reads 3 input rows: 3 of the first op, 2 of the second.
    const run = make(taskOf({ ops: CHAIN })).run({ volumes: [{ end: 1, parts: HALVES }] });
    expect(computed(run)).toEqual([
      [0, 0, 0, 3.5, 8.5],
      [1, 0, 1, 6.5, 11.5],
    ]);
    expect(run.latencyMs).toBe(14);
  });

  test('between volumes the halo rows travel; a receiver takes one message at a time', () => {
    const volumes = [0, 1].map((end) => ({ end, parts: HALVES }));
    const run = make(taskOf({ ops: CHAIN })).run({ volumes });
    expect(messages(run)).toEqual([
      [-1, 0, 0, 2.5, 2],
      [-1, 1, 2, 4.5, 2],
      [0, 1, 4.5, 6, 1],
      [1, 0, 6.5, 8, 1],
      [1, -1, 8.5, 11, 2],
      // Issued at 10, when the requester's downlink is taken until 10.5.
      [0, -1, 10.5, 13, 2],
    ]);
    expect(run.latencyMs).toBe(13);
  });

  test('a shared medium carries one message at a time', () => {
    const plan = { volumes: [{ end: 0, parts: [part(0, 0, 1), part(1, 1, 4)] }] };
    const results = (medium: 'switched' | 'shared'): number[][] =>
      messages(make(taskOf({ ops: POINTWISE, medium })).run(plan)).filter(([, to]) => to === -1);
    // Device 0 is done at 2.5, the requester sends until 4.
    expect(results('switched')[0]).toEqual([0, -1, 2.5, 4, 1]);
    expect(results('shared')[0]).toEqual([0, -1, 4, 5.5, 1]);
  });

  test('a message that waits for its receiver blocks those behind it on its sender', () => {
    // The requester sends device 1, whose link has 0.1 Mbit/s, two rows from 2 to 22.
    const task = taskOf({ ops: [op(0, [window(0, 0)]), op(1, [window(1, 0)])], devices: 3, mbps: [1, 0.1, 1] });
    const volumes = [
      { end: 0, parts: HALVES },
      { end: 1, parts: [part(1, 0, 1), part(2, 1, 2), part(1, 2, 4)] },
    ];
    const sent = (plan: WorkPlan): number[][] => messages(make(task).run(plan)).filter(([from]) => from === 0);
    expect(sent({ volumes })).toEqual([
      [0, 1, 22, 32.5, 1],
      [0, 2, 32, 33.5, 1],
    ]);
    expect(sent({ volumes, order: [2] })).toEqual([
      [0, 2, 4.5, 6, 1],
      [0, 1, 22, 32.5, 1],
    ]);
  });

  test('several parts on a device: the second one is received while the first is computed', () => {
    const plan = { volumes: [{ end: 0, parts: [part(0, 0, 2), part(0, 2, 4)] }] };
    const run = make(taskOf({ ops: POINTWISE })).run(plan);
    // Rows arrive at 2.5 and 4.5, the parts end at 4.5 and 6.5, the results are there at 7 and 9.
    expect(computed(run)).toEqual([
      [0, 0, 0, 2.5, 4.5],
      [0, 0, 1, 4.5, 6.5],
    ]);
    expect(run.latencyMs).toBe(9);
  });

  test('rows that several volumes need go once, with the nearest', () => {
    // op2 reads what op0 and op1 made. Device 1 needs rows 0 and 1 of op0 for its part of op1, all of them for op2.
    const ops = [op(0, [window(0, 0)]), op(1, [window(1, 0)]), op(2, [window(1, 0), window(2, 0)])];
    const volumes = [
      { end: 0, parts: [part(0, 0, 4)] },
      { end: 1, parts: [part(1, 0, 2), part(0, 2, 4)] },
      { end: 2, parts: [part(1, 0, 4)] },
    ];
    const run = make(taskOf({ ops })).run({ volumes });
    const between = run.events.flatMap((event) =>
      event.kind === 'message' && event.from === 0 && event.to === 1
        ? [[event.volume, event.start, event.bytes / 125]]
        : [],
    );
    // Part [0, 4) ends at 8.5, part [2, 4) of op1 at 10.5; the uplink is free at 10.5 and 12.5.
    expect(between).toEqual([
      [1, 8.5, 2],
      [2, 10.5, 2],
      [2, 12.5, 2],
    ]);
  });

  test('a gather brings all rows to one device, which sends what is needed', () => {
    const volumes = [{ end: 0, parts: HALVES }, { gather: 0 }, { end: 1, parts: HALVES }];
    const run = make(taskOf({ ops: CHAIN })).run({ volumes });
    expect(messages(run).slice(2)).toEqual([
      [1, 0, 6.5, 9, 2],
      // Device 1 has made rows 2 and 3, so it lacks row 1 alone.
      [0, 1, 9, 10.5, 1],
      [0, -1, 11, 13.5, 2],
      [1, -1, 13, 15.5, 2],
    ]);
    expect(run.latencyMs).toBe(15.5);
  });

  const layer = (channels: number, weightBytes: number): WorkHeadOp => ({
    ...{ name: 'fc', type: 'Gemm', rows: 1, width: 1, multiplyAdds: 1, fullyConnected: true, movedBytes: 0 },
    channels,
    weightBytes,
  });
  const head: WorkHead = { reads: [1], before: [], cut: layer(8, 800), after: [layer(1, 10)], resultBytes: 125 };

  test('the head on the device with most rows, or cut by output channels', () => {
    const simulate = make(taskOf({ ops: POINTWISE, head }));
    const volumes = [{ end: 0, parts: [part(0, 0, 1), part(1, 1, 4)] }];
    // Device 1 has its own rows at 4.5 + 3 = 7.5 and all of them by then; 1 + 8 + 2 ms, and 1.5 ms for the result.
    expect(simulate.latency({ volumes })).toBe(20);
    const run = simulate.run({ volumes, head: [part(1, 0, 6), part(0, 6, 8)] });
    // Device 0 gets 3 rows from 7.5 to 10.5, runs 1 + 2 ms from 11, sends 2 channels (8 bytes, 0.064 ms) at 14.
    // Device 1 runs 1 + 6 ms from 7.5, and the rest from 14.564.
    expect(computed(run).slice(2)).toEqual([
      [1, 1, 0, 7.5, 14.5],
      [0, 1, 1, 11, 14],
      [1, 1, 2, 14.564, 16.564],
    ]);
    expect(run.latencyMs).toBeCloseTo(18.064, 12);
  });

  test('memory: weights of all ops, and what the largest part reads and owns', () => {
    const plan: WorkPlan = { volumes: [{ end: 0, parts: HALVES }], head: [part(1, 0, 6), part(0, 6, 8)] };
    // Device 1: 1000 + ¾ of 800 + 10; its head part reads 4 rows and owns 6 channels, its other part reads and owns 2 rows.
    const needs = [1000 + 200 + 500 + 8, 1000 + 600 + 10 + 500 + 24];
    expect(make(taskOf({ ops: POINTWISE, head })).run(plan).memoryBytes).toEqual(needs);
    expect(make(taskOf({ ops: POINTWISE, head, memoryBytes: 2134 })).latency(plan)).toBeLessThan(100);
    expect(make(taskOf({ ops: POINTWISE, head, memoryBytes: 2133 })).latency(plan)).toBe(Number.POSITIVE_INFINITY);
  });

  test('loads: for how long one image keeps everything busy', () => {
    const volumes = [0, 1].map((end) => ({ end, parts: HALVES }));
    const loads = make(taskOf({ ops: CHAIN, medium: 'shared' })).loads({ volumes });
    expect([...loads.computeMs]).toEqual([4, 4]);
    expect([...loads.uplinkMs]).toEqual([3, 3, 4]);
    expect([...loads.downlinkMs]).toEqual([3, 3, 4]);
    expect([loads.mediumMs, loads.periodMs]).toEqual([10, 10]);
  });

  test.each<[string, string, Given, WorkPlan]>([
    ['no volume', 'volumes', { ops: CHAIN }, { volumes: [] }],
    ['an end behind the last op', 'volumes.0.end', { ops: CHAIN }, { volumes: [{ end: 2, parts: HALVES }] }],
    [
      'a gap between parts',
      'volumes.0',
      { ops: POINTWISE },
      { volumes: [{ end: 0, parts: [part(0, 0, 1), part(1, 2, 4)] }] },
    ],
    ['an unknown device', 'volumes.0', { ops: POINTWISE }, { volumes: [{ end: 0, parts: [part(2, 0, 4)] }] }],
    ['a gather on an unknown device', 'volumes.0.gather', { ops: POINTWISE }, { volumes: [{ gather: 2 }] }],
    ['a boundary that is missing', 'volumes', { ops: CHAIN, forced: [1] }, { volumes: [{ end: 1, parts: HALVES }] }],
    [
      'an order with a device twice',
      'order',
      { ops: POINTWISE },
      { volumes: [{ end: 0, parts: HALVES }], order: [1, 1] },
    ],
    [
      'a schedule with a part twice',
      'schedule.1',
      { ops: POINTWISE },
      {
        volumes: [{ end: 0, parts: HALVES }],
        schedule: [
          [0, 0],
          [0, 0],
        ],
      },
    ],
    [
      'a schedule without a part',
      'schedule',
      { ops: POINTWISE },
      { volumes: [{ end: 0, parts: HALVES }], schedule: [[0, 0]] },
    ],
    [
      'a part before its inputs',
      'schedule, part [1, 0]',
      { ops: CHAIN },
      {
        volumes: [
          { end: 0, parts: HALVES },
          { end: 1, parts: HALVES },
        ],
        schedule: [
          [0, 0],
          [1, 0],
          [0, 1],
          [1, 1],
        ],
      },
    ],
    [
      'a head of too few channels',
      'head',
      { ops: POINTWISE, head },
      { volumes: [{ end: 0, parts: HALVES }], head: [part(0, 0, 7)] },
    ],
    [
      'a head on an unknown device',
      'head',
      { ops: POINTWISE, head },
      { volumes: [{ end: 0, parts: HALVES }], head: 2 },
    ],
    [
      'an op that cannot be divided in two parts',
      'volumes.0',
      { ops: [op(0, [window(0, 0)], { whole: true })] },
      { volumes: [{ end: 0, parts: HALVES }] },
    ],
  ])('refuses %s', (_name, where, given, plan) => {
    const simulate = make(taskOf(given));
    expect(() => simulate.latency(plan)).toThrow(expect.objectContaining({ code: 'PLAN_INVALID', where }));
  });
});
