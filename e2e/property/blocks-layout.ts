/** Random blocks of ops that move values: joins, cuts, shuffles, blocks of pixels, channels last. */
import type { Block } from './blocks-window.js';
import { batchOf, MAX_CHANNELS, MAX_SIZE } from './blocks-window.js';
import type { Choices } from './choices.js';
import type { ModelWriter, Value } from './model-writer.js';

/** Joins with another value along the channels, sometimes along a spatial axis. */
const concat: Block = (w, c, x, pool) => {
  const axis = c.rarely(8) ? c.int(2, x.shape.length - 1) : 1;
  const limit = axis === 1 ? MAX_CHANNELS : MAX_SIZE;
  const fits = ({ shape }: Value): boolean =>
    shape.length === x.shape.length &&
    shape.every((size, at) => at === axis || size === x.shape[at]) &&
    (shape[axis] as number) + (x.shape[axis] as number) <= limit;
  const others = pool.filter(fits);
  if (others.length === 0) return [];
  const [first, second] = [c.of(others.at(-1) as Value, ...others), c.rarely(3) ? x : undefined];
  const parts = c.rarely(2) ? [first, x] : [x, first];
  if (second !== undefined) parts.push(second);
  const size = parts.reduce((sum, { shape }) => sum + (shape[axis] as number), 0);
  if (size > limit) return [];
  const shape = x.shape.map((dim, at) => (at === axis ? size : dim));
  return [w.node('Concat', parts, { axis: c.rarely(3) ? axis - x.shape.length : axis }, shape)];
};

const split: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  if (channels < 2) return [];
  const first = c.int(1, channels - 1);
  const sizes = channels > 2 && first > 1 && c.rarely(3) ? [1, first - 1, channels - first] : [first, channels - first];
  const shapes = sizes.map((size) => x.shape.map((dim, axis) => (axis === 1 ? size : dim)));
  if (w.opset >= 13) return w.nodes('Split', [x, w.ints(sizes)], { axis: 1 }, shapes);
  return w.nodes('Split', [x], { axis: 1, split: sizes }, shapes);
};

/** One slice along an axis, or two axes at once. */
function sliced(
  w: ModelWriter,
  x: Value,
  axes: readonly number[],
  starts: readonly number[],
  ends: readonly number[],
  steps: readonly number[],
): Value {
  const shape = [...x.shape];
  axes.forEach((axis, index) => {
    const size = x.shape[axis] as number;
    const at = (value: number): number => (value < 0 ? Math.max(-1, value + size) : Math.min(value, size));
    const step = steps[index] as number;
    const [from, to] = [at(starts[index] as number), at(ends[index] as number)];
    shape[axis] = Math.max(0, Math.ceil((to - Math.min(from, step < 0 ? size - 1 : size)) / step));
  });
  if (w.opset < 10) return w.node('Slice', [x], { axes, starts, ends }, shape);
  const given = steps.every((step) => step === 1) ? [] : [w.ints(steps)];
  return w.node('Slice', [x, w.ints(starts), w.ints(ends), w.ints(axes), ...given], {}, shape);
}

const slice: Block = (w, c, x) => {
  const axis = c.of(2, 1, x.shape.length - 1);
  const size = x.shape[axis] as number;
  if (size < 2) return [];
  const step = w.opset < 10 ? 1 : c.of(1, 2, 3, -1);
  if (step < 0) return [sliced(w, x, [axis], [-1], [-1000], [step])];
  const start = c.int(0, size - 1);
  const end = c.of(0x7fffffff, c.int(start + 1, size), size, -1);
  const result = sliced(
    w,
    x,
    [axis],
    [c.rarely(3) ? start - size : start],
    [end === -1 && start >= size - 1 ? size : end],
    [step],
  );
  return [result];
};

/** Every second pixel of each of four phases, joined: YOLOv5's Focus. */
const focus: Block = (w, _, x) => {
  const [, channels = 1, height = 1, width = 1] = x.shape;
  if (x.shape.length !== 4 || w.opset < 10 || height % 2 > 0 || width % 2 > 0 || channels * 4 > MAX_CHANNELS) return [];
  const phases = [
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ].map((starts) => sliced(w, x, [2, 3], starts, [0x7fffffff, 0x7fffffff], [2, 2]));
  return [w.node('Concat', phases, { axis: 1 }, [batchOf(x), channels * 4, height / 2, width / 2])];
};

function reshaped(w: ModelWriter, x: Value, shape: readonly number[], written: readonly number[] = shape): Value {
  return w.node('Reshape', [x, w.ints(written)], {}, shape);
}

function transposed(w: ModelWriter, x: Value, perm: readonly number[]): Value {
  return w.node(
    'Transpose',
    [x],
    { perm },
    perm.map((axis) => x.shape[axis] as number),
  );
}

const shuffle: Block = (w, c, x) => {
  const [, channels = 1, ...spatial] = x.shape;
  const groups = [2, 3, 4].filter((group) => channels % group === 0);
  if (groups.length === 0) return [];
  const group = c.of(groups[0] as number, ...groups);
  const apart = reshaped(w, x, [batchOf(x), group, channels / group, ...spatial]);
  const turned = transposed(w, apart, [0, 2, 1, ...spatial.map((_, index) => index + 3)]);
  const written = c.of(
    [batchOf(x), channels, ...spatial],
    [batchOf(x), -1, ...spatial],
    [0, channels, -1, ...spatial.slice(1)],
  );
  return [reshaped(w, turned, x.shape, written)];
};

/** Blocks of pixels into channels and back, by their own ops or by reshaping as exporters write them. */
const blocks: Block = (w, c, x) => {
  const [, channels = 1, height = 1, width = 1] = x.shape;
  if (x.shape.length !== 4) return [];
  const size = c.of(2, 3);
  const square = size * size;
  const exported = c.rarely(2);
  if (c.of('down', 'up') === 'down') {
    if (height % size > 0 || width % size > 0 || channels * square > MAX_CHANNELS) return [];
    const shape = [batchOf(x), channels * square, height / size, width / size];
    if (!exported) return [w.node('SpaceToDepth', [x], { blocksize: size }, shape)];
    const apart = reshaped(w, x, [batchOf(x), channels, height / size, size, width / size, size]);
    return [reshaped(w, transposed(w, apart, c.of([0, 3, 5, 1, 2, 4], [0, 1, 3, 5, 2, 4])), shape)];
  }
  if (channels % square > 0 || height * size > MAX_SIZE || width * size > MAX_SIZE) return [];
  const shape = [batchOf(x), channels / square, height * size, width * size];
  if (!exported) {
    const mode = w.opset < 11 ? {} : { mode: c.of('DCR', 'CRD') };
    return [w.node('DepthToSpace', [x], { blocksize: size, ...mode }, shape)];
  }
  const apart = reshaped(w, x, [batchOf(x), channels / square, size, size, height, width]);
  return [reshaped(w, transposed(w, apart, [0, 1, 4, 2, 5, 3]), shape)];
};

/** Channels last for a while: matrix products and normalisation over the channels, as Swin and ConvNeXt have them. */
const channelsLast: Block = (w, c, x) => {
  const rank = x.shape.length;
  const [, channels = 1, ...spatial] = x.shape;
  const axes = spatial.map((_, index) => index + 2);
  const flat = c.rarely(3);
  let y = transposed(w, x, [0, ...axes, 1]);
  const pixels = spatial.reduce((product, size) => product * size, 1);
  if (flat)
    y = reshaped(
      w,
      y,
      [batchOf(y), pixels, channels],
      c.rarely(2) ? [batchOf(y), -1, channels] : [batchOf(y), pixels, channels],
    );
  const last = inner(w, c, y);
  const count = last.shape.at(-1) as number;
  const back = flat ? reshaped(w, last, [batchOf(x), ...spatial, count]) : last;
  return [transposed(w, back, [0, rank - 1, ...spatial.map((_, index) => index + 1)])];
};

function inner(w: ModelWriter, c: Choices, y: Value): Value {
  const channels = y.shape.at(-1) as number;
  const rest = y.shape.slice(0, -1);
  const kind = c.of('MatMul', 'Relu', 'Softmax', 'LayerNormalization', 'Gemm');
  if (kind === 'Relu') return w.node('Relu', [y], {}, y.shape);
  if (kind === 'Softmax') return w.node('Softmax', [y], { axis: y.shape.length - 1 }, y.shape);
  if (kind === 'LayerNormalization' && w.opset >= 17 && channels >= 3) {
    const operands = [w.weight([channels], 0.5, 1), w.weight([channels], 0.5)];
    return w.node('LayerNormalization', [y, ...operands], { axis: -1, epsilon: { float: 0.01 } }, y.shape);
  }
  const count = c.int(1, 8);
  const weight = w.weight([channels, count], Math.sqrt(3 / channels));
  if (kind === 'Gemm') {
    const pixels = rest.reduce((product, size) => product * size, 1);
    const product = w.node(
      'Gemm',
      [reshaped(w, y, [pixels, channels], [-1, channels]), weight, w.weight([count])],
      {},
      [pixels, count],
    );
    return reshaped(w, product, [...rest, count]);
  }
  const product = w.node('MatMul', [y, weight], {}, [...rest, count]);
  switch (c.of('bias', 'none', 'places')) {
    case 'bias':
      return w.node('Add', [product, w.weight([count])], {}, product.shape);
    case 'places':
      return w.node('Add', [w.weight(product.shape.slice(1)), product], {}, product.shape);
    default:
      return product;
  }
}

/** Turns the image by a corner: rows become columns. */
const turn: Block = (w, _, x) => (x.shape.length === 4 ? [transposed(w, x, [0, 1, 3, 2])] : []);

/** An axis of 1 comes and goes. */
const squeeze: Block = (w, c, x) => {
  const axis = c.of(0, 2, 3);
  const shape = [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)];
  const byInput = w.opset >= 13;
  const wide = byInput
    ? w.node('Unsqueeze', [x, w.ints([axis])], {}, shape)
    : w.node('Unsqueeze', [x], { axes: [axis] }, shape);
  const bent = w.node('Relu', [wide], {}, shape);
  return [
    byInput
      ? w.node('Squeeze', [bent, w.ints([axis])], {}, x.shape)
      : w.node('Squeeze', [bent], { axes: [axis] }, x.shape),
  ];
};

export const LAYOUT_BLOCKS: Readonly<Record<string, Block>> = {
  concat,
  split,
  slice,
  focus,
  shuffle,
  blocks,
  channelsLast,
  turn,
  squeeze,
};
