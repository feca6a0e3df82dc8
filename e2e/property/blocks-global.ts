/** Random blocks with ops that look at all rows: squeeze-and-excite and its kin, undividable ops in the middle, heads. */
import { reduced } from './blocks-pointwise.js';
import { type Block, batchOf } from './blocks-window.js';
import type { Choices } from './choices.js';
import type { ModelWriter, Value } from './model-writer.js';

const REDUCTIONS = [
  'ReduceMax',
  'ReduceL2',
  'ReduceSum',
  'ReduceMin',
  'ReduceL1',
  'ReduceSumSquare',
  'ReduceLogSumExp',
];

/** A map of one pixel: [1, channels, 1, …]. */
function pooled(w: ModelWriter, c: Choices, x: Value): Value {
  const shape = x.shape.map((size, axis) => (axis < 2 ? size : 1));
  const axes = x.shape.slice(2).map((_, index) => (c.rarely(4) ? index + 2 - x.shape.length : index + 2));
  const kind = c.of(
    'GlobalAveragePool',
    'ReduceMean',
    'GlobalMaxPool',
    'AveragePool',
    ...REDUCTIONS,
    'GlobalLpPool',
    'twice',
  );
  if (kind.startsWith('Global')) return w.node(kind, [x], {}, shape);
  if (kind === 'AveragePool') return w.node(kind, [x], { kernel_shape: x.shape.slice(2) }, shape);
  if (kind === 'twice') return axes.reduceRight((value, axis) => reduced(w, 'ReduceMean', value, [axis], true), x);
  return reduced(w, kind, x, axes, true);
}

/** A small network on what was pooled: convolutions of one pixel, or fully connected layers. */
function excited(w: ModelWriter, c: Choices, pool: Value): Value {
  const channels = pool.shape[1] as number;
  const spatial = pool.shape.slice(2);
  const kind = c.of('conv', 'none', 'gemm', 'activation');
  if (kind === 'none') return pool;
  if (kind === 'activation') return w.node('Sigmoid', [pool], {}, pool.shape);
  const hidden = c.int(1, 4);
  if (kind === 'conv') {
    const one = w.node('Conv', [pool, w.weight([hidden, channels, ...spatial.map(() => 1)]), w.weight([hidden])], {}, [
      batchOf(pool),
      hidden,
      ...spatial,
    ]);
    const bent = w.node('Relu', [one], {}, one.shape);
    const two = w.node('Conv', [bent, w.weight([channels, hidden, ...spatial.map(() => 1)])], {}, pool.shape);
    return w.node(c.of('Sigmoid', 'HardSigmoid', 'Tanh'), [two], {}, pool.shape);
  }
  const flat = w.node('Flatten', [pool], {}, [batchOf(pool), channels]);
  const one = w.node('Gemm', [flat, w.weight([hidden, channels]), w.weight([hidden])], { transB: 1 }, [
    batchOf(pool),
    hidden,
  ]);
  const two = w.node('MatMul', [w.node('Relu', [one], {}, one.shape), w.weight([hidden, channels])], {}, [
    batchOf(pool),
    channels,
  ]);
  const gate = w.node('Sigmoid', [two], {}, [batchOf(pool), channels]);
  return w.node('Reshape', [gate, w.ints([batchOf(pool), channels, ...spatial])], {}, pool.shape);
}

/** What is pooled over the whole image is joined to it again. */
const squeezeExcite: Block = (w, c, x) => {
  const gate = excited(w, c, pooled(w, c, x));
  switch (c.of('Mul', 'Add', 'Sub', 'Expand', 'Resize')) {
    case 'Expand': {
      const wide = w.node('Expand', [gate, w.ints(x.shape)], {}, x.shape);
      return [
        w.node(
          'Concat',
          [x, wide],
          { axis: 1 },
          x.shape.map((size, axis) => (axis === 1 ? 2 * size : size)),
        ),
      ];
    }
    case 'Resize': {
      if (w.opset < 11 || x.shape.length !== 4) return [];
      const roi = w.floats([]);
      const attributes = { mode: c.of('nearest', 'linear'), coordinate_transformation_mode: 'half_pixel' };
      const wide = w.node('Resize', [gate, roi, roi, w.ints(x.shape)], attributes, x.shape);
      return [
        w.node(
          'Concat',
          [wide, x],
          { axis: 1 },
          x.shape.map((size, axis) => (axis === 1 ? 2 * size : size)),
        ),
      ];
    }
    case 'Add':
      return [w.node('Add', [x, gate], {}, x.shape)];
    case 'Sub':
      return [w.node('Sub', [gate, x], {}, x.shape)];
    default:
      return [w.node('Mul', [x, gate], {}, x.shape)];
  }
};

/** Every channel to mean 0 and deviation 1 over the whole image, by its own op or as two reductions. */
const instanceNorm: Block = (w, c, x) => {
  const channels = x.shape[1] as number;
  // So few pixels that their deviation is all noise are left alone.
  if (x.shape.slice(2).reduce((product, size) => product * size, 1) < 4) return [];
  const epsilon = { float: 0.01 };
  const kind = c.of('InstanceNormalization', 'exported', 'group');
  const axes = x.shape.slice(2).map((_, index) => index + 2);
  if (kind === 'InstanceNormalization') {
    return [w.node(kind, [x, w.weight([channels], 0.5, 1), w.weight([channels], 0.5)], { epsilon }, x.shape)];
  }
  if (kind === 'exported') {
    const centred = w.node('Sub', [x, reduced(w, 'ReduceMean', x, axes, true)], {}, x.shape);
    const variance = reduced(w, 'ReduceMean', w.node('Mul', [centred, centred], {}, x.shape), axes, true);
    const deviation = w.node(
      'Sqrt',
      [w.node('Add', [variance, w.floats([0.01], [])], {}, variance.shape)],
      {},
      variance.shape,
    );
    return [w.node('Div', [centred, deviation], {}, x.shape)];
  }
  const groups = channels % 2 === 0 ? 2 : 1;
  const pixels = x.shape.slice(2).reduce((product, size) => product * size, channels / groups);
  const apart = w.node('Reshape', [x, w.ints([0, groups, -1])], {}, [batchOf(x), groups, pixels]);
  const ones = [w.floats(new Array<number>(groups).fill(1)), w.floats(new Array<number>(groups).fill(0))];
  const normal = w.node('InstanceNormalization', [apart, ...ones], { epsilon }, apart.shape);
  const back = w.node('Reshape', [normal, w.ints(x.shape)], {}, x.shape);
  const affine = [channels, ...axes.map(() => 1)];
  const scaled = w.node('Mul', [back, w.weight(affine, 0.5, 1)], {}, x.shape);
  return [w.node('Add', [scaled, w.weight(affine, 0.5)], {}, x.shape)];
};

/** Ops that no part of the rows can compute alone, with rows before and after. */
const undividable: Block = (w, c, x) => {
  const rank = x.shape.length;
  const [, channels = 1, height = 1, width = 1] = x.shape;
  switch (c.of('softmax', 'cumsum', 'topk', 'gram', 'reverse', 'merge', 'mix')) {
    case 'cumsum': {
      if (w.opset < 11) return [];
      const sum = w.node('CumSum', [x, w.ints([2])], {}, x.shape);
      return [w.node('Tanh', [sum], {}, x.shape)];
    }
    case 'topk': {
      const count = Math.max(1, height - 1);
      const shape = x.shape.map((size, axis) => (axis === 2 ? count : size));
      if (w.opset < 11) return [];
      return [w.nodes('TopK', [x, w.ints([count])], { axis: 2 }, [shape, shape])[0] as Value];
    }
    case 'gram': {
      if (rank !== 4) return [];
      const turned = w.node('Transpose', [x], { perm: [0, 1, 3, 2] }, [batchOf(x), channels, width, height]);
      const product = w.node('MatMul', [x, turned], {}, [batchOf(x), channels, height, height]);
      return [w.node('Tanh', [product], {}, product.shape)];
    }
    case 'reverse':
      return [
        w.node(
          'Gather',
          [x, w.ints(Array.from({ length: height }, (_, row) => height - 1 - row))],
          { axis: 2 },
          x.shape,
        ),
      ];
    case 'merge': {
      if (rank !== 4) return [];
      const shape = [batchOf(x), channels, width, height];
      return [w.node('Reshape', [x, w.ints(shape)], {}, shape)];
    }
    case 'mix': {
      const size = x.shape.slice(1).reduce((product, dim) => product * dim, 1);
      if (size > 400) return [];
      const flat = w.node('Flatten', [x], {}, [batchOf(x), size]);
      const mixed = w.node('MatMul', [flat, w.weight([size, size], Math.sqrt(3 / size))], {}, [batchOf(x), size]);
      return [w.node('Reshape', [mixed, w.ints(x.shape)], {}, x.shape)];
    }
    default:
      return [w.node('Softmax', [x], { axis: w.opset < 13 ? 1 : 2 }, x.shape)];
  }
};

export const GLOBAL_BLOCKS: Readonly<Record<string, Block>> = { squeezeExcite, instanceNorm, undividable };

/** The end of a classifier, or of a detector: what it makes has no rows any more. */
export const head: Block = (w, c, x) => {
  const size = x.shape.slice(1).reduce((product, dim) => product * dim, 1);
  const channels = x.shape[1] as number;
  const kind = c.of('pooled', 'flat', 'means', 'conv', 'plain', 'softmax');
  if (kind === 'plain') return [pooled(w, c, x)];
  if (kind === 'softmax') return [w.node('Softmax', [x], { axis: w.opset < 13 ? 1 : 2 }, x.shape)];
  if (kind === 'conv') return [excited(w, c, pooled(w, c, x))];
  const wide = kind === 'flat' ? size : channels;
  const flat =
    kind === 'means'
      ? reduced(
          w,
          'ReduceMean',
          x,
          x.shape.slice(2).map((_, index) => index + 2),
          false,
        )
      : w.node('Flatten', [kind === 'flat' ? x : pooled(w, c, x)], {}, [batchOf(x), wide]);
  let y: Value = flat;
  for (let layers = c.int(1, 3); layers > 0; layers--) {
    const [inputs, outputs] = [y.shape[1] as number, c.int(1, 9)];
    const scale = Math.sqrt(3 / inputs);
    if (c.rarely(2)) {
      const product = w.node('MatMul', [y, w.weight([inputs, outputs], scale)], {}, [batchOf(x), outputs]);
      y = w.node('Add', [product, w.weight([outputs])], {}, [batchOf(x), outputs]);
    } else if (c.of(false, true))
      y = w.node('Gemm', [y, w.weight([outputs, inputs], scale), w.weight([outputs])], { transB: 1 }, [
        batchOf(x),
        outputs,
      ]);
    else
      y = w.node('Gemm', [y, w.weight([inputs, outputs], scale), w.weight([1, outputs])], { alpha: { float: 0.5 } }, [
        batchOf(x),
        outputs,
      ]);
    if (layers > 1) y = w.node('Relu', [y], {}, y.shape);
  }
  return [c.rarely(2) ? w.node('Softmax', [y], { axis: 1 }, y.shape) : y];
};
