/**
 * Builds one sub-model: nodes, constants and the tensors it takes and gives, written as an ONNX ModelProto. Small constants
 * stand in the model; larger ones are named as external data, so that the bytes of a weight exist once however many
 * sub-models read it.
 */
import { type AttributeValue, attributeMap, type Graph, type Node, nodeProto, typeOf } from '../graph/graph.js';
import type { DimensionProto, GraphProto, TensorProto, ValueInfoProto } from '../onnx/proto.js';
import { dtypeNumber, externalProtoOf, protoOf } from '../onnx/tensor-proto.js';
import { encodeModelProto } from '../onnx/wire.js';
import type { ModelBuilder, Range } from '../ops/op.js';
import { type DataType, floatTensor, intTensor, sliceRows, type Tensor } from '../tensor.js';
import { fileNameOf } from './file-name.js';

/** Constants up to this many bytes stand in the model itself, where an engine's own shape inference sees them. */
const INLINE_BYTES = 4096;
/** The oldest IR version in which initialisers need not be inputs and every opset is allowed. */
const IR_VERSION = 8;

/** A tensor that a sub-model takes or gives; a negative dimension is left open. */
export interface Port {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
}

export interface BuiltModel {
  /** The ModelProto's bytes. */
  readonly bytes: Uint8Array;
  /** External data the model names: location → bytes (views of the original weights where possible). */
  readonly weights: ReadonlyMap<string, Uint8Array>;
}

export class SubModelBuilder implements ModelBuilder {
  readonly opset: number;
  readonly #graph: Graph;
  readonly #nodes: Node[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #weights = new Map<string, Uint8Array>();
  readonly #known = new Map<string, string>();
  #fresh = 0;

  constructor(graph: Graph) {
    this.#graph = graph;
    this.opset = graph.opset;
  }

  /** A name that nothing in the model has. */
  fresh(): string {
    this.#fresh += 1;
    return `~${this.#fresh}`;
  }

  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    output: string = this.fresh(),
  ): string {
    this.#nodes.push({
      name: `~n${this.#nodes.length}`,
      op,
      domain: '',
      inputs,
      outputs: [output],
      captures: [],
      attributes: attributeMap(attributes),
    });
    return output;
  }

  copy(node: Node, inputs: readonly string[], outputs: readonly string[]): void {
    this.#nodes.push({ ...node, name: `~n${this.#nodes.length}`, inputs, outputs });
  }

  constant(tensor: Tensor): string {
    const key = `${tensor.dtype} ${tensor.shape} ${tensor.data}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const name = this.fresh();
    this.#known.set(key, name);
    this.#initializers.push(protoOf(name, tensor));
    return name;
  }

  /** A constant of the graph by its name, or the given rows of one of its axes. Returns its name in the model. */
  weight(name: string, rows?: { axis: number; range: Range }): string {
    const tensor = this.#graph.constants.get(name) as Tensor;
    const location = rows === undefined ? name : `${name}[${rows.axis}:${rows.range.from}:${rows.range.to}]`;
    const known = this.#known.get(location);
    if (known !== undefined) return known;
    this.#known.set(location, location);
    const value = rows === undefined ? tensor : sliceRows(tensor, rows.axis, rows.range);
    if (value.data.byteLength <= INLINE_BYTES) this.#initializers.push(protoOf(location, value));
    else {
      const file = fileNameOf(location);
      this.#initializers.push(externalProtoOf(location, value, file));
      this.#weights.set(file, value.data);
    }
    return location;
  }

  slice(input: string, axis: number, from: number, to: number | undefined, output?: string, step = 1): string {
    const end = to ?? 0x7fffffff;
    if (this.opset < 10) return this.node('Slice', [input], { axes: [axis], starts: [from], ends: [end] }, output);
    const inputs = [input, this.#ints([from]), this.#ints([end]), this.#ints([axis])];
    return this.node('Slice', step === 1 ? inputs : [...inputs, this.#ints([step])], {}, output);
  }

  concat(inputs: readonly string[], axis: number, output?: string): string {
    const [first] = inputs;
    if (inputs.length === 1 && first !== undefined) {
      return output === undefined ? first : this.node('Identity', [first], {}, output);
    }
    return this.node('Concat', inputs, { axis }, output);
  }

  pad(input: string, rank: number, axis: number, begin: number, end: number, value: number, output?: string): string {
    const pads = new Array<number>(2 * rank).fill(0);
    pads[axis] = begin;
    pads[rank + axis] = end;
    if (this.opset < 11) return this.node('Pad', [input], { mode: 'constant', pads, value: { float: value } }, output);
    return this.node(
      'Pad',
      [input, this.#ints(pads), this.constant(floatTensor([value], []))],
      { mode: 'constant' },
      output,
    );
  }

  reduce(op: string, input: string, axes: readonly number[], output?: string): string {
    const byInput = this.opset >= (op === 'ReduceSum' ? 13 : 18);
    if (byInput) return this.node(op, [input, this.#ints(axes)], { keepdims: 1 }, output);
    return this.node(op, [input], { axes, keepdims: 1 }, output);
  }

  reshape(input: string, shape: readonly number[], output?: string): string {
    return this.node('Reshape', [input, this.#ints(shape)], {}, output);
  }

  #ints(values: readonly number[]): string {
    return this.constant(intTensor(values));
  }

  /** Writes the model. The order of ports is kept. */
  build(inputs: readonly Port[], outputs: readonly Port[]): BuiltModel {
    const graph: GraphProto = {
      name: this.#graph.name === '' ? 'part' : this.#graph.name,
      node: this.#nodes.map(nodeProto),
      initializer: this.#initializers,
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
    };
    const bytes = encodeModelProto({
      irVersion: BigInt(Math.max(IR_VERSION, this.#graph.irVersion)),
      producerName: 'distredge',
      graph,
      opsetImport: this.#graph.opsetImports,
      unknown: this.#graph.extras,
    });
    return { bytes, weights: this.#weights };
  }

  /** Whether a value of the graph is a constant. */
  isConstant(name: string): boolean {
    return this.#graph.constants.has(name);
  }

  /** Element type and shape of a value of the graph. */
  typeOf(name: string): ReturnType<typeof typeOf> {
    return typeOf(this.#graph, name);
  }
}

function valueInfo({ name, dtype, shape }: Port): ValueInfoProto {
  const dim = shape.map(
    (size, axis): DimensionProto => (size < 0 ? { dimParam: `${name}_${axis}` } : { dimValue: BigInt(size) }),
  );
  return { name, type: { tensorType: { elemType: dtypeNumber(dtype), shape: { dim } } } };
}
