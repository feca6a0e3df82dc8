/**
 * Computes a node whose inputs are constant: the shape arithmetic that exporters leave in a model (Shape → Gather → Mul →
 * Concat → Reshape), as onnxruntime computes it. It knows a few dozen ops on small tensors; every other node stays in the
 * graph and an engine runs it.
 */
import type { OpView } from '../ops/op.js';
import { constantOf } from '../ops/shape.js';
import { elements, intTensor, type Tensor } from '../tensor.js';
import { foldArithmetic } from './fold-arithmetic.js';
import { foldMovement } from './fold-movement.js';

/** Elements of all operands and results together; above this an engine is the better place. */
export const FOLD_LIMIT = 1_000_000;

/** The outputs of a node where they are constant and this interpreter knows the op; else undefined. */
export function foldNode(view: OpView): readonly Tensor[] | undefined {
  const { op, domain } = view.node;
  if (domain !== '') return undefined;
  if (op === 'Constant') {
    const value = constantOf(view);
    return value && [value];
  }
  if (op === 'Shape' || op === 'Size') return sizeOf(view);
  const inputs: (Tensor | undefined)[] = [];
  for (const index of view.inputs.keys()) {
    const value = view.constant(index);
    if (value === undefined && view.has(index)) return undefined;
    inputs.push(value);
  }
  const total = inputs.reduce((sum, tensor) => sum + (tensor === undefined ? 0 : elements(tensor.shape)), 0);
  if (total > FOLD_LIMIT) return undefined;
  return foldMovement(view, inputs, FOLD_LIMIT) ?? foldArithmetic(view, inputs, FOLD_LIMIT);
}

/** Shape and Size read only the type of their input. */
function sizeOf(view: OpView): Tensor[] | undefined {
  const shape = view.inputs[0]?.shape;
  if (shape === undefined) return undefined;
  if (view.node.op === 'Size') return [intTensor([elements(shape)], [])];
  return [intTensor(shape.slice(view.attributes.int('start', 0), view.attributes.int('end', shape.length)))];
}
