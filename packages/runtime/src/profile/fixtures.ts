/** An engine that computes nothing and says what it likes about the time, and a model to measure on it. Only tests import it. */
import { type Analysis, analyse, loadGraph, type Workload, workloadOf } from '@distredge/core';
import type { Engine, EngineModel, EngineResult, FixedCall, FixedCalls } from '../engine/engine.js';
import { onnxModel } from '../engine/fixtures.js';

/** How long a call of a model takes, in ms. */
export type TimeOf = (convolutions: number, call: FixedCall) => number;

export class TimedEngine implements Engine {
  readonly blocks: boolean = true;
  readonly name: string = 'fake 1';
  /** Models loaded now, by handle: their number of convolutions. */
  readonly loaded: Map<number, number> = new Map();
  /** The number of convolutions of every model that was loaded. */
  readonly models: number[] = [];
  /** Of each of those, whether it was loaded for one height alone. */
  readonly alone: boolean[] = [];
  runs = 0;
  /** Time that has passed. */
  now = 0;
  readonly #timeOf: TimeOf;

  constructor(timeOf: TimeOf) {
    this.#timeOf = timeOf;
  }

  async load({ model, everyRun = false }: EngineModel): Promise<number> {
    this.alone.push(everyRun);
    const convolutions = Buffer.from(model).toString('latin1').split('Conv').length - 1;
    this.loaded.set(this.models.push(convolutions), convolutions);
    return this.models.length;
  }

  async fix(calls: readonly FixedCall[]): Promise<FixedCalls> {
    return {
      run: async (index) => {
        const call = calls[index] as FixedCall;
        const start = this.now;
        this.runs += 1;
        this.now += this.#timeOf(this.loaded.get(call.model) ?? 0, call);
        return { start, end: this.now };
      },
      outputs: () => [],
    };
  }

  run(): Promise<EngineResult> {
    return Promise.reject(new Error('not for measuring'));
  }

  async unload(model: number): Promise<void> {
    this.loaded.delete(model);
  }

  async clearSlots(): Promise<void> {}
  async close(): Promise<void> {}
}

export interface Measurable {
  readonly analysis: Analysis;
  readonly workload: Workload;
}

/** Convolutions of 3 × 3 one after another, each two rows less high than the one before. */
export function convolutions(count: number, height: number): Measurable {
  const name = (at: number): string => (at === 0 ? 'x' : `v${at}`);
  const nodes = Array.from({ length: count }, (_, at) => ({
    op: 'Conv',
    inputs: [name(at), 'w'],
    outputs: [name(at + 1)],
  }));
  const bytes = onnxModel({
    nodes,
    inputs: [{ name: 'x', type: 'float32', shape: [1, 8, height, 64] }],
    outputs: [{ name: name(count), type: 'float32', shape: [1, 8, height - 2 * count, 64 - 2 * count] }],
    weights: [{ name: 'w', shape: [8, 8, 3, 3], location: 'w', offset: 0 }],
  });
  const analysis = analyse(loadGraph(bytes, { external: () => new Uint8Array(8 * 8 * 9 * 4) }));
  return { analysis, workload: workloadOf(analysis, 'convolutions') };
}

/** The same convolution twice: two branches of one input, added. */
export function twins(height: number): Measurable {
  const bytes = onnxModel({
    nodes: [
      { op: 'Conv', inputs: ['x', 'w'], outputs: ['a'] },
      { op: 'Conv', inputs: ['x', 'w'], outputs: ['b'] },
      { op: 'Add', inputs: ['a', 'b'], outputs: ['y'] },
    ],
    inputs: [{ name: 'x', type: 'float32', shape: [1, 8, height, 64] }],
    outputs: [{ name: 'y', type: 'float32', shape: [1, 8, height - 2, 62] }],
    weights: [{ name: 'w', shape: [8, 8, 3, 3], location: 'w', offset: 0 }],
  });
  const analysis = analyse(loadGraph(bytes, { external: () => new Uint8Array(8 * 8 * 9 * 4) }));
  return { analysis, workload: workloadOf(analysis, 'twins') };
}

/** Rows that a call makes. */
export function rowsMade({ outputs }: FixedCall): number {
  return outputs[0]?.shape[2] ?? 0;
}

/** Bytes that enter and leave in a call. */
export function bytesMoved({ inputs, outputs }: FixedCall): number {
  const sizes = [
    ...(inputs[0] ?? []).map((input) => ('tensor' in input ? input.tensor.data.byteLength : 0)),
    ...outputs.map(({ shape }) => shape.reduce((product, dim) => product * dim, 4)),
  ];
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
}
