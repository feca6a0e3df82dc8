/**
 * Ops that read shapes or make tensors of computed sizes: Shape, Size, ConstantOfShape, Range, NonZero and the like. Most of
 * them are gone once constants are folded; what stays runs whole. Specification: https://onnx.ai/onnx/operators/index.html
 */
import { integers, tensorOf } from '../onnx/tensor-proto.js';
import type { DataType } from '../tensor.js';
import { axisOf, emitCopy, type OpFamily, type OpView, type RowRule, whole } from './op.js';
import type { TensorType } from '../graph/graph.js';

function int64(shape: readonly number[] | undefined): TensorType {
  return { dtype: 'int64', shape };
}

function sameAs(view: OpView, index: number): DataType | undefined {
  return view.inputs[index]?.dtype;
}

/** What each op makes; shapes that depend on the data are open. */
const TYPES: Readonly<Record<string, (view: OpView) => TensorType[]>> = {
  Shape(view) {
    const shape = view.shape(0);
    return [int64([shape.slice(view.attributes.int('start', 0), view.attributes.int('end', shape.length)).length])];
  },
  Size: () => [int64([])],
  ConstantOfShape(view) {
    const shape = view.constant(0);
    const value = view.node.attributes.get('value')?.t;
    return [{ dtype: value === undefined ? 'float32' : tensorOf(value)?.dtype, shape: shape && integers(shape) }];
  },
  Range: (view) => [{ dtype: sameAs(view, 0), shape: undefined }],
  NonZero: () => [int64(undefined)],
  NonMaxSuppression: () => [int64(undefined)],
  Compress: (view) => [{ dtype: sameAs(view, 0), shape: undefined }],
  Unique: (view) => view.node.outputs.map((_, index) => (index === 0 ? { dtype: sameAs(view, 0), shape: undefined } : int64(undefined))),
};

export const shapes: OpFamily = {
  ops: Object.keys(TYPES),
  infer: (view) => TYPES[view.node.op]?.(view) ?? [],
  rows: () => whole('its result depends on the whole tensor'),
};

/** TopK: the largest elements along one axis, each slice of the others for itself. */
export const topK: OpFamily = {
  ops: ['TopK'],
  infer(view) {
    const shape = [...view.shape(0)];
    const k = view.constant(1);
    const count = k === undefined ? (view.opset < 10 ? view.attributes.int('k', 1) : undefined) : integers(k)[0];
    shape[topKAxis(view)] = count ?? 0;
    const known = count === undefined ? undefined : shape;
    return [{ dtype: sameAs(view, 0), shape: known }, int64(known)];
  },
  rows(view, [axis]): RowRule {
    if (axis === undefined || axis === topKAxis(view)) return whole('sorts all rows');
    const rest = view.node.inputs.slice(1).map(() => undefined);
    return { kind: 'local', axes: view.node.outputs.map(() => axis), need: (out) => [out, ...rest], emit: emitCopy(view) };
  },
};

function topKAxis(view: OpView): number {
  return axisOf(view, view.attributes.int('axis', -1), view.shape(0).length);
}
