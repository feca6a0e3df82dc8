/** Random blocks of ops that look at one place at a time: activations, arithmetic, normalisation with constants. */
import type { Block } from './blocks-window.js';
import type { Choices } from './choices.js';
import type { ModelWriter, Value } from './model-writer.js';

function same(w: ModelWriter, op: string, ...inputs: (Value | string)[]): Value {
  const [first] = inputs.filter((item): item is Value => typeof item !== 'string');
  return w.node(op, inputs, {}, first?.shape ?? []);
}

const PLAIN = [
  'Relu',
  'Sigmoid',
  'Tanh',
  'LeakyRelu',
  'Elu',
  'Selu',
  'Softplus',
  'Softsign',
  'HardSigmoid',
  'Abs',
  'Neg',
];
const PLAINER = ['Identity', 'Sin', 'Cos', 'Erf', 'Atan', 'Dropout'];
const SINCE: readonly (readonly [string, number])[] = [
  ['Celu', 12],
  ['HardSwish', 14],
  ['Mish', 18],
  ['Gelu', 20],
];

const activation: Block = (w, c, x) => {
  const known = SINCE.filter(([, opset]) => w.opset >= opset).map(([op]) => op);
  return [same(w, c.of('Relu', ...PLAIN, ...PLAINER, ...known), x)];
};

/** Activations as exporters write those that their opset lacks, and functions that are only defined for some numbers. */
const composed: Block = (w, c, x) => {
  switch (c.of('silu', 'hardswish', 'gelu', 'mish', 'exp', 'sqrt', 'pow', 'reciprocal', 'log')) {
    case 'silu':
      return [same(w, 'Mul', x, same(w, 'Sigmoid', x))];
    case 'hardswish':
      return [same(w, 'Mul', same(w, 'HardSigmoid', x), x)];
    case 'gelu': {
      const inner = same(w, 'Add', same(w, 'Erf', same(w, 'Div', x, w.floats([Math.SQRT2], []))), w.floats([1], []));
      return [same(w, 'Mul', same(w, 'Mul', x, inner), w.floats([0.5], []))];
    }
    case 'mish':
      return [same(w, 'Mul', x, same(w, 'Tanh', same(w, 'Softplus', x)))];
    case 'exp':
      return [same(w, 'Exp', same(w, 'Tanh', x))];
    case 'sqrt':
      return [same(w, 'Sqrt', same(w, 'Add', same(w, 'Abs', x), w.floats([0.5])))];
    case 'pow':
      return [same(w, 'Pow', same(w, 'Tanh', x), w.floats([2], []))];
    case 'reciprocal':
      return [same(w, 'Reciprocal', same(w, 'Add', same(w, 'Abs', x), w.floats([1], [])))];
    default:
      return [same(w, 'Log', same(w, 'Add', same(w, 'Abs', x), w.floats([1], [])))];
  }
};

const clip: Block = (w, c, x) => {
  const low = c.of(-0.5, undefined, 0);
  const high = c.of(1, undefined, 6);
  if (w.opset < 11) {
    const attributes = {
      ...(low === undefined ? {} : { min: { float: low } }),
      ...(high === undefined ? {} : { max: { float: high } }),
    };
    return [w.node('Clip', [x], attributes, x.shape)];
  }
  const bounds = [low, high].map((bound) => (bound === undefined ? undefined : w.floats([bound], [])));
  return [w.node('Clip', [x, ...bounds], {}, x.shape)];
};

/** A shape that broadcasts to that of `x` and, when `within`, has no more dimensions. */
function broadcastable(c: Choices, x: Value): number[] {
  const rank = x.shape.length;
  const keep = (...axes: number[]): number[] => x.shape.map((size, axis) => (axes.includes(axis) ? size : 1));
  const shape = c.of(
    keep(1),
    [],
    [1],
    keep(1, 2),
    keep(2),
    [...x.shape],
    keep(rank - 1),
    keep(2, rank - 1),
    keep(...x.shape.keys()),
  );
  // Leading ones may be left away.
  return c.rarely(2)
    ? shape.slice(
        Math.max(
          0,
          shape.findIndex((size) => size > 1),
        ),
      )
    : shape;
}

const arithmetic: Block = (w, c, x) => {
  const op = c.of('Add', 'Mul', 'Sub', 'Div', 'Max', 'Min');
  const shape = broadcastable(c, x);
  const swapped = op !== 'Div' && c.rarely(3);
  const constant = op === 'Div' ? w.weight(shape, 0.5, 1.5) : w.weight(shape);
  return [w.node(op, swapped ? [constant, x] : [x, constant], {}, x.shape)];
};

const prelu: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  const ones = x.shape.slice(2).map(() => 1);
  const shape = c.of([channels, ...ones], [1], x.shape.slice(1), [1, channels, ...ones]);
  return [w.node('PRelu', [x, w.weight(shape, 0.3)], {}, x.shape)];
};

/** Two values of the same shape, or one of them with ones in it. */
const merge: Block = (w, c, x, pool) => {
  const fits = ({ name, shape }: Value): boolean =>
    name !== x.name &&
    shape.length === x.shape.length &&
    shape.every((size, axis) => size === x.shape[axis] || size === 1);
  const others = pool.filter(fits);
  const other = others.length === 0 ? same(w, 'Sigmoid', x) : c.of(others.at(-1) as Value, ...others);
  const op = c.of('Add', 'Mul', 'Sub', 'Max', 'Sum', 'Mean', 'Min', 'Where');
  const tamed = (value: Value): Value => w.node('Tanh', [value], {}, value.shape);
  if (op === 'Mul') return [same(w, 'Mul', x, tamed(other))];
  if (op === 'Where') {
    const mask = {
      dtype: 'bool' as const,
      shape: [x.shape[2] as number, 1],
      data: new Uint8Array(x.shape[2] as number),
    };
    mask.data.forEach((_, row) => {
      mask.data[row] = c.int(0, 1);
    });
    if (x.shape.length !== 4) return [];
    return [same(w, 'Where', w.constant(mask, 'mask'), x, other)];
  }
  if (op === 'Sum' || op === 'Mean') return [same(w, op, x, other, c.rarely(2) ? x : other)];
  return [c.rarely(2) ? w.node(op, [other, x], {}, x.shape) : same(w, op, x, other)];
};

const batchNorm: Block = (w, _, x) => {
  const channels = [x.shape[1] as number];
  const constants = [
    w.weight(channels, 0.5, 1),
    w.weight(channels, 0.5),
    w.weight(channels, 0.5),
    w.weight(channels, 0.4, 1),
  ];
  return [w.node('BatchNormalization', [x, ...constants], { epsilon: { float: 1e-3 } }, x.shape)];
};

/** Softmax over one axis; before opset 13 over that axis and all behind it. */
const softmax: Block = (w, c, x) => {
  const rank = x.shape.length;
  return [w.node(c.of('Softmax', 'LogSoftmax'), [x], { axis: c.of(1, rank - 1, -1) }, x.shape)];
};

/** LayerNorm over the channels as exporters write it. */
const layerNorm: Block = (w, c, x) => {
  if ((x.shape[1] as number) < 3) return [];
  const one = x.shape.map((size, axis) => (axis === 1 ? 1 : size));
  const reduced = (value: Value): Value => mean(w, value, [1], one);
  const centred = same(w, 'Sub', x, reduced(x));
  const squared = c.rarely(2) ? same(w, 'Mul', centred, centred) : same(w, 'Pow', centred, w.floats([2], []));
  const deviation = same(w, 'Sqrt', same(w, 'Add', reduced(squared), w.floats([0.01], [])));
  const affine = [x.shape[1] as number, ...x.shape.slice(2).map(() => 1)];
  const scaled = same(w, 'Mul', w.weight(affine, 0.5, 1), same(w, 'Div', centred, deviation));
  return [same(w, 'Add', scaled, w.weight(affine, 0.5))];
};

/** ReduceMean (or another Reduce op) over these axes, as its opset writes it. */
export function reduced(w: ModelWriter, op: string, x: Value, axes: readonly number[], keep: boolean): Value {
  const rank = x.shape.length;
  const gone = axes.map((axis) => (axis < 0 ? axis + rank : axis));
  const shape = x.shape.flatMap((size, axis) => (!gone.includes(axis) ? [size] : keep ? [1] : []));
  const keepdims = keep ? 1 : 0;
  const byInput = w.opset >= (op === 'ReduceSum' ? 13 : 18);
  return byInput ? w.node(op, [x, w.ints(axes)], { keepdims }, shape) : w.node(op, [x], { axes, keepdims }, shape);
}

function mean(w: ModelWriter, x: Value, axes: readonly number[], shape: readonly number[]): Value {
  return { ...reduced(w, 'ReduceMean', x, axes, true), shape };
}

export const POINTWISE_BLOCKS: Readonly<Record<string, Block>> = {
  activation,
  composed,
  clip,
  arithmetic,
  prelu,
  merge,
  batchNorm,
  softmax,
  layerNorm,
};
