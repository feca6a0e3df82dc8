/**
 * A thread that computes for engines: one thread for one engine, or for several one after another or side by side, which then
 * have their sessions in common (`shared-sessions.ts`). A thread without an engine stays for a while: to start one and load
 * onnxruntime into it takes 100 ms, its sessions more.
 */
import { Worker } from 'node:worker_threads';
import { DistrEdgeError } from '@distredge/core';
import type { EngineOptions } from './engine.js';
import { createExitGate, guardExit, unguardExit } from './exit-gate.js';
import { engineError, ONNXRUNTIME } from './ort-session.js';
import { unstageStuck } from './ort-weights.js';
import { post, unpackError, type WorkerReply, type WorkerRequest, type WorkerValues } from './worker-protocol.js';

/** What a thread is told to compute with. */
type ThreadOptions = Required<EngineOptions>;

interface Pending {
  resolve(value: unknown): void;
  reject(error: DistrEdgeError): void;
}

/** For how long a thread without an engine stays, in ms, and how many of them. */
const IDLE_MS = 30_000;
const MAX_IDLE = 1;

export class EngineThread {
  readonly options: ThreadOptions;
  /** Keys of models that engines have loaded here; they may be gone. */
  readonly keys: Set<string> = new Set();
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #ids = 0;
  #engines = 0;
  #users = 0;
  #failure: DistrEdgeError | undefined;
  #ending: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ThreadOptions, entry: URL) {
    this.options = options;
    const gate = createExitGate();
    // Flags of the calling process, such as --input-type, do not apply to the thread.
    this.#worker = new Worker(entry, { workerData: { options, gate }, execArgv: [] });
    guardExit(gate);
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        unguardExit(gate);
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

  get users(): number {
    return this.#users;
  }

  /** Whether it can serve another engine. */
  get usable(): boolean {
    return this.#failure === undefined && this.#ending === undefined;
  }

  /** Begins an engine; its number goes with every request. */
  enter(): number {
    clearTimeout(this.#timer);
    this.#users += 1;
    this.#engines += 1;
    return this.#engines;
  }

  /** An engine has been closed. Resolves when the thread has ended, if it is not kept for others. */
  async leave(kept: boolean): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    const idle = [...pool].filter(({ users, usable }) => users === 0 && usable).length;
    if (kept && this.usable && idle <= MAX_IDLE) this.rest();
    else await this.#end();
  }

  /** Ends after a while in which nobody comes. */
  rest(): void {
    this.#timer = setTimeout(() => void this.#end(), IDLE_MS);
    this.#timer.unref();
  }

  /** It answers what it was asked so far, then ends by itself: ended from outside, onnxruntime may crash. */
  #end(): Promise<void> {
    clearTimeout(this.#timer);
    pool.delete(this);
    this.#ending ??= this.request(0, { kind: 'end' }, [])
      .catch(() => undefined)
      .then(() => this.#exited)
      .then(unstageStuck);
    return this.#ending;
  }

  request<K extends WorkerRequest['kind']>(
    engine: number,
    request: WorkerRequest & { readonly kind: K },
    moved: readonly Uint8Array[],
  ): Promise<WorkerValues[K]> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      this.#ids += 1;
      const message = { id: this.#ids, engine, request };
      try {
        post(this.#worker, message, moved);
      } catch (cause) {
        throw engineError('a call cannot be handed to the thread of the engine', ONNXRUNTIME, cause);
      }
      if (this.#pending.size === 0) this.#worker.ref();
      this.#pending.set(message.id, { resolve: resolve as (value: unknown) => void, reject });
    });
  }

  #settle(reply: WorkerReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    // While it ends, the process waits for that.
    if (this.#pending.size === 0 && this.#ending === undefined) this.#worker.unref();
    if ('error' in reply) pending?.reject(unpackError(reply.error));
    else pending?.resolve(reply.value);
  }

  /** Rejects what is pending and all that follows; the first reason stays. */
  #fail(message: string, got: string): void {
    this.#failure ??= new DistrEdgeError('ENGINE_FAILED', message, { where: ONNXRUNTIME, got });
    pool.delete(this);
    for (const pending of this.#pending.values()) pending.reject(this.#failure);
    this.#pending.clear();
    if (this.#ending === undefined) this.#worker.unref();
  }
}

/** Threads that may serve more than one engine. */
const pool = new Set<EngineThread>();

/** Has a thread ready, so that the first model need not wait for it. */
export function prepareThread(options: ThreadOptions, entry: URL): void {
  if ([...pool].some((thread) => isLike(thread.options, options))) return;
  const thread = new EngineThread(options, entry);
  pool.add(thread);
  thread.rest();
}

/**
 * A thread for an engine whose first model has this key: one that has loaded it, one that nobody uses, or a new one. Engines
 * without a key share with nobody.
 */
export function threadFor(options: ThreadOptions, entry: URL, key: string | undefined): EngineThread {
  const fitting = [...pool].filter((thread) => isLike(thread.options, options) && thread.usable);
  const found =
    fitting.find((thread) => key !== undefined && thread.keys.has(key)) ?? fitting.find(({ users }) => users === 0);
  const thread = found ?? new EngineThread(options, entry);
  pool.add(thread);
  return thread;
}

function isLike(a: ThreadOptions, b: ThreadOptions): boolean {
  return a.threads === b.threads && a.winograd === b.winograd;
}
