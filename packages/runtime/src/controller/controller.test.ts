/** A controller with agents in the same process: real sockets and messages, engines that compute nothing, plans by a rule. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  analyse,
  DistrEdgeError,
  floats,
  floatTensor,
  fromPlan,
  loadGraph,
  PROFILE_VERSION,
  type Profile,
  planByRule,
  type Tensor,
  type Workload,
  workloadOf,
} from '@distredge/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { onnxModel } from '../engine/fixtures.js';
import { FakeEngine, INPUT, type Mischief, OUTPUT, until } from '../fixtures.js';
import { createTcpTransport } from '../link/tcp.js';
import { modelHash } from '../profile/measure.js';
import { type Agent, startAgent } from './agent.js';
import { addressEndpoint } from './bus.js';
import type { Controller, ControllerOptions, PlanFunction } from './contract.js';
import { startController } from './controller.js';
import type { ControllerEvent } from './events.js';

const BYTES = onnxModel({
  nodes: [
    { op: 'Relu', inputs: ['x'], outputs: ['m'] },
    { op: 'Neg', inputs: ['m'], outputs: [OUTPUT] },
  ],
  inputs: [{ name: 'x', type: 'float32', shape: INPUT.shape }],
  outputs: [{ name: OUTPUT, type: 'float32', shape: INPUT.shape }],
});
const graph = loadGraph(BYTES);
const analysis = analyse(graph);
const workload = workloadOf(analysis, 'two ops');
const MODEL = { name: 'two ops', bytes: BYTES, graph, analysis, workload };
const HASH = modelHash(analysis);
const ROWS = INPUT.shape[2] ?? 0;
const inputs = { x: INPUT };
/** What comes of a whole run: told apart from what fake engines fill in. */
const WHOLE = -1;

/** All devices share the rows equally. */
const byRule: PlanFunction = async ({ costs }) =>
  fromPlan(workload, planByRule(analysis, { volumes: 1, weights: costs.map(() => 1) }), costs.length);

function profileOf(id: string, { ops, tensors, model }: Workload, ms: number): Profile {
  return {
    version: PROFILE_VERSION,
    device: { id, engine: 'fake', threads: 1, cpu: 'none' },
    model: { name: model, hash: HASH },
    memory_mb: 1000,
    part_ms: 0,
    input_edge_ms_per_mb: 0,
    fusion: 1,
    ops: ops.map((op) => ({
      end: tensors[op.outputs[0] ?? -1]?.name ?? '',
      rows: [1, op.rows],
      ms: [ms / op.rows, ms],
      edge_ms_per_mb: 0,
    })),
  };
}

const undo: (() => Promise<void>)[] = [];
let events: ControllerEvent[] = [];
let folder = '';

beforeEach(() => {
  events = [];
  folder = mkdtempSync(join(tmpdir(), 'distredge-controller-'));
});

afterEach(async () => {
  for (const action of undo.splice(0).reverse()) await action();
  rmSync(folder, { recursive: true, force: true });
});

function filled(value: number): Record<string, Tensor> {
  return { [OUTPUT]: floatTensor(new Float32Array(INPUT.data.byteLength / 4).fill(value), INPUT.shape) };
}

async function control(more: Partial<ControllerOptions> = {}): Promise<Controller> {
  const controller = await startController({
    cluster: 'home',
    broker: { listen: '127.0.0.1:0' },
    transport: createTcpTransport(),
    model: MODEL,
    plan: byRule,
    whole: async () => filled(WHOLE),
    software: 'test',
    onEvent: (event) => events.push(event),
    ...more,
  });
  undo.push(() => controller.close());
  return controller;
}

interface DeviceTricks {
  readonly mischief?: Mischief;
  /** What all ops together are said to take, each. */
  readonly ms?: number;
}

/** A device whose engine fills its rows with `fill`. */
async function device(
  controller: Controller,
  id: string,
  fill: number,
  { mischief, ms = 100 }: DeviceTricks = {},
): Promise<Agent> {
  const agent = await startAgent({
    cluster: 'home',
    id,
    endpoint: addressEndpoint(controller.address),
    transport: createTcpTransport(),
    host: '127.0.0.1',
    createEngine: (program) => new FakeEngine(program.steps, fill, mischief),
    engineName: 'fake',
    measure: async (_analysis, of) => profileOf(id, of, ms),
    memoryMb: 1000,
    software: 'test',
    profiles: folder,
  });
  undo.push(() => agent.close());
  return agent;
}

/** Who computed the rows, from the top. */
function rows(outputs: Readonly<Record<string, Tensor>>): number[] {
  const tensor = outputs[OUTPUT] as Tensor;
  const values = floats(tensor);
  const width = tensor.shape[3] ?? 1;
  return Array.from({ length: ROWS }, (_, row) => values[row * width] ?? Number.NaN);
}

const halves = (a: number, b: number): number[] => [...new Array(ROWS / 2).fill(a), ...new Array(ROWS / 2).fill(b)];
const all = (value: number): number[] => new Array(ROWS).fill(value);
const of = <T extends ControllerEvent['type']>(type: T) =>
  events.filter((event): event is Extract<ControllerEvent, { type: T }> => event.type === type);

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (error instanceof DistrEdgeError ? error.code : String(error)),
  );
}

describe('a controller', () => {
  it('measures what joins, plans for it, and runs images on it', async () => {
    const controller = await control();
    await device(controller, 'a', 1);
    await device(controller, 'b', 2);
    await controller.ready(2, 20_000);
    await until(() => controller.generation?.devices.length === 2);
    const { outputs, generation } = await controller.infer(inputs);
    expect(rows(outputs)).toEqual(halves(1, 2));
    expect(generation).toBe(controller.generation?.number);
    expect(
      of('profiled')
        .map(({ id }) => id)
        .sort(),
    ).toEqual(['a', 'b']);
    await until(() => of('link').length >= 3);
    expect(of('fallback')).toEqual([]);
  });

  it('plans anew for those that are left, and again for one that is back', async () => {
    const controller = await control();
    await device(controller, 'a', 1);
    const b = await device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
    await device(controller, 'b', 3);
    await until(() => controller.generation?.devices.join() === 'a,b');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(halves(1, 3));
  });

  it('begins an image that is late again, whole, and says so', async () => {
    const controller = await control({ silenceMs: 60_000 });
    const hold = { on: false, go: (): void => undefined };
    const gone = new Promise<void>((resolve) => {
      hold.go = resolve;
    });
    await device(controller, 'a', 1);
    await device(controller, 'b', 2, { mischief: (_, what) => (what === 'run' && hold.on ? gone : undefined) });
    await controller.ready(2, 20_000);
    for (let count = 0; count < 60; count++) await controller.infer(inputs);
    const before = of('late').length;
    hold.on = true;
    const { outputs, generation } = await controller.infer(inputs);
    expect([rows(outputs)[0], generation]).toEqual([WHOLE, 0]);
    const plan = controller.generation?.number;
    expect(of('late').at(-1)).toMatchObject({ generation: plan, ids: expect.arrayContaining(['b']) });
    expect(of('late').length).toBeGreaterThan(before);
    expect(of('raced').at(-1)).toMatchObject({ generation: plan, by: 'second' });
    hold.on = false;
    hold.go();
    let last = 0;
    for (let tries = 0; tries < 200 && last !== plan; tries++) last = (await controller.infer(inputs)).generation;
    expect(last).toBe(plan);
    expect(of('fallback')).toEqual([]);
    expect(of('device').every(({ change }) => change === 'joined')).toBe(true);
  });

  it('finishes an image whose device failed on another plan, and says so', async () => {
    const controller = await control();
    let fails = true;
    const mischief: Mischief = (_call, what) => {
      if (what === 'run' && fails) throw new DistrEdgeError('ENGINE_FAILED', 'the engine is tired');
    };
    await device(controller, 'a', 1);
    await device(controller, 'b', 2, { mischief });
    await until(() => controller.generation?.devices.join() === 'a,b');
    const { outputs } = await controller.infer(inputs);
    expect(rows(outputs)).toEqual(all(1));
    expect(of('fallback')).toMatchObject([{ to: 'plan', error: { message: 'the engine is tired' } }]);
    // It answers orders, so it is tried again.
    fails = false;
    await until(() => controller.generation?.devices.join() === 'a,b');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(halves(1, 2));
  });

  it('has plans ready that do without a device, and is on one of them at once when it is lost', async () => {
    let stuck = false;
    const controller = await control({
      plan: (task, options) => (stuck ? new Promise(() => undefined) : byRule(task, options)),
    });
    await device(controller, 'a', 1);
    const b = await device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    await until(() => of('standby').some(({ without }) => without === 'b'));
    expect(of('standby').find(({ without }) => without === 'b')).toMatchObject({ devices: ['a'] });
    // No plan is made any more.
    stuck = true;
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
    expect(of('plan').at(-1)).toMatchObject({ devices: ['a'], planMs: 0, prepareMs: 0 });
    const { outputs, generation } = await controller.infer(inputs);
    expect(rows(outputs)).toEqual(all(1));
    expect(generation).toBe(controller.generation?.number);
  });

  it('prepares for no loss where that is not wanted', async () => {
    const controller = await control({ standbys: 0 });
    await device(controller, 'a', 1);
    const b = await device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(of('standby')).toEqual([]);
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
  });

  it('runs images whole where no device is left, and says so', async () => {
    const controller = await control();
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(WHOLE));
    const a = await device(controller, 'a', 1);
    await until(() => controller.generation !== undefined);
    await a.close();
    await until(() => controller.generation === undefined);
    expect(await controller.infer(inputs)).toMatchObject({ generation: 0 });
    expect(of('fallback').map(({ to }) => to)).toEqual(['whole', 'whole']);
  });

  it('never mixes plans, whatever comes and goes while images are under way', async () => {
    const controller = await control({ whole: async () => filled(WHOLE) });
    await device(controller, 'a', 1);
    const b = await device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    const seen = new Set<string>();
    let over = false;
    const stream = async (): Promise<number> => {
      let count = 0;
      while (!over) {
        const { outputs } = await controller.infer(inputs);
        const got = rows(outputs).join();
        expect([halves(1, 2), all(1), all(WHOLE), halves(1, 3)].map((right) => right.join())).toContain(got);
        seen.add(got);
        count++;
      }
      return count;
    };
    const streams = [stream(), stream(), stream()];
    await until(() => seen.has(halves(1, 2).join()));
    await b.close();
    await until(() => seen.has(all(1).join()));
    await device(controller, 'b', 3);
    await until(() => seen.has(halves(1, 3).join()));
    over = true;
    for (const count of await Promise.all(streams)) expect(count).toBeGreaterThan(0);
  });

  it('answers a stream in order, several images at once, also when a device leaves meanwhile', async () => {
    const controller = await control({ inFlight: 3 });
    await device(controller, 'a', 1);
    const b = await device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    const got: number[] = [];
    let leaving: Promise<void> | undefined;
    function* images() {
      for (let image = 0; image < 60; image++) {
        if (image === 20) leaving = b.close();
        yield inputs;
      }
    }
    for await (const { index, outputs } of controller.stream(images())) {
      got.push(index);
      expect([halves(1, 2), all(1), all(WHOLE)].map((right) => right.join())).toContain(rows(outputs).join());
    }
    expect(got).toEqual(Array.from({ length: 60 }, (_, index) => index));
    await leaving;
  });

  it('keeps a plan that no other one beats by enough', async () => {
    let plans = 0;
    const alone: PlanFunction = async ({ costs }) => {
      plans++;
      const weights = costs.map((_, index) => (index === 0 ? 1 : 0));
      return fromPlan(workload, planByRule(analysis, { volumes: 1, weights }), costs.length);
    };
    const controller = await control({ plan: alone });
    await device(controller, 'a', 1);
    await until(() => controller.generation?.devices.join() === 'a');
    const { number } = controller.generation ?? {};
    await device(controller, 'b', 2);
    await until(() => of('kept').length > 0 && plans > 1);
    expect(controller.generation?.number).toBe(number);
  });

  it('plans anew when a device computes at another pace than it was measured to', async () => {
    // Fake steps take a millisecond; this device was said to take a hundred times as long.
    const controller = await control({ drift: { window: 1 } });
    await device(controller, 'a', 1, { ms: 100 });
    await until(() => controller.generation !== undefined);
    const first = controller.generation?.predictedMs ?? 0;
    for (let image = 0; image < 500 && of('drift').length === 0; image++) {
      await controller.infer(inputs);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(of('drift')[0]).toMatchObject({ what: 'compute', id: 'a' });
    expect(of('drift')[0]?.factor).toBeLessThan(0.1);
    await until(() => of('kept').length > 0);
    expect(of('kept').at(-1)?.runningMs).toBeLessThan(first / 2);
  });

  it('tells of plans that cannot be made, answers all the same, and tries again', async () => {
    let tries = 0;
    const controller = await control({
      plan: async (task, options) => {
        if (++tries < 2) throw new DistrEdgeError('PLAN_INVALID', 'no plan today');
        return byRule(task, options);
      },
    });
    await device(controller, 'a', 1);
    await until(() => of('problem').some(({ error }) => error.message === 'no plan today'));
    await until(() => controller.generation !== undefined);
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
  });

  it('does without a device that cannot measure the model', async () => {
    const controller = await control();
    const agent = await startAgent({
      cluster: 'home',
      id: 'weak',
      endpoint: addressEndpoint(controller.address),
      transport: createTcpTransport(),
      host: '127.0.0.1',
      createEngine: (program) => new FakeEngine(program.steps, 9),
      engineName: 'fake',
      measure: async () => {
        throw new DistrEdgeError('ENGINE_FAILED', 'what is a Relu?');
      },
      memoryMb: 1,
      software: 'test',
      profiles: folder,
    });
    undo.push(() => agent.close());
    await device(controller, 'a', 1);
    await until(() => of('problem').some(({ error }) => error.message === 'what is a Relu?'));
    await until(() => controller.generation?.devices.join() === 'a');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
  });

  it('keeps its deadline, and refuses inputs that are none', async () => {
    const controller = await control({ whole: () => new Promise(() => undefined) });
    expect(await codeOf(controller.infer(inputs, { deadlineMs: 50 }))).toBe('DEADLINE');
    expect(await codeOf(controller.ready(1, 50))).toBe('DEADLINE');
    await device(controller, 'a', 1);
    await until(() => controller.generation !== undefined);
    expect(await codeOf(controller.infer({}))).toBe('SHAPE_MISMATCH');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
    await controller.close();
    expect(await codeOf(controller.infer(inputs))).toBe('CANCELLED');
  });
});
