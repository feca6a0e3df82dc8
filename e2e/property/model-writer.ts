/**
 * Writes a small ONNX model node by node, keeps the shape of every value, and can tell the model in one line per node. The
 * shapes are computed by whoever adds a node, apart from the product's own inference.
 */
import { floatTensor, intTensor, type Tensor } from '@distredge/core';
import { seeded } from '../../bench/_seeded.js';
import { type AttributeValue, attributeProto } from '../../packages/core/src/graph/graph.js';
import {
  AttributeType,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../../packages/core/src/onnx/proto.js';
import { dtypeNumber, protoOf } from '../../packages/core/src/onnx/tensor-proto.js';
import { encodeModelProto } from '../../packages/core/src/onnx/wire.js';

export interface Value {
  readonly name: string;
  readonly shape: readonly number[];
}

export type Operand = Value | string | undefined;

export interface RandomModel {
  readonly bytes: Uint8Array;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: readonly Value[];
  /** The model for people: one line per node. */
  readonly text: string;
}

export class ModelWriter {
  readonly opset: number;
  readonly #constantNodes: boolean;
  readonly #random: () => number;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #feeds: Record<string, Tensor> = {};
  readonly #lines: string[] = [];
  readonly #shown = new Map<string, string>();
  #count = 0;

  /** @param constantNodes whether constants stand in Constant nodes, as some exporters write them */
  constructor(opset: number, seed: number, constantNodes: boolean) {
    this.opset = opset;
    this.#constantNodes = constantNodes;
    this.#random = seeded(seed);
  }

  /** Values between −1 and 1, or 0 to 255 for whole numbers. */
  input(name: string, shape: readonly number[], dtype: 'float32' | 'uint8' = 'float32'): Value {
    const count = shape.reduce((product, dim) => product * dim, 1);
    const tensor: Tensor =
      dtype === 'float32'
        ? floatTensor(this.#uniform(count, 1, 0), shape)
        : { dtype, shape, data: Uint8Array.from({ length: count }, () => Math.floor(this.#random() * 256)) };
    this.#feeds[name] = tensor;
    this.#inputs.push(typed(name, dtype, shape));
    this.#lines.push(`input ${name} ${dtype} [${shape.join(',')}]`);
    return { name, shape };
  }

  #uniform(count: number, scale: number, offset: number): Float32Array {
    return Float32Array.from({ length: count }, () => (this.#random() * 2 - 1) * scale + offset);
  }

  /** A constant of random values, `offset` ± `scale`. */
  weight(shape: readonly number[], scale = 1, offset = 0): string {
    const count = shape.reduce((product, dim) => product * dim, 1);
    return this.constant(floatTensor(this.#uniform(count, scale, offset), shape), `w[${shape.join(',')}]`);
  }

  floats(values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.constant(floatTensor(values, shape), `[${values.join(',')}]`);
  }

  ints(values: readonly number[]): string {
    return this.constant(intTensor(values), `[${values.join(',')}]`);
  }

  constant(tensor: Tensor, shown: string): string {
    const name = `c${this.#count++}`;
    this.#shown.set(name, shown);
    if (!this.#constantNodes) this.#initializers.push(protoOf(name, tensor));
    else {
      const value = { name: 'value', type: AttributeType.tensor, t: protoOf('', tensor) };
      this.#nodes.push({ name: `${name}_node`, opType: 'Constant', input: [], output: [name], attribute: [value] });
    }
    return name;
  }

  node(
    op: string,
    inputs: readonly Operand[],
    attributes: Readonly<Record<string, AttributeValue>>,
    shape: readonly number[],
  ): Value {
    return this.nodes(op, inputs, attributes, [shape])[0] as Value;
  }

  /** A node with several outputs. */
  nodes(
    op: string,
    inputs: readonly Operand[],
    attributes: Readonly<Record<string, AttributeValue>>,
    shapes: readonly (readonly number[])[],
  ): Value[] {
    const input = inputs.map((item) => (item === undefined ? '' : typeof item === 'string' ? item : item.name));
    const outputs = shapes.map((shape): Value => ({ name: `v${this.#count++}`, shape }));
    const output = outputs.map(({ name }) => name);
    const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
    this.#nodes.push({ name: `n${this.#nodes.length}`, opType: op, input, output, attribute });
    const told = Object.entries(attributes).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
    const left = outputs.map(({ name, shape }) => `${name}[${shape.join(',')}]`).join(' ');
    const right = input.map((name) => this.#shown.get(name) ?? name).join(', ');
    this.#lines.push(`${left} = ${op}(${right})${told.length === 0 ? '' : ` ${told.join(' ')}`}`);
    return outputs;
  }

  /** An If whose branches compute one op each of a value from outside. */
  branch(condition: Value, x: Value, ops: readonly [string, string]): Value {
    const output: Value = { name: `v${this.#count++}`, shape: x.shape };
    const attribute = ['then_branch', 'else_branch'].map((name, index) => {
      const made = `${output.name}_${name}`;
      const node = [{ name: `${made}_node`, opType: ops[index] as string, input: [x.name], output: [made] }];
      const g = { name: made, node, output: [typed(made, 'float32', x.shape)] };
      return { name, type: AttributeType.graph, g };
    });
    const name = `n${this.#nodes.length}`;
    this.#nodes.push({ name, opType: 'If', input: [condition.name], output: [output.name], attribute });
    this.#lines.push(`${output.name}[${x.shape.join(',')}] = If(${condition.name}) ${ops.join(' or ')} of ${x.name}`);
    return output;
  }

  finish(outputs: readonly Value[]): RandomModel {
    const names = [...new Map(outputs.map((output) => [output.name, output])).values()];
    // Old models list their weights among the inputs.
    const old = this.opset < 11;
    const weights = this.#initializers.map(({ name = '', dataType, dims }): ValueInfoProto => {
      const dim = (dims ?? []).map((dimValue) => ({ dimValue }));
      return { name, type: { tensorType: { elemType: dataType ?? 1, shape: { dim } } } };
    });
    const bytes = encodeModelProto({
      irVersion: old ? 3n : 8n,
      producerName: 'random',
      opsetImport: [{ domain: '', version: BigInt(this.opset) }],
      graph: {
        name: 'random',
        node: this.#nodes,
        initializer: this.#initializers,
        input: old ? [...this.#inputs, ...weights] : this.#inputs,
        output: names.map(({ name, shape }) => typed(name, 'float32', shape)),
      },
    });
    const text = [`opset ${this.opset}`, ...this.#lines, `outputs ${names.map(({ name }) => name).join(' ')}`].join(
      '\n',
    );
    return { bytes, inputs: this.#feeds, outputs: names, text };
  }
}

function typed(name: string, dtype: Tensor['dtype'], shape: readonly number[]): ValueInfoProto {
  const dim = shape.map((size) => ({ dimValue: BigInt(size) }));
  return { name, type: { tensorType: { elemType: dtypeNumber(dtype), shape: { dim } } } };
}
