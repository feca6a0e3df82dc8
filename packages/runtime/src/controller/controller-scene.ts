/** A controller with agents in the same process: real sockets and messages, engines that compute nothing, plans by a rule. Only tests import it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  analyse,
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
import { afterEach, beforeEach } from 'vitest';
import { onnxModel } from '../engine/fixtures.js';
import { FakeEngine, INPUT, type Mischief, OUTPUT, until } from '../fixtures.js';
import { createTcpTransport } from '../link/tcp.js';
import { modelHash } from '../profile/measure.js';
import { type Agent, type AgentOptions, startAgent } from './agent.js';
import { addressEndpoint } from './bus.js';
import type { Controller, ControllerOptions, PlanFunction } from './contract.js';
import { startController } from './controller.js';
import type { ControllerEvent } from './events.js';
import type { Tensors } from './generation.js';
import type { ServedModel } from './task.js';

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
export const SERVED: ServedModel = { ...MODEL, hash: HASH };
const ROWS = INPUT.shape[2] ?? 0;
export const inputs: Tensors = { x: INPUT };
/** What comes of a whole run: told apart from what fake engines fill in. */
export const WHOLE: number = -1;

/** The devices share the rows by these weights. */
export const shared: (weights: readonly number[]) => ReturnType<PlanFunction> = async (weights) =>
  fromPlan(workload, planByRule(analysis, { volumes: 1, weights: [...weights] }), weights.length);

/** All devices share the rows equally. */
export const byRule: PlanFunction = ({ costs }) => shared(costs.map(() => 1));

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

export interface DeviceTricks extends Partial<AgentOptions> {
  readonly mischief?: Mischief;
  /** What all ops together are said to take, each. */
  readonly ms?: number;
}

/** Makes controllers and devices for one test, and notes what is told. */
export class ControllerScene {
  events: ControllerEvent[] = [];
  readonly #undo: (() => Promise<void>)[] = [];
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'distredge-controller-'));

  async control(more: Partial<ControllerOptions> = {}): Promise<Controller> {
    const controller = await startController({
      cluster: 'home',
      broker: { listen: '127.0.0.1:0' },
      transport: createTcpTransport(),
      model: MODEL,
      plan: byRule,
      whole: async () => filled(WHOLE),
      software: 'test',
      onEvent: (event) => this.events.push(event),
      ...more,
    });
    this.#undo.push(() => controller.close());
    return controller;
  }

  /** A device whose engine fills its rows with `fill`. */
  async device(
    controller: Controller,
    id: string,
    fill: number,
    { mischief, ms = 100, ...more }: DeviceTricks = {},
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
      profiles: this.#folder,
      ...more,
    });
    this.#undo.push(() => agent.close());
    return agent;
  }

  /** What was told of that kind so far. */
  of<T extends ControllerEvent['type']>(type: T): Extract<ControllerEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<ControllerEvent, { type: T }> => event.type === type);
  }

  /** Devices `a` and `b` run a plan together, and one without `b` stands by. */
  async standingBy(controller: Controller): Promise<void> {
    await until(() => controller.generation?.devices.join() === 'a,b');
    await until(() => this.of('standby').some(({ without }) => without === 'b'));
  }

  async end(): Promise<void> {
    for (const action of this.#undo.splice(0).reverse()) await action();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Call once in a file of tests: the returned function gives the scene of the test that runs. */
export function controllerScenes(): () => ControllerScene {
  let scene: ControllerScene;
  beforeEach(() => {
    scene = new ControllerScene();
  });
  afterEach(() => scene.end());
  return () => scene;
}

export function filled(value: number): Record<string, Tensor> {
  return { [OUTPUT]: floatTensor(new Float32Array(INPUT.data.byteLength / 4).fill(value), INPUT.shape) };
}

/** Who computed the rows, from the top. */
export function rows(outputs: Readonly<Record<string, Tensor>>): number[] {
  const tensor = outputs[OUTPUT] as Tensor;
  const values = floats(tensor);
  const width = tensor.shape[3] ?? 1;
  return Array.from({ length: ROWS }, (_, row) => values[row * width] ?? Number.NaN);
}

export const halves = (a: number, b: number): number[] => [
  ...new Array<number>(ROWS / 2).fill(a),
  ...new Array<number>(ROWS / 2).fill(b),
];
export const all = (value: number): number[] => new Array<number>(ROWS).fill(value);

/** Keeps a device from loading models, or from running them, while it is on: until it goes. */
export interface Held {
  on: boolean;
  waiting: boolean;
  readonly mischief: (call: number, what: 'load' | 'run') => Promise<void> | undefined;
  go(): void;
}

export function held(from: 'load' | 'run' = 'load'): Held {
  let free = (): void => undefined;
  const gone = new Promise<void>((resolve) => {
    free = resolve;
  });
  const hold: Held = {
    on: false,
    waiting: false,
    mischief: (_call, what) => {
      if (what !== from || !hold.on) return undefined;
      hold.waiting = true;
      return gone;
    },
    go: () => {
      hold.on = false;
      free();
    },
  };
  return hold;
}
