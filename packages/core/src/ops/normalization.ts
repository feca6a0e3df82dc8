/**
 * Normalisation that needs no other row than its own: over channels, over columns, or with statistics that are weights.
 * What normalises over the image itself is rewritten when a model is loaded (graph/rewrite.ts) to use `rowMoments`.
 * Specifications: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html and its siblings.
 */
import { elements } from '../tensor.js';
import { axisOf, emitCopy, type LocalRule, like, type OpFamily, type OpView, type Range, whole } from './op.js';

/** Each row of the first input gives the same row of every output; all other inputs are whole. */
function ownRow(view: OpView, axis: number): LocalRule {
  const rest: (Range | undefined)[] = view.node.inputs.slice(1).map(() => undefined);
  return {
    kind: 'local',
    axes: view.node.outputs.map(() => axis),
    need: (out) => [out, ...rest],
    emit: emitCopy(view),
  };
}

/** The row axis of input 0, where no other input has one. */
function onlyAxis(axes: readonly (number | undefined)[]): number | undefined {
  return axes.some((other, index) => index > 0 && other !== undefined) ? undefined : axes[0];
}

const COMPUTED = whole('an input beside the image is computed from it');

export const batchNormalization: OpFamily = {
  ops: ['BatchNormalization'],
  infer(view) {
    const [, channels = 1] = view.shape(0);
    const [values] = like(view, view.shape(0));
    const statistics = { dtype: view.inputs[3]?.dtype, shape: [channels] };
    return view.node.outputs.map((_, index) => (index === 0 && values ? values : statistics));
  },
  flops: (view) => 2 * elements(view.shape(0)),
  beside: () => 'elementwise',
  channels(view) {
    const own = [1, 2, 3, 4];
    if (own.some((index) => view.constant(index) === undefined)) return undefined;
    return { follows: 0, cuts: own.map((input) => ({ input, axis: 0 })) };
  },
  rows(view, axes) {
    const axis = onlyAxis(axes);
    if (axis === undefined) return COMPUTED;
    const trains =
      view.attributes.int('training_mode', 0) === 1 || view.node.outputs.slice(1).some((name) => name !== '');
    if (trains) return whole('it computes statistics for training over all rows');
    if (view.attributes.int('spatial', 1) === 0) return whole('it has statistics for every pixel of its own');
    return axis === 1 ? whole('its rows are channels') : ownRow(view, axis);
  },
};

export const lrn: OpFamily = {
  ops: ['LRN'],
  infer(view) {
    const size = view.attributes.int('size', 1);
    if (size < 1) throw view.invalid('the number of channels summed over is not positive', { got: `${size}` });
    return like(view, view.shape(0));
  },
  flops: (view) => elements(view.shape(0)) * (2 * view.attributes.int('size', 1) + 3),
  rows(view, axes) {
    const axis = onlyAxis(axes);
    if (axis === undefined) return COMPUTED;
    return axis === 1 ? whole('it sums over rows, which are channels') : ownRow(view, axis);
  },
};

export const layerNormalization: OpFamily = {
  ops: ['LayerNormalization'],
  infer(view) {
    const shape = view.shape(0);
    const first = axisOf(view, view.attributes.int('axis', -1), shape.length);
    const [values] = like(view, shape);
    const statistics = { dtype: 'float32' as const, shape: shape.map((size, axis) => (axis < first ? size : 1)) };
    return view.node.outputs.map((_, index) => (index === 0 && values ? values : statistics));
  },
  flops: (view) => 8 * elements(view.shape(0)),
  rows(view, axes) {
    const axis = onlyAxis(axes);
    if (axis === undefined) return COMPUTED;
    const rank = view.shape(0).length;
    if (axis >= axisOf(view, view.attributes.int('axis', -1), rank)) return whole('it normalises over rows');
    const perRow = [1, 2].some(
      (index) => view.has(index) && (view.shape(index)[axis - rank + view.shape(index).length] ?? 1) > 1,
    );
    return perRow ? whole('it has a weight for every row of its own') : ownRow(view, axis);
  },
};

export const lpNormalization: OpFamily = {
  ops: ['LpNormalization'],
  infer: (view) => like(view, view.shape(0)),
  flops: (view) => 3 * elements(view.shape(0)),
  rows(view, axes) {
    const axis = onlyAxis(axes);
    if (axis === undefined) return COMPUTED;
    const over = axisOf(view, view.attributes.int('axis', -1), view.shape(0).length);
    return axis === over ? whole('it normalises over rows') : ownRow(view, axis);
  },
};

export const meanVarianceNormalization: OpFamily = {
  ops: ['MeanVarianceNormalization'],
  infer: (view) => like(view, view.shape(0)),
  flops: (view) => 6 * elements(view.shape(0)),
  rows(view, axes) {
    const axis = onlyAxis(axes);
    if (axis === undefined) return COMPUTED;
    const rank = view.shape(0).length;
    const over = (view.attributes.ints('axes') ?? [0, 2, 3]).map((item) => axisOf(view, item, rank));
    return over.includes(axis) ? whole('it normalises over rows') : ownRow(view, axis);
  },
};

/** Only those that `rewrite` leaves: over rows that are not along a spatial axis, or of unknown shape. */
export const imageNormalization: OpFamily = {
  ops: ['InstanceNormalization', 'GroupNormalization'],
  infer: (view) => like(view, view.shape(0)),
  flops: (view) => 8 * elements(view.shape(0)),
  rows: () => whole('it normalises over rows'),
};
