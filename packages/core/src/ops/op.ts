/**
 * The contract of an op family: "ask the op". In one place it declares the shape it makes, the work it costs, how the rows
 * of its output depend on the rows of its inputs, and how it is written for a part that holds only some of them. Nothing
 * else in the project branches on an op's name.
 *
 * A value's **row axis** is the axis along which its rows are cut: the height of an image. Values without one (weights,
 * pooled vectors) are always whole.
 */
import { DistrEdgeError } from '../errors.js';
import { Attributes, type AttributeValue, type Node, type TensorType } from '../graph/graph.js';
import type { Tensor } from '../tensor.js';

/** Rows `from` (inclusive) to `to` (exclusive). */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** A node together with what is known of its operands: all that an op is asked with. */
export class OpView {
  readonly node: Node;
  readonly opset: number;
  readonly inputs: readonly (TensorType | undefined)[];
  /** Types of the outputs; empty while they are being inferred. */
  readonly outputs: readonly TensorType[];
  readonly attributes: Attributes;
  readonly #constants: ReadonlyMap<string, Tensor>;

  constructor(
    node: Node,
    opset: number,
    types: ReadonlyMap<string, TensorType>,
    constants: ReadonlyMap<string, Tensor>,
    inferred: boolean,
  ) {
    this.node = node;
    this.opset = opset;
    const nothing: TensorType = { dtype: undefined, shape: undefined };
    this.inputs = node.inputs.map((name) => (name === '' ? undefined : (types.get(name) ?? nothing)));
    this.outputs = inferred ? node.outputs.map((name) => types.get(name) ?? nothing) : [];
    this.attributes = new Attributes(node.attributes);
    this.#constants = constants;
  }

  /** Whether optional input `index` is given. */
  has(index: number): boolean {
    return this.inputs[index] !== undefined;
  }

  /** Throws `OP_INVALID` unless the node has this many inputs, the first `least` of them given. */
  takes(least: number, most: number = least): void {
    const { length } = this.inputs;
    const missing = this.inputs.slice(0, least).includes(undefined);
    if (length >= least && length <= most && !missing) return;
    throw this.invalid('the node has another number of inputs than its op takes', {
      expected: least === most ? `${least}` : `${least} to ${most}`,
      got: missing ? 'one that is left out' : `${length}`,
    });
  }

  /** Shape of input `index`; throws `SHAPE_UNKNOWN` where it cannot be told, `OP_INVALID` where it is absent. */
  shape(index: number): readonly number[] {
    const type = this.inputs[index];
    if (type === undefined) throw this.invalid(`input ${index} is missing`);
    if (type.shape === undefined) {
      throw new DistrEdgeError('SHAPE_UNKNOWN', 'the shape of an input cannot be told', {
        where: `${this.node.op} '${this.node.name}', input '${this.node.inputs[index] ?? ''}'`,
      });
    }
    return type.shape;
  }

  /** Shape of the first output. */
  get outShape(): readonly number[] {
    const shape = this.outputs[0]?.shape;
    if (shape === undefined) {
      throw new DistrEdgeError('SHAPE_UNKNOWN', 'the shape of an output cannot be told', {
        where: `${this.node.op} '${this.node.name}'`,
      });
    }
    return shape;
  }

  /** The value of input `index` where it is constant. */
  constant(index: number): Tensor | undefined {
    const name = this.node.inputs[index];
    return name === undefined || name === '' ? undefined : this.#constants.get(name);
  }

  /** An `OP_INVALID` error at this node. */
  invalid(message: string, facts: { expected?: string; got?: string } = {}): DistrEdgeError {
    return new DistrEdgeError('OP_INVALID', message, { where: `${this.node.op} '${this.node.name}'`, ...facts });
  }
}

/** Writes nodes and constants into a sub-model. Every method returns the name of the value it makes. */
export interface ModelBuilder {
  readonly opset: number;
  /** Adds a node of the default domain with one output, named `output` or by a fresh name. */
  node(
    op: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, AttributeValue>>,
    output?: string,
  ): string;
  /** Adds a node as it stands, with other operands. */
  copy(node: Node, inputs: readonly string[], outputs: readonly string[]): void;
  /** Adds a small constant. */
  constant(tensor: Tensor): string;
  /** Indices `from` (inclusive) to `to` (exclusive; negative counts from the end, undefined is the end) of one axis. */
  slice(input: string, axis: number, from: number, to: number | undefined, output?: string, step?: number): string;
  /** Joins along an axis; one input passes through. */
  concat(inputs: readonly string[], axis: number, output?: string): string;
  /** Pads (positive) with a constant at both ends of one axis of a tensor of this rank. */
  pad(input: string, rank: number, axis: number, begin: number, end: number, value: number, output?: string): string;
  /** ReduceSum, ReduceMean, ReduceMax, … over these axes, keeping them as 1. */
  reduce(op: string, input: string, axes: readonly number[], output?: string): string;
  reshape(input: string, shape: readonly number[], output?: string): string;
}

/** An op being written for one part. */
export interface Part {
  /** Rows of the outputs that the part makes. */
  readonly out: Range;
  readonly build: ModelBuilder;
  /** Name of the value that holds input `index`: exactly the rows of `need(out)[index]`, or all where that is undefined. */
  input(index: number): string;
  /** Name to give output `index`. */
  output(index: number): string;
}

/** How an op relates the rows of its outputs to the rows of its inputs. */
export type RowRule = LocalRule | GlobalRule | WholeRule;

/** Output rows need a window of input rows. */
export interface LocalRule {
  readonly kind: 'local';
  /** Row axis of every output. All outputs have the same number of rows. */
  readonly axes: readonly number[];
  /**
   * For an input without a row axis of which `need` asks rows all the same (a constant as high as the image): the axis to
   * cut it along. Default: the axis that stands, counted from the last, where the first output has its row axis.
   */
  readonly cutAxes?: readonly (number | undefined)[];
  /** The rows of every input that these output rows need, clipped to the input; undefined: the whole input. Never empty. */
  need(out: Range): readonly (Range | undefined)[];
  /** Writes the op for a part. */
  emit(part: Part): void;
}

/** The op reduces over all rows: every part gives a partial result, and the partial results combine. */
export interface GlobalRule {
  readonly kind: 'global';
  /** Which input is reduced; its rows are divided among the parts. All other inputs must be constant. */
  readonly input: number;
  /** Shape and type of what one part sends. */
  readonly partial: TensorType & { readonly shape: readonly number[] };
  /** Writes the partial result over the given rows of the input. */
  reduce(build: ModelBuilder, input: string, rows: Range, output: string): void;
  /** Writes the op's outputs from partials stacked along a new first axis; `rows` says which rows each one covers. */
  combine(build: ModelBuilder, partials: string, rows: readonly Range[], outputs: readonly string[]): void;
}

/** The op cannot be divided by rows. */
export interface WholeRule {
  readonly kind: 'whole';
  /** Why, for people: "reshapes rows and channels into one axis". */
  readonly reason: string;
}

/** The multiply-adds of a convolution or a matrix product. */
export interface Products {
  /** For one output element; an average where elements differ. */
  readonly each: number;
  /** Axis of the output channels in the output. */
  readonly channelAxis: number;
}

/** How a run of output channels (indices of axis 1) is computed apart from the others. */
export interface ChannelRule {
  /**
   * The input whose same channels the output channels are made from, which is all that they need of it; undefined where each
   * output channel needs all channels of every input and has weights of its own.
   */
  readonly follows: number | undefined;
  /** Constant inputs that hold something for each output channel, and along which axis. */
  readonly cuts: readonly { readonly input: number; readonly axis: number }[];
}

/**
 * How an engine spares an op a pass over memory of its own: `elementwise` while the result of the op before is written;
 * `view` never touches a byte, the same elements in the same order; `layout` moves bytes only, in one pass with its like.
 */
export type Beside = 'elementwise' | 'view' | 'layout';

/** One entry of the registry. */
export interface OpFamily {
  /** ONNX op types of the default domain (or `domain:Type`) that this entry answers for. */
  readonly ops: readonly string[];
  /** Output types from input types and constants. Throws `OP_INVALID` where the node breaks the op's rules. */
  infer(view: OpView): readonly TensorType[];
  /** Floating-point operations of the whole op, a multiply-add counting 2. Default: 0 for pure data movement. */
  flops?(view: OpView): number;
  /** Set for convolutions and matrix products: the multiply-adds that are most of their work. */
  products?(view: OpView): Products;
  /** Whether and how runs of output channels can be computed apart. Default: not. Asked only of nodes whose shapes are known. */
  channels?(view: OpView): ChannelRule | undefined;
  /** What engines do on the side of another op, if anything. Asked only of nodes whose shapes are known. */
  beside?(view: OpView): Beside | undefined;
  /**
   * Whether the smallest change of an input may change an output by much (comparisons, rounding, positions): the outputs
   * behind such an op cannot be compared by value. Default: no.
   */
  jumps?(view: OpView): boolean;
  /**
   * Absolute size up to which results are rounding noise of the op's own arithmetic, for ops that compute near a fixed scale
   * (a logistic function around ½). Two right implementations may differ by it. Default: 0.
   */
  resolution?(view: OpView): number;
  /** Writes the op on whole inputs, for ops that no engine knows. Default: the node as it stands. */
  emitWhole?(view: OpView, build: ModelBuilder, inputs: readonly string[]): void;
  /** `axes[i]` is the row axis of input `i`; at least one is defined. */
  rows(view: OpView, axes: readonly (number | undefined)[]): RowRule;
}

export function whole(reason: string): WholeRule {
  return { kind: 'whole', reason };
}

/** Same dtype as input 0 with this shape: the type most ops make. */
export function like(view: OpView, shape: readonly number[]): TensorType[] {
  return [{ dtype: view.inputs[0]?.dtype, shape }];
}

/** A (possibly negative) axis as an index; throws `OP_INVALID` outside the rank. */
export function axisOf(view: OpView, axis: number, rank: number): number {
  const index = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(index) || index < 0 || index >= rank) {
    throw view.invalid('an axis lies outside the tensor', { expected: `-${rank} to ${rank - 1}`, got: String(axis) });
  }
  return index;
}

/** Emits the node as it stands, on the part's inputs: right for every op whose attributes do not speak of rows. */
export function emitCopy(view: OpView): LocalRule['emit'] {
  return (part) => {
    part.build.copy(
      view.node,
      view.node.inputs.map((name, index) => (name === '' ? '' : part.input(index))),
      view.node.outputs.map((name, index) => (name === '' ? '' : part.output(index))),
    );
  };
}
