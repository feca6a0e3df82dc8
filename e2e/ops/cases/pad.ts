/** Cases of Pad: attributes and inputs, every mode, and padding that takes rows away. */
import { type CaseDefinition, fed, ints, type Operand, weight } from '../golden-case.js';

interface Options {
  readonly opset?: number;
  readonly mode?: string;
  readonly value?: Operand;
  readonly axes?: readonly number[];
  readonly row?: number;
  readonly kind?: 'local' | 'whole';
  readonly image?: Operand;
}

function padded(
  name: string,
  pads: readonly number[],
  { opset = 13, mode = 'constant', value, axes, row = 2, kind = 'local', image = fed([1, 2, 5, 3]) }: Options = {},
): CaseDefinition {
  if (opset < 11) {
    const attributes = { mode, pads, value: { float: 1.5 } };
    return { name, opset, op: 'Pad', attributes, kind, inputs: [image], rowAxes: [row] };
  }
  const more = axes === undefined ? (value === undefined ? [] : [value]) : [value ?? null, ints(axes)];
  const inputs = [image, ints(pads), ...more];
  const rowAxes = [row, ...inputs.slice(1).map(() => null)];
  return { name, opset, op: 'Pad', attributes: { mode }, kind, inputs, rowAxes };
}

const AROUND = [0, 0, 2, 1, 0, 0, 1, 2];
const MIXED = [0, 0, -2, 1, 0, 0, 2, -1];
const bytes: Operand = { dtype: 'uint8', shape: [1, 1, 4, 3] };

export const cases: readonly CaseDefinition[] = [
  ...[7, 10, 11, 13, 18, 19, 21].map((opset) => padded('around', AROUND, { opset })),
  ...['reflect', 'edge'].flatMap((mode) =>
    [7, 11, 18].map((opset) => padded(`around, ${mode}`, AROUND, { opset, mode })),
  ),
  ...['constant', 'reflect', 'edge'].flatMap((mode) => [
    padded(`takes rows before, adds rows after, ${mode}`, MIXED, { mode }),
    padded(`along the columns, ${mode}`, MIXED, { mode, row: 3 }),
    padded(`takes rows only, ${mode}`, [0, 0, -1, 0, 0, 0, -2, 0], { mode }),
  ]),
  padded('many rows', [0, 0, 6, 0, 0, 0, 5, 0], { image: fed([1, 1, 2, 2]) }),
  padded('many rows, edge', [0, 0, 6, 0, 0, 0, 5, 0], { mode: 'edge', image: fed([1, 1, 2, 2]) }),
  padded('a value', AROUND, { value: weight([], [2.5]) }),
  padded('a value from the caller', AROUND, { value: fed([], [-1]) }),
  padded('bytes', [0, 0, 1, 1, 0, 0, 2, 0], {
    image: bytes,
    value: { dtype: 'uint8', shape: [], data: [7], constant: true },
  }),
  padded('chosen axes', [1, 2, 3, 0], { opset: 18, axes: [3, 2] }),
  padded('chosen axes from the last, with a value', [2, 1], { opset: 21, axes: [-2], value: weight([], [0.5]) }),
  padded('wraps columns', [0, 0, 0, 1, 0, 0, 0, 2], { opset: 19, mode: 'wrap' }),
  padded('wraps rows', [0, 0, 1, 0, 0, 0, 0, 0], { opset: 19, mode: 'wrap', kind: 'whole' }),
];
