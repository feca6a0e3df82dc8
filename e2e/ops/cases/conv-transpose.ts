/** Cases of ConvTranspose: every way its output size and padding can be given. */
import { type CaseDefinition, fed, weight } from '../golden-case.js';

interface Options {
  readonly opset?: number;
  readonly axis?: number;
  readonly bias?: boolean;
  readonly attributes?: CaseDefinition['attributes'];
}

/** `image`: channels and spatial sizes; `kernel`: channels, filters per group and spatial sizes. */
function spread(
  name: string,
  image: readonly number[],
  kernel: readonly number[],
  { opset = 11, axis = 2, bias = false, attributes = {} }: Options = {},
): CaseDefinition {
  const group = Number(attributes['group'] ?? 1);
  const filters = (kernel[1] ?? 1) * group;
  const operands = [fed([1, ...image]), weight(kernel), ...(bias ? [weight([filters])] : [])];
  const rowAxes = [axis, ...operands.slice(1).map(() => null)];
  return { name, opset, op: 'ConvTranspose', attributes, kind: 'local', inputs: operands, rowAxes };
}

const TWICE = { strides: [2, 2] };

export const cases: readonly CaseDefinition[] = [
  ...[7, 11, 17, 21].map((opset) =>
    spread('twice the size', [2, 4, 3], [2, 3, 2, 2], { opset, bias: opset > 7, attributes: TWICE }),
  ),
  ...[2, 3].map((axis) =>
    spread(`padded, with a row more, axis ${axis}`, [2, 4, 4], [2, 1, 3, 3], {
      axis,
      bias: true,
      attributes: { ...TWICE, pads: [1, 1, 1, 1], output_padding: [1, 1] },
    }),
  ),
  spread('uneven pads', [1, 5, 2], [1, 2, 4, 3], { attributes: { ...TWICE, pads: [0, 1, 2, 0] } }),
  spread('pads as large as the kernel', [1, 6, 2], [1, 1, 3, 1], { attributes: { pads: [3, 0, 3, 0] } }),
  spread('gaps between windows', [1, 4, 2], [1, 2, 2, 1], { bias: true, attributes: { strides: [4, 3] } }),
  spread('gaps and rows after them', [1, 3, 2], [1, 1, 1, 1], {
    bias: true,
    attributes: { strides: [4, 2], output_padding: [3, 1] },
  }),
  spread('dilated', [1, 4, 4], [1, 1, 3, 2], { attributes: { strides: [2, 1], dilations: [2, 3] } }),
  spread('dilated beyond the stride', [1, 4, 2], [1, 1, 2, 1], { attributes: { strides: [3, 1], dilations: [5, 1] } }),
  spread('groups', [4, 4, 2], [4, 2, 3, 2], { bias: true, attributes: { ...TWICE, group: 2 } }),
  spread('one dimension', [2, 6], [2, 2, 3], { attributes: { strides: [2], pads: [1, 1] } }),
  ...[2, 3, 4].map((axis) =>
    spread(`three dimensions, axis ${axis}`, [1, 3, 3, 2], [1, 1, 2, 2, 2], {
      axis,
      attributes: { strides: [2, 1, 2] },
    }),
  ),
  ...['SAME_UPPER', 'SAME_LOWER', 'VALID'].flatMap((auto) => [
    spread(`${auto}`, [1, 5, 3], [1, 1, 3, 3], { attributes: { ...TWICE, auto_pad: auto } }),
    spread(`${auto}, even kernel`, [1, 5, 3], [1, 1, 4, 4], { attributes: { strides: [1, 1], auto_pad: auto } }),
  ]),
  spread('a given output size', [1, 5, 3], [1, 1, 3, 3], { attributes: { ...TWICE, output_shape: [10, 6] } }),
  spread('a given output size, padded before', [1, 5, 3], [1, 1, 3, 3], {
    attributes: { ...TWICE, output_shape: [8, 6], auto_pad: 'SAME_LOWER' },
  }),
  { ...spread('rows are channels', [2, 4, 3], [2, 3, 2, 2]), rowAxes: [1, null], kind: 'whole' },
];
