/**
 * One run of a whole model on a thread of its own: slower to begin than `whole-model.ts`, but meanwhile the calling thread
 * serves its links and hears of signals.
 */
import { Worker } from 'node:worker_threads';
import { DistrEdgeError, type Tensor } from '@distredge/core';
import type { EngineOptions } from './engine.js';
import { createExitGate, type ExitGate, guardExit, unguardExit } from './exit-gate.js';
import { threadCount } from './ort-session.js';
import type { WholeResult } from './whole-model.js';
import { unpackError } from './worker-protocol.js';

/** What the thread is started with. */
export interface WholeTask {
  readonly model: Uint8Array | string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly threads: number;
  readonly gate: ExitGate;
}

/** The one message that the thread sends. */
export type WholeReply = { readonly result: WholeResult } | { readonly error: Record<string, string> };

const BESIDE = new URL('./whole-run-thread.js', import.meta.url);

/** As in `ort-worker.ts`: Node cannot start a thread from TypeScript. */
const ENTRY = import.meta.url.endsWith('.ts') ? new URL('../../dist/engine/whole-run-thread.js', BESIDE) : BESIDE;

/** Loads a whole model from its bytes or its file, runs it once, and frees it. Rejects as `createWholeModel` and `run` do. */
export function runWholeModel(
  model: Uint8Array | string,
  inputs: Readonly<Record<string, Tensor>>,
  options: EngineOptions = {},
): Promise<WholeResult> {
  const task: WholeTask = { model, inputs, threads: threadCount(options), gate: createExitGate() };
  return new Promise((resolve, reject) => {
    const worker = new Worker(ENTRY, { workerData: task, execArgv: [] });
    guardExit(task.gate);
    const failed = (message: string, got: string): void =>
      reject(new DistrEdgeError('ENGINE_FAILED', message, { got }));
    worker.once('message', (reply: WholeReply) => {
      if ('result' in reply) resolve(reply.result);
      else reject(unpackError(reply.error));
    });
    worker.once('error', (error) => failed('the thread of the unsplit model crashed', String(error)));
    worker.once('exit', (code) => {
      unguardExit(task.gate);
      failed('the thread of the unsplit model has ended', `exit code ${code}`);
    });
  });
}
