/**
 * A whole model on a thread of its own: slower to begin than `whole-model.ts`, but meanwhile the calling thread serves its
 * links and hears of signals. A runner keeps the model loaded for the next image, and lets it go when none comes for a while.
 */
import { Worker } from 'node:worker_threads';
import { DistrEdgeError, type Tensor } from '@distredge/core';
import type { EngineOptions } from './engine.js';
import { createExitGate, type ExitGate, guardExit, unguardExit } from './exit-gate.js';
import { threadCount } from './ort-session.js';
import type { WholeResult } from './whole-model.js';
import { unpackError } from './worker-protocol.js';

type Inputs = Readonly<Record<string, Tensor>>;

/** What the thread is started with. */
export interface WholeTask {
  readonly model: Uint8Array | string;
  readonly threads: number;
  readonly gate: ExitGate;
}

/** What the thread is asked: to run an image, or to end. */
export type WholeRequest = { readonly inputs: Inputs } | 'end';

/** Its answer to an image. */
export type WholeReply = { readonly result: WholeResult } | { readonly error: Record<string, string> };

/** A whole model that is there when it is needed. */
export interface WholeRunner {
  /** Runs an image; images run in their order. The first one has the model loaded. Rejects as `createWholeModel` and its `run` do. */
  run(inputs: Inputs): Promise<WholeResult>;
  /** Ends when the images that were handed in are done. */
  close(): Promise<void>;
}

export interface WholeRunnerOptions extends EngineOptions {
  /** For how long the model stays loaded without an image. Default 60000 ms. */
  readonly idleMs?: number;
}

const BESIDE = new URL('./whole-run-thread.js', import.meta.url);

/** As in `ort-worker.ts`: Node cannot start a thread from TypeScript. */
const ENTRY = import.meta.url.endsWith('.ts') ? new URL('../../dist/engine/whole-run-thread.js', BESIDE) : BESIDE;

const IDLE_MS = 60_000;

/** A runner for a model given by its bytes or its file. Throws `USAGE` for a bad number of threads. */
export function createWholeRunner(model: Uint8Array | string, options: WholeRunnerOptions = {}): WholeRunner {
  const threads = threadCount(options);
  let thread: WholeThread | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  return {
    async run(inputs) {
      if (closed) throw new DistrEdgeError('ENGINE_FAILED', 'the model is closed');
      clearTimeout(timer);
      if (thread?.over !== false) thread = new WholeThread({ model, threads, gate: createExitGate() });
      const own = thread;
      try {
        return await own.run(inputs);
      } catch (error) {
        // Whatever state it is in, the next image gets a new one.
        if (thread === own) thread = undefined;
        void own.end();
        throw error;
      } finally {
        if (own.idle && thread === own && !closed) {
          timer = setTimeout(() => {
            thread = undefined;
            void own.end();
          }, options.idleMs ?? IDLE_MS);
          timer.unref();
        }
      }
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await thread?.end();
    },
  };
}

/** Loads a whole model from its bytes or its file, runs it once, and frees it. Rejects as `createWholeModel` and `run` do. */
export async function runWholeModel(
  model: Uint8Array | string,
  inputs: Inputs,
  options: EngineOptions = {},
): Promise<WholeResult> {
  const runner = createWholeRunner(model, options);
  try {
    return await runner.run(inputs);
  } finally {
    await runner.close();
  }
}

interface Pending {
  resolve(result: WholeResult): void;
  reject(error: DistrEdgeError): void;
}

/** The calling side of a thread with a model. */
class WholeThread {
  /** Whether it has ended or is about to. */
  over = false;
  readonly #worker: Worker;
  readonly #pending: Pending[] = [];
  readonly #exited: Promise<void>;

  constructor(task: WholeTask) {
    this.#worker = new Worker(ENTRY, { workerData: task, execArgv: [] });
    guardExit(task.gate);
    this.#worker.on('message', (reply: WholeReply) => {
      const pending = this.#pending.shift();
      if ('result' in reply) pending?.resolve(reply.result);
      else pending?.reject(unpackError(reply.error));
      // A model that nobody runs does not keep the process alive.
      if (this.idle && !this.over) this.#worker.unref();
    });
    this.#worker.once('error', (error) => this.#failed('the thread of the unsplit model crashed', String(error)));
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        unguardExit(task.gate);
        this.#failed('the thread of the unsplit model has ended', `exit code ${code}`);
        resolve();
      });
    });
  }

  /** Whether no image is under way. */
  get idle(): boolean {
    return this.#pending.length === 0;
  }

  run(inputs: Inputs): Promise<WholeResult> {
    return new Promise((resolve, reject) => {
      this.#worker.ref();
      this.#ask({ inputs });
      this.#pending.push({ resolve, reject });
    });
  }

  #ask(request: WholeRequest): void {
    this.#worker.postMessage(request);
  }

  #failed(message: string, got: string): void {
    this.over = true;
    for (const { reject } of this.#pending.splice(0)) reject(new DistrEdgeError('ENGINE_FAILED', message, { got }));
  }

  /** It answers what it was asked, then ends by itself: ended from outside, onnxruntime may crash. */
  end(): Promise<void> {
    if (!this.over) {
      this.over = true;
      this.#worker.ref();
      this.#ask('end');
    }
    return this.#exited;
  }
}
