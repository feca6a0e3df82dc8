/** The thread behind `ort-worker.ts`: serves requests in order with an `OrtEngine`, and ends when told to close. */
import { parentPort, workerData } from 'node:worker_threads';
import { free } from './free.js';
import { OrtEngine } from './ort-node.js';
import {
  buffersOf,
  movable,
  type NumberedRequest,
  packError,
  type WorkerReply,
  type WorkerRequest,
  type WorkerSettings,
  type WorkerValues,
} from './worker-protocol.js';

const port = parentPort;
if (port === null) throw new Error('ort-worker-thread.js is the entry of a worker thread');
const engine = new OrtEngine(workerData as WorkerSettings);

async function serve(request: WorkerRequest): Promise<WorkerValues[keyof WorkerValues]> {
  switch (request.kind) {
    case 'open':
      return engine.open(request.model, request.weights);
    case 'run': {
      const result = await engine.run(request.call);
      // The inputs came to stay: nobody else has them.
      for (const input of request.call.inputs) if ('tensor' in input) free(input.tensor.data);
      return { ...result, outputs: result.outputs.map((tensor) => ({ ...tensor, data: movable(tensor.data) })) };
    }
    case 'unload':
      await engine.unload(request.model);
      return undefined;
    case 'clear':
      await engine.clearSlots();
      return undefined;
    case 'close':
      await engine.close();
      return undefined;
  }
}

async function answer({ id, request }: NumberedRequest): Promise<void> {
  try {
    const value = await serve(request);
    const moved = typeof value === 'object' ? buffersOf(value.outputs.map((tensor) => tensor.data)) : [];
    port?.postMessage({ id, value } satisfies WorkerReply, moved);
  } catch (error) {
    port?.postMessage({ id, error: packError(error) } satisfies WorkerReply);
  }
  // Without a port to listen to, the thread has nothing left to do and ends by itself.
  if (request.kind === 'close') port?.close();
}

// Ends the thread, and with it every call that waits for an answer.
port.on('messageerror', (error) => {
  throw error;
});
port.on('message', (message: NumberedRequest) => void answer(message));
