/**
 * What a planner knows of a model: its ops in order, and which rows of what each row needs. A **work op** is a group of nodes
 * that is always computed together: a convolution, pooling, addition, … with the activations, batch norms and biases that
 * alone read it. Everything is by index, so that a simulation is arithmetic on arrays.
 */

/** A tensor cut by rows. Indices below `Workload.inputs` are the model's inputs; the others are made by ops. */
export interface WorkTensor {
  /** ONNX name: what a plan's volume that ends here is called by. */
  readonly name: string;
  readonly rows: number;
  readonly bytesPerRow: number;
}

/** How an op reads a tensor: rows [a, b) of its output need rows [from[a], to[b - 1]) of the tensor. Both never decrease. */
export interface WorkRead {
  readonly tensor: number;
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/** What decides how long an op takes, for device models that compute it (one output element of `rows × width × channels`). */
export interface WorkShape {
  /** Multiply-adds per output element; 0 for an op that only moves or combines values. */
  readonly multiplyAdds: number;
  readonly width: number;
  readonly channels: number;
}

export interface WorkOp extends WorkShape {
  readonly name: string;
  /** ONNX op type of the node that does the work. */
  readonly type: string;
  /** Tensors it makes, all with the same number of rows. Never empty. */
  readonly outputs: readonly number[];
  /** One entry per tensor read. */
  readonly reads: readonly WorkRead[];
  readonly rows: number;
  readonly weightBytes: number;
  /** Cannot be divided: one part must make all its rows. */
  readonly whole: boolean;
}

/** One op of the head. */
export interface WorkHeadOp extends WorkShape {
  readonly name: string;
  readonly type: string;
  readonly rows: number;
  readonly fullyConnected: boolean;
  readonly weightBytes: number;
  /** Bytes read and written, weights not counted. */
  readonly movedBytes: number;
}

/** The undivided tail: what a global pooling at the end or a flatten begins. Its first fully connected layer may be cut by output channels. */
export interface WorkHead {
  /** Tensors of which it needs all rows. */
  readonly reads: readonly number[];
  /** Before the fully connected layer that can be cut; every device of a cut head computes them. All ops where there is none. */
  readonly before: readonly WorkHeadOp[];
  readonly cut: WorkHeadOp | undefined;
  readonly after: readonly WorkHeadOp[];
  /** Bytes of the model's outputs that the head makes. */
  readonly resultBytes: number;
}

/** Where a volume of a `Plan` may end. */
export interface WorkEnd {
  /** The last op of such a volume; -1 where it would have none. */
  readonly op: number;
  /** Place of the tensor in the order of the model, which a plan's volumes follow. */
  readonly place: number;
  /** Rows of the named tensor, which may differ from the op's. */
  readonly rows: number;
}

export interface Workload {
  /** Name of the model, for messages. */
  readonly model: string;
  readonly tensors: readonly WorkTensor[];
  /** How many of the tensors are the model's inputs. */
  readonly inputs: number;
  /** In an order in which every op follows those it reads from. */
  readonly ops: readonly WorkOp[];
  /** Ops before which rows must be exchanged whatever the plan (they read something combined from all rows): a volume ends before each. */
  readonly forced: readonly number[];
  /** Tensors that are outputs of the model. */
  readonly outputs: readonly number[];
  readonly head: WorkHead | undefined;
  /** By ONNX name, all tensors where a volume of a `Plan` may end. Default: the names of the ops' outputs. */
  readonly ends?: ReadonlyMap<string, WorkEnd>;
}
