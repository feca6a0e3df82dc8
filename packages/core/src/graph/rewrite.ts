/**
 * Normalisation over the image, rewritten so that a divided image can be normalised: `RowMoments` (ops/row-moments.ts)
 * joins small partial results of all parts, and what follows is arithmetic on each pixel alone. Covers
 * InstanceNormalization, GroupNormalization, MeanVarianceNormalization and the way exporters write a group
 * normalisation without that op: Reshape to groups, InstanceNormalization, Reshape back.
 */
import { floats, floatTensor, intTensor, type Tensor } from '../tensor.js';
import { Attributes, attributeMap, consumers, type Graph, type Node, producers, type TensorType } from './graph.js';

/** Arithmetic broadcasts without attributes since this opset. */
const BROADCASTS = 7;
/** MeanVarianceNormalization adds 1e-9 to the standard deviation: this much to a variance of zero, and hardly any other. */
const MVN_EPSILON = 1e-18;

/** One normalisation found: the nodes it replaces, and what it is. */
interface Found {
  /** The node whose place the new ones take. */
  readonly at: Node;
  /** A node that only carried the result on. */
  readonly drop?: Node;
  readonly x: string;
  readonly output: string;
  readonly groups: number;
  readonly epsilon: number;
  /** Names of scale and bias, one value for each channel or each group; absent where there are none. */
  readonly affine?: readonly [string, string];
}

/** The graph with such nodes rewritten; the same object where there are none. */
export function rewrite(graph: Graph): Graph {
  if (graph.opset < BROADCASTS) return graph;
  const find = finder(graph);
  const found = new Map<Node, Found>();
  const dropped = new Set<Node>();
  for (const node of graph.nodes) {
    const match = find(node);
    if (match === undefined) continue;
    found.set(node, match);
    if (match.drop !== undefined) dropped.add(match.drop);
  }
  if (found.size === 0) return graph;
  const writer = new Writer(graph);
  for (const node of graph.nodes) {
    const match = found.get(node);
    if (match !== undefined) writer.write(match);
    else if (!dropped.has(node)) writer.nodes.push(node);
  }
  return { ...graph, nodes: writer.nodes, types: writer.types, constants: writer.constants };
}

function finder(graph: Graph): (node: Node) => Found | undefined {
  const producer = producers(graph);
  const readers = consumers(graph);
  const kept = new Set(graph.outputs);
  /** The shape of a float32 image: batch, channels and at least one spatial axis. */
  const image = (name: string): readonly number[] | undefined => {
    const { dtype, shape } = graph.types.get(name) ?? {};
    return dtype === 'float32' && shape !== undefined && shape.length > 2 ? shape : undefined;
  };
  /** The names of scale and bias where their length is one of these. */
  const affineOf = (node: Node, lengths: readonly number[]): readonly [string, string] | undefined => {
    const [, scale = '', bias = ''] = node.inputs;
    const fits = [scale, bias].every((name) => {
      const { dtype, shape } = graph.types.get(name) ?? {};
      return dtype === 'float32' && shape?.length === 1 && lengths.includes(shape[0] ?? 0);
    });
    return fits ? [scale, bias] : undefined;
  };
  /** Reshape to [N, groups, -1] before `node` and back after it, with no one else looking on. */
  const between = (node: Node): { x: string; back: Node } | undefined => {
    const [inside = ''] = node.inputs;
    const [result = ''] = node.outputs;
    const before = producer.get(inside);
    const [back, ...others] = readers.get(result) ?? [];
    if (before?.op !== 'Reshape' || back?.op !== 'Reshape' || others.length > 0 || back.inputs[0] !== result)
      return undefined;
    if (before.domain !== '' || back.domain !== '' || kept.has(result)) return undefined;
    const [x = ''] = before.inputs;
    const shape = image(x);
    const grouped = graph.types.get(inside)?.shape;
    const groups = grouped?.[1] ?? 0;
    const restored = graph.types.get(back.outputs[0] ?? '')?.shape;
    if (shape === undefined || grouped?.length !== 3 || `${restored}` !== `${shape}`) return undefined;
    return grouped[0] === shape[0] && (shape[1] ?? 0) % groups === 0 ? { x, back } : undefined;
  };
  return (node) => {
    if (node.domain !== '') return undefined;
    const [x = ''] = node.inputs;
    const [output = ''] = node.outputs;
    const shape = image(x);
    const channels = shape?.[1] ?? 0;
    if (shape === undefined || channels === 0) return undefined;
    const attributes = new Attributes(node.attributes);
    const epsilon = attributes.float('epsilon', 1e-5);
    if (node.op === 'InstanceNormalization') {
      const affine = affineOf(node, [channels]);
      if (affine === undefined) return undefined;
      const around = between(node);
      if (around === undefined) return { at: node, x, output, groups: channels, epsilon, affine };
      const [restored = ''] = around.back.outputs;
      return { at: node, drop: around.back, x: around.x, output: restored, groups: channels, epsilon, affine };
    }
    if (node.op === 'GroupNormalization') {
      const groups = attributes.int('num_groups', 0);
      const affine = affineOf(node, [groups, channels]);
      if (affine === undefined || groups < 1 || channels % groups !== 0) return undefined;
      return { at: node, x, output, groups, epsilon, affine };
    }
    if (node.op !== 'MeanVarianceNormalization') return undefined;
    const axes = new Set((attributes.ints('axes') ?? [0, 2, 3]).map((axis) => (axis < 0 ? axis + shape.length : axis)));
    const spatial = shape.slice(2).every((_, index) => axes.has(index + 2));
    if (!spatial || (axes.has(0) && shape[0] !== 1)) return undefined;
    return { at: node, x, output, groups: axes.has(1) ? 1 : channels, epsilon: MVN_EPSILON };
  };
}

/** Writes the nodes that stand for what was found. */
class Writer {
  readonly nodes: Node[] = [];
  readonly types: Map<string, TensorType>;
  readonly constants: Map<string, Tensor>;

  constructor(graph: Graph) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
  }

  write({ at, x, output, groups, epsilon, affine }: Found): void {
    const shape = this.types.get(x)?.shape ?? [];
    const pooled = shape.map((size, axis) => (axis < 2 ? size : 1));
    const name = (part: string): string => `${output}~${part}`;
    const binary = (op: string, left: string, right: string, made: string, type: readonly number[]): string =>
      this.#node(at, op, [left, right], made, type);
    const moments = [name('mean'), name('rstd')] as const;
    const attributes = attributeMap({ groups, epsilon: { float: epsilon } });
    this.#push(at, { op: 'RowMoments', domain: 'distredge', inputs: [x], outputs: moments, attributes });
    for (const made of moments) this.types.set(made, { dtype: 'float32', shape: pooled });
    const [mean, rstd] = moments;
    const centred = binary('Sub', x, mean, name('centred'), shape);
    if (affine === undefined) {
      binary('Mul', centred, rstd, output, shape);
      return;
    }
    const scale = this.#perChannel(at, affine[0], shape, name('scale'));
    const bias = this.#perChannel(at, affine[1], shape, name('bias'));
    const gain = binary('Mul', rstd, scale, name('gain'), pooled);
    binary('Add', binary('Mul', centred, gain, name('scaled'), shape), bias, output, shape);
  }

  /** A value for each channel or group as [C, 1, …]: a constant, or a Reshape where it is computed. */
  #perChannel(at: Node, weight: string, shape: readonly number[], name: string): string {
    const [, channels = 1, ...spatial] = shape;
    const column = [channels, ...spatial.map(() => 1)];
    const values = this.constants.get(weight);
    if (values !== undefined) {
      const given = floats(values);
      const each = Float32Array.from(
        { length: channels },
        (_, channel) => given[Math.floor((channel * given.length) / channels)] ?? 0,
      );
      return this.#constant(name, floatTensor(each, column));
    }
    const size = this.types.get(weight)?.shape?.[0] ?? channels;
    if (size === channels) return this.#reshaped(at, weight, column, name);
    const rows = this.#reshaped(at, weight, [size, 1], `${name}~column`);
    const times = this.#constant(`${name}~times`, intTensor([1, channels / size]));
    const tiled = this.#node(at, 'Tile', [rows, times], `${name}~tiled`, [size, channels / size]);
    return this.#reshaped(at, tiled, column, name);
  }

  #reshaped(at: Node, value: string, shape: readonly number[], name: string): string {
    return this.#node(at, 'Reshape', [value, this.#constant(`${name}~shape`, intTensor(shape))], name, shape);
  }

  #constant(name: string, tensor: Tensor): string {
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    return name;
  }

  #node(at: Node, op: string, inputs: readonly string[], output: string, shape: readonly number[]): string {
    this.#push(at, { op, domain: '', inputs, outputs: [output], attributes: new Map() });
    this.types.set(output, { dtype: 'float32', shape });
    return output;
  }

  #push(at: Node, node: Pick<Node, 'op' | 'domain' | 'inputs' | 'outputs' | 'attributes'>): void {
    this.nodes.push({ ...node, name: `${at.name}/${node.op}#${this.nodes.length}`, captures: [] });
  }
}
