/**
 * Reshape, Flatten, Squeeze and Unsqueeze: the same elements in the same order under another shape.
 * Specification: https://onnx.ai/onnx/operators/onnx__Reshape.html and its siblings.
 *
 * Rows survive where the elements before the row axis are the same in both shapes (channel shuffle, flattening the pixels of
 * an NHWC map) and one row of one shape is a whole number of rows of the other (space-to-depth).
 */
import { integers } from '../onnx/tensor-proto.js';
import { elements } from '../tensor.js';
import { axisOf, like, type OpFamily, type OpView, type RowRule, whole } from './op.js';

export const reshape: OpFamily = {
  ops: ['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'],
  infer(view) {
    view.takes(1, 2);
    const shape = SHAPES[view.node.op]?.(view);
    if (shape === undefined) return [{ dtype: view.inputs[0]?.dtype, shape: undefined }];
    const [before, after] = [elements(view.shape(0)), elements(shape)];
    if (before !== after || !shape.every(Number.isInteger)) {
      throw view.invalid('the new shape holds another number of elements', {
        expected: `${before} elements, as in [${view.shape(0).join(', ')}]`,
        got: `${after} in [${shape.join(', ')}]`,
      });
    }
    return like(view, shape);
  },
  beside: () => 'view',
  rows(view, axes): RowRule {
    const axis = axes[0];
    if (axis === undefined) return whole('its shape is computed from the image');
    return reshapedRows(view, axis);
  },
};

/** The output shape by op; undefined where it is computed while the model runs. */
const SHAPES: Readonly<Record<string, (view: OpView) => number[] | undefined>> = {
  Reshape(view) {
    const target = view.constant(1);
    if (target === undefined) return undefined;
    const wanted = integers(target);
    if (wanted.filter((dim) => dim === -1).length > 1 || wanted.some((dim) => dim < -1)) {
      throw view.invalid('the new shape is not one', {
        expected: 'sizes, and at most one -1',
        got: `[${wanted.join(', ')}]`,
      });
    }
    const keepsZero = view.attributes.int('allowzero', 0) === 1;
    const copied = wanted.map((dim, axis) => (dim === 0 && !keepsZero ? (view.shape(0)[axis] ?? 0) : dim));
    const known = elements(copied.filter((dim) => dim !== -1));
    return copied.map((dim) => (dim === -1 ? (known === 0 ? 0 : elements(view.shape(0)) / known) : dim));
  },
  Flatten(view) {
    const shape = view.shape(0);
    const axis = view.attributes.int('axis', 1);
    // Unlike other axes this one may be the rank itself: everything goes into the first dimension.
    const at = axis === shape.length ? axis : axisOf(view, axis, shape.length);
    return [elements(shape.slice(0, at)), elements(shape.slice(at))];
  },
  Squeeze(view) {
    const shape = view.shape(0);
    if (view.has(1) && view.constant(1) === undefined) return undefined;
    const axes = givenAxes(view)?.map((axis) => axisOf(view, axis, shape.length));
    const dropped = axes ?? shape.flatMap((dim, axis) => (dim === 1 ? [axis] : []));
    if (dropped.some((axis) => shape[axis] !== 1)) {
      throw view.invalid('an axis that is squeezed is longer than 1', {
        got: `axes ${dropped.join(', ')} of [${shape.join(', ')}]`,
      });
    }
    return shape.filter((_, axis) => !dropped.includes(axis));
  },
  Unsqueeze(view) {
    const shape = view.shape(0);
    const given = givenAxes(view);
    if (given === undefined) return undefined;
    const rank = shape.length + given.length;
    const added = new Set(given.map((axis) => axisOf(view, axis, rank)));
    if (added.size !== given.length) throw view.invalid('an axis is inserted twice', { got: `[${given.join(', ')}]` });
    const rest = [...shape];
    return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : (rest.shift() ?? 1)));
  },
};

/** Axes of Squeeze and Unsqueeze: an attribute before opset 13, then an input. */
function givenAxes(view: OpView): number[] | undefined {
  const constant = view.constant(1);
  return constant === undefined ? view.attributes.ints('axes') : integers(constant);
}

/** The output axis that the rows at `axis` of shape `from` become in shape `to`; undefined where they do not survive. */
function rowAxisAfter(from: readonly number[], axis: number, to: readonly number[]): number | undefined {
  const before = elements(from.slice(0, axis));
  const row = elements(from.slice(axis + 1));
  const candidates = [...to.keys()].filter((at) => {
    const size = elements(to.slice(at + 1));
    return elements(to.slice(0, at)) === before && (size % row === 0 || row % size === 0);
  });
  // Dimensions of 1 beside the rows qualify too, but cannot be cut.
  const [longest] = candidates.sort((a, b) => (to[b] ?? 0) - (to[a] ?? 0));
  return longest !== undefined && to[longest] === 1 && from[axis] !== 1 ? undefined : longest;
}

function reshapedRows(view: OpView, axis: number): RowRule {
  const [before, after] = [view.shape(0), view.outShape];
  const at = elements(before) === 0 ? undefined : rowAxisAfter(before, axis, after);
  if (at === undefined)
    return whole(`merges rows with other axes: [${before.join(', ')}] becomes [${after.join(', ')}]`);
  const inner = elements(before.slice(axis + 1));
  const size = elements(after.slice(at + 1));
  const target = after.map((dim, index) => (index === at ? -1 : dim));
  const rest = view.node.inputs.slice(1).map(() => undefined);
  return {
    kind: 'local',
    axes: [at],
    need: ({ from, to }) => [{ from: Math.floor((from * size) / inner), to: Math.ceil((to * size) / inner) }, ...rest],
    emit({ build, out, input, output }) {
      // Rows before and after the wanted ones that come with an input row where it holds several output rows.
      const perRow = Math.max(1, inner / size);
      const above = out.from % perRow;
      const below = (perRow - (out.to % perRow)) % perRow;
      if (above === 0 && below === 0) {
        build.reshape(input(0), target, output(0));
        return;
      }
      build.slice(build.reshape(input(0), target), at, above, below === 0 ? undefined : -below, output(0));
    },
  };
}
