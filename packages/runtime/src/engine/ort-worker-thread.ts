/** The thread behind `ort-thread.ts`: serves requests in order with one `OrtEngine` for each engine, and ends when told to. */
import { parentPort, workerData } from 'node:worker_threads';
import { throughGate } from './exit-gate.js';
import { free } from './free.js';
import { OrtEngine } from './ort-node.js';
import { sharedSessions } from './shared-sessions.js';
import {
  movable,
  type NumberedRequest,
  packError,
  post,
  type WorkerRequest,
  type WorkerSettings,
  type WorkerValues,
} from './worker-protocol.js';

if (parentPort === null) throw new Error('ort-worker-thread.js is the entry of a worker thread');
const port = parentPort;
const { options, gate } = workerData as WorkerSettings;
const engines = new Map<number, OrtEngine>();
let last: Promise<unknown> = Promise.resolve();

function engineOf(number: number): OrtEngine {
  const engine = engines.get(number) ?? new OrtEngine(options);
  engines.set(number, engine);
  return engine;
}

async function serve(number: number, request: WorkerRequest): Promise<WorkerValues[keyof WorkerValues]> {
  if (request.kind === 'end') {
    await sharedSessions.clear();
    return undefined;
  }
  const engine = engineOf(number);
  switch (request.kind) {
    case 'reuse':
      return engine.reuse(request.key);
    case 'open':
      return engine.open(request.model, request.weights, request.key);
    case 'run': {
      const result = await engine.run(request.call);
      // The inputs came to stay: nobody else has them. The answer goes first; somebody waits for it.
      setImmediate(() => {
        for (const input of request.call.inputs) if ('tensor' in input) free(input.tensor.data);
      });
      return { ...result, outputs: result.outputs.map((tensor) => ({ ...tensor, data: movable(tensor.data) })) };
    }
    case 'unload':
      await engine.unload(request.model);
      return undefined;
    case 'clear':
      await engine.clearSlots();
      return undefined;
    case 'close':
      engines.delete(number);
      await engine.close();
      return undefined;
  }
}

async function answer({ id, engine, request }: NumberedRequest): Promise<void> {
  try {
    const value = await throughGate(gate, () => serve(engine, request));
    const outputs = typeof value === 'object' ? value.outputs : [];
    post(
      port,
      { id, value },
      outputs.map((tensor) => tensor.data),
    );
  } catch (error) {
    post(port, { id, error: packError(error) }, []);
  }
  // Without a port to listen to, the thread has nothing left to do and ends by itself.
  if (request.kind === 'end') port.close();
}

// Ends the thread, and with it every call that waits for an answer.
port.on('messageerror', (error) => {
  throw error;
});
port.on('message', (message: NumberedRequest) => {
  last = last.then(() => answer(message));
});
