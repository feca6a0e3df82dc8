/** Cases of Slice and Split. */
import { type CaseDefinition, fed, ints, type Operand } from '../golden-case.js';

const FAR = 2 ** 31 - 1;

function sliced(
  name: string,
  shape: readonly number[],
  row: number,
  bounds: readonly (readonly number[])[],
  more: Partial<CaseDefinition> = {},
): CaseDefinition {
  const inputs = [fed(shape), ...bounds.map((values): Operand => ints(values))];
  return {
    name,
    opset: 13,
    op: 'Slice',
    kind: 'local',
    folds: true,
    inputs,
    rowAxes: inputs.map((_, i) => (i === 0 ? row : null)),
    ...more,
  };
}

const old = (
  name: string,
  attributes: Record<string, readonly number[]>,
  more: Partial<CaseDefinition> = {},
): CaseDefinition => ({
  name,
  opset: 9,
  op: 'Slice',
  attributes,
  kind: 'local',
  folds: true,
  inputs: [fed([1, 4, 6, 3])],
  rowAxes: [2],
  ...more,
});

const piece = (
  name: string,
  opset: number,
  axis: number,
  outputs: number,
  more: Partial<CaseDefinition> = {},
): CaseDefinition => ({
  name,
  opset,
  op: 'Split',
  attributes: { axis },
  kind: 'local',
  folds: true,
  inputs: [fed([1, 6, 5, 3])],
  rowAxes: [2],
  outputs,
  ...more,
});

export const cases: readonly CaseDefinition[] = [
  old('channels, by attributes', { axes: [1], starts: [1], ends: [-1] }),
  old('rows, by attributes', { axes: [2, 1], starts: [-5, 0], ends: [FAR, 2] }),
  old('no axes, by attributes', { starts: [0, 1, 2], ends: [1, 3, FAR] }),
  sliced('focus, even rows', [1, 3, 8, 6], 2, [
    [0, 0],
    [FAR, FAR],
    [2, 3],
    [2, 2],
  ]),
  sliced('focus, odd rows', [1, 3, 7, 6], 2, [[1], [FAR], [2], [2]]),
  sliced('every third row of some', [1, 2, 17, 2], 2, [[2], [-2], [-2], [3]]),
  sliced('first rows', [1, 2, 9, 2], 2, [[0], [4], [2]]),
  sliced('columns backwards', [1, 2, 4, 5], 2, [
    [-1, 4],
    [-FAR, 0],
    [1, 3],
    [-1, -2],
  ]),
  sliced('no axes', [2, 3, 4], 1, [
    [0, 1],
    [2, 3],
  ]),
  sliced('rows backwards', [1, 2, 4, 5], 2, [[-1], [-FAR], [2], [-1]], { kind: 'whole' }),
  sliced('backwards from before the first', [4], 0, [[-9], [-FAR], [0], [-1]], {
    rowAxes: [null, null, null, null, null],
  }),
  sliced('nothing', [1, 2, 4, 5], 2, [[3], [3], [2]], { kind: 'whole' }),
  sliced(
    'opset 10',
    [1, 2, 6, 5],
    2,
    [
      [1, 1],
      [5, 4],
      [2, 3],
    ],
    { opset: 10 },
  ),
  sliced('int32 bounds', [1, 2, 6, 5], 2, [], {
    inputs: [
      fed([1, 2, 6, 5]),
      ...[[1], [6], [2], [2]].map((data): Operand => ({ dtype: 'int32', shape: [1], data, constant: true })),
    ],
    rowAxes: [2, null, null, null, null],
  }),
  piece('three equal', 11, 1, 3),
  piece('by attribute', 11, -3, 2, { attributes: { axis: -3, split: [2, 4] } }),
  piece('by input', 13, 1, 2, { inputs: [fed([1, 6, 5, 3]), ints([5, 1])], rowAxes: [2, null] }),
  piece('a smaller last one', 18, 1, 4, { attributes: { axis: 1, num_outputs: 4 }, inputs: [fed([1, 7, 5, 3])] }),
  piece('along the rows', 13, 2, 5, { kind: 'whole' }),
  piece('by columns', 13, 1, 3, { rowAxes: [3] }),
];
