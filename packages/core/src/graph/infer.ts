/**
 * Shape inference and constant folding in one walk: what is constant is computed, so that shape arithmetic (Shape → Gather
 * → Concat → Reshape …) turns into numbers and the shapes behind it become known.
 */

import { DistrEdgeError } from '../errors.js';
import { OpView } from '../ops/op.js';
import { familyOf } from '../ops/registry.js';
import { elements, type Tensor } from '../tensor.js';
import { foldNode } from './fold.js';
import type { Graph, Node, TensorType } from './graph.js';

/** No device holds a tensor of more: 2³² float32 elements are 16 GiB. */
const MAX_ELEMENTS = 2 ** 32;

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

function checkedSize(view: OpView, type: TensorType): TensorType {
  // Where one dimension is 0 the others may not be any size either: they are rows to cut, or loops to run.
  if (type.shape === undefined || elements(type.shape.map((dim) => dim || 1)) <= MAX_ELEMENTS) return type;
  throw new DistrEdgeError('MODEL_LIMIT', 'a result would be too large to compute', {
    where: `${view.node.op} '${view.node.name}'`,
    expected: `≤ ${MAX_ELEMENTS} elements`,
    got: `[${type.shape.join(', ')}]`,
  });
}

function inferNode(view: OpView): readonly TensorType[] {
  const family = familyOf(view.node);
  if (family === undefined) return [];
  try {
    return family.infer(view).map((type) => checkedSize(view, type));
  } catch (error) {
    if (error instanceof DistrEdgeError && error.code === 'OP_INVALID' && error.where === undefined) {
      throw view.invalid(error.message, error.got === undefined ? {} : { got: error.got });
    }
    // What the file itself says of the outputs counts then.
    if (error instanceof DistrEdgeError && error.code === 'SHAPE_UNKNOWN') return [];
    throw error;
  }
}
