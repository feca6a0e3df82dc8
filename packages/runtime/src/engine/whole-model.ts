/** A model run whole by onnxruntime, with its own defaults: the reference that split inference is held against. */
import { type DataType, DistrEdgeError, type Tensor } from '@distredge/core';
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { EngineOptions } from './engine.js';
import { createWholeSession, engineError, threadCount } from './ort-session.js';
import { dataType, fromOrt, toOrt } from './ort-tensor.js';

/** An input or output as the model declares it. */
export interface ModelValue {
  readonly name: string;
  readonly dtype: DataType;
  /** Sizes; a name (perhaps an empty one) where the model leaves the size open. */
  readonly shape: readonly (number | string)[];
}

/** The outputs of a run by name, and when it was computed (wall clock, ms since the epoch). */
export interface WholeResult {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly start: number;
  readonly end: number;
}

export interface WholeModel {
  readonly inputs: readonly ModelValue[];
  readonly outputs: readonly ModelValue[];
  /** Computes all outputs. It blocks the calling thread meanwhile. Rejects with `ENGINE_FAILED`. */
  run(inputs: Readonly<Record<string, Tensor>>): Promise<WholeResult>;
  close(): Promise<void>;
}

/**
 * Loads a whole model from its bytes or its file. Rejects with `ENGINE_FAILED` where onnxruntime refuses it or an input or
 * output is no dense tensor, and with `USAGE` for a bad number of threads.
 */
export async function createWholeModel(model: Uint8Array | string, options: EngineOptions = {}): Promise<WholeModel> {
  const session = await createWholeSession(model, threadCount(options));
  let open = true;

  async function run(inputs: Readonly<Record<string, Tensor>>): Promise<WholeResult> {
    if (!open) throw new DistrEdgeError('ENGINE_FAILED', 'the model is closed');
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, tensor]) => [name, toOrt(tensor, `input ${name}`)]),
    );
    try {
      const start = performance.timeOrigin + performance.now();
      const values = await session.run(feeds);
      const end = performance.timeOrigin + performance.now();
      const outputs = Object.entries(values).map(([name, value]) => [
        name,
        fromOrt(value as OrtTensor, `output ${name}`),
      ]);
      return { outputs: Object.fromEntries(outputs), start, end };
    } catch (cause) {
      throw engineError('onnxruntime cannot run the model', 'the whole model', cause);
    }
  }

  async function close(): Promise<void> {
    if (open) await session.release();
    open = false;
  }

  try {
    return {
      inputs: session.inputMetadata.map(describeValue),
      outputs: session.outputMetadata.map(describeValue),
      run,
      close,
    };
  } catch (cause) {
    await close();
    throw cause;
  }
}

function describeValue(value: InferenceSession.ValueMetadata): ModelValue {
  if (!value.isTensor) {
    throw new DistrEdgeError('ENGINE_FAILED', 'the model has an input or output that is no tensor', {
      where: value.name,
    });
  }
  return { name: value.name, dtype: dataType(value.type, value.name), shape: value.shape };
}
