/**
 * Where a graph jumps. Behind a comparison or a rounding the smallest difference may flip a value, so outputs behind one are
 * compared by the values that enter it.
 */
import { dtypeNumber } from '../onnx/tensor-proto.js';
import { decodeModelProto, encodeModelProto } from '../onnx/wire.js';
import { OpView } from '../ops/op.js';
import { familyOf } from '../ops/registry.js';
import { type Graph, reads, typeOf } from './graph.js';

/** For every output behind a jump, the computed values of known type that enter the jumps before it. */
export function valuesBeforeJumps(graph: Graph): Map<string, readonly string[]> {
  const entering = new Map<string, ReadonlySet<string>>();
  for (const node of graph.nodes) {
    const found = new Set(reads(node).flatMap((name) => [...(entering.get(name) ?? [])]));
    const view = new OpView(node, graph.opset, graph.types, graph.constants, true);
    if (familyOf(node)?.jumps?.(view) === true) {
      for (const name of reads(node)) {
        const { dtype, shape } = typeOf(graph, name);
        if (!graph.constants.has(name) && dtype?.startsWith('float') && shape !== undefined) found.add(name);
      }
    }
    if (found.size > 0) for (const name of node.outputs) entering.set(name, found);
  }
  return new Map(
    graph.outputs.flatMap((name): [string, string[]][] =>
      entering.has(name) ? [[name, [...(entering.get(name) ?? [])]]] : [],
    ),
  );
}

/** Rounding noise that a value carries from the op it was computed by, through ops that only move it. */
export function resolutionOf(graph: Graph, name: string): number {
  const node = graph.nodes.find(({ outputs }) => outputs.includes(name));
  const family = node && familyOf(node);
  if (node === undefined || family === undefined) return 0;
  const view = new OpView(node, graph.opset, graph.types, graph.constants, true);
  if (family.resolution !== undefined && family.resolution(view) > 0) return family.resolution(view);
  const moves = view.outputs.every(({ shape }) => shape !== undefined) && (family.flops?.(view) ?? 0) === 0;
  return moves ? Math.max(0, ...node.inputs.map((input) => resolutionOf(graph, input))) : 0;
}

/** The graph with some of its values as further outputs. */
export function withOutputs(graph: Graph, names: readonly string[]): Graph {
  return { ...graph, outputs: [...new Set([...graph.outputs, ...names])] };
}

/** A model file's bytes with some of its values as further outputs. */
export function exposeValues(bytes: Uint8Array, graph: Graph, names: readonly string[]): Uint8Array {
  const model = decodeModelProto(bytes);
  const added = names
    .filter((name) => !graph.outputs.includes(name))
    .map((name) => {
      const { dtype = 'float32' } = typeOf(graph, name);
      return { name, type: { tensorType: { elemType: dtypeNumber(dtype) } } };
    });
  return encodeModelProto({ ...model, graph: { ...model.graph, output: [...(model.graph?.output ?? []), ...added] } });
}
