/**
 * Resize and Upsample. Specification: https://onnx.ai/onnx/operators/onnx__Resize.html. A part is resized in one of two
 * ways. Where the image grows by a whole factor and output rows see their neighbours alike wherever they lie, the same op
 * runs on a window of rows, and what the window's ends spoil is cut off. Otherwise the op resizes all other axes, and the
 * rows are mixed one by one with the weights that onnxruntime would use.
 */
import { attributeProto, type Node } from '../graph/graph.js';
import { elements, floatTensor, intTensor } from '../tensor.js';
import { type AxisSize, axisSizes, type Sampling, samplingOf, type Taps, tapsOf } from './interpolation.js';
import { type LocalRule, like, type ModelBuilder, type OpFamily, type OpView, type Range, whole } from './op.js';

export const resize: OpFamily = {
  ops: ['Resize', 'Upsample'],
  infer(view) {
    const sizes = axisSizes(view);
    if (sizes === undefined) return [{ dtype: view.inputs[0]?.dtype, shape: undefined }];
    return like(
      view,
      sizes.map(({ outputs }) => outputs),
    );
  },
  flops(view) {
    const { mode } = samplingOf(view);
    const resized = view.shape(0).filter((size, axis) => size !== view.outShape[axis]).length;
    return mode === 'nearest' ? 0 : elements(view.outShape) * 2 * (mode === 'linear' ? 2 : 4) ** resized;
  },
  rows(view, axes) {
    const axis = axes[0];
    const sizes = axisSizes(view);
    const sampling = samplingOf(view);
    if (axis === undefined || axes.some((other, index) => index > 0 && other !== undefined)) {
      return whole('its size is computed from the image');
    }
    if (sizes === undefined) return whole('its size is not constant');
    if (sampling.coordinates === 'tf_crop_and_resize') return whole('it crops a region before it resizes');
    if (view.opset >= 18 && view.attributes.int('antialias', 0) !== 0)
      return whole('it smooths over all rows as it shrinks');
    const row = sizes[axis] as AxisSize;
    // onnxruntime copies where no size changes, whatever the scales say.
    if (sizes.every(({ inputs, outputs }) => inputs === outputs)) return copyRows(view, axis);
    const others = sizes.every((size, other) => other === axis || made(size));
    if (sampling.mode !== 'nearest' && view.inputs[0]?.dtype !== 'float32' && !(row.scale === 1 && others)) {
      return whole('it rounds between rows of whole numbers');
    }
    const alike = others && actsAlike(sampling, row);
    return alike ? windowRows(view, sizes, sampling, axis) : mixRows(view, sizes, sampling, axis);
  },
};

const LOCAL = new Set([
  'asymmetric',
  'half_pixel',
  'pytorch_half_pixel',
  'half_pixel_symmetric',
  'tf_half_pixel_for_nn',
]);

/** Whether a window of rows resized by itself gives the very rows of the whole: coordinates must be exact in float32. */
function actsAlike({ mode, coordinates }: Sampling, { inputs, outputs, scale }: AxisSize): boolean {
  if (!Number.isInteger(scale) || outputs !== inputs * scale || !LOCAL.has(coordinates)) return false;
  return scale > 1 && (mode === 'nearest' || Number.isInteger(Math.log2(scale)));
}

/**
 * Whether onnxruntime makes this size from this scale. It computes in float32 as it runs, but in double precision as it
 * loads: the size must come out the same both ways.
 */
function made({ inputs, outputs, scale }: AxisSize): boolean {
  const size = scale * inputs;
  return outputs === Math.trunc(Math.fround(size)) && outputs === Math.trunc(size);
}

/** The hull of the input rows behind these output rows. */
function hull(sampling: Sampling, row: AxisSize, out: Range): Range {
  const ends = [...tapsOf(sampling, row, out.from).rows, ...tapsOf(sampling, row, out.to - 1).rows];
  return { from: Math.min(...ends), to: Math.max(...ends) + 1 };
}

function copyRows(view: OpView, axis: number): LocalRule {
  const rest: undefined[] = view.node.inputs.slice(1).map(() => undefined);
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [out, ...rest],
    emit: ({ build, input, output }) => void build.node('Identity', [input(0)], {}, output(0)),
  };
}

function windowRows(view: OpView, sizes: readonly AxisSize[], sampling: Sampling, axis: number): LocalRule {
  const row = sizes[axis] as AxisSize;
  const rest: undefined[] = view.node.inputs.slice(1).map(() => undefined);
  const need = (out: Range): Range => {
    const read = hull(sampling, row, out);
    const from = Math.min(read.from, Math.floor(out.from / row.scale));
    return { from, to: Math.max(read.to, Math.ceil(out.to / row.scale)) };
  };
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [need(out), ...rest],
    emit({ build, out, input, output }) {
      const { from, to } = need(out);
      const before = out.from - from * row.scale;
      const after = to * row.scale - out.to;
      const uncut = before + after === 0;
      const resized = uncut ? output(0) : `${output(0)}~resized`;
      emitScales(view, build, input(0), sizes, resized);
      if (!uncut) build.slice(resized, axis, before, after === 0 ? undefined : -after, output(0));
    },
  };
}

function mixRows(view: OpView, sizes: readonly AxisSize[], sampling: Sampling, axis: number): LocalRule {
  const row = sizes[axis] as AxisSize;
  const rest: undefined[] = view.node.inputs.slice(1).map(() => undefined);
  const others = sizes.map((size, index) => (index === axis ? { ...size, outputs: size.inputs, scale: 1 } : size));
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [hull(sampling, row, out), ...rest],
    emit({ build, out, input, output }) {
      const window = hull(sampling, row, out);
      const taps = Array.from({ length: out.to - out.from }, (_, index) => tapsOf(sampling, row, out.from + index));
      const mix = (x: string, name?: string): string =>
        row.scale === 1 ? x : mixTaps(build, x, sizes.length, axis, window, taps, name);
      const scale = (x: string, name: string): string => resizeAxes(view, others, sampling, build, x, name);
      // Fewer rows first: whichever step comes second has less to do.
      if (others.every((size) => size.scale === 1)) mix(input(0), output(0));
      else if (row.scale < 1) scale(mix(input(0)), output(0));
      else if (row.scale === 1) scale(input(0), output(0));
      else mix(scale(input(0), `${output(0)}~resized`), output(0));
    },
  };
}

/**
 * Resizes every axis whose scale is not 1: by the op itself where it makes just these sizes from these scales, tap by tap
 * where it would not. (It copies where no size changes.)
 */
function resizeAxes(
  view: OpView,
  sizes: readonly AxisSize[],
  sampling: Sampling,
  build: ModelBuilder,
  x: string,
  output: string,
): string {
  const scaled = (size: AxisSize): boolean => size.scale !== 1;
  if (sizes.every(made) && sizes.some((size) => size.inputs !== size.outputs)) {
    return emitScales(view, build, x, sizes, output);
  }
  const last = sizes.findLastIndex(scaled);
  return sizes.reduce((value, size, axis) => {
    if (!scaled(size)) return value;
    const taps = Array.from({ length: size.outputs }, (_, index) => tapsOf(sampling, size, index));
    const name = axis === last ? output : undefined;
    return mixTaps(build, value, sizes.length, axis, { from: 0, to: size.inputs }, taps, name);
  }, x);
}

/** The node itself with scales for all axes instead of whatever it was given. */
function emitScales(view: OpView, build: ModelBuilder, x: string, sizes: readonly AxisSize[], output: string): string {
  const scales = sizes.map(({ scale }) => scale);
  const attributes: Node['attributes'] = new Map(view.node.attributes);
  const dropped = new Map([...attributes].filter(([name]) => name !== 'axes' && name !== 'keep_aspect_ratio_policy'));
  if (view.opset < 9) {
    build.copy(
      { ...view.node, attributes: dropped.set('scales', attributeProto('scales', { floats: scales })) },
      [x],
      [output],
    );
    return output;
  }
  const constant = build.constant(floatTensor(scales, [scales.length]));
  // The region of interest, used by one mode only, may be left out since opset 13.
  const roi = view.opset < 13 ? build.constant(floatTensor([], [0])) : '';
  build.copy({ ...view.node, attributes: dropped }, view.opset < 11 ? [x, constant] : [x, roi, constant], [output]);
  return output;
}

/** Weighted sums of rows of `x`, which holds the rows `window` of an axis. */
function mixTaps(
  build: ModelBuilder,
  x: string,
  rank: number,
  axis: number,
  window: Range,
  taps: readonly Taps[],
  output?: string,
): string {
  const count = taps[0]?.rows.length ?? 0;
  const terms = Array.from({ length: count }, (_, tap) => ({
    rows: taps.map(({ rows }) => (rows[tap] as number) - window.from),
    weights: taps.map(({ weights }) => weights[tap] as number),
  })).filter(({ weights }) => weights.some((weight) => weight !== 0));
  const size = window.to - window.from;
  const shape = Array.from({ length: rank }, (_, index) => (index === axis ? taps.length : 1));
  let sum: string | undefined;
  terms.forEach(({ rows, weights }, index) => {
    const only = terms.length === 1 ? output : undefined;
    const [first = 0] = weights;
    const plain = weights.every((weight) => weight === 1);
    let term = pickRows(build, x, axis, size, rows, plain ? only : undefined);
    if (!plain) {
      const uniform = weights.every((weight) => weight === first);
      const factor = build.constant(uniform ? floatTensor([first], []) : floatTensor(weights, shape));
      term = build.node('Mul', [term, factor], {}, only);
    }
    sum =
      sum === undefined ? term : build.node('Add', [sum, term], {}, index === terms.length - 1 ? output : undefined);
  });
  return sum ?? x;
}

/** Rows of an axis of this size by their indices: a slice where they are evenly spaced, so that one model serves many parts. */
function pickRows(
  build: ModelBuilder,
  x: string,
  axis: number,
  size: number,
  rows: readonly number[],
  output?: string,
): string {
  const [first = 0, second = first + 1] = rows;
  const step = second - first;
  const last = rows.at(-1) ?? first;
  const even = step > 0 && rows.every((row, index) => row === first + index * step);
  if (!even || (step > 1 && build.opset < 10))
    return build.node('Gather', [x, build.constant(intTensor(rows))], { axis }, output);
  const spare = size - 1 - last;
  if (first === 0 && spare === 0 && step === 1)
    return output === undefined ? x : build.node('Identity', [x], {}, output);
  return build.slice(x, axis, first, spare === 0 ? undefined : -spare, output, step);
}
