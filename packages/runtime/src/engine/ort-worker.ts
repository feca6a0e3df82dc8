/**
 * onnxruntime-node on a thread of its own, so that the calling thread goes on serving sockets while it computes. Tensors move
 * between the threads without a copy, and slots stay with the worker.
 *
 * The threads talk by plain messages. A call takes 0.1 to 0.15 ms longer than on the calling thread (medians of 1500 calls of
 * one Relu, alternating, on two busy cores): packing and moving take 0.02 ms of that, waking the two threads the rest. A
 * worker that sleeps on a futex and fetches its messages itself was as slow.
 */
import { Worker } from 'node:worker_threads';
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
import { createExitGate, guardExit, unguardExit } from './exit-gate.js';
import { FixedByRun } from './fixed.js';
import { ENGINE_NAME, engineError, threadCount } from './ort-session.js';
import { checkTensor } from './ort-tensor.js';
import { stage, unstage, unstageStuck } from './ort-weights.js';
import {
  movable,
  post,
  unpackError,
  type WorkerReply,
  type WorkerRequest,
  type WorkerSettings,
  type WorkerValues,
} from './worker-protocol.js';

const BESIDE = new URL('./ort-worker-thread.js', import.meta.url);

/** Node cannot start a thread from TypeScript: an engine that runs from the sources uses the built thread. */
const ENTRY = import.meta.url.endsWith('.ts') ? new URL('../../dist/engine/ort-worker-thread.js', BESIDE) : BESIDE;

/**
 * Creates an engine that computes on a thread of its own. Throws `USAGE` for a bad number of threads. `entry` is the
 * thread's script; tests put in another.
 */
export function createOrtWorkerEngine(options: EngineOptions = {}, entry: URL = ENTRY): Engine {
  return new WorkerEngine({ options: { threads: threadCount(options) }, gate: createExitGate() }, entry);
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: DistrEdgeError): void;
}

class WorkerEngine implements Engine {
  readonly name = ENGINE_NAME;
  readonly blocks = false;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #ids = 0;
  #failure: DistrEdgeError | undefined;
  #closing: Promise<void> | undefined;

  constructor(settings: WorkerSettings, entry: URL) {
    // Flags of the calling process, such as --input-type, do not apply to the thread.
    this.#worker = new Worker(entry, { workerData: settings, execArgv: [] });
    guardExit(settings.gate);
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        unguardExit(settings.gate);
        this.#fail('the thread of the engine has ended', `exit code ${code}`);
        resolve();
      });
    });
    this.#worker.on('message', (reply: WorkerReply) => this.#settle(reply));
    this.#worker.on('messageerror', (error) => {
      this.#fail('a message of the engine cannot be read', error.message);
      void this.#worker.terminate();
    });
    this.#worker.on('error', (error) => {
      this.#fail('the thread of the engine crashed', error instanceof Error ? error.message : String(error));
    });
    // An idle engine that nobody closed does not keep the process alive.
    this.#worker.unref();
  }

  async load({ model, weights }: EngineModel): Promise<number> {
    const staged = await stage(weights);
    try {
      // A copy to move: the model's bytes stay with the caller.
      const bytes = Uint8Array.from(model);
      return await this.#request({ kind: 'open', model: bytes, weights: staged }, [bytes]);
    } finally {
      await unstage(staged.folder);
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
    // The worker answers what it was asked so far, then ends by itself: ended from outside, onnxruntime may crash.
    this.#closing ??= this.#request({ kind: 'close' }, [])
      .catch(() => undefined)
      .then(() => this.#exited)
      .then(unstageStuck);
    return this.#closing;
  }

  #request<K extends WorkerRequest['kind']>(
    request: WorkerRequest & { readonly kind: K },
    moved: readonly Uint8Array[],
  ): Promise<WorkerValues[K]> {
    return new Promise((resolve, reject) => {
      if (this.#closing !== undefined) {
        throw new DistrEdgeError('ENGINE_FAILED', 'the engine is closed', { where: this.name });
      }
      if (this.#failure !== undefined) throw this.#failure;
      const message = { id: ++this.#ids, request };
      try {
        post(this.#worker, message, moved);
      } catch (cause) {
        throw engineError('a call cannot be handed to the thread of the engine', this.name, cause);
      }
      if (this.#pending.size === 0) this.#worker.ref();
      this.#pending.set(message.id, { resolve: resolve as (value: unknown) => void, reject });
    });
  }

  #settle(reply: WorkerReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    // While it closes, the process waits for the thread's end.
    if (this.#pending.size === 0 && this.#closing === undefined) this.#worker.unref();
    if ('error' in reply) pending?.reject(unpackError(reply.error));
    else pending?.resolve(reply.value);
  }

  /** Rejects what is pending and all that follows; the first reason stays. */
  #fail(message: string, got: string): void {
    this.#failure ??= new DistrEdgeError('ENGINE_FAILED', message, { where: this.name, got });
    for (const pending of this.#pending.values()) pending.reject(this.#failure);
    this.#pending.clear();
    if (this.#closing === undefined) this.#worker.unref();
  }
}
