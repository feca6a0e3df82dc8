/**
 * onnxruntime-node on a thread of its own, so that the calling thread goes on serving sockets while it computes. Tensors move
 * between the threads without a copy, and slots stay with the worker.
 *
 * The threads talk by plain messages. A call takes 0.1 to 0.15 ms longer than on the calling thread (medians of 1500 calls of
 * one Relu, alternating, on two busy cores): packing and moving take 0.02 ms of that, waking the two threads the rest. A
 * worker that sleeps on a futex and fetches its messages itself was as slow.
 */
import { DistrEdgeError } from '@distredge/core';
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
import { FixedByRun } from './fixed.js';
import { free } from './free.js';
import { threadCount } from './ort-session.js';
import { checkTensor } from './ort-tensor.js';
import { EngineThread, prepareThread, threadFor } from './ort-thread.js';
import { stage, unstage, unstageStuck } from './ort-weights.js';
import { engineName, prepared, sessionKey, writesConvolutions } from './prepare-model.js';
import { movable, type WorkerRequest, type WorkerValues } from './worker-protocol.js';

const BESIDE = new URL('./ort-worker-thread.js', import.meta.url);

/** Node cannot start a thread from TypeScript: an engine that runs from the sources uses the built thread. */
const ENTRY = import.meta.url.endsWith('.ts') ? new URL('../../dist/engine/ort-worker-thread.js', BESIDE) : BESIDE;

/**
 * Creates an engine that computes on a thread of its own. Throws `USAGE` for a bad number of threads. `entry` is the
 * thread's script; tests put in another.
 */
export function createOrtWorkerEngine(options: EngineOptions = {}, entry: URL = ENTRY): Engine {
  return new WorkerEngine({ threads: threadCount(options), winograd: writesConvolutions(options) }, entry);
}

class WorkerEngine implements Engine {
  readonly name: string;
  readonly blocks = false;
  readonly #options: Required<EngineOptions>;
  readonly #entry: URL;
  /** Which thread it is depends on the first model. */
  #at: { readonly thread: EngineThread; readonly engine: number } | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: Required<EngineOptions>, entry: URL) {
    this.#options = options;
    this.name = engineName(options);
    this.#entry = entry;
    if (this.#pooled) prepareThread(options, entry);
  }

  /** Another script is the engine's alone. */
  get #pooled(): boolean {
    return this.#entry === ENTRY;
  }

  #place(key?: string): { readonly thread: EngineThread; readonly engine: number } {
    if (this.#at !== undefined) return this.#at;
    const thread = this.#pooled
      ? threadFor(this.#options, this.#entry, key)
      : new EngineThread(this.#options, this.#entry);
    this.#at = { thread, engine: thread.enter() };
    return this.#at;
  }

  async load(given: EngineModel): Promise<number> {
    this.#checkOpen();
    const key = sessionKey(given);
    const { thread } = this.#place(key);
    if (key !== undefined) {
      const known = thread.keys.has(key) ? await this.#request({ kind: 'reuse', key }, []) : undefined;
      if (known !== undefined) return known;
    }
    const { model, weights, made } = await prepared(given, this.#options.winograd);
    const staged = await stage(weights);
    try {
      // A copy to move: the model's bytes stay with the caller.
      const bytes = Uint8Array.from(model);
      const handle = await this.#request({ kind: 'open', model: bytes, weights: staged, key }, [bytes]);
      if (key !== undefined) thread.keys.add(key);
      return handle;
    } finally {
      await unstage(staged.folder);
      // What could not be staged stays the session's.
      if (staged.inMemory.length === 0) for (const bytes of made) free(bytes);
    }
  }

  async run(call: EngineCall): Promise<EngineResult> {
    const moved: Uint8Array[] = [];
    const inputs = call.inputs.map((input): EngineInput => {
      if ('slot' in input) return input;
      checkTensor(input.tensor, `model ${call.model}, input ${input.name}`);
      const data = movable(input.tensor.data);
      moved.push(data);
      return { name: input.name, tensor: { ...input.tensor, data } };
    });
    return this.#request({ kind: 'run', call: { ...call, inputs } }, moved);
  }

  async fix(calls: readonly FixedCall[]): Promise<FixedCalls> {
    return new FixedByRun(this, calls);
  }

  async unload(model: number): Promise<void> {
    await this.#request({ kind: 'unload', model }, []);
    await unstageStuck();
  }

  clearSlots(): Promise<void> {
    return this.#request({ kind: 'clear' }, []);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const at = this.#at;
    if (at === undefined) return;
    await at.thread.request(at.engine, { kind: 'close' }, []).catch(() => undefined);
    await at.thread.leave(this.#pooled);
    await unstageStuck();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) {
      throw new DistrEdgeError('ENGINE_FAILED', 'the engine is closed', { where: this.name });
    }
  }

  async #request<K extends WorkerRequest['kind']>(
    request: WorkerRequest & { readonly kind: K },
    moved: readonly Uint8Array[],
  ): Promise<WorkerValues[K]> {
    this.#checkOpen();
    const { thread, engine } = this.#place();
    return thread.request<K>(engine, request, moved);
  }
}
