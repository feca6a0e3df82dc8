/**
 * onnxruntime-node on the calling thread, which it blocks while it computes. `ort-worker.ts` runs it on a thread of its own.
 * Slots are onnxruntime tensors that are fed back as they are; their memory is freed when they are released or overwritten.
 */
import { DistrEdgeError, type Tensor } from '@distredge/core';
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type {
  Engine,
  EngineCall,
  EngineInput,
  EngineModel,
  EngineOptions,
  EngineResult,
  FixedCall,
  FixedCalls,
} from './engine.js';
import { memoryFor } from './fixed.js';
import { free } from './free.js';
import { createSession, engineError, threadCount } from './ort-session.js';
import { bytesOf, fromOrt, toOrt } from './ort-tensor.js';
import { type StagedWeights, stage, unstage, unstageStuck } from './ort-weights.js';
import { engineName, prepared, sessionKey, writesConvolutions } from './prepare-model.js';
import { sharedSessions } from './shared-sessions.js';

/** Creates an engine that computes on the calling thread. Throws `USAGE` for a bad number of threads. */
export function createOrtEngine(options: EngineOptions = {}): Engine {
  return new OrtEngine(options);
}

/** Wall clock in ms since the epoch, as this thread's `performance` sees it. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

/** The engine behind `createOrtEngine`; `open` is its door for a thread whose weights another thread has staged. */
export class OrtEngine implements Engine {
  readonly name: string;
  readonly blocks: boolean = true;
  readonly #threads: number;
  readonly #winograd: boolean;
  readonly #sessions = new Map<number, Loaded>();
  readonly #slots = new Map<number, OrtTensor>();
  #handles = 0;
  #last: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: EngineOptions) {
    this.#threads = threadCount(options);
    this.name = engineName(options);
    this.#winograd = writesConvolutions(options);
  }

  async load(given: EngineModel): Promise<number> {
    const key = sessionKey(given);
    const known = key === undefined ? undefined : await this.reuse(key);
    if (known !== undefined) return known;
    const { model, weights, made } = await prepared(given, this.#winograd);
    const staged = await stage(weights);
    try {
      return await this.open(model, staged, key);
    } finally {
      await unstage(staged.folder);
      // What could not be staged stays the session's.
      if (staged.inMemory.length === 0) for (const bytes of made) free(bytes);
    }
  }

  /** Loads a model whose weights are staged already. */
  open(model: Uint8Array, weights: StagedWeights, key?: string): Promise<number> {
    return this.#serve(async () => {
      const session = await createSession(model, weights, this.#threads);
      const bytes = model.byteLength + weights.byteLength;
      const shared = key !== undefined && sharedSessions.add(this.#shared(key), session, bytes);
      return this.#keep({ session, key: shared ? this.#shared(key) : undefined });
    });
  }

  /** The handle of a model that this thread has loaded under this key; undefined where it has not. */
  reuse(key: string): Promise<number | undefined> {
    return this.#serve(async () => {
      const session = sharedSessions.take(this.#shared(key));
      return session === undefined ? undefined : this.#keep({ session, key: this.#shared(key) });
    });
  }

  #shared(key: string): string {
    return `${this.#threads} ${this.#winograd ? 'winograd' : 'direct'} ${key}`;
  }

  #keep(loaded: Loaded): number {
    this.#handles += 1;
    this.#sessions.set(this.#handles, loaded);
    return this.#handles;
  }

  run(call: EngineCall): Promise<EngineResult> {
    return this.#serve(async () => {
      const where = `model ${call.model}`;
      const session = this.#session(call.model);
      const feeds = feedsOf(session, call.inputs, this.#slots, where);
      const names = outputNames(session, call, where);
      const start = now();
      let values: InferenceSession.ReturnType;
      try {
        values = await session.run(feeds, names);
      } catch (cause) {
        throw engineError('onnxruntime cannot run the model', where, cause);
      }
      const end = now();
      return { outputs: this.#keepOutputs(call, values, where), start, end };
    });
  }

  fix(calls: readonly FixedCall[]): Promise<FixedCalls> {
    return this.#serve(async () => {
      const memory = memoryFor(calls);
      const slots = new Map<number, OrtTensor>();
      const fixed = calls.map((call, index): FixedRun => {
        const where = `model ${call.model}`;
        const session = this.#session(call.model);
        const feeds = call.inputs.map((inputs) => feedsOf(session, inputs, slots, where));
        const fetches: Record<string, OrtTensor> = {};
        const outputs: Tensor[] = [];
        outputNames(session, call, where);
        call.outputs.forEach(({ name, slot, fetch, dtype, shape }, at) => {
          const tensor = { dtype, shape, data: memory[index]?.[at] as Uint8Array };
          const value = toOrt(tensor, `${where}, output ${name}`);
          fetches[name] = value;
          if (slot !== undefined) slots.set(slot, value);
          if (fetch) outputs.push(tensor);
        });
        return { session, feeds, fetches, outputs, where };
      });
      return {
        run: (call, set) => this.#runFixed(fixed[call] as FixedRun, set),
        outputs: (call) => (fixed[call] as FixedRun).outputs,
      };
    });
  }

  /** Straight to onnxruntime: a step that waited for rows waits for nothing else. */
  async #runFixed({ session, feeds, fetches, where }: FixedRun, set: number): Promise<{ start: number; end: number }> {
    if (this.#closing !== undefined) throw closedError(this.name);
    const start = now();
    const run = session.run(feeds[set] as Record<string, OrtTensor>, fetches);
    this.#last = run.catch(() => undefined);
    try {
      const copies = await run;
      // onnxruntime-node fills the given buffers, and copies them once more for its answer.
      setImmediate(() => {
        for (const [name, value] of Object.entries(copies)) {
          const copy = bytesOf(value as OrtTensor);
          if (copy.buffer !== bytesOf(fetches[name] as OrtTensor).buffer) free(copy);
        }
      });
    } catch (cause) {
      throw engineError('onnxruntime cannot run the model', where, cause);
    }
    return { start, end: now() };
  }

  unload(model: number): Promise<void> {
    return this.#serve(async () => {
      this.#session(model);
      const loaded = this.#sessions.get(model) as Loaded;
      this.#sessions.delete(model);
      await giveBack(loaded);
      await unstageStuck();
    });
  }

  clearSlots(): Promise<void> {
    return this.#serve(async () => {
      for (const slot of [...this.#slots.keys()]) this.#drop(slot);
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#last.then(async () => {
      for (const slot of [...this.#slots.keys()]) this.#drop(slot);
      for (const loaded of this.#sessions.values()) await giveBack(loaded);
      this.#sessions.clear();
      await unstageStuck();
    });
    return this.#closing;
  }

  /** Runs a job after all the earlier ones. */
  #serve<T>(job: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) {
      return Promise.reject(closedError(this.name));
    }
    const result = this.#last.then(job);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #session(model: number): InferenceSession {
    const loaded = this.#sessions.get(model);
    if (loaded !== undefined) return loaded.session;
    throw new DistrEdgeError('ENGINE_FAILED', 'no such model is loaded', {
      where: `model ${model}`,
      expected: `one of ${[...this.#sessions.keys()].join(', ') || 'none'}`,
    });
  }

  /** Fills slots, collects what the caller fetches, and frees the rest. */
  #keepOutputs(call: EngineCall, values: InferenceSession.ReturnType, where: string): Tensor[] {
    const slotted = new Set(call.outputs.filter((output) => output.slot !== undefined).map((output) => output.name));
    const fetched = call.outputs.filter((output) => output.fetch).map((output) => output.name);
    const outputs = fetched.map((name) => {
      const tensor = fromOrt(values[name] as OrtTensor, `${where}, output ${name}`);
      return slotted.has(name) ? { ...tensor, data: tensor.data.slice() } : tensor;
    });
    for (const { name, slot } of call.outputs) {
      if (slot === undefined) continue;
      this.#drop(slot);
      this.#slots.set(slot, values[name] as OrtTensor);
    }
    for (const slot of call.release ?? []) this.#drop(slot);
    const unread = Object.entries(values).filter(([name]) => !slotted.has(name) && !fetched.includes(name));
    setImmediate(() => {
      for (const [, value] of unread) free(bytesOf(value as OrtTensor));
    });
    return outputs;
  }

  /** Empties a slot, and frees its memory unless another slot holds the same tensor. */
  #drop(slot: number): void {
    const tensor = this.#slots.get(slot);
    if (tensor === undefined) return;
    this.#slots.delete(slot);
    if ([...this.#slots.values()].includes(tensor)) return;
    // Not now: whoever waits for this call's results comes first.
    setImmediate(() => free(bytesOf(tensor)));
  }
}

/** A model of this engine; shared with others under its key, if it has one. */
interface Loaded {
  readonly session: InferenceSession;
  readonly key: string | undefined;
}

function giveBack({ session, key }: Loaded): Promise<void> {
  return key === undefined ? session.release() : sharedSessions.give(key);
}

/** A call with everything it reads and writes at hand. */
interface FixedRun {
  readonly session: InferenceSession;
  readonly feeds: readonly Record<string, OrtTensor>[];
  readonly fetches: Record<string, OrtTensor>;
  readonly outputs: readonly Tensor[];
  readonly where: string;
}

function closedError(name: string): DistrEdgeError {
  return new DistrEdgeError('ENGINE_FAILED', 'the engine is closed', { where: name });
}

function feedsOf(
  session: InferenceSession,
  inputs: readonly EngineInput[],
  slots: ReadonlyMap<number, OrtTensor>,
  where: string,
): Record<string, OrtTensor> {
  const feeds: Record<string, OrtTensor> = {};
  for (const input of inputs) {
    feeds[input.name] =
      'slot' in input
        ? slotOf(slots, input.slot, input.name, where)
        : toOrt(input.tensor, `${where}, input ${input.name}`);
  }
  const given = inputs.map((input) => input.name);
  if (given.length !== session.inputNames.length || session.inputNames.some((name) => !Object.hasOwn(feeds, name))) {
    throw new DistrEdgeError('ENGINE_FAILED', 'the inputs of a call are not those of the model', {
      where,
      expected: session.inputNames.join(', '),
      got: given.join(', '),
    });
  }
  return feeds;
}

function slotOf(slots: ReadonlyMap<number, OrtTensor>, slot: number, name: string, where: string): OrtTensor {
  const tensor = slots.get(slot);
  if (tensor !== undefined) return tensor;
  throw new DistrEdgeError('ENGINE_FAILED', 'a call reads a slot that nothing has filled', {
    where: `${where}, input ${name}`,
    expected: `one of the slots ${[...slots.keys()].join(', ') || '(none is filled)'}`,
    got: `slot ${slot}`,
  });
}

function outputNames(session: InferenceSession, call: Pick<EngineCall, 'outputs'>, where: string): string[] {
  const names = [...new Set(call.outputs.map((output) => output.name))];
  if (names.length > 0 && names.every((name) => session.outputNames.includes(name))) return names;
  throw new DistrEdgeError('ENGINE_FAILED', 'a call asks for outputs that the model does not have', {
    where,
    expected: `some of ${session.outputNames.join(', ')}`,
    got: names.join(', ') || 'none',
  });
}
