/**
 * The `Engine` contract: something that loads ONNX sub-models and runs them. Tensors that only later steps of the same
 * device read stay on the engine's side in numbered slots, so they never cross a thread or a bus; an engine may keep them
 * in device memory. Implementations: `ort-node.ts` (onnxruntime-node on the calling thread), `ort-worker.ts` (the same on a
 * thread of its own, so that sockets stay served while it computes).
 */
import type { Tensor } from '@distredge/core';
import type { WeightSource } from '../weights/blob.js';

/** A sub-model to load: its bytes, and the weights that it names as external data. */
export interface EngineModel {
  /** An ONNX ModelProto. Initialisers may name external data at `location` = a key of `weights`. */
  readonly model: Uint8Array;
  /**
   * Blobs that the model's external initialisers refer to, by `location`. They are read until `load` settles and stay the
   * caller's; files may be mapped, and lose their names after that.
   */
  readonly weights: ReadonlyMap<string, WeightSource>;
  /** Models of one key are the same bytes with the same weights: an engine that has such a model may share it. */
  readonly key?: string | undefined;
  /**
   * Shapes of the inputs in most runs, by name: what an engine may choose its ways of computing by. Runs with other numbers of
   * rows are as right. Default: unknown.
   */
  readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  /** Whether those are the shapes of every run: an engine may then refuse runs with others. Default: no. */
  readonly everyRun?: boolean | undefined;
}

/** Where an input comes from: a tensor handed over with the call, or a slot an earlier call filled. */
export type EngineInput =
  | { readonly name: string; readonly tensor: Tensor }
  | { readonly name: string; readonly slot: number };

/** What becomes of an output: kept in a slot, handed back to the caller, or both. */
export interface EngineOutput {
  readonly name: string;
  readonly slot?: number;
  readonly fetch: boolean;
}

export interface EngineCall {
  /** The handle that `load` returned. */
  readonly model: number;
  readonly inputs: readonly EngineInput[];
  readonly outputs: readonly EngineOutput[];
  /** Slots that no later call reads: freed after this one. */
  readonly release?: readonly number[];
}

export interface EngineResult {
  /**
   * The outputs with `fetch`, in the order of the call. They are the caller's: to `free` them after use spares the engine
   * fresh memory for the next run (1 MB fetched from another thread: 0.3 instead of 1.0 ms).
   */
  readonly outputs: readonly Tensor[];
  /** Start and end of the computation on the `performance.timeOrigin`-based wall clock, in ms since the epoch. */
  readonly start: number;
  readonly end: number;
}

/** A call that is run again and again on the same memory. */
export interface FixedCall {
  readonly model: number;
  /** Sets of inputs to choose from at every run; the bytes of their tensors are read when the call runs, and stay the caller's. */
  readonly inputs: readonly (readonly EngineInput[])[];
  readonly outputs: readonly (EngineOutput & Pick<Tensor, 'dtype' | 'shape'>)[];
  readonly release?: readonly number[];
}

/** The calls of a program, ready to run in their order as often as wanted. */
export interface FixedCalls {
  /** Runs a call on one of its sets of inputs. Rejects with `ENGINE_FAILED`, or `PROTOCOL` where an output has another size. */
  run(call: number, set: number): Promise<{ readonly start: number; readonly end: number }>;
  /** The outputs with `fetch` of a call's last run, in its order. They are the engine's, and change when the call runs again. */
  outputs(call: number): readonly Tensor[];
}

export interface Engine {
  /** Name and version, for traces and profiles. */
  readonly name: string;
  /** Whether a run holds up the calling thread. */
  readonly blocks: boolean;
  /** Loads a model and returns its handle. Rejects with `ENGINE_FAILED` and the engine's own words. */
  load(model: EngineModel): Promise<number>;
  /** Runs one model. Calls are served in order. The call's input tensors may be taken over by the engine (detached). */
  run(call: EngineCall): Promise<EngineResult>;
  /** Readies calls for being run in this order, over and over, without building or allocating anything. Slots are the calls' own. */
  fix(calls: readonly FixedCall[]): Promise<FixedCalls>;
  /** Frees a model, or all slots. */
  unload(model: number): Promise<void>;
  clearSlots(): Promise<void>;
  close(): Promise<void>;
}

export interface EngineOptions {
  /** Threads for one op. Default 1. */
  readonly threads?: number;
  /** Whether convolutions may be computed by Winograd's minimal filtering where that is faster. Default: on x64. */
  readonly winograd?: boolean;
}
