/** Cases of MaxPool, AveragePool and LpPool, and of their windows at the padded ends. */
import { type CaseDefinition, fed } from '../golden-case.js';

interface Options {
  readonly opset?: number;
  readonly axis?: number;
  readonly kind?: CaseDefinition['kind'];
}

type PoolOp = 'MaxPool' | 'AveragePool' | 'LpPool';
const OPS: readonly PoolOp[] = ['MaxPool', 'AveragePool', 'LpPool'];

/** `image`: spatial sizes. */
function pool(
  op: PoolOp,
  name: string,
  image: readonly number[],
  attributes: Readonly<Record<string, string | number | readonly number[]>>,
  { opset = 19, axis = 2, kind = 'local' }: Options = {},
): CaseDefinition {
  const shape = [1, 2, ...image];
  return { name: `${op} ${name}`, opset, op, attributes, kind, inputs: [fed(shape)], rowAxes: [axis] };
}

/** Every version of each op, without what only later ones know. */
const VERSIONS: readonly (readonly [PoolOp, readonly number[]])[] = [
  ['MaxPool', [7, 8, 10, 11, 12, 21]],
  ['AveragePool', [7, 10, 11, 19, 21]],
  ['LpPool', [7, 11, 18, 21]],
];
const AUTO = ['SAME_UPPER', 'SAME_LOWER', 'VALID'];
const CEIL = { ceil_mode: 1 };

/** Windows at the ends, the same for all three. */
function ends(op: PoolOp): CaseDefinition[] {
  return [
    pool(op, 'halves', [8, 6], { kernel_shape: [2, 2], strides: [2, 2] }),
    pool(op, 'drops the last row', [9, 7], { kernel_shape: [2, 2], strides: [2, 2] }),
    pool(op, 'overlaps', [9, 5], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
    pool(op, 'keeps its size', [6, 5], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
    pool(op, 'pads one end', [7, 6], { kernel_shape: [3, 2], pads: [0, 1, 2, 0], strides: [1, 2] }),
    pool(op, 'columns', [6, 9], { kernel_shape: [2, 3], strides: [1, 2], pads: [0, 1, 0, 1] }, { axis: 3 }),
    pool(op, 'overhangs', [8, 8], { kernel_shape: [3, 3], strides: [2, 2], ...CEIL }),
    pool(op, 'overhangs, padded', [8, 6], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ...CEIL }),
    pool(op, 'overhangs, padded before', [7, 7], {
      kernel_shape: [3, 2],
      strides: [3, 2],
      pads: [1, 0, 0, 0],
      ...CEIL,
    }),
    pool(op, 'overhangs by far', [7, 6], { kernel_shape: [4, 4], strides: [3, 5], pads: [0, 1, 1, 0], ...CEIL }),
    pool(op, 'overhangs a stride over the kernel', [9, 7], { kernel_shape: [2, 2], strides: [4, 3], ...CEIL }),
    // ⌈·⌉ alone would make one window more, wholly in the padding.
    pool(op, 'drops a window in the padding', [6, 5], {
      ...{ kernel_shape: [2, 2], strides: [3, 2], pads: [1, 1, 1, 1] },
      ...CEIL,
    }),
    pool(op, 'hangs over the one window', [3, 8], { kernel_shape: [4, 2], strides: [2, 2] }),
    pool(op, 'covers the rows', [5, 6], { kernel_shape: [5, 2], strides: [1, 2] }),
    pool(op, 'covers everything', [5, 4], { kernel_shape: [5, 4], strides: [5, 4] }, { kind: 'global' }),
    pool(op, 'covers everything and padding', [4, 3], { kernel_shape: [6, 5], pads: [1, 1, 1, 1] }),
    pool(op, 'dilated', [9, 7], { kernel_shape: [3, 2], dilations: [2, 3], pads: [2, 1, 1, 0] }),
    pool(op, 'dilated, overhangs', [10, 7], {
      ...{ kernel_shape: [2, 3], dilations: [3, 1], strides: [2, 2], pads: [1, 0, 0, 1] },
      ...CEIL,
    }),
    pool(op, 'signal', [11], { kernel_shape: [3], strides: [2], pads: [1, 1], ...CEIL }),
    ...[2, 3, 4].map((axis) =>
      pool(
        op,
        `volume, axis ${axis}`,
        [5, 4, 6],
        { kernel_shape: [2, 3, 2], strides: [2, 1, 2], pads: [1, 1, 0, 0, 1, 0], ...CEIL },
        { axis },
      ),
    ),
    ...AUTO.flatMap((auto_pad) => [
      pool(op, auto_pad, [7, 6], { kernel_shape: [3, 2], auto_pad }),
      pool(op, `${auto_pad}, strided`, [8, 7], { kernel_shape: [3, 3], strides: [2, 2], auto_pad }),
      pool(op, `${auto_pad}, even`, [9, 7], { kernel_shape: [4, 2], strides: [3, 1], auto_pad, ...CEIL }),
      pool(op, `${auto_pad}, dilated`, [9, 7], { kernel_shape: [3, 2], dilations: [2, 2], auto_pad }),
    ]),
  ];
}

const INCLUDE = { count_include_pad: 1 };

export const cases: readonly CaseDefinition[] = [
  ...VERSIONS.flatMap(([op, opsets]) =>
    opsets.map((opset) =>
      pool(op, 'plain', [7, 5], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }, { opset }),
    ),
  ),
  ...OPS.flatMap(ends),
  // What the average counts is what differs at the ends.
  pool('AveragePool', 'counts pads', [7, 5], { kernel_shape: [3, 3], pads: [1, 1, 1, 1], ...INCLUDE }, { opset: 7 }),
  pool('AveragePool', 'counts pads, strided', [8, 6], {
    ...{ kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
    ...INCLUDE,
  }),
  ...[10, 19, 21].map((opset) =>
    pool(
      'AveragePool',
      'counts pads, overhangs',
      [8, 6],
      { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ...CEIL, ...INCLUDE },
      { opset },
    ),
  ),
  pool('AveragePool', 'counts pads, overhangs by far', [7, 7], {
    ...{ kernel_shape: [4, 4], strides: [3, 5], pads: [2, 1, 1, 0] },
    ...CEIL,
    ...INCLUDE,
  }),
  pool('AveragePool', 'counts pads, SAME_UPPER', [7, 6], {
    ...{ kernel_shape: [4, 3], strides: [2, 2], auto_pad: 'SAME_UPPER' },
    ...INCLUDE,
  }),
  pool('AveragePool', 'counts pads, dilated', [9, 7], {
    ...{ kernel_shape: [3, 2], dilations: [2, 1], strides: [2, 1], pads: [2, 1, 1, 0] },
    ...CEIL,
    ...INCLUDE,
  }),
  ...[1, 3].map((p) => pool('LpPool', `of power ${p}`, [7, 5], { kernel_shape: [3, 2], strides: [2, 1], p })),
  ...[1, 3].map((p) =>
    pool('LpPool', `of power ${p} covers everything`, [4, 5], { kernel_shape: [4, 5], p }, { kind: 'global' }),
  ),
  ...(['float64', 'int8', 'uint8'] as const).map((dtype) => ({
    ...pool('MaxPool', `of ${dtype}`, [7, 5], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ...CEIL }),
    inputs: [{ dtype, shape: [1, 2, 7, 5] }],
  })),
  {
    ...pool('MaxPool', 'of uint8 covers everything', [4, 3], { kernel_shape: [4, 3] }),
    inputs: [{ dtype: 'uint8', shape: [1, 2, 4, 3] }],
  },
  {
    ...pool('MaxPool', 'with places', [7, 5], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }, { kind: 'whole' }),
    outputs: 2,
  },
  pool('MaxPool', 'by columns first', [7, 5], { kernel_shape: [2, 2], storage_order: 1 }),
  pool(
    'MaxPool',
    'leaves out the ends',
    [8],
    { kernel_shape: [1], strides: [5], dilations: [3], auto_pad: 'SAME_UPPER' },
    {
      kind: 'whole',
    },
  ),
];
