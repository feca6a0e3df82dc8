/**
 * Gather, GatherElements, Expand and Tile: elements chosen or repeated along axes.
 * Specification: https://onnx.ai/onnx/operators/onnx__Gather.html and its siblings.
 */
import { integers } from '../onnx/tensor-proto.js';
import { intTensor } from '../tensor.js';
import { axisOf, emitCopy, like, type OpFamily, type OpView, type RowRule, whole } from './op.js';
import { broadcast } from './pointwise.js';

function axisOfGather(view: OpView): number {
  return axisOf(view, view.attributes.int('axis', 0), view.shape(0).length);
}

export const gather: OpFamily = {
  ops: ['Gather'],
  infer(view) {
    view.takes(2);
    const data = view.shape(0);
    const axis = axisOfGather(view);
    return like(view, [...data.slice(0, axis), ...view.shape(1), ...data.slice(axis + 1)]);
  },
  rows(view, [data, indices]): RowRule {
    const axis = axisOfGather(view);
    if (data !== undefined && indices !== undefined) return whole('both its data and its indices have rows');
    if (data === axis) return whole('chooses among the rows');
    // The axes of the indices stand where the gathered axis was.
    const row =
      indices !== undefined
        ? axis + indices
        : (data as number) + ((data as number) > axis ? view.shape(1).length - 1 : 0);
    return {
      kind: 'local',
      axes: [row],
      need: (out) => (indices === undefined ? [out, undefined] : [undefined, out]),
      emit: emitCopy(view),
    };
  },
};

export const gatherElements: OpFamily = {
  ops: ['GatherElements'],
  infer(view) {
    view.takes(2);
    return like(view, view.shape(1));
  },
  rows: () => whole('chooses elements by computed places'),
};

export const expand: OpFamily = {
  ops: ['Expand'],
  infer(view) {
    view.takes(2);
    const target = view.constant(1);
    if (target === undefined) return [{ dtype: view.inputs[0]?.dtype, shape: undefined }];
    const sizes = integers(target);
    const shape = broadcast([view.shape(0), sizes]);
    if (shape === undefined || sizes.some((size) => size < 0)) {
      throw view.invalid('the input does not broadcast to the given shape', {
        expected: `[${sizes.join(', ')}]`,
        got: `[${view.shape(0).join(', ')}]`,
      });
    }
    return like(view, shape);
  },
  rows(view, [axis]): RowRule {
    if (axis === undefined) return whole('its shape is computed from the image');
    const shape = view.outShape;
    const row = axis + shape.length - view.shape(0).length;
    if (shape[row] !== view.shape(0)[axis]) return whole('repeats the one row');
    return {
      kind: 'local',
      axes: [row],
      need: (out) => [out, undefined],
      emit({ build, input, output }) {
        // 1 leaves an axis as it is: the same target does for any number of rows.
        const target = shape.map((dim, at) => (at === row ? 1 : dim));
        build.node('Expand', [input(0), build.constant(intTensor(target))], {}, output(0));
      },
    };
  },
};

export const tile: OpFamily = {
  ops: ['Tile'],
  infer(view) {
    view.takes(2);
    const repeats = view.constant(1);
    if (repeats === undefined) return [{ dtype: view.inputs[0]?.dtype, shape: undefined }];
    const times = integers(repeats);
    if (times.length !== view.shape(0).length || times.some((count) => count < 0)) {
      throw view.invalid('the repeats are not one for each axis', {
        expected: `${view.shape(0).length} numbers ≥ 0`,
        got: `[${times.join(', ')}]`,
      });
    }
    return like(
      view,
      view.shape(0).map((dim, axis) => dim * (times[axis] ?? 1)),
    );
  },
  rows(view, [axis]): RowRule {
    if (axis === undefined) return whole('its repeats are computed from the image');
    if (view.outShape[axis] !== view.shape(0)[axis]) return whole('repeats the rows');
    return { kind: 'local', axes: [axis], need: (out) => [out, undefined], emit: emitCopy(view) };
  },
};
