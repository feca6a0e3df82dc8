/** The thread behind `whole-run.ts`: loads a model, runs it, sends what came of it, and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { throughGate } from './exit-gate.js';
import { createWholeModel, type WholeResult } from './whole-model.js';
import type { WholeReply, WholeTask } from './whole-run.js';
import { movable, packError } from './worker-protocol.js';

const { model, inputs, threads, gate } = workerData as WholeTask;

async function run(): Promise<WholeResult> {
  const whole = await createWholeModel(model, { threads });
  try {
    const result = await whole.run(inputs);
    const outputs = Object.entries(result.outputs).map(([name, tensor]) => [
      name,
      { ...tensor, data: movable(tensor.data) },
    ]);
    return { ...result, outputs: Object.fromEntries(outputs) };
  } finally {
    await whole.close();
  }
}

const reply: WholeReply = await throughGate(gate, run).then(
  (result) => ({ result }),
  (error: unknown) => ({ error: packError(error) }),
);
parentPort?.postMessage(reply);
