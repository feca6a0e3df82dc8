/**
 * Where a resized row comes from: the input rows it mixes and their weights, in float32 wherever onnxruntime computes in
 * float32, because a coordinate that rounds to the other side picks another row. Formulas:
 * https://onnx.ai/onnx/operators/onnx__Resize.html
 */
import { integers, numbers } from '../onnx/tensor-proto.js';
import { axisOf, type OpView } from './op.js';

const f32 = Math.fround;

/** One axis before and after. */
export interface AxisSize {
  readonly inputs: number;
  readonly outputs: number;
  /** In float32, as coordinates are computed with it. */
  readonly scale: number;
}

/** How values between two pixels are found. */
export interface Sampling {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly coordinates: string;
  /** '' before opset 11: rounds down where the image grows and up where it shrinks. */
  readonly nearest: string;
  readonly cubic: number;
  readonly excludeOutside: boolean;
}

/** Input rows that one output row mixes. Indices may repeat at the edges. */
export interface Taps {
  readonly rows: readonly number[];
  readonly weights: readonly number[];
}

/** The sampling that a Resize or Upsample node asks for. */
export function samplingOf(view: OpView): Sampling {
  const { attributes, opset } = view;
  const mode = attributes.string('mode', 'nearest');
  if (mode !== 'nearest' && mode !== 'linear' && mode !== 'cubic') {
    throw view.invalid('the mode is not known', { expected: 'nearest, linear or cubic', got: mode });
  }
  return {
    mode,
    coordinates: opset < 11 ? 'asymmetric' : attributes.string('coordinate_transformation_mode', 'half_pixel'),
    nearest: opset < 11 ? '' : attributes.string('nearest_mode', 'round_prefer_floor'),
    cubic: f32(attributes.float('cubic_coeff_a', -0.75)),
    excludeOutside: attributes.int('exclude_outside', 0) !== 0,
  };
}

/** Every axis's sizes and scale; undefined where scales or sizes are not constant. */
export function axisSizes(view: OpView): AxisSize[] | undefined {
  const shape = view.shape(0);
  const { opset, attributes } = view;
  if (shape.includes(0))
    throw view.invalid('an image without pixels cannot be resized', { got: `[${shape.join(', ')}]` });
  const listed = opset < 18 ? undefined : attributes.ints('axes');
  const axes = listed?.map((axis) => axisOf(view, axis, shape.length)) ?? shape.map((_, axis) => axis);
  const place = opset < 11 ? 1 : 2;
  let scales = opset < 9 ? attributes.floats('scales')?.map(f32) : undefined;
  if (opset >= 9 && view.has(place)) {
    const tensor = view.constant(place);
    if (tensor === undefined) return undefined;
    if (tensor.data.byteLength > 0) scales = numbers(tensor);
  }
  const check = (values: readonly number[]): void => {
    if (values.length !== axes.length || values.some((value) => !(value > 0))) {
      throw view.invalid('there is not one scale or size for each axis', {
        expected: `${axes.length}`,
        got: `[${values}]`,
      });
    }
  };
  const unchanged = shape.map((size): AxisSize => ({ inputs: size, outputs: size, scale: 1 }));
  if (scales !== undefined) {
    check(scales);
    axes.forEach((axis, index) => {
      const inputs = shape[axis] as number;
      const scale = scales[index] as number;
      unchanged[axis] = { inputs, outputs: Math.trunc(f32(scale * inputs)), scale };
    });
    return unchanged;
  }
  if (!view.has(3)) throw view.invalid('neither scales nor sizes are given');
  const sizes = view.constant(3);
  if (sizes === undefined) return undefined;
  return fromSizes(view, unchanged, axes, integers(sizes), check);
}

/** Sizes as they are, or, under an aspect ratio policy, the largest or smallest scale for all. */
function fromSizes(
  view: OpView,
  result: AxisSize[],
  axes: readonly number[],
  sizes: readonly number[],
  check: (values: readonly number[]) => void,
): AxisSize[] {
  check(sizes);
  const scaleOf = (axis: number, index: number): number => f32((sizes[index] as number) / (result[axis]?.inputs ?? 1));
  const policy = view.opset < 18 ? 'stretch' : view.attributes.string('keep_aspect_ratio_policy', 'stretch');
  const scales = axes.map(scaleOf);
  const common = policy === 'not_larger' ? Math.min(...scales) : Math.max(...scales);
  axes.forEach((axis, index) => {
    const inputs = result[axis]?.inputs ?? 1;
    result[axis] =
      policy === 'stretch'
        ? { inputs, outputs: sizes[index] as number, scale: scales[index] as number }
        : { inputs, outputs: Math.round(f32(common * inputs)), scale: common };
  });
  return result;
}

/** The place in the input that output position `x` is read at. */
function coordinate(kind: string, x: number, { inputs, outputs, scale }: AxisSize): number {
  const halfPixel = f32(f32(f32(x + 0.5) / scale) - 0.5);
  switch (kind) {
    case 'asymmetric':
      return f32(x / scale);
    case 'pytorch_half_pixel':
      return outputs > 1 ? halfPixel : 0;
    case 'tf_half_pixel_for_nn':
      return f32(f32(x + 0.5) / scale);
    case 'align_corners':
      return outputs === 1 ? 0 : f32(f32(x * (inputs - 1)) / (outputs - 1));
    case 'half_pixel_symmetric': {
      const adjustment = f32(outputs / f32(scale * inputs));
      const offset = f32(f32(inputs / 2) * f32(1 - adjustment));
      return f32(offset + (x + 0.5) / scale - 0.5);
    }
    default:
      return halfPixel;
  }
}

/** What onnxruntime takes for exactly between two pixels. */
const HALF = 1e-6;

function nearest(kind: string, x: number, shrinks: boolean): number {
  const floor = Math.floor(x);
  const fraction = f32(x - floor);
  switch (kind) {
    case '':
      return shrinks ? Math.ceil(x) : Math.trunc(x);
    case 'floor':
      return floor;
    case 'ceil':
      return Math.ceil(x);
    case 'round_prefer_ceil':
      return fraction >= 0.5 - HALF ? floor + 1 : floor;
    default:
      return fraction > 0.5 + HALF ? floor + 1 : floor;
  }
}

/** Input rows and weights behind output row `x`. */
export function tapsOf(sampling: Sampling, size: AxisSize, x: number): Taps {
  const last = size.inputs - 1;
  const clamp = (row: number): number => Math.min(Math.max(row, 0), last);
  if (size.scale === 1) return { rows: [x], weights: [1] };
  const at = coordinate(sampling.coordinates, x, size);
  if (sampling.mode === 'nearest') {
    return { rows: [clamp(nearest(sampling.nearest, at, size.scale < 1))], weights: [1] };
  }
  if (sampling.mode === 'linear') {
    const inside = clamp(at);
    const row = Math.trunc(inside);
    if (row === inside) return { rows: [row, row], weights: [1, 0] };
    return { rows: [row, row + 1], weights: [f32(row + 1 - inside), f32(inside - row)] };
  }
  const row = Math.floor(at);
  const taps = [row - 1, row, row + 1, row + 2];
  let weights = cubicWeights(f32(at - row), sampling.cubic);
  if (sampling.excludeOutside) {
    weights = weights.map((weight, index) => (clamp(taps[index] as number) === taps[index] ? weight : 0));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    weights = weights.map((weight) => weight / sum);
  }
  return { rows: taps.map(clamp), weights };
}

/** Keys's cubic convolution at a fraction `s` between the second and the third of four pixels. */
function cubicWeights(s: number, a: number): number[] {
  const near = (t: number): number => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t: number): number => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  return [far(s + 1), near(s), near(1 - s), far(2 - s)];
}
