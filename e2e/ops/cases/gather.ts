/** Cases of Gather, GatherElements, Expand and Tile. */
import { type CaseDefinition, fed, ints, weight } from '../golden-case.js';

const base = { opset: 13, op: 'Gather', kind: 'local', folds: true } as const;

export const cases: readonly CaseDefinition[] = [
  {
    ...base,
    name: 'one channel',
    attributes: { axis: 1 },
    inputs: [fed([1, 4, 5, 3]), ints([-1], [])],
    rowAxes: [2, null],
  },
  {
    ...base,
    name: 'channels',
    attributes: { axis: 1 },
    inputs: [fed([1, 4, 5, 3]), ints([3, 0, 0])],
    rowAxes: [2, null],
  },
  {
    ...base,
    name: 'a matrix of channels',
    attributes: { axis: -3 },
    inputs: [fed([1, 4, 5, 3]), ints([3, 0, 1, 2], [2, 2])],
    rowAxes: [2, null],
  },
  { ...base, name: 'columns', attributes: { axis: 3 }, inputs: [fed([1, 4, 5, 3]), ints([2, 0])], rowAxes: [2, null] },
  {
    ...base,
    name: 'some rows',
    attributes: { axis: 2 },
    kind: 'whole',
    inputs: [fed([1, 4, 5, 3]), ints([2, 0])],
    rowAxes: [2, null],
  },
  {
    ...base,
    name: 'a palette by an image',
    attributes: { axis: 0 },
    inputs: [weight([9, 2]), { dtype: 'int64', shape: [1, 6, 3] }],
    rowAxes: [null, 1],
  },
  {
    name: 'elements',
    opset: 13,
    op: 'GatherElements',
    kind: 'whole',
    attributes: { axis: 1 },
    inputs: [fed([2, 3]), ints([0, 2, 1, 0], [2, 2])],
    rowAxes: [0, null],
  },
  { ...base, name: 'expand', op: 'Expand', inputs: [fed([3, 5, 1]), ints([2, 3, 1, 4])], rowAxes: [1, null] },
  {
    ...base,
    name: 'expand one row',
    op: 'Expand',
    kind: 'whole',
    inputs: [fed([1, 3, 1, 4]), ints([1, 1, 5, 1])],
    rowAxes: [2, null],
  },
  {
    ...base,
    name: 'expand by less',
    op: 'Expand',
    opset: 8,
    inputs: [fed([2, 3, 5, 1]), ints([1, 2])],
    rowAxes: [2, null],
  },
  { ...base, name: 'tile', op: 'Tile', inputs: [fed([1, 2, 5, 2]), ints([1, 2, 1, 3])], rowAxes: [2, null] },
  {
    ...base,
    name: 'tile the rows',
    op: 'Tile',
    opset: 7,
    kind: 'whole',
    inputs: [fed([1, 2, 3, 2]), ints([1, 1, 2, 1])],
    rowAxes: [2, null],
  },
];
