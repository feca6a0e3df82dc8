/**
 * Shape inference and constant folding in one walk: what is constant is computed, so that shape arithmetic (Shape → Gather
 * → Concat → Reshape …) turns into numbers and the shapes behind it become known.
 */

import { DistrEdgeError } from '../errors.js';
import { OpView } from '../ops/op.js';
import { familyOf } from '../ops/registry.js';
import type { Tensor } from '../tensor.js';
import { foldNode } from './fold.js';
import type { Graph, Node, TensorType } from './graph.js';

/** The graph with all types that can be told, and without the nodes whose results are constant. */
export function inferTypes(graph: Graph, declared: ReadonlyMap<string, TensorType>): Graph {
  const types = new Map(graph.types);
  const constants = new Map(graph.constants);
  const outputs = new Set(graph.outputs);
  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    const view = new OpView(node, graph.opset, types, constants, false);
    const values = node.outputs.some((name) => outputs.has(name)) ? undefined : folded(view, constants);
    if (values !== undefined) {
      node.outputs.forEach((name, index) => {
        const value = values[index];
        if (name === '' || value === undefined) return;
        constants.set(name, value);
        types.set(name, { dtype: value.dtype, shape: value.shape });
      });
      continue;
    }
    nodes.push(node);
    const inferred = inferNode(view);
    node.outputs.forEach((name, index) => {
      if (name === '') return;
      const known = inferred[index];
      const stated = declared.get(name);
      types.set(name, { dtype: known?.dtype ?? stated?.dtype, shape: known?.shape ?? stated?.shape });
    });
  }
  return { ...graph, nodes, types, constants };
}

function folded(view: OpView, constants: ReadonlyMap<string, Tensor>): readonly Tensor[] | undefined {
  const { node } = view;
  if (node.domain !== '' || node.captures.length > 0) return undefined;
  const first = constants.get(node.inputs[0] ?? '');
  if (node.op === 'Identity' && first !== undefined) return [first];
  return foldNode(view);
}

function inferNode(view: OpView): readonly TensorType[] {
  const family = familyOf(view.node);
  if (family === undefined) return [];
  try {
    return family.infer(view);
  } catch (error) {
    // What the file itself says of the outputs counts then.
    if (error instanceof DistrEdgeError && error.code === 'SHAPE_UNKNOWN') return [];
    throw error;
  }
}
