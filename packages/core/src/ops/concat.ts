/** Concat: joins tensors along one axis. Specification: https://onnx.ai/onnx/operators/onnx__Concat.html */
import { axisOf, emitCopy, like, type OpFamily, whole } from './op.js';

export const concat: OpFamily = {
  ops: ['Concat'],
  infer(view) {
    view.takes(1, Number.POSITIVE_INFINITY);
    const shape = [...view.shape(0)];
    const axis = axisOf(view, view.attributes.int('axis', 1), shape.length);
    for (let index = 1; index < view.inputs.length; index++) {
      const other = view.shape(index);
      if (other.length !== shape.length || other.some((dim, at) => at !== axis && dim !== shape[at])) {
        throw view.invalid('the inputs differ in more than the axis they are joined along', {
          expected: `[${view.shape(0).join(', ')}] but for axis ${axis}`,
          got: `[${other.join(', ')}]`,
        });
      }
      shape[axis] = (shape[axis] ?? 0) + (other[axis] ?? 0);
    }
    return like(view, shape);
  },
  rows(view, axes) {
    const row = axes.find((axis) => axis !== undefined) as number;
    if (axes.some((axis) => axis !== undefined && axis !== row)) {
      return whole('joins tensors whose rows lie along different axes');
    }
    if (axisOf(view, view.attributes.int('axis', 1), view.shape(0).length) === row) {
      return whole('joins tensors along the rows');
    }
    return { kind: 'local', axes: [row], need: (out) => view.inputs.map(() => out), emit: emitCopy(view) };
  },
};
