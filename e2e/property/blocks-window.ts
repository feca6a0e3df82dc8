/** Random blocks of ops that look at a window of rows: convolutions, poolings, paddings, resizes, normalisation by neighbours. */
import type { AttributeValue } from '../../packages/core/src/graph/graph.js';
import type { Choices } from './choices.js';
import type { ModelWriter, Value } from './model-writer.js';

/** Adds nodes that read `x`, and perhaps values of the same shape from `pool`; returns what they make, the main value last. */
export type Block = (w: ModelWriter, c: Choices, x: Value, pool: readonly Value[]) => readonly Value[];

/** Number of images. */
export function batchOf({ shape }: Value): number {
  return shape[0] as number;
}

/** No axis grows beyond this. */
export const MAX_SIZE = 40;
export const MAX_CHANNELS = 12;

type Attributes = Record<string, AttributeValue>;

interface Windows {
  readonly attributes: Attributes;
  readonly outputs: number[];
}

function per<T>(x: Value, make: (size: number, axis: number) => T): T[] {
  return x.shape.slice(2).map(make);
}

/** Output size of a window, or less than 1 where it does not fit. */
function slid(size: number, reach: number, stride: number, pads: number, ceil: boolean, padBegin: number): number {
  const span = size + pads - reach;
  if (span < 0) return 0;
  if (!ceil) return Math.floor(span / stride) + 1;
  const outputs = Math.ceil(span / stride) + 1;
  return (outputs - 1) * stride >= size + padBegin ? outputs - 1 : outputs;
}

/** Kernels, strides, dilations and paddings along every spatial axis. */
function windows(c: Choices, x: Value, options: { dilates: boolean; ceil: boolean; morePad: number }): Windows {
  const auto = c.of('NOTSET', 'NOTSET', 'NOTSET', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID');
  const kernel = per<number>(x, () => c.of(3, 1, 2, 3, 5, 4, 7));
  const strides = per(x, () => c.of(1, 1, 2, 1, 3));
  const dilates = options.dilates && auto !== 'SAME_UPPER' && auto !== 'SAME_LOWER' && c.rarely(4);
  const dilations = per<number>(x, () => (dilates ? c.of(2, 1, 3) : 1));
  const style = c.of('same', 'none', 'any');
  const begins = per(x, () => 0);
  const ends = per(x, () => 0);
  const outputs = per(x, (size, axis) => {
    const stride = strides[axis] as number;
    const wanted = kernel[axis] as number;
    if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
      // onnxruntime refuses some poolings that would need less than no padding.
      kernel[axis] = Math.max(wanted, stride);
      return Math.ceil(size / stride);
    }
    let reach = (wanted - 1) * (dilations[axis] as number) + 1;
    const limit = wanted - 1 + options.morePad;
    if (auto === 'NOTSET') {
      begins[axis] =
        style === 'same' ? Math.min(limit, Math.floor((reach - 1) / 2)) : style === 'any' ? c.int(0, limit) : 0;
      ends[axis] =
        style === 'same'
          ? Math.min(limit, reach - 1 - (begins[axis] as number))
          : style === 'any'
            ? c.int(0, limit)
            : 0;
    }
    if (reach > size + (begins[axis] as number) + (ends[axis] as number)) {
      [kernel[axis], dilations[axis], begins[axis], ends[axis]] = [1, 1, 0, 0];
      reach = 1;
    }
    return slid(
      size,
      reach,
      stride,
      (begins[axis] as number) + (ends[axis] as number),
      options.ceil,
      begins[axis] as number,
    );
  });
  const attributes: Attributes = { kernel_shape: kernel, strides };
  if (dilates) attributes['dilations'] = dilations;
  if (auto === 'NOTSET') attributes['pads'] = [...begins, ...ends];
  else attributes['auto_pad'] = auto;
  return { attributes, outputs };
}

const conv: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  const group = c.of(1, 1, channels, channels % 2 === 0 ? 2 : 1);
  const count = group * c.int(1, Math.max(1, Math.floor(8 / group)));
  const bias = c.rarely(2);
  const { attributes, outputs } = windows(c, x, { dilates: true, ceil: false, morePad: c.rarely(6) ? 2 : 0 });
  const kernel = attributes['kernel_shape'] as number[];
  const fan = (channels / group) * kernel.reduce((product, size) => product * size, 1);
  const weight = w.weight([count, channels / group, ...kernel], Math.sqrt(3 / fan));
  if (c.rarely(3)) delete attributes['kernel_shape'];
  const inputs = bias ? [x, weight, w.weight([count], 0.5)] : [x, weight];
  return [w.node('Conv', inputs, group === 1 ? attributes : { ...attributes, group }, [batchOf(x), count, ...outputs])];
};

const convTranspose: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  const group = c.of(1, 1, channels);
  const each = c.int(1, Math.max(1, Math.floor(8 / group)));
  const auto = c.of('NOTSET', 'NOTSET', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER');
  const kernel = per<number>(x, () => c.of(2, 3, 4, 1));
  const strides = per(x, () => c.of(2, 1, 3));
  const dilations = per(x, () => (auto === 'NOTSET' && c.rarely(5) ? 2 : 1));
  const extra = per(x, (_, axis) => (auto === 'NOTSET' && c.rarely(3) ? c.int(0, (strides[axis] as number) - 1) : 0));
  const begins = per(x, () => 0);
  const ends = per(x, () => 0);
  const outputs = per(x, (size, axis) => {
    const stride = strides[axis] as number;
    const reach = ((kernel[axis] as number) - 1) * (dilations[axis] as number) + 1;
    if (auto !== 'NOTSET') {
      // A kernel shorter than its stride cannot give `size · stride` rows.
      kernel[axis] = Math.max(kernel[axis] as number, stride);
      return size * stride;
    }
    const full = (size - 1) * stride + reach + (extra[axis] as number);
    begins[axis] = c.int(0, Math.min(reach - 1, full - 1));
    ends[axis] = c.int(0, Math.min(reach - 1, full - 1 - (begins[axis] as number)));
    return full - (begins[axis] as number) - (ends[axis] as number);
  });
  if (outputs.some((size) => size > MAX_SIZE)) return [];
  const attributes: Attributes = { kernel_shape: kernel, strides };
  if (dilations.some((dilation) => dilation > 1)) attributes['dilations'] = dilations;
  if (group > 1) attributes['group'] = group;
  if (auto !== 'NOTSET') attributes['auto_pad'] = auto;
  else if (c.rarely(12)) attributes['output_shape'] = outputs;
  else {
    attributes['pads'] = [...begins, ...ends];
    if (extra.some((rows) => rows > 0)) attributes['output_padding'] = extra;
  }
  const weight = w.weight([channels, each, ...kernel], Math.sqrt(2 / channels));
  const inputs = c.rarely(2) ? [x, weight, w.weight([each * group], 0.5)] : [x, weight];
  return [w.node('ConvTranspose', inputs, attributes, [batchOf(x), each * group, ...outputs])];
};

const pool: Block = (w, c, x) => {
  const op = c.of('MaxPool', 'AveragePool', 'LpPool');
  const since = op === 'LpPool' ? 18 : 10;
  const ceil = w.opset >= since && c.rarely(3);
  const { attributes, outputs } = windows(c, x, { dilates: false, ceil, morePad: 0 });
  // onnxruntime takes ceil_mode together with auto_pad in its own way.
  if (ceil && attributes['auto_pad'] !== undefined) return [];
  if (ceil) attributes['ceil_mode'] = 1;
  if (op === 'AveragePool' && c.rarely(2)) attributes['count_include_pad'] = 1;
  if (op === 'LpPool') attributes['p'] = c.of(2, 1, 3);
  return [w.node(op, [x], attributes, [...x.shape.slice(0, 2), ...outputs])];
};

/** MaxPool with dilation, which has no padding here: a window of nothing but padding has no maximum. */
const dilatedPool: Block = (w, c, x) => {
  const kernel = per(x, (size) => (size >= 3 ? c.of(2, 1) : 1));
  const dilations = per(x, (_, axis) => (kernel[axis] === 2 ? 2 : 1));
  const strides = per(x, () => c.of(1, 2));
  const shape = per(x, (size, axis) => slid(size, kernel[axis] === 2 ? 3 : 1, strides[axis] as number, 0, false, 0));
  if (w.opset < 10) return [];
  return [w.node('MaxPool', [x], { kernel_shape: kernel, dilations, strides }, [...x.shape.slice(0, 2), ...shape])];
};

const pad: Block = (w, c, x) => {
  const mode = c.of('constant', 'reflect', 'edge');
  const crops = mode === 'constant' && c.rarely(4);
  const amount = (size: number): number => {
    if (mode === 'reflect') return c.int(0, Math.min(3, size - 1));
    return crops && size > 4 ? -c.int(0, 2) : c.int(0, 3);
  };
  const begins = x.shape.map((size, axis) => (axis >= 2 ? amount(size) : 0));
  const ends = x.shape.map((size, axis) => (axis >= 2 ? amount(size) : 0));
  if (mode === 'constant' && c.rarely(4) && (x.shape[1] as number) < 6) begins[1] = c.int(0, 2);
  const shape = x.shape.map((size, axis) => size + (begins[axis] as number) + (ends[axis] as number));
  if (shape.some((size) => size > MAX_SIZE)) return [];
  const value = c.of(0, 0.5, -1);
  const pads = [...begins, ...ends];
  if (w.opset < 11) return [w.node('Pad', [x], { mode, pads, value: { float: value } }, shape)];
  const operands = mode === 'constant' && value !== 0 ? [w.ints(pads), w.floats([value], [])] : [w.ints(pads)];
  return [w.node('Pad', [x, ...operands], { mode }, shape)];
};

const resize: Block = (w, c, x) => {
  const planar = x.shape.length === 4;
  const mode = planar ? c.of('nearest', 'linear', 'cubic') : 'nearest';
  if (w.opset < 11) {
    const scales = x.shape.map((_, axis) => (axis < 2 ? 1 : c.of(2, 1, 3, 1.5)));
    const shape = x.shape.map((size, axis) => Math.floor(size * (scales[axis] as number)));
    if (shape.some((size) => size > MAX_SIZE)) return [];
    return [w.node('Upsample', [x, w.floats(scales)], { mode: mode === 'cubic' ? 'linear' : mode }, shape)];
  }
  const bySizes = c.rarely(3);
  const scales = x.shape.map((_, axis) => (axis < 2 ? 1 : c.of(2, 1, 1.5, 0.5, 3, 0.75, 4)));
  const shape = x.shape.map((size, axis) => {
    if (axis < 2 || !bySizes) return Math.floor(Math.fround(size * (scales[axis] as number)));
    return c.int(1, Math.min(MAX_SIZE, 2 * size + 1));
  });
  if (shape.some((size) => size > MAX_SIZE || size < 1)) return [];
  const attributes: Attributes = {
    mode,
    coordinate_transformation_mode: c.of('half_pixel', 'asymmetric', 'align_corners', 'pytorch_half_pixel'),
  };
  if (mode === 'nearest') attributes['nearest_mode'] = c.of('floor', 'round_prefer_floor', 'round_prefer_ceil', 'ceil');
  if (mode === 'cubic') attributes['cubic_coeff_a'] = { float: c.of(-0.75, -0.5) };
  if (mode === 'cubic' && c.rarely(3)) attributes['exclude_outside'] = 1;
  const roi = w.opset < 13 ? w.floats([]) : undefined;
  const operands = bySizes ? [w.opset < 13 ? w.floats([]) : undefined, w.ints(shape)] : [w.floats(scales)];
  return [w.node('Resize', [x, roi, ...operands], attributes, shape)];
};

/** Local response normalisation over neighbouring channels. */
const lrn: Block = (w, c, x) => {
  if (x.shape.length !== 4) return [];
  return [w.node('LRN', [x], { size: c.of(3, 5, 1), alpha: { float: 0.1 } }, x.shape)];
};

export const WINDOW_BLOCKS: Readonly<Record<string, Block>> = {
  conv,
  convTranspose,
  pool,
  dilatedPool,
  pad,
  resize,
  lrn,
};
