/** The engine that computes updates, as the reinforcement learning sees it: ONNX models of float tensors, given from outside. */

export interface GraphTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export interface LoadedGraph {
  /**
   * Computes all outputs, by name. The outputs are the caller's, and hold no memory of the inputs; inputs are only read, and
   * stay as they are until the promise settles.
   */
  run(inputs: Readonly<Record<string, GraphTensor>>): Promise<Record<string, Float32Array>>;
  release(): Promise<void>;
}

export interface GraphRunner {
  /** Loads a model given by the bytes of its ModelProto. */
  load(model: Uint8Array): Promise<LoadedGraph>;
}
