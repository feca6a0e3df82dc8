/** Random blocks in which values of different shapes meet: attention over rows, columns and channels, U-Nets, shape arithmetic. */
import { reduced } from './blocks-pointwise.js';
import { type Block, batchOf, MAX_CHANNELS } from './blocks-window.js';
import type { Choices } from './choices.js';
import type { ModelWriter, Value } from './model-writer.js';

function gateOf(w: ModelWriter, c: Choices, x: Value): Value {
  const channels = x.shape[1] as number;
  const one = x.shape.slice(2).map(() => 1);
  const y = c.rarely(2) ? w.node('Conv', [x, w.weight([channels, channels, ...one])], {}, x.shape) : x;
  return w.node('Sigmoid', [y], {}, x.shape);
}

/** Coordinate attention: one factor for each row, one for each column. */
const coordinates: Block = (w, c, x) => {
  const rank = x.shape.length;
  if (rank !== 4) return [];
  const kind = c.of('ReduceMean', 'ReduceMax');
  const rows = gateOf(w, c, reduced(w, kind, x, [3], true));
  const columns = gateOf(w, c, reduced(w, kind, x, [2], true));
  switch (c.of('both', 'outer', 'rows', 'columns')) {
    case 'outer':
      return [w.node('Mul', [rows, columns], {}, x.shape)];
    case 'rows':
      return [rows, w.node('Mul', [x, rows], {}, x.shape)];
    case 'columns':
      return [columns, w.node('Sub', [columns, x], {}, x.shape)];
    default:
      return [w.node('Mul', [w.node('Mul', [x, rows], {}, x.shape), columns], {}, x.shape)];
  }
};

/** CBAM's spatial attention: the mean and the largest of the channels, a convolution, one factor for each pixel. */
const spatial: Block = (w, c, x) => {
  const [one, two] = [reduced(w, 'ReduceMean', x, [1], true), reduced(w, 'ReduceMax', x, [1], true)];
  const both = w.node('Concat', [one, two], { axis: 1 }, [batchOf(x), 2, ...x.shape.slice(2)]);
  const size = c.of(3, 7, 1);
  const spread = x.shape.slice(2).map(() => size);
  const pads = [...spread, ...spread].map((item) => (item - 1) / 2);
  const map = w.node('Conv', [both, w.weight([1, 2, ...spread], 0.5)], { pads }, one.shape);
  return [map, w.node('Mul', [x, w.node('Sigmoid', [map], {}, map.shape)], {}, x.shape)];
};

/** The shape of a value as a computed tensor, with the number of channels replaced. */
function shapeLike(w: ModelWriter, c: Choices, value: Value, channels: number): Value {
  const rank = value.shape.length;
  const shape = w.node('Shape', [value], {}, [rank]);
  const rest =
    w.opset < 10 || c.rarely(2)
      ? sizesByGather(w, shape, rank)
      : w.node('Slice', [shape, w.ints([2]), w.ints([rank])], {}, [rank - 2]);
  return w.node('Concat', [w.ints([batchOf(value), channels]), rest], { axis: 0 }, [rank]);
}

function sizesByGather(w: ModelWriter, shape: Value, rank: number): Value {
  const sizes = Array.from({ length: rank - 2 }, (_, index) =>
    w.node('Gather', [shape, w.ints([index + 2])], { axis: 0 }, [1]),
  );
  return w.node('Concat', sizes, { axis: 0 }, [rank - 2]);
}

/** Brought to the size of an earlier value, as exporters write it, and joined to that. */
const resizeLike: Block = (w, c, x, pool) => {
  const fits = ({ shape }: Value): boolean =>
    shape.length === 4 &&
    shape.slice(2).join() !== x.shape.slice(2).join() &&
    (shape[1] as number) + (x.shape[1] as number) <= MAX_CHANNELS;
  const others = pool.filter(fits);
  if (others.length === 0 || x.shape.length !== 4 || w.opset < 11) return [];
  const other = c.of(others.at(-1) as Value, ...others);
  const channels = x.shape[1] as number;
  const sizes = shapeLike(w, c, other, channels);
  const none = w.floats([]);
  const mode = c.of('nearest', 'linear');
  const nearest = mode === 'nearest' ? { nearest_mode: 'floor' } : {};
  const attributes = {
    mode,
    coordinate_transformation_mode: c.of('asymmetric', 'half_pixel', 'align_corners'),
    ...nearest,
  };
  const shape = [batchOf(x), channels, ...other.shape.slice(2)];
  const resized = w.node('Resize', [x, none, none, sizes], attributes, shape);
  const parts = c.rarely(2) ? [other, resized] : [resized, other];
  return [
    w.node('Concat', parts, { axis: 1 }, [batchOf(x), channels + (other.shape[1] as number), ...other.shape.slice(2)]),
  ];
};

/** There and back by shapes that the model computes: every exporter leaves such arithmetic. */
const reshapeLike: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  const sizes = shapeLike(w, c, x, channels);
  const pixels = x.shape.slice(2).reduce((product, size) => product * size, 1);
  const flat = w.node('Reshape', [x, w.ints([batchOf(x), channels, -1])], {}, [batchOf(x), channels, pixels]);
  const bent = w.node('Relu', [flat], {}, flat.shape);
  return [w.node('Reshape', [bent, sizes], {}, x.shape)];
};

/** Every pixel looks at every other: a non-local block. */
const nonLocal: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  const pixels = x.shape.slice(2).reduce((product, size) => product * size, 1);
  if (pixels > 120) return [];
  const one = x.shape.slice(2).map(() => 1);
  const flat = (): Value => {
    const y = c.rarely(2) ? x : w.node('Conv', [x, w.weight([channels, channels, ...one], 0.5)], {}, x.shape);
    return w.node('Reshape', [y, w.ints([batchOf(x), channels, pixels])], {}, [batchOf(x), channels, pixels]);
  };
  const [query, key, value] = [flat(), flat(), flat()];
  const turned = w.node('Transpose', [query], { perm: [0, 2, 1] }, [batchOf(x), pixels, channels]);
  const product = w.node('MatMul', [turned, key], {}, [batchOf(x), pixels, pixels]);
  const weights = w.node('Softmax', [product], { axis: 2 }, product.shape);
  const back = w.node('Transpose', [weights], { perm: [0, 2, 1] }, weights.shape);
  const mixed = w.node('MatMul', [value, back], {}, [batchOf(x), channels, pixels]);
  return [w.node('Add', [w.node('Reshape', [mixed, w.ints(x.shape)], {}, x.shape), x], {}, x.shape)];
};

/** SegNet's pooling, which remembers places, and what undoes it. */
const unpool: Block = (w, c, x) => {
  const [, channels = 1, height = 1, width = 1] = x.shape;
  if (x.shape.length !== 4 || height % 2 > 0 || width % 2 > 0) return [];
  const attributes = { kernel_shape: [2, 2], strides: [2, 2] };
  const small = [batchOf(x), channels, height / 2, width / 2];
  const [values, places] = w.nodes('MaxPool', [x], attributes, [small, small]) as [Value, Value];
  const bent = c.rarely(2) ? values : w.node('Tanh', [values], {}, small);
  return [bent, w.node('MaxUnpool', [bent, places], attributes, x.shape)];
};

/** Channels chosen by their places, or the whole repeated. */
const choose: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  if (c.rarely(3)) {
    if (channels * 2 > MAX_CHANNELS) return [];
    const shape = x.shape.map((size, axis) => (axis === 1 ? 2 * size : size));
    return [w.node('Tile', [x, w.ints(x.shape.map((_, axis) => (axis === 1 ? 2 : 1)))], {}, shape)];
  }
  const places = Array.from({ length: c.int(1, 4) }, () => c.int(0, channels - 1));
  return [
    w.node(
      'Gather',
      [x, w.ints(places)],
      { axis: 1 },
      x.shape.map((size, axis) => (axis === 1 ? places.length : size)),
    ),
  ];
};

/** A leaky rectifier by comparison, so that truth values have rows; or the same with the truth as a number. */
const select: Block = (w, c, x) => {
  if (w.opset < 9) return [];
  const positive = w.node('Greater', [x, w.floats([0], [])], {}, x.shape);
  const small = w.node('Mul', [x, w.floats([0.1], [])], {}, x.shape);
  const kind = c.of('where', 'cast', 'not');
  if (kind === 'cast') {
    const factor = w.node('Cast', [positive], { to: 1 }, x.shape);
    return [w.node('Mul', [x, factor], {}, x.shape)];
  }
  if (kind === 'where') return [w.node('Where', [positive, x, small], {}, x.shape)];
  return [w.node('Where', [w.node('Not', [positive], {}, x.shape), small, x], {}, x.shape)];
};

/** One of two functions, chosen by the mean of the image: a node with subgraphs that read a value from outside. */
const branch: Block = (w, c, x) => {
  const all = x.shape.map((_, axis) => axis);
  const mean = reduced(w, 'ReduceMean', x, all, false);
  const condition = w.node('Less', [mean, w.floats([c.of(1000, -1000)], [])], {}, []);
  return [w.branch(condition, x, ['Relu', 'Tanh'])];
};

/** Constants as high as the image joined to it: CoordConv's coordinates. */
const coordConv: Block = (w, c, x) => {
  const channels = (x.shape[1] as number) + 1;
  if (channels > MAX_CHANNELS) return [];
  const map = w.weight(x.shape.map((size, axis) => (axis === 1 ? 1 : size)));
  const parts = c.rarely(2) ? [map, x] : [x, map];
  return [
    w.node(
      'Concat',
      parts,
      { axis: 1 },
      x.shape.map((size, axis) => (axis === 1 ? channels : size)),
    ),
  ];
};

/** Products with a constant matrix from either side, over the channels, the columns or the rows. */
const project: Block = (w, c, x) => {
  const [, channels = 1, height = 1, width = 1] = x.shape;
  const count = c.int(1, 6);
  const kind = x.shape.length === 4 ? c.of('channels', 'columns', 'rows') : 'channels';
  if (kind === 'columns') {
    return [w.node('MatMul', [x, w.weight([width, count], Math.sqrt(3 / width))], {}, [...x.shape.slice(0, 3), count])];
  }
  if (kind === 'rows') {
    const shape = [batchOf(x), channels, count, width];
    return [w.node('MatMul', [w.weight([count, height], Math.sqrt(3 / height)), x], {}, shape)];
  }
  const pixels = x.shape.slice(2).reduce((product, size) => product * size, 1);
  const flat = w.node('Reshape', [x, w.ints([0, channels, -1])], {}, [batchOf(x), channels, pixels]);
  const product = w.node('MatMul', [w.weight([count, channels]), flat], {}, [batchOf(x), count, pixels]);
  // A constant as long as the image has pixels.
  const placed = c.rarely(2) ? w.node('Add', [product, w.weight([count, pixels])], {}, product.shape) : product;
  const shape = [batchOf(x), count, ...x.shape.slice(2)];
  return [w.node('Reshape', [placed, w.ints(shape)], {}, shape)];
};

/** Double precision for a while. */
const double: Block = (w, c, x) => {
  const wide = w.node('Cast', [x], { to: 11 }, x.shape);
  const bent = w.node(c.of('Neg', 'Relu'), [wide], {}, x.shape);
  const sum = c.rarely(2) ? w.node('Add', [bent, wide], {}, x.shape) : bent;
  return [w.node('Cast', [sum], { to: 1 }, x.shape)];
};

/** Rows chosen by truth values: the product cannot tell how many they are before it runs. */
const unsized: Block = (w, c, x) => {
  const height = x.shape[2] as number;
  const data = Uint8Array.from({ length: height }, (_, row) => (row === 0 ? 1 : 1 - c.int(0, 1)));
  const count = data.reduce((sum, truth) => sum + truth, 0);
  const truths = w.constant({ dtype: 'bool', shape: [height], data }, `${count} of ${height}`);
  return [
    w.node(
      'Compress',
      [x, truths],
      { axis: 2 },
      x.shape.map((size, axis) => (axis === 2 ? count : size)),
    ),
  ];
};

export const ATTENTION_BLOCKS: Readonly<Record<string, Block>> = {
  coordinates,
  spatial,
  resizeLike,
  reshapeLike,
  nonLocal,
  unpool,
  choose,
  select,
  branch,
  coordConv,
  project,
  double,
  unsized,
};
