/**
 * What the two sides of the worker engine say to each other. Every request gets one reply with its id, in order. Tensors
 * move: their buffers are transferred, so that no side copies them.
 */
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import type { EngineCall, EngineOptions, EngineResult } from './engine.js';
import type { ExitGate } from './exit-gate.js';
import type { StagedWeights } from './ort-weights.js';

/** What the worker is started with. */
export interface WorkerSettings {
  readonly options: EngineOptions;
  readonly gate: ExitGate;
}

export type WorkerRequest =
  | { readonly kind: 'reuse'; readonly key: string }
  | {
      readonly kind: 'open';
      readonly model: Uint8Array;
      readonly weights: StagedWeights;
      readonly key: string | undefined;
    }
  | { readonly kind: 'run'; readonly call: EngineCall }
  | { readonly kind: 'unload'; readonly model: number }
  | { readonly kind: 'clear' }
  /** Closes the engine. */
  | { readonly kind: 'close' }
  /** Ends the thread, whose engines are closed. */
  | { readonly kind: 'end' };

/** What a request is answered with. */
export interface WorkerValues {
  readonly reuse: number | undefined;
  readonly open: number;
  readonly run: EngineResult;
  readonly unload: undefined;
  readonly clear: undefined;
  readonly close: undefined;
  readonly end: undefined;
}

/** A request on its way, numbered by the sender. */
export interface NumberedRequest {
  readonly id: number;
  /** Several engines may compute on one thread. */
  readonly engine: number;
  readonly request: WorkerRequest;
}

export type WorkerReply =
  | { readonly id: number; readonly value: WorkerValues[keyof WorkerValues] }
  | { readonly id: number; readonly error: Record<string, string> };

/** An error as plain data. */
export function packError(error: unknown): Record<string, string> {
  if (error instanceof DistrEdgeError) return error.toJSON();
  return { code: 'ENGINE_FAILED', message: 'the engine failed', got: String(error) };
}

/** The error that `packError` made plain, with its code and facts. */
export function unpackError(fields: Record<string, string>): DistrEdgeError {
  const { code, message, ...facts } = fields;
  return new DistrEdgeError((code ?? 'ENGINE_FAILED') as ErrorCode, message ?? 'the engine failed', facts);
}

/**
 * Bytes with a buffer of their own, which can be moved to another thread: the same where they fill it, else a copy. (Empty
 * bytes always get a new one: Node loses a message that moves a buffer which was moved away before.)
 */
export function movable(data: Uint8Array): Uint8Array {
  const { buffer, byteLength } = data;
  const fills = buffer instanceof ArrayBuffer && byteLength > 0 && buffer.byteLength === byteLength;
  return fills ? data : Uint8Array.from(data);
}

/** One side's way to send. */
interface Sender {
  postMessage(message: unknown, transfer?: readonly ArrayBuffer[]): void;
}

/** Sends a message and moves these bytes with it. Where Node pins one (memory of native code), all are copied. */
export function post(sender: Sender, message: NumberedRequest | WorkerReply, moved: readonly Uint8Array[]): void {
  try {
    sender.postMessage(message, [...new Set(moved.map((part) => part.buffer as ArrayBuffer))]);
  } catch {
    sender.postMessage(message);
  }
}
