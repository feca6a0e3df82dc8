/**
 * Ops that read shapes or make tensors of computed sizes: Shape, Size, Constant, ConstantOfShape, Range, NonZero and the
 * like. Most of them are gone once constants are folded; what stays runs whole.
 * Specification: https://onnx.ai/onnx/operators/index.html
 */
import type { TensorType } from '../graph/graph.js';
import { integers, tensorOf } from '../onnx/tensor-proto.js';
import { floatTensor, intTensor, type Tensor } from '../tensor.js';
import { axisOf, emitCopy, type OpFamily, type OpView, type RowRule, whole } from './op.js';

function int64(shape: readonly number[] | undefined): TensorType {
  return { dtype: 'int64', shape };
}

/** The type of the first input, of a size that only the run tells. */
function unknown(view: OpView): TensorType {
  return { dtype: view.inputs[0]?.dtype, shape: undefined };
}

/** The value of a Constant node, whichever attribute holds it; undefined for strings and sparse tensors. */
export function constantOf(view: OpView): Tensor | undefined {
  const { attributes } = view;
  const tensor = view.node.attributes.get('value')?.t;
  if (tensor !== undefined) return tensorOf(tensor);
  if (attributes.has('value_int')) return intTensor([attributes.int('value_int', 0)], []);
  if (attributes.has('value_float')) return floatTensor([attributes.float('value_float', 0)], []);
  const ints = attributes.ints('value_ints');
  if (ints !== undefined) return intTensor(ints);
  const floats = attributes.floats('value_floats');
  return floats && floatTensor(floats, [floats.length]);
}

/** What each op makes; shapes that depend on the data are open. */
const TYPES: Readonly<Record<string, (view: OpView) => TensorType[]>> = {
  Constant(view) {
    const value = constantOf(view);
    return [{ dtype: value?.dtype, shape: value?.shape }];
  },
  Shape(view) {
    const shape = view.shape(0);
    return [int64([shape.slice(view.attributes.int('start', 0), view.attributes.int('end', shape.length)).length])];
  },
  Size: () => [int64([])],
  ConstantOfShape(view) {
    const given = view.constant(0);
    const shape = given && integers(given);
    if (shape?.some((dim) => dim < 0)) throw view.invalid('a size is negative', { got: `[${shape.join(', ')}]` });
    const value = view.node.attributes.get('value')?.t;
    return [{ dtype: value === undefined ? 'float32' : tensorOf(value)?.dtype, shape }];
  },
  Range: (view) => [unknown(view)],
  NonZero: () => [int64(undefined)],
  NonMaxSuppression: () => [int64(undefined)],
  Compress: (view) => [unknown(view)],
  Unique: (view) => view.node.outputs.map((_, index) => (index === 0 ? unknown(view) : int64(undefined))),
};

export const shapes: OpFamily = {
  ops: Object.keys(TYPES),
  infer: (view) => TYPES[view.node.op]?.(view) ?? [],
  jumps: () => true,
  rows: () => whole('its result depends on the whole tensor'),
};

/** TopK: the largest elements along one axis, each slice of the others for itself. */
export const topK: OpFamily = {
  ops: ['TopK'],
  jumps: () => true,
  infer(view) {
    view.takes(1, 2);
    const shape = [...view.shape(0)];
    const k = view.constant(1);
    const count = k === undefined ? (view.opset < 10 ? view.attributes.int('k', 1) : undefined) : integers(k)[0];
    const axis = topKAxis(view);
    if (count !== undefined && !(count >= 0 && count <= (shape[axis] ?? 0))) {
      throw view.invalid('there are fewer elements than it takes', {
        expected: `0 to ${shape[axis]}`,
        got: `${count}`,
      });
    }
    shape[axis] = count ?? 0;
    const known = count === undefined ? undefined : shape;
    return [{ dtype: view.inputs[0]?.dtype, shape: known }, int64(known)];
  },
  rows(view, [axis]): RowRule {
    if (axis === undefined || axis === topKAxis(view)) return whole('sorts all rows');
    const rest = view.node.inputs.slice(1).map(() => undefined);
    return {
      kind: 'local',
      axes: view.node.outputs.map(() => axis),
      need: (out) => [out, ...rest],
      emit: emitCopy(view),
    };
  },
};

function topKAxis(view: OpView): number {
  return axisOf(view, view.attributes.int('axis', -1), view.shape(0).length);
}
