/**
 * The fast simulator against the reference: random workloads with several live tensors, on random devices and networks, under
 * random general plans, among them plans that cannot run. Everything is drawn from a seed and a size, so that a failing case
 * shrinks to a small one.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DistrEdgeError } from '../errors.js';
import type { PlanGather, PlanPart } from '../plan/plan.js';
import { simulator } from './simulate.js';
import { referenceSimulator } from './simulate-reference.js';
import type { DeviceCosts, NetworkLink, PlanningTask, SimulatedEvent, WorkPlan, WorkVolume } from './task.js';
import type { WorkHead, WorkHeadOp, Workload, WorkOp, WorkRead, WorkTensor } from './workload.js';

/** Numbers drawn from a seed (mulberry32). */
class Draw {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** `from` to `to`, both included. */
  int(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from + 1));
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  of<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)] as T;
  }

  shuffled<T>(list: readonly T[]): T[] {
    return list
      .map((value) => ({ value, key: this.unit() }))
      .sort((a, b) => a.key - b.key)
      .map(({ value }) => value);
  }
}

/** Windows of random stride and margin, in any direction; sometimes all rows, sometimes with gaps between windows. */
function drawRead(draw: Draw, tensor: number, rows: number, all: number): WorkRead {
  const [above, below] = [draw.int(0, 2), draw.int(-1, 2)];
  const whole = draw.chance(0.05);
  const clip = (row: number): number => Math.min(all, Math.max(0, row));
  return {
    tensor,
    from: Int32Array.from({ length: rows }, (_, r) => (whole ? 0 : clip(Math.floor((r * all) / rows) - above))),
    to: Int32Array.from({ length: rows }, (_, r) => (whole ? all : clip(Math.floor(((r + 1) * all) / rows) + below))),
  };
}

function drawHead(draw: Draw, tensors: readonly WorkTensor[]): WorkHead {
  const op = (channels: number): WorkHeadOp => ({
    name: 'fc',
    type: 'Gemm',
    rows: 1,
    width: draw.int(1, 2),
    channels,
    multiplyAdds: 8,
    fullyConnected: true,
    weightBytes: 36 * channels,
    movedBytes: 64,
  });
  return {
    reads: draw.shuffled([...tensors.keys()]).slice(0, draw.int(1, 2)),
    before: draw.chance(0.5) ? [op(4)] : [],
    cut: draw.chance(0.8) ? op(draw.int(1, 12)) : undefined,
    after: draw.chance(0.7) ? [op(3)] : [],
    resultBytes: draw.of([0, 4, 400]),
  };
}

function drawWorkload(draw: Draw, size: number): Workload {
  const tensors: WorkTensor[] = [];
  const add = (rows: number): number =>
    tensors.push({ name: `t${tensors.length}`, rows, bytesPerRow: 4 * draw.int(1, 50) }) - 1;
  const inputs = draw.int(1, 2);
  for (let index = 0; index < inputs; index++) add(draw.int(3, 20));
  const ops = Array.from({ length: size }, (_, index): WorkOp => {
    const recent = tensors.length - 1;
    const read = new Set([recent, ...(draw.chance(0.5) ? [draw.int(0, recent)] : [])]);
    if (draw.chance(0.15)) read.delete(recent);
    if (read.size === 0) read.add(draw.int(0, recent));
    const above = tensors[recent]?.rows ?? 1;
    const rows = draw.of([above, above, Math.ceil(above / 2), draw.int(1, 20)]);
    const reads = [...read].map((tensor) => drawRead(draw, tensor, rows, tensors[tensor]?.rows ?? 0));
    const outputs = draw.chance(0.15) ? [add(rows), add(rows)] : [add(rows)];
    const shape = { multiplyAdds: 9, width: 4, channels: 4 };
    const weightBytes = draw.of([0, 64, 1000]);
    return { name: `op${index}`, type: 'Conv', outputs, reads, rows, weightBytes, whole: draw.chance(0.07), ...shape };
  });
  const forced = ops.flatMap((_, index) => (draw.chance(0.08) ? [index] : []));
  const made = [...tensors.keys()].slice(inputs);
  const head = draw.chance(0.6) ? drawHead(draw, tensors) : undefined;
  const wanted = made.filter((tensor) => draw.chance(0.2) || (tensor === made.at(-1) && draw.chance(0.8)));
  const outputs = wanted.length === 0 && head === undefined ? made.slice(-1) : wanted;
  return { model: 'random', tensors, inputs, ops, forced, outputs, head };
}

/** Times in quarters of a millisecond make many events fall together; others make none. */
function drawCosts(draw: Draw, workload: Workload, id: string, coarse: boolean): DeviceCosts {
  const time = (most: number): number => (coarse ? draw.int(0, 4 * most) / 4 : draw.unit() * most);
  const table = (rows: number): Float64Array => {
    const [launch, step, each] = [time(1), time(2), draw.int(1, 3)];
    return Float64Array.from({ length: rows + 1 }, (_, r) => (r === 0 ? 0 : launch + step * Math.ceil(r / each)));
  };
  return {
    id,
    memoryBytes: draw.chance(0.1) ? draw.int(500, 20_000) : Number.POSITIVE_INFINITY,
    opMs: workload.ops.map(({ rows }) => table(rows)),
    readMsPerByte: Float64Array.from(workload.ops, () => (draw.chance(0.5) ? 0 : draw.int(0, 8) / 1024)),
    ...(draw.chance(0.3) ? { partMs: time(1) } : {}),
    ...(draw.chance(0.3)
      ? { edgeMsPerByte: Float64Array.from(workload.tensors, () => (draw.chance(0.5) ? 0 : draw.int(0, 8) / 1024)) }
      : {}),
    headBeforeMs: time(2),
    headCutMs: table(workload.head?.cut?.channels ?? 0),
    headAfterMs: time(2),
  };
}

function drawTask(draw: Draw, size: number): PlanningTask {
  const workload = drawWorkload(draw, size);
  const devices = draw.int(1, 5);
  const coarse = draw.chance(0.5);
  const kinds = Array.from({ length: devices }, (_, index) => drawCosts(draw, workload, `kind${index}`, coarse));
  const link = (): NetworkLink => ({
    mbps: coarse ? draw.of([0.5, 1, 4]) : 0.2 + draw.unit() * 5,
    latencyMs: coarse ? draw.of([0, 0.25, 1]) : draw.unit(),
  });
  return {
    workload,
    costs: kinds.map((own, index) => (draw.chance(0.3) ? { ...draw.of(kinds), id: `device${index}` } : own)),
    network: {
      medium: draw.of(['switched', 'shared']),
      requester: link(),
      devices: kinds.map(link),
    },
  };
}

function drawParts(draw: Draw, height: number, devices: number, most: number): PlanPart[] {
  const cuts = Array.from({ length: most - 1 }, () => draw.int(0, height)).sort((a, b) => a - b);
  const parts = [...cuts, height].map((to, at) => ({ device: draw.int(0, devices - 1), from: cuts[at - 1] ?? 0, to }));
  return draw.chance(0.25) ? draw.shuffled(parts) : parts;
}

function drawPlan(draw: Draw, { workload, costs }: PlanningTask): WorkPlan {
  const { ops, tensors, forced, head } = workload;
  const devices = costs.length;
  const volumes: (WorkVolume | PlanGather)[] = [];
  const gathers = draw.chance(0.3);
  let whole = false;
  ops.forEach((op, end) => {
    if (gathers && draw.chance(0.1)) volumes.push({ gather: draw.int(0, devices - 1) });
    whole ||= op.whole && draw.chance(0.95);
    if (end < ops.length - 1 && !forced.includes(end + 1) && draw.chance(0.5)) return;
    const height = tensors[op.outputs[0] ?? -1]?.rows ?? 0;
    volumes.push({ end, parts: drawParts(draw, height, devices, whole ? 1 : draw.int(1, 6)) });
    whole = false;
  });
  if (gathers && draw.chance(0.2)) volumes.push({ gather: draw.int(0, devices - 1) });
  const channels = head?.cut?.channels;
  const cut = channels !== undefined && draw.chance(0.5);
  const one = draw.chance(0.5) ? { head: draw.int(0, devices - 1) } : {};
  return {
    volumes,
    ...(draw.chance(0.5) ? { order: draw.shuffled([...costs.keys()]).slice(0, draw.int(0, devices)) } : {}),
    ...(cut ? { head: drawParts(draw, channels, devices, draw.int(1, 4)) } : one),
  };
}

function placesOf({ volumes }: WorkPlan): [number, number][] {
  return volumes.flatMap((volume, index) =>
    'gather' in volume
      ? [[index, 0] as [number, number]]
      : volume.parts.map((_, part): [number, number] => [index, part]),
  );
}

/** Moves parts about in the schedule as long as the reference accepts it, and at last perhaps once more. */
function drawSchedule(draw: Draw, task: PlanningTask, plan: WorkPlan): WorkPlan {
  if (draw.chance(0.3)) return plan;
  const reference = referenceSimulator(task);
  const empty = ([volume, part]: readonly [number, number]): boolean => {
    const entry = plan.volumes[volume];
    if (entry === undefined) return true;
    if ('gather' in entry) return draw.chance(0.2);
    return entry.parts[part]?.from === entry.parts[part]?.to && draw.chance(0.5);
  };
  const height = (volume: number): number => {
    const entry = plan.volumes[volume];
    return entry === undefined || 'gather' in entry ? 0 : Math.max(...entry.parts.map(({ to }) => to));
  };
  const from = ([volume, part]: readonly [number, number]): number => {
    const entry = plan.volumes[volume];
    return entry === undefined || 'gather' in entry ? 0 : (entry.parts[part]?.from ?? 0) / height(volume);
  };
  let schedule = placesOf(plan)
    .filter((place) => !empty(place))
    .sort((a, b) => a[0] - b[0] || from(a) - from(b));
  const moves = draw.int(0, 8);
  for (let move = 0; move < moves && schedule.length > 1; move++) {
    const next = [...schedule];
    const [taken] = next.splice(draw.int(0, next.length - 1), 1);
    next.splice(draw.int(0, next.length), 0, taken as [number, number]);
    if (move === moves - 1 && draw.chance(0.3)) return { ...plan, schedule: next };
    if (outcome(() => reference.latency({ ...plan, schedule: next })) !== 'PLAN_INVALID') schedule = next;
  }
  return { ...plan, schedule };
}

/** A plan with something wrong, most of the time. */
function broken(draw: Draw, plan: WorkPlan): WorkPlan {
  const volumes = plan.volumes.map((volume) => ({ ...volume })) as (WorkVolume | PlanGather)[];
  const at = draw.int(0, volumes.length - 1);
  const volume = volumes[at] as WorkVolume | PlanGather;
  const schedule = [...(plan.schedule ?? placesOf(plan))];
  switch (draw.int(0, 7)) {
    case 0:
      return { ...plan, volumes: volumes.filter((_, index) => index !== at) };
    case 1:
      return { ...plan, order: [0, draw.int(-1, 6)] };
    case 2:
      return { ...plan, schedule: schedule.slice(1) };
    case 3:
      return { ...plan, schedule: [...schedule, [draw.int(-1, volumes.length), draw.int(-1, 3)]] };
    case 4:
      return { ...plan, head: draw.of<number | PlanPart[]>([-1, 7, 0.5, [], [{ device: 0, from: 0, to: 5 }]]) };
    case 5:
      volumes[at] = 'gather' in volume ? { gather: 9 } : { ...volume, end: volume.end + draw.of([-1, 1, 0.5]) };
      return { ...plan, volumes };
    default:
      if ('gather' in volume) return plan;
      volumes[at] = {
        ...volume,
        parts: volume.parts.map((part) =>
          draw.chance(0.3) ? { ...part, [draw.of(['from', 'to', 'device'])]: draw.of([-1, 0, 1, 2.5, 99]) } : part,
        ),
      };
      return { ...plan, volumes };
  }
}

/** The plan with a few of its volumes, its head, its order or its schedule drawn anew; the others are the same values. */
function changed(draw: Draw, task: PlanningTask, plan: WorkPlan): WorkPlan {
  const { volumes, schedule: _, ...rest } = drawPlan(draw, task);
  const { ops, tensors } = task.workload;
  const next: (WorkVolume | PlanGather)[] = [];
  for (const volume of plan.volumes) {
    if ('gather' in volume || draw.chance(0.7)) next.push(volume);
    else if (draw.chance(0.3)) continue;
    else {
      const height = tensors[ops[volume.end]?.outputs[0] ?? -1]?.rows ?? 0;
      const most = volume.parts.length === 1 ? 1 : draw.int(1, 6);
      next.push({ ...volume, parts: drawParts(draw, height, task.costs.length, most) });
    }
  }
  const more = draw.chance(0.2) ? volumes.slice(0, draw.int(0, volumes.length)) : [];
  const end = more.reduce((last, volume) => ('gather' in volume ? last : volume.end), -1);
  const kept = next.filter((volume) => 'gather' in volume || volume.end > end);
  const { schedule, ...before } = plan;
  const same = more.length === 0 && next.length === plan.volumes.length && schedule !== undefined;
  const others = draw.chance(0.3) ? rest : before;
  const made = { ...others, volumes: [...more, ...kept] };
  return same && draw.chance(0.5) ? { ...made, schedule } : drawSchedule(draw, task, made);
}

/** What a call gives, or the code of the error that it throws. */
function outcome<T>(call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (error instanceof DistrEdgeError) return error.code;
    throw error;
  }
}

function near(a: number, b: number): boolean {
  return a === b || Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));
}

function nearEvents(a: readonly SimulatedEvent[], b: readonly SimulatedEvent[]): boolean {
  const same = (x: SimulatedEvent, y: SimulatedEvent): boolean => {
    const other = Object.entries(y);
    return Object.entries(x).every(([key, value], at) => {
      const [name, that] = other[at] ?? [];
      return key === name && (typeof value === 'number' ? near(value, that as number) : value === that);
    });
  };
  return a.length === b.length && a.every((event, index) => same(event, b[index] as SimulatedEvent));
}

const cases = fc.record({ seed: fc.nat(2 ** 31 - 1), size: fc.integer({ min: 1, max: 8 }) });
const RUNS = { numRuns: 160, seed: 1 };

describe('the fast simulator', () => {
  test('agrees with the reference on plans that can run', () => {
    let ran = 0;
    const property = fc.property(cases, ({ seed, size }) => {
      const draw = new Draw(seed);
      const task = drawTask(draw, size);
      const [fast, reference] = [simulator(task), referenceSimulator(task)];
      for (let repeat = 0; repeat < 3; repeat++) {
        const plan = drawSchedule(draw, task, drawPlan(draw, task));
        const want = outcome(() => reference.run(plan));
        const got = outcome(() => fast.run(plan));
        if (typeof want === 'string' || typeof got === 'string') {
          expect(got).toBe(want);
          expect(outcome(() => fast.latency(plan))).toBe(want);
          continue;
        }
        ran++;
        const latency = fast.latency(plan);
        expect(near(latency, want.latencyMs)).toBe(true);
        expect(near(got.latencyMs, want.latencyMs)).toBe(true);
        expect(got.memoryBytes).toEqual(want.memoryBytes);
        if (!nearEvents(got.events, want.events)) expect(got.events).toEqual(want.events);
        const [loads, wantLoads] = [fast.loads(plan), reference.loads(plan)];
        expect(near(loads.periodMs, wantLoads.periodMs)).toBe(true);
        expect(near(loads.mediumMs, wantLoads.mediumMs)).toBe(true);
        for (const key of ['computeMs', 'uplinkMs', 'downlinkMs'] as const) {
          expect(loads[key].every((ms, index) => near(ms, wantLoads[key][index] ?? -1))).toBe(true);
        }
        expect(fast.latency(plan, latency * (1 + 1e-12) + 1e-9)).toBe(latency);
        for (const share of [0.3, 0.9, 1]) {
          expect(fast.latency(plan, latency * share)).toBeGreaterThanOrEqual(latency);
        }
        const slower = { ...task, network: { ...task.network, requester: { mbps: 0.1, latencyMs: 3 } } };
        expect(near(simulator(slower, fast).latency(plan), referenceSimulator(slower).latency(plan))).toBe(true);
      }
    });
    fc.assert(property, RUNS);
    expect(ran).toBeGreaterThan(RUNS.numRuns);
  });

  test('gives the same for plans like one that it keeps', () => {
    let shared = 0;
    const property = fc.property(cases, ({ seed, size }) => {
      const draw = new Draw(seed);
      const task = drawTask(draw, size);
      const keeping = simulator(task);
      let plan = drawSchedule(draw, task, drawPlan(draw, task));
      for (let step = 0; step < 12; step++) {
        const next = changed(draw, task, plan);
        const want = outcome(() => simulator(task).run(next));
        const got = outcome(() => keeping.run(next));
        expect(got).toEqual(want);
        if (typeof want === 'string') continue;
        expect(keeping.latency(next)).toBe(want.latencyMs);
        if (next.volumes.some((volume) => plan.volumes.includes(volume))) shared++;
        if (draw.chance(0.5)) continue;
        // Now and then one that was not the last to be judged.
        if (draw.chance(0.2)) keeping.latency(next, 0);
        keeping.keep?.(draw.chance(0.8) ? next : { ...next });
        plan = next;
      }
    });
    fc.assert(property, RUNS);
    expect(shared).toBeGreaterThan(2 * RUNS.numRuns);
  });

  test('refuses what the reference refuses', () => {
    let refused = 0;
    const property = fc.property(cases, ({ seed, size }) => {
      const draw = new Draw(seed);
      const task = drawTask(draw, size);
      const plan = broken(draw, drawPlan(draw, task));
      const want = outcome(() => referenceSimulator(task).latency(plan));
      const got = outcome(() => simulator(task).latency(plan));
      if (typeof want === 'number' && typeof got === 'number') expect(near(got, want)).toBe(true);
      else expect(got).toBe(want);
      if (want === 'PLAN_INVALID') refused++;
    });
    fc.assert(property, RUNS);
    expect(refused).toBeGreaterThan(RUNS.numRuns / 3);
  });
});
