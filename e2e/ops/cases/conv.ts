/** Cases of Conv: every kind of window along every spatial axis. */
import { type CaseDefinition, fed, weight } from '../golden-case.js';

interface Options {
  readonly opset?: number;
  /** Row axis; default the first spatial one. */
  readonly axis?: number;
  readonly bias?: boolean;
  readonly attributes?: CaseDefinition['attributes'];
}

/** `image`: channels and spatial sizes; `kernel`: filters, channels per group and spatial sizes. */
function conv(
  name: string,
  image: readonly number[],
  kernel: readonly number[],
  { opset = 13, axis = 2, bias = false, attributes = {} }: Options = {},
): CaseDefinition {
  const operands = [fed([1, ...image]), weight(kernel), ...(bias ? [weight(kernel.slice(0, 1))] : [])];
  const rowAxes = [axis, ...operands.slice(1).map(() => null)];
  return { name, opset, op: 'Conv', attributes, kind: 'local', inputs: operands, rowAxes };
}

/** The same along the rows and along the columns. */
function both(name: string, image: readonly number[], kernel: readonly number[], options: Options): CaseDefinition[] {
  return [2, 3].map((axis) => conv(`${name}, axis ${axis}`, image, kernel, { ...options, axis }));
}

const SHAPE = { kernel_shape: [3, 3] };
const AUTO = ['SAME_UPPER', 'SAME_LOWER', 'VALID'];

export const cases: readonly CaseDefinition[] = [
  ...[7, 8, 9, 10, 11, 13, 17, 21].map((opset) =>
    conv('padded', [2, 7, 5], [3, 2, 3, 3], {
      opset,
      bias: opset % 2 === 1,
      attributes: { ...SHAPE, pads: [1, 1, 1, 1] },
    }),
  ),
  conv('one pixel', [3, 6, 2], [4, 3, 1, 1], { bias: true }),
  conv('one pixel in four', [3, 7, 5], [2, 3, 1, 1], { attributes: { strides: [2, 2] } }),
  conv('stem', [3, 14, 9], [2, 3, 7, 7], { bias: true, attributes: { strides: [2, 2], pads: [3, 3, 3, 3] } }),
  {
    ...conv('a batch', [2, 5, 4], [2, 2, 2, 2]),
    inputs: [fed([3, 2, 5, 4]), weight([2, 2, 2, 2])],
  },
  ...both('tall kernel', [2, 7, 6], [2, 2, 5, 1], { attributes: { pads: [2, 0, 2, 0] } }),
  ...both('wide kernel', [2, 6, 7], [2, 2, 1, 4], { attributes: { pads: [0, 1, 0, 2] } }),
  ...both('uneven strides', [1, 9, 8], [2, 1, 3, 2], { attributes: { strides: [3, 1], pads: [1, 0, 1, 1] } }),
  ...both('uneven pads', [2, 6, 6], [2, 2, 3, 3], { attributes: { pads: [2, 0, 0, 1] } }),
  ...both('dilated', [2, 9, 8], [2, 2, 3, 3], { attributes: { dilations: [2, 1], pads: [2, 1, 2, 1] } }),
  ...both('dilated and strided', [1, 11, 9], [1, 1, 3, 2], {
    bias: true,
    attributes: { dilations: [3, 2], strides: [2, 3], pads: [1, 0, 4, 2] },
  }),
  conv('stride over the kernel', [2, 11, 4], [2, 2, 2, 2], { attributes: { strides: [4, 3] } }),
  conv('stride over the kernel, padded', [2, 8, 4], [2, 2, 2, 2], {
    attributes: { strides: [5, 1], pads: [1, 0, 1, 0] },
  }),
  conv('pads of a kernel', [1, 5, 3], [2, 1, 3, 3], { bias: true, attributes: { pads: [3, 1, 3, 1] } }),
  conv('pads over the kernel', [1, 4, 3], [2, 1, 2, 2], { bias: true, attributes: { pads: [5, 0, 4, 3] } }),
  conv('pads over the kernel, strided', [1, 3, 3], [2, 1, 2, 2], {
    attributes: { pads: [5, 0, 6, 0], strides: [3, 1] },
  }),
  conv('pads over the kernel, before opset 11', [1, 3, 3], [1, 1, 2, 2], {
    opset: 9,
    attributes: { pads: [3, 0, 3, 0] },
  }),
  conv('pads over a dilated kernel', [1, 3, 3], [1, 1, 2, 1], {
    attributes: { pads: [6, 0, 5, 0], dilations: [3, 1] },
  }),
  conv('kernel over the image', [2, 3, 3], [2, 2, 7, 5], { attributes: { pads: [3, 2, 3, 2] } }),
  conv('kernel of the whole image', [2, 5, 3], [4, 2, 5, 3], { bias: true }),
  conv('grouped', [4, 6, 4], [6, 2, 3, 3], { bias: true, attributes: { group: 2, pads: [1, 1, 1, 1] } }),
  conv('depthwise', [4, 8, 4], [4, 1, 3, 3], { attributes: { group: 4, pads: [1, 1, 1, 1], strides: [2, 2] } }),
  conv('depthwise with a multiplier', [3, 6, 4], [6, 1, 3, 3], { bias: true, attributes: { group: 3 } }),
  conv('depthwise, dilated', [2, 8, 4], [2, 1, 3, 3], {
    attributes: { group: 2, dilations: [2, 2], pads: [2, 2, 2, 2] },
  }),
  ...AUTO.flatMap((auto_pad) => [
    ...both(auto_pad, [2, 7, 8], [2, 2, 3, 4], { attributes: { auto_pad } }),
    conv(`${auto_pad}, strided`, [2, 8, 7], [2, 2, 3, 3], { bias: true, attributes: { auto_pad, strides: [2, 2] } }),
    conv(`${auto_pad}, stride over the kernel`, [2, 9, 7], [2, 2, 2, 1], { attributes: { auto_pad, strides: [4, 3] } }),
    conv(`${auto_pad}, even kernel`, [1, 6, 6], [2, 1, 4, 2], { opset: 7, attributes: { auto_pad, strides: [3, 1] } }),
  ]),
  conv('auto_pad NOTSET', [2, 6, 5], [2, 2, 3, 3], { attributes: { auto_pad: 'NOTSET', pads: [1, 1, 0, 0] } }),
  conv('signal', [2, 12], [3, 2, 3], { bias: true, attributes: { pads: [1, 1], strides: [2] } }),
  conv('signal, SAME_LOWER', [2, 9], [3, 2, 4], { attributes: { auto_pad: 'SAME_LOWER' } }),
  conv('signal, dilated', [1, 12], [2, 1, 3], { attributes: { dilations: [3], pads: [6, 0] } }),
  ...[2, 3, 4].map((axis) =>
    conv(`volume, axis ${axis}`, [2, 5, 4, 6], [2, 2, 3, 2, 3], {
      axis,
      bias: true,
      attributes: { pads: [1, 0, 2, 1, 1, 0], strides: [1, 2, 2] },
    }),
  ),
  conv('volume, grouped and dilated', [2, 6, 4, 3], [2, 1, 2, 2, 2], {
    axis: 2,
    attributes: { group: 2, dilations: [2, 1, 1] },
  }),
  {
    name: 'rows along the channels',
    opset: 13,
    op: 'Conv',
    kind: 'whole',
    inputs: [fed([1, 4, 3, 3]), weight([2, 4, 3, 3])],
    rowAxes: [1, null],
  },
  {
    name: 'weights from the caller',
    opset: 13,
    op: 'Conv',
    kind: 'local',
    attributes: { pads: [1, 1, 1, 1] },
    inputs: [fed([1, 2, 5, 3]), fed([2, 2, 3, 3]), fed([2])],
    rowAxes: [2, null, null],
  },
  {
    name: 'weights with rows',
    opset: 13,
    op: 'Conv',
    kind: 'whole',
    inputs: [fed([1, 2, 5, 5]), fed([2, 2, 3, 3])],
    rowAxes: [2, 2],
  },
];
