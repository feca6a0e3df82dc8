/** Writes ONNX graphs of float tensors, node by node; and the model that runs one again and again. */
import {
  type AttributeValue,
  attributeProto,
  dtypeNumber,
  encodeModelProto,
  floatTensor,
  type GraphProto,
  intTensor,
  type NodeProto,
  protoOf,
  type Tensor,
  type TensorProto,
  type ValueInfoProto,
} from '@distredge/core';

/** A tensor that goes in or out; a text stands for a dimension that is open. */
export interface Port {
  readonly name: string;
  readonly dims: readonly (number | string)[];
}

const OPSET = 17n;
const IR_VERSION = 8n;
/** AttributeProto.type of a graph. */
const GRAPH_ATTRIBUTE = 5;

export class GraphWriter {
  readonly #nodes: NodeProto[] = [];
  readonly #constants: TensorProto[] = [];
  readonly #known = new Map<string, string>();
  #names = 0;

  /** Adds a node with one output, and returns its name. */
  node(op: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}): string {
    return this.#add(op, inputs, 1, attributes)[0] as string;
  }

  /** Cuts a tensor along an axis into pieces of these sizes. */
  split(value: string, sizes: readonly number[], axis: number): string[] {
    return this.#add('Split', [value, this.ints(sizes)], sizes.length, { axis });
  }

  /** The same number for all elements of a tensor of these dimensions (of none: a scalar). */
  fill(value: number, dims: readonly number[] = []): string {
    const count = dims.reduce((product, dim) => product * dim, 1);
    return this.#constant(`${value} ${dims}`, floatTensor(new Array<number>(count).fill(value), dims));
  }

  ints(values: readonly number[]): string {
    return this.#constant(`ints ${values}`, intTensor(values));
  }

  graph(inputs: readonly Port[], outputs: readonly Port[]): GraphProto {
    return {
      name: 'graph',
      node: this.#nodes,
      initializer: this.#constants,
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
    };
  }

  #add(
    op: string,
    inputs: readonly string[],
    count: number,
    values: Readonly<Record<string, AttributeValue>>,
  ): string[] {
    const output = Array.from({ length: count }, () => this.#fresh());
    const attribute = Object.entries(values).map(([name, value]) => attributeProto(name, value));
    this.#nodes.push({ name: `node ${this.#nodes.length}`, opType: op, input: inputs, output, attribute });
    return output;
  }

  #constant(key: string, tensor: Tensor): string {
    const name = this.#known.get(key) ?? this.#fresh();
    if (!this.#known.has(key)) this.#constants.push(protoOf(name, tensor));
    this.#known.set(key, name);
    return name;
  }

  #fresh(): string {
    this.#names += 1;
    return `value ${this.#names}`;
  }
}

/**
 * A model that runs `body` once for every item along the first axis of its sequences (ONNX's Scan). The body takes the
 * states and one item of every sequence; it gives the next states, then what is stacked. Inputs have the body's names;
 * outputs are the last states, with their names and `'` after them, and the stacks.
 */
export function scanModel(
  body: GraphProto,
  states: readonly Port[],
  sequences: readonly Port[],
  stacks: readonly Port[],
): Uint8Array {
  const along = ({ name, dims }: Port): Port => ({ name, dims: ['items', ...dims] });
  const inputs = [...states, ...sequences.map(along)];
  const outputs = [...states.map(({ name, dims }) => ({ name: `${name}'`, dims })), ...stacks.map(along)];
  const scan: NodeProto = {
    name: 'scan',
    opType: 'Scan',
    input: inputs.map(({ name }) => name),
    output: outputs.map(({ name }) => name),
    attribute: [{ name: 'body', type: GRAPH_ATTRIBUTE, g: body }, attributeProto('num_scan_inputs', sequences.length)],
  };
  return encodeModelProto({
    irVersion: IR_VERSION,
    producerName: 'distredge',
    graph: { name: 'scan', node: [scan], input: inputs.map(valueInfo), output: outputs.map(valueInfo) },
    opsetImport: [{ domain: '', version: OPSET }],
  });
}

function valueInfo({ name, dims }: Port): ValueInfoProto {
  const dim = dims.map((size) => (typeof size === 'string' ? { dimParam: size } : { dimValue: BigInt(size) }));
  return { name, type: { tensorType: { elemType: dtypeNumber('float32'), shape: { dim } } } };
}
