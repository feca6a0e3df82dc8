/** onnxruntime sessions: one set of options for everything that computes here, and onnxruntime's errors in our words. */
import './no-telemetry.js';
import { DistrEdgeError } from '@distredge/core';
import { env, InferenceSession } from 'onnxruntime-node';
import type { EngineOptions } from './engine.js';
import type { StagedWeights } from './ort-weights.js';

// onnxruntime prints what it also throws.
env.logLevel = 'fatal';

/** Name and version of what computes. */
export const ONNXRUNTIME: string = `onnxruntime-node ${env.versions.node ?? env.versions.common}`;

/**
 * From this many bytes of weights on, onnxruntime is kept from packing the matrices of fully connected layers: that would
 * copy them out of the mapped file (VGG-16: 658 instead of 201 MB after loading, peak 985 instead of 713) and slows down one
 * image at a time (VGG-16's head 25 ms packed, 20 ms not; its convolutions, ResNet-18, U-Net, EfficientNet-B0 the same).
 */
const PACK_BELOW = 2 ** 26;

/** Ops that run slower unpacked, by a third and more (a MatMul of 64 rows, a QLinearConv). */
const NEEDS_PACKING = ['MatMul', 'QLinear', 'Integer', 'QGemm', 'Attention'];

function packs(model: Uint8Array, weights: StagedWeights): boolean {
  if (weights.byteLength < PACK_BELOW) return true;
  const bytes = Buffer.from(model.buffer, model.byteOffset, model.byteLength);
  return NEEDS_PACKING.some((name) => bytes.includes(name));
}

/** The error for an onnxruntime failure, in its own words. Errors that are ours already pass unchanged. */
export function engineError(message: string, where: string, cause: unknown): DistrEdgeError {
  if (cause instanceof DistrEdgeError) return cause;
  const got = cause instanceof Error ? cause.message : String(cause);
  return new DistrEdgeError('ENGINE_FAILED', message, { where, got: got.trim(), cause });
}

/** The number of threads that the options ask for. Throws `USAGE` unless it is a whole number from 1 on. */
export function threadCount({ threads = 1 }: EngineOptions): number {
  if (Number.isSafeInteger(threads) && threads >= 1) return threads;
  throw new DistrEdgeError('USAGE', 'an engine needs a whole number of threads', {
    where: 'threads',
    expected: '1 or more',
    got: String(threads),
  });
}

function baseOptions(threads: number): InferenceSession.SessionOptions {
  return {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
  };
}

/** Creates a session for a model given by its bytes, with its external data. Throws `ENGINE_FAILED`. */
export async function createSession(
  model: Uint8Array,
  weights: StagedWeights,
  threads: number,
): Promise<InferenceSession> {
  const options: InferenceSession.SessionOptions = {
    ...baseOptions(threads),
    // A plan is made anew for each height of the input. Where there is only one, it gains 1 to 2 %, and holds on to the memory of
    // all that a run computes, for every model (M-LSD: 475 instead of 348 MB).
    enableMemPattern: false,
    extra: {
      session: {
        model_external_initializers_file_folder_path: weights.folder,
        disable_prepacking: packs(model, weights) ? '0' : '1',
      },
    },
  };
  if (weights.inMemory.length > 0) options.externalData = weights.inMemory;
  try {
    return await InferenceSession.create(model, options);
  } catch (cause) {
    throw engineError('onnxruntime cannot load the model', `model of ${model.byteLength} bytes`, cause);
  }
}

/** Creates a session for a whole model: its bytes, or the path of its file, next to which external data may lie. */
export async function createWholeSession(model: Uint8Array | string, threads: number): Promise<InferenceSession> {
  const where = typeof model === 'string' ? model : `model of ${model.byteLength} bytes`;
  try {
    // Two calls: TypeScript picks the overload by the type.
    if (typeof model === 'string') return await InferenceSession.create(model, baseOptions(threads));
    return await InferenceSession.create(model, baseOptions(threads));
  } catch (cause) {
    throw engineError('onnxruntime cannot load the model', where, cause);
  }
}
