/**
 * The immutable graph: nodes in an order in which they can run, the type of every value, and the constants. Made by
 * `load.ts` from a model file; every later stage reads it and none changes it.
 */
import { type AttributeProto, AttributeType, type NodeProto, type OperatorSetIdProto } from '../onnx/proto.js';
import { clampBigInt } from '../onnx/tensor-proto.js';
import type { DataType, Tensor } from '../tensor.js';

/** What is known of a value. `dtype` is undefined for types that cannot be sent; `shape` where it cannot be told. */
export interface TensorType {
  readonly dtype: DataType | undefined;
  readonly shape: readonly number[] | undefined;
}

/** One operation. Absent optional inputs are ''. */
export interface Node {
  /** Its name in the file, or `op#index` where it has none. Unique. */
  readonly name: string;
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Values that subgraphs of this node read from the graph around it (If, Loop, Scan). */
  readonly captures: readonly string[];
  readonly attributes: ReadonlyMap<string, AttributeProto>;
}

export interface Graph {
  readonly name: string;
  /** Version of the default operator set; decides the form of every op. */
  readonly opset: number;
  readonly opsetImports: readonly OperatorSetIdProto[];
  readonly irVersion: number;
  /** Fields of the model that nothing here reads (local functions among them); they go into every sub-model. */
  readonly extras: readonly Uint8Array[];
  /** Topologically sorted. */
  readonly nodes: readonly Node[];
  /** Values that a caller must give. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly types: ReadonlyMap<string, TensorType>;
  readonly constants: ReadonlyMap<string, Tensor>;
}

/** The node that makes each value. */
export function producers(graph: Pick<Graph, 'nodes'>): Map<string, Node> {
  const map = new Map<string, Node>();
  for (const node of graph.nodes) for (const output of node.outputs) if (output !== '') map.set(output, node);
  return map;
}

/** The nodes that read each value, in order. */
export function consumers(graph: Pick<Graph, 'nodes'>): Map<string, Node[]> {
  const map = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const input of new Set(reads(node))) {
      const list = map.get(input);
      if (list === undefined) map.set(input, [node]);
      else list.push(node);
    }
  }
  return map;
}

/** Every value a node reads, captures of its subgraphs included. */
export function reads(node: Node): string[] {
  return [...node.inputs, ...node.captures].filter((name) => name !== '');
}

/** The type of a value, or "nothing known". */
export function typeOf(graph: Pick<Graph, 'types'>, name: string): TensorType {
  return graph.types.get(name) ?? { dtype: undefined, shape: undefined };
}

/** Typed reading of a node's attributes; 64-bit values come as numbers inside the safe range. */
export class Attributes {
  readonly #map: ReadonlyMap<string, AttributeProto>;
  constructor(map: ReadonlyMap<string, AttributeProto>) {
    this.#map = map;
  }
  has(name: string): boolean {
    return this.#map.has(name);
  }
  int(name: string, otherwise: number): number {
    const value = this.#map.get(name)?.i;
    return value === undefined ? (this.#map.has(name) ? 0 : otherwise) : clampBigInt(value);
  }
  ints(name: string): number[] | undefined {
    const attribute = this.#map.get(name);
    return attribute === undefined ? undefined : (attribute.ints ?? []).map(clampBigInt);
  }
  float(name: string, otherwise: number): number {
    const attribute = this.#map.get(name);
    return attribute === undefined ? otherwise : (attribute.f ?? 0);
  }
  floats(name: string): number[] | undefined {
    const attribute = this.#map.get(name);
    return attribute === undefined ? undefined : [...(attribute.floats ?? [])];
  }
  string(name: string, otherwise: string): string {
    const attribute = this.#map.get(name);
    return attribute === undefined ? otherwise : utf8(attribute.s ?? new Uint8Array());
  }
}

/** UTF-8 bytes as text. Attribute strings are short ASCII words (`NOTSET`, `linear`), so no decoder is needed. */
function utf8(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 256));
}

/** Attribute values as they are written in code: numbers are floats only inside `{ float }` or `{ floats }`. */
export type AttributeValue =
  | number
  | readonly number[]
  | string
  | { readonly float: number }
  | { readonly floats: readonly number[] };

/** An AttributeProto from a plain value. */
export function attributeProto(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number') return { name, type: AttributeType.int, i: BigInt(value) };
  if (typeof value === 'string') {
    return { name, type: AttributeType.string, s: Uint8Array.from(value, (char) => char.charCodeAt(0)) };
  }
  if ('float' in value) return { name, type: AttributeType.float, f: value.float };
  if ('floats' in value) return { name, type: AttributeType.floats, floats: value.floats };
  return { name, type: AttributeType.ints, ints: value.map((item) => BigInt(item)) };
}

/** A node's attributes from plain values. */
export function attributeMap(values: Readonly<Record<string, AttributeValue>>): Map<string, AttributeProto> {
  return new Map(Object.entries(values).map(([name, value]) => [name, attributeProto(name, value)]));
}

/** The node as ONNX writes it. */
export function nodeProto(node: Node): NodeProto {
  return {
    name: node.name,
    opType: node.op,
    ...(node.domain === '' ? {} : { domain: node.domain }),
    input: node.inputs,
    output: node.outputs,
    attribute: [...node.attributes.values()],
  };
}
