/** The thread behind `whole-run.ts`: loads a model for the first image, runs image after image, and ends when it is told to. */
import { parentPort, workerData } from 'node:worker_threads';
import { throughGate } from './exit-gate.js';
import { createWholeModel, type WholeModel, type WholeResult } from './whole-model.js';
import type { WholeReply, WholeRequest, WholeTask } from './whole-run.js';
import { movable, packError } from './worker-protocol.js';

if (parentPort === null) throw new Error('whole-run-thread.js is the entry of a worker thread');
const port = parentPort;
const { model, threads, gate } = workerData as WholeTask;
let whole: WholeModel | undefined;
let last: Promise<unknown> = Promise.resolve();

async function run(inputs: Parameters<WholeModel['run']>[0]): Promise<WholeResult> {
  whole ??= await createWholeModel(model, { threads });
  const result = await whole.run(inputs);
  const outputs = Object.entries(result.outputs).map(([name, tensor]) => [
    name,
    { ...tensor, data: movable(tensor.data) },
  ]);
  return { ...result, outputs: Object.fromEntries(outputs) };
}

async function answer(request: WholeRequest): Promise<void> {
  if (request === 'end') {
    await throughGate(gate, async () => whole?.close());
    // Without a port to listen to, the thread has nothing left to do and ends by itself.
    port.close();
    return;
  }
  const reply: WholeReply = await throughGate(gate, () => run(request.inputs)).then(
    (result) => ({ result }),
    (error: unknown) => ({ error: packError(error) }),
  );
  port.postMessage(reply);
}

port.on('message', (request: WholeRequest) => {
  last = last.then(() => answer(request));
});
