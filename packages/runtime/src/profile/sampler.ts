/**
 * Takes samples of what part models take: loads them, readies one call for each, and runs all of them in turn, over and over,
 * so that whatever disturbs the machine for a while disturbs all alike. Large weights are driven out of the caches before every
 * sample, as the rest of the model does between two images; inputs are brought in, as an earlier step leaves them there.
 */
import { byteLength, DistrEdgeError, type PartModel, type PartPort } from '@distredge/core';
import type { Engine, EngineInput, FixedCall, FixedCalls } from '../engine/engine.js';

/** Where time comes from. */
export interface MeasureClock {
  /** Wall clock in ms, for budgets. */
  now(): number;
  /**
   * Processor time of this process so far, in ms. Where it is given, an engine that computes on the calling thread with one
   * thread is measured by it: what other processes take meanwhile does not count.
   */
  cpu?(): number;
}

/** A part, and what people know it by. */
export interface Named {
  readonly name: string;
  readonly part: PartModel;
  /** Whether it is loaded for its height alone, as a provider does where a program has one; it then shares its model with no other height. */
  readonly alone?: boolean;
}

export interface SamplerOptions {
  readonly engine: Engine;
  readonly clock: MeasureClock;
  /** Whether processor time may stand for wall time. */
  readonly byCpu: boolean;
  /** All weights of the model that the parts are of, in bytes: what passes through the caches from one image to the next. */
  readonly weightBytes: number;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Rounds that every part gets before anyone looks at its time, after one to warm up. */
const LOOK_ROUNDS = 2;
/** Rounds that every part gets whatever the budget. */
const LEAST_ROUNDS = 3;
/** Of an input, as much as caches may hold. */
const CACHED_BYTES = 2 ** 22;
const CACHE_LINE = 64;
/** Weights of at least so many bytes are worth driving out: fewer are read again in no time. */
const LARGE_WEIGHTS = 2 ** 18;
/** What is read to drive them out, at most: caches are hardly larger. */
const MOST_SPILL = 2 ** 25;
/** More rounds change nothing. */
const MOST_ROUNDS = 60;

export class Sampler {
  readonly #options: SamplerOptions;
  /** Samples of everything measured so far, in ms, by what its time depends on. */
  readonly #samples = new Map<string, number[]>();
  /** What is measured now, and the models that are loaded for it. */
  readonly #group = new Map<string, Named>();
  readonly #models = new Map<string, number>();
  #calls: FixedCalls | undefined;
  /** What all inputs are read from. */
  #floats: Uint8Array = new Uint8Array(0);
  #zeros: Uint8Array = new Uint8Array(0);
  /** Read to drive weights out of the caches. */
  readonly #spill: Uint8Array;

  constructor(options: SamplerOptions) {
    this.#options = options;
    // Filled: pages that were never written are all the same page.
    this.#spill = new Uint8Array(Math.min(options.weightBytes, MOST_SPILL)).fill(1);
  }

  /** The time of a part that was sampled: the median. */
  msOf(part: PartModel): number {
    return this.#quantile(part, 0.5);
  }

  /** How far samples of a part lie apart: from the lower quartile to the median. */
  spreadOf(part: PartModel): number {
    return this.#quantile(part, 0.5) - this.#quantile(part, 0.25);
  }

  #quantile({ identity }: PartModel, share: number): number {
    const samples = [...(this.#samples.get(identity) ?? [])].sort((a, b) => a - b);
    const ms = samples[Math.floor((samples.length - 1) * share)];
    if (ms === undefined) throw new DistrEdgeError('INTERNAL', 'a time was asked for that was not measured');
    return ms;
  }

  /**
   * Adds parts to those measured now, except for those whose time is known from an earlier group, and runs them all in turn
   * for a few rounds: times of one group are of the same rounds, and can be compared. Rejects with `CANCELLED`, or with the
   * engine's error and the part's name.
   */
  async sample(parts: readonly Named[]): Promise<void> {
    const before = this.#group.size;
    for (const named of parts) {
      const { identity } = named.part;
      if (!this.#samples.has(identity)) this.#group.set(identity, named);
    }
    if (this.#group.size === before) return;
    this.#calls = await this.#ready([...this.#group.values()]);
    for (const identity of this.#group.keys()) this.#samples.set(identity, []);
    for (let round = -1; round < LOOK_ROUNDS; round++) await this.#round(round >= 0);
  }

  /** Ends a group, after more rounds until `untilMs` on the clock. Its models are unloaded, its times stay. */
  async end(untilMs: number = 0): Promise<void> {
    const open = (round: number): boolean => round < LEAST_ROUNDS || this.#options.clock.now() < untilMs;
    for (let round = LOOK_ROUNDS; round < MOST_ROUNDS && this.#calls !== undefined && open(round); round++) {
      await this.#round(true);
    }
    await this.close();
  }

  /** Unloads what is loaded, whatever went wrong before. */
  async close(): Promise<void> {
    this.#group.clear();
    this.#calls = undefined;
    const models = [...this.#models.values()];
    this.#models.clear();
    for (const model of models) await this.#options.engine.unload(model).catch(() => undefined);
  }

  async #round(counts: boolean): Promise<void> {
    let index = 0;
    for (const { name, part } of this.#group.values()) {
      if (this.#options.signal?.aborted) throw new DistrEdgeError('CANCELLED', 'the measurement was stopped');
      const weights = [...part.model.weights.values()].reduce((sum, { byteLength: bytes }) => sum + bytes, 0);
      if (weights >= LARGE_WEIGHTS) read(this.#spill, 0);
      for (const { bytes } of part.inputs) read(this.#floats, Math.max(0, bytes - CACHED_BYTES), bytes);
      const ms = await this.#time(this.#calls as FixedCalls, index, name);
      if (counts) this.#samples.get(part.identity)?.push(ms);
      index += 1;
    }
  }

  /** Loads what is not loaded yet and readies the calls. Outputs of different calls share memory. */
  async #ready(group: readonly Named[]): Promise<FixedCalls> {
    const { engine } = this.#options;
    this.#grow(group.flatMap(({ part }) => part.inputs));
    const calls: FixedCall[] = [];
    const largest = largestInputs(group);
    for (const { name, part, alone = false } of group) {
      const { bytes, weights } = part.model;
      const shared = keyOf(bytes);
      const key = alone ? `${part.identity} alone` : shared;
      let model = this.#models.get(key);
      if (model === undefined) {
        const shapes = alone ? shapesOf(part) : largest.get(shared);
        model = await placed(name, engine.load({ model: bytes, weights, shapes, everyRun: alone }));
        this.#models.set(key, model);
      }
      const inputs = part.inputs.map(({ name: port, dtype, shape }): EngineInput => {
        const source = dtype === 'float32' ? this.#floats : this.#zeros;
        return { name: port, tensor: { dtype, shape, data: source.subarray(0, byteLength(dtype, shape)) } };
      });
      const outputs = part.outputs.map(({ name: port, dtype, shape }, slot) => ({
        name: port,
        dtype,
        shape,
        slot,
        fetch: false,
      }));
      calls.push({ model, inputs: [inputs], outputs, release: outputs.map(({ slot }) => slot) });
    }
    return engine.fix(calls);
  }

  /** Inputs of every size are views of the same memory: numbers between -0.5 and 0.5, or zeros for what may be an index. */
  #grow(ports: readonly PartPort[]): void {
    const most = Math.max(0, ...ports.map(({ bytes }) => bytes));
    if (most <= this.#floats.byteLength) return;
    const floats = new Float32Array(Math.ceil(most / 4));
    for (let index = 0; index < floats.length; index++) floats[index] = ((index * 7919) % 1000) / 1000 - 0.5;
    this.#floats = new Uint8Array(floats.buffer);
    this.#zeros = new Uint8Array(this.#floats.byteLength);
  }

  async #time(calls: FixedCalls, index: number, name: string): Promise<number> {
    const { clock, byCpu } = this.#options;
    const before = byCpu ? clock.cpu?.() : undefined;
    const { start, end } = await placed(name, calls.run(index, 0));
    const after = before === undefined ? undefined : clock.cpu?.();
    return Math.max(0, before === undefined || after === undefined ? end - start : after - before);
  }
}

/** Parts of the same bytes are one model. */
function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function shapesOf({ inputs }: PartModel): Record<string, readonly number[]> {
  return Object.fromEntries(inputs.map(({ name, shape }) => [name, shape]));
}

/** For each model, the shapes of its inputs in its largest part. */
function largestInputs(group: readonly Named[]): Map<string, Record<string, readonly number[]>> {
  const sizes = new Map<string, number>();
  const shapes = new Map<string, Record<string, readonly number[]>>();
  for (const { part } of group) {
    const key = keyOf(part.model.bytes);
    const size = part.inputs.reduce((sum, { bytes }) => sum + bytes, 0);
    if (size <= (sizes.get(key) ?? -1)) continue;
    sizes.set(key, size);
    shapes.set(key, shapesOf(part));
  }
  return shapes;
}

/** Reads bytes into the caches: of an input its end, which is what was computed or received last. */
function read(bytes: Uint8Array, from: number, to: number = bytes.length): void {
  let sum = 0;
  for (let at = from; at < to; at += CACHE_LINE) sum += bytes[at] as number;
  // That the sum is looked at keeps the reading from being optimised away.
  if (sum < 0) throw new DistrEdgeError('INTERNAL', 'bytes are never negative');
}

/** The engine's own error, with the part among its places. */
async function placed<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof DistrEdgeError) || error.code === 'CANCELLED') throw error;
    throw new DistrEdgeError(error.code, error.message, {
      where: error.where === undefined ? name : `${name}, ${error.where}`,
      ...(error.got === undefined ? {} : { got: error.got }),
      cause: error,
    });
  }
}
