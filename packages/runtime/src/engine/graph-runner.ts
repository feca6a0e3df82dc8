/**
 * onnxruntime for whoever computes with bare float arrays instead of dividing a network: the planner's learning agent takes
 * it as its `GraphRunner`. It computes on the calling thread, and on that one alone unless told otherwise, so that the same
 * inputs give the same bits.
 */
import './no-telemetry.js';
import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { EngineOptions } from './engine.js';
import { createWholeSession, engineError, threadCount } from './ort-session.js';

interface FloatTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

interface FloatGraph {
  run(inputs: Readonly<Record<string, FloatTensor>>): Promise<Record<string, Float32Array>>;
  release(): Promise<void>;
}

export interface FloatGraphRunner {
  /** Loads a model given by its bytes. Rejects with `ENGINE_FAILED`, as its runs do. */
  load(model: Uint8Array): Promise<FloatGraph>;
}

/** Throws `USAGE` for a bad number of threads. */
export function createOrtGraphRunner(options: EngineOptions = {}): FloatGraphRunner {
  const threads = threadCount(options);
  return {
    async load(model) {
      const session = await createWholeSession(model, threads);
      return {
        async run(inputs) {
          try {
            const feeds = Object.entries(inputs).map(([name, { data, dims }]) => [
              name,
              new OrtTensor('float32', data, dims),
            ]);
            // Without buffers for the outputs: onnxruntime-node 1.30 fills them, and gives copies of them all the same.
            const values = await session.run(Object.fromEntries(feeds));
            const outputs = Object.entries(values).map(([name, value]) => [name, value.data]);
            return Object.fromEntries(outputs) as Record<string, Float32Array>;
          } catch (cause) {
            throw engineError('onnxruntime cannot run the graph', 'a graph of float tensors', cause);
          }
        },
        release: () => session.release(),
      };
    },
  };
}
