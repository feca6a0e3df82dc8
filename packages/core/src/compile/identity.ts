/**
 * What the time of some nodes depends on, as text: ops, attributes, shapes, how they are joined; not the values of weights.
 * Nodes with the same text take the same time.
 */
import { type Graph, type Node, typeOf } from '../graph/graph.js';
import { numbers } from '../onnx/tensor-proto.js';

/** Integer constants up to this many bytes (target shapes, indices, permutations) count by value. */
const SMALL_BYTES = 1024;

/** The whole model, its tensors by their names. */
export function modelIdentity(graph: Graph): string {
  const ports = [...graph.inputs, ...graph.outputs].map((name) => `${name} ${typeText(graph, name)}`);
  return [`opset ${graph.opset}`, ...ports, ...graph.nodes.map((node) => nodeText(graph, node, (name) => name))].join(
    '\n',
  );
}

/** Some nodes wherever they stand: the tensors between them count, their names do not. */
export function nodesIdentity(graph: Graph, nodes: readonly Node[]): string {
  const numbersOf = new Map<string, number>();
  const rename = (name: string): string => {
    const known = numbersOf.get(name) ?? numbersOf.size;
    numbersOf.set(name, known);
    return `${known}`;
  };
  return nodes.map((node) => nodeText(graph, node, rename)).join('\n');
}

function nodeText(graph: Graph, node: Node, rename: (name: string) => string): string {
  const operand = (name: string): string => {
    const constant = graph.constants.get(name);
    if (name === '') return '-';
    if (constant === undefined) return `${rename(name)}:${typeText(graph, name)}`;
    const whole = /int|bool/.test(constant.dtype) && constant.data.byteLength <= SMALL_BYTES;
    return `${constant.dtype}[${constant.shape}]${whole ? `=${numbers(constant)}` : ''}`;
  };
  const attributes = [...node.attributes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${JSON.stringify(value, plain)}`);
  return [
    `${node.domain}:${node.op}`,
    ...attributes,
    ...[...node.inputs, ...node.captures].map(operand),
    '>',
    ...node.outputs.map(operand),
  ].join(' ');
}

function typeText(graph: Graph, name: string): string {
  const { dtype, shape } = typeOf(graph, name);
  return `${dtype ?? '?'}[${shape ?? '?'}]`;
}

/** Attribute values as JSON can hold them. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  return value instanceof Uint8Array ? [...value] : value;
}
