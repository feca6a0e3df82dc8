/**
 * A small builder for ONNX graphs (opset 17): `Net` collects nodes and weights, `Layer` is a value on which the next layer
 * is called, so that a network reads like the table in its paper. Shapes are computed here, apart from the core's own
 * inference. Weights are only described; `zoo.ts` gives them values.
 */
import {
  attributeProto,
  dtypeNumber,
  type GraphProto,
  intTensor,
  type NodeProto,
  protoOf,
  type TensorProto,
  type ValueInfoProto,
} from '@distredge/core';
import { type Attributes, Layer, type NodeWriter } from './layer.js';

/** A weight without its values: they are drawn with this mean and standard deviation. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean: number;
  readonly deviation: number;
}

/** A network that can be built: its name for people, where it is published, and its layers. */
export interface Architecture {
  readonly title: string;
  readonly source: string;
  build(net: Net): void;
}

/** One graph under construction. */
export class Net implements NodeWriter {
  readonly #nodes: NodeProto[] = [];
  readonly #weights: WeightSpec[] = [];
  readonly #constants: TensorProto[] = [];
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #counts = new Map<string, number>();

  input(name: string, shape: readonly number[]): Layer {
    this.#inputs.push(floatInfo(name, shape));
    return new Layer(this, name, shape);
  }

  /** Declares outputs, in this order. */
  output(...layers: readonly Layer[]): void {
    for (const { name, shape } of layers) this.#outputs.push(floatInfo(name, shape));
  }

  /** Adds a node with one output; both have the given name, or one after the op. */
  node(op: string, inputs: readonly string[], attributes: Attributes, name: string = this.fresh(op)): string {
    const attribute = Object.entries(attributes).map(([key, value]) => attributeProto(key, value));
    this.#nodes.push({ name, opType: op, input: inputs, output: [name], attribute });
    return name;
  }

  fresh(op: string): string {
    const count = (this.#counts.get(op) ?? 0) + 1;
    this.#counts.set(op, count);
    return `${op.toLowerCase()}_${count}`;
  }

  /** Adds a weight; returns its name. */
  weight(name: string, shape: readonly number[], mean: number, deviation: number): string {
    this.#weights.push({ name, shape, mean, deviation });
    return name;
  }

  /** Adds whole numbers as a constant; returns its name. */
  ints(values: readonly number[]): string {
    const name = this.fresh('const');
    this.#constants.push(protoOf(name, intTensor(values)));
    return name;
  }

  /** Values joined along their channels. */
  concat(layers: readonly Layer[]): Layer {
    const [first] = layers as readonly [Layer];
    const channels = layers.reduce((sum, layer) => sum + layer.channels, 0);
    const names = layers.map(({ name }) => name);
    const shape = [first.shape[0] ?? 1, channels, ...first.shape.slice(2)];
    return new Layer(this, this.node('Concat', names, { axis: 1 }), shape);
  }

  get weights(): readonly WeightSpec[] {
    return this.#weights;
  }

  /** The graph, with these tensors as its weights. */
  graph(name: string, weights: readonly TensorProto[]): GraphProto {
    const initializer = [...weights, ...this.#constants];
    return { name, node: this.#nodes, initializer, input: this.#inputs, output: this.#outputs };
  }
}

function floatInfo(name: string, shape: readonly number[]): ValueInfoProto {
  const dim = shape.map((size) => ({ dimValue: BigInt(size) }));
  return { name, type: { tensorType: { elemType: dtypeNumber('float32'), shape: { dim } } } };
}
