/**
 * A model file becomes a `Graph`: checked, sorted, with dynamic dimensions bound, shapes inferred and everything that is
 * constant computed once. What the file's own order, naming or placement of constants was does not matter afterwards.
 */
import { DistrEdgeError } from '../errors.js';
import {
  type AttributeProto,
  AttributeType,
  type DimensionProto,
  type GraphProto,
  type NodeProto,
  type TypeProto,
  type ValueInfoProto,
} from '../onnx/proto.js';
import { dtypeOf, type ExternalData, tensorOf } from '../onnx/tensor-proto.js';
import { decodeModelProto } from '../onnx/wire.js';
import type { Tensor } from '../tensor.js';
import type { Graph, Node, TensorType } from './graph.js';
import { inferTypes } from './infer.js';
import { rewrite } from './rewrite.js';

export interface LoadOptions {
  /** Shapes to bind inputs to, by name; needed only where the file leaves dimensions open. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** Height and width for open image dimensions of inputs that `shapes` does not name. Default 320 × 320. */
  readonly size?: { readonly height: number; readonly width: number };
  /** Reads weights kept in other files. */
  readonly external?: ExternalData;
}

/** Above this a file is not a network but an attack on the reader. */
const MAX_NODES = 200_000;
const DEFAULT_SIZE = { height: 320, width: 320 };

/** Decodes, checks and prepares a model. Throws `MODEL_*`, `SHAPE_MISMATCH` or `OP_INVALID` with the place. */
export function loadGraph(bytes: Uint8Array, options: LoadOptions = {}): Graph {
  const model = decodeModelProto(bytes);
  const proto = model.graph;
  if (proto === undefined || ((proto.node?.length ?? 0) === 0 && (proto.output?.length ?? 0) === 0)) {
    throw new DistrEdgeError('MODEL_INVALID', 'the file holds no graph', {
      expected: 'an ONNX ModelProto with nodes and outputs',
      hint: 'check that this is an .onnx file and not another format',
    });
  }
  const opsetImports = model.opsetImport ?? [];
  const opset = Number(opsetImports.find(({ domain }) => (domain ?? '') === '' || domain === 'ai.onnx')?.version ?? 1n);
  const constants = new Map<string, Tensor>();
  for (const initializer of proto.initializer ?? []) {
    const tensor = tensorOf(initializer, options.external);
    if (tensor === undefined) {
      throw new DistrEdgeError('MODEL_INVALID', 'a weight has an element type that is not supported', {
        where: `tensor '${initializer.name ?? ''}'`,
        expected: 'float, integer or boolean elements',
        got: `ONNX element type ${initializer.dataType ?? 0}`,
      });
    }
    constants.set(initializer.name ?? '', tensor);
  }
  const inputs = (proto.input ?? []).filter(({ name }) => !constants.has(name ?? ''));
  const declared = new Map<string, TensorType>();
  for (const info of [...(proto.valueInfo ?? []), ...(proto.output ?? [])])
    declared.set(info.name ?? '', declaredType(info));
  const types = new Map<string, TensorType>();
  for (const [name, { dtype, shape }] of constants) types.set(name, { dtype, shape });
  for (const info of inputs) types.set(info.name ?? '', boundType(info, options));
  for (const name of Object.keys(options.shapes ?? {})) {
    if (!inputs.some((info) => info.name === name)) {
      throw new DistrEdgeError('SHAPE_MISMATCH', 'a shape is given for an input that the model does not have', {
        where: `input '${name}'`,
        expected: `one of ${inputs.map((info) => `'${info.name ?? ''}'`).join(', ')}`,
      });
    }
  }
  const outputs = (proto.output ?? []).map(({ name }) => name ?? '');
  const nodes = sorted(nodesOf(proto), new Set(types.keys()), outputs);
  const graph: Graph = {
    name: proto.name ?? '',
    opset,
    opsetImports,
    irVersion: Number(model.irVersion ?? 0n),
    extras: model.unknown ?? [],
    nodes,
    inputs: inputs.map(({ name }) => name ?? ''),
    outputs,
    types,
    constants,
  };
  return withoutDead(rewrite(inferTypes(graph, declared)));
}

/** The external files a model refers to, relative to its own folder. */
export function externalLocations(bytes: Uint8Array): string[] {
  const tensors = decodeModelProto(bytes).graph?.initializer ?? [];
  const locations = tensors.flatMap(({ dataLocation, externalData }) =>
    dataLocation === 1
      ? (externalData?.filter(({ key }) => key === 'location').map(({ value }) => value ?? '') ?? [])
      : [],
  );
  return [...new Set(locations)];
}

/** The dimensions as the file states them; none for a scalar, undefined where it says nothing. */
function dimsOf(type: TypeProto | undefined): readonly DimensionProto[] | undefined {
  const shape = type?.tensorType?.shape;
  return shape === undefined ? undefined : (shape.dim ?? []);
}

function declaredType({ type }: ValueInfoProto): TensorType {
  const dims = dimsOf(type)?.map(({ dimValue }) => (dimValue === undefined ? -1 : Number(dimValue)));
  const known = dims?.every((dim) => dim >= 0) ? dims : undefined;
  return { dtype: dtypeOf(type?.tensorType?.elemType), shape: known };
}

/** An input's type with every dimension a number: given, from the file, or by default. */
function boundType({ name = '', type }: ValueInfoProto, { shapes, size = DEFAULT_SIZE }: LoadOptions): TensorType {
  const where = `input '${name}'`;
  const dtype = dtypeOf(type?.tensorType?.elemType);
  if (dtype === undefined) {
    throw new DistrEdgeError('MODEL_INVALID', 'an input is not a tensor of numbers', {
      where,
      got: `ONNX element type ${type?.tensorType?.elemType ?? 'unknown'}`,
      hint: 'text, sequences and maps cannot be sent: export the network without what prepares its input',
    });
  }
  const dims = dimsOf(type);
  const given = shapes !== undefined && Object.hasOwn(shapes, name) ? shapes[name] : undefined;
  if (dims === undefined) {
    if (given !== undefined) return { dtype, shape: given };
    throw new DistrEdgeError('SHAPE_UNKNOWN', 'the model does not say how many dimensions an input has', {
      where,
      hint: `give its shape: --shape ${name}=1,3,224,224`,
    });
  }
  if (given !== undefined && given.length !== dims.length) {
    throw new DistrEdgeError('SHAPE_MISMATCH', 'the given shape has another number of dimensions than the input', {
      where,
      expected: `${dims.length} dimensions`,
      got: `[${given.join(', ')}]`,
    });
  }
  const fixed = dims.map(({ dimValue }) => (dimValue === undefined || dimValue <= 0n ? undefined : Number(dimValue)));
  const shape = fixed.map((dim, axis) => {
    const wanted = given?.[axis];
    if (dim !== undefined && wanted !== undefined && dim !== wanted) {
      throw new DistrEdgeError('SHAPE_MISMATCH', 'the given shape does not fit the input', {
        where,
        expected: `[${fixed.map((item) => item ?? '?').join(', ')}]`,
        got: `[${given?.join(', ')}]`,
      });
    }
    return wanted ?? dim ?? defaultDim(fixed, axis, size);
  });
  if (shape.some((dim) => !Number.isInteger(dim) || dim < 1 || dim > 1 << 20)) {
    throw new DistrEdgeError('SHAPE_MISMATCH', 'a dimension is not a whole number of at least 1', {
      where,
      got: `[${shape.join(', ')}]`,
    });
  }
  return { dtype, shape };
}

/** Open dimensions: one image; channels 3 where that is open too; the rest is height, then width. */
function defaultDim(
  fixed: readonly (number | undefined)[],
  axis: number,
  size: { height: number; width: number },
): number {
  if (axis === 0) return 1;
  const last = fixed.length - 1;
  const channelsLast = fixed[last] !== undefined && fixed[1] === undefined;
  const spatial = fixed.map((_, index) => index).filter((index) => index > 0 && index !== (channelsLast ? last : 1));
  const place = spatial.indexOf(axis);
  if (place < 0) return 3;
  return place === spatial.length - 1 && spatial.length > 1 ? size.width : size.height;
}

function nodesOf(proto: GraphProto): Node[] {
  const list = proto.node ?? [];
  if (list.length > MAX_NODES) {
    throw new DistrEdgeError('MODEL_LIMIT', 'the model has too many nodes', {
      expected: `≤ ${MAX_NODES}`,
      got: `${list.length}`,
    });
  }
  const names = new Set<string>();
  return list.map((node, index) => {
    const op = node.opType ?? '';
    let name = node.name ?? '';
    if (name === '' || names.has(name)) name = `${op}#${index}`;
    names.add(name);
    const domain = node.domain === 'ai.onnx' ? '' : (node.domain ?? '');
    const attributes = new Map(
      (node.attribute ?? []).map((attribute): [string, AttributeProto] => [attribute.name ?? '', attribute]),
    );
    const captures = [...new Set((node.attribute ?? []).flatMap(subgraphs).flatMap((graph) => freeNames(graph)))];
    return { name, op, domain, inputs: node.input ?? [], outputs: node.output ?? [], captures, attributes };
  });
}

function subgraphs({ type, g, graphs }: AttributeProto): readonly GraphProto[] {
  return type === AttributeType.graph && g !== undefined ? [g] : (graphs ?? []);
}

/** Values that a subgraph reads from outside. */
function freeNames(graph: GraphProto): string[] {
  const own = new Set<string>([
    ...(graph.input ?? []).map(({ name }) => name ?? ''),
    ...(graph.initializer ?? []).map(({ name }) => name ?? ''),
    ...(graph.node ?? []).flatMap(({ output }) => output ?? []),
  ]);
  const used = (graph.node ?? []).flatMap((node: NodeProto) => [
    ...(node.input ?? []),
    ...(node.attribute ?? []).flatMap(subgraphs).flatMap(freeNames),
  ]);
  return [...used, ...(graph.output ?? []).map(({ name }) => name ?? '')].filter(
    (name) => name !== '' && !own.has(name),
  );
}

/** Nodes in an order in which each one's inputs exist, the file's order where that is free. */
function sorted(nodes: readonly Node[], given: ReadonlySet<string>, outputs: readonly string[]): Node[] {
  const producer = new Map<string, number>();
  nodes.forEach((node, index) => {
    for (const output of node.outputs) {
      if (output === '') continue;
      if (producer.has(output) || given.has(output)) {
        throw new DistrEdgeError('MODEL_INVALID', 'a value is made twice', {
          where: `value '${output}', ${node.op} '${node.name}'`,
          expected: 'one node, input or weight for each value',
        });
      }
      producer.set(output, index);
    }
  });
  const missing = (name: string, where: string): DistrEdgeError =>
    new DistrEdgeError('MODEL_MISSING_VALUE', 'the model reads a value that nothing makes', {
      where,
      expected: `'${name}' as an input, a weight or another node's output`,
      hint: 'the file may have been cut or exported without its weights; export it again',
    });
  for (const output of outputs) {
    if (!producer.has(output) && !given.has(output)) throw missing(output, `output '${output}'`);
  }
  const waiting = nodes.map(() => 0);
  const next = nodes.map((): number[] => []);
  nodes.forEach((node, index) => {
    for (const input of new Set([...node.inputs, ...node.captures])) {
      if (input === '' || given.has(input)) continue;
      const from = producer.get(input);
      if (from === undefined) throw missing(input, `${node.op} '${node.name}'`);
      waiting[index] = (waiting[index] ?? 0) + 1;
      next[from]?.push(index);
    }
  });
  const order: Node[] = [];
  const ready = new MinHeap();
  waiting.forEach((count, index) => {
    if (count === 0) ready.push(index);
  });
  for (let index = ready.pop(); index !== undefined; index = ready.pop()) {
    order.push(nodes[index] as Node);
    for (const target of next[index] ?? []) {
      const left = (waiting[target] ?? 0) - 1;
      waiting[target] = left;
      if (left === 0) ready.push(target);
    }
  }
  if (order.length < nodes.length) {
    const stuck = nodes.filter((_, index) => (waiting[index] ?? 0) > 0).slice(0, 4);
    throw new DistrEdgeError('MODEL_CYCLE', 'the model has a cycle: some nodes wait for each other', {
      where: stuck.map((node) => `${node.op} '${node.name}'`).join(', '),
      hint: 'a feed-forward network has none; export the model again',
    });
  }
  return order;
}

/** Indices, smallest first. */
class MinHeap {
  readonly #items: number[] = [];
  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((items[parent] as number) <= item) break;
      items[at] = items[parent] as number;
      at = parent;
    }
    items[at] = item;
  }
  pop(): number | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && (items[child + 1] as number) < (items[child] as number)) child += 1;
      if ((items[child] as number) >= last) break;
      items[at] = items[child] as number;
      at = child;
    }
    items[at] = last;
    return top;
  }
}

/** The graph without nodes and constants that no output needs. */
function withoutDead(graph: Graph): Graph {
  const needed = new Set(graph.outputs);
  const nodes: Node[] = [];
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    nodes.push(node);
    for (const input of [...node.inputs, ...node.captures]) needed.add(input);
  }
  const constants = new Map([...graph.constants].filter(([name]) => needed.has(name)));
  return { ...graph, nodes: nodes.reverse(), constants };
}
