/** Cases of the ops that read shapes or make tensors of computed sizes, and of TopK. */
import { type CaseDefinition, fed, ints } from '../golden-case.js';

const image = fed([1, 4, 5, 3]);

export const cases: readonly CaseDefinition[] = [
  { name: 'shape', opset: 13, op: 'Shape', kind: 'whole', inputs: [image], rowAxes: [2] },
  { name: 'size', opset: 13, op: 'Size', kind: 'whole', inputs: [image], rowAxes: [2] },
  { name: 'non-zero', opset: 13, op: 'NonZero', kind: 'whole', inputs: [image], rowAxes: [2] },
  {
    name: 'range of a fed length',
    opset: 13,
    op: 'Range',
    inputs: [ints([0], []), { dtype: 'int64', shape: [], data: [4] }, ints([1], [])],
    rowAxes: [null, null, null],
  },
  {
    name: 'best two channels',
    opset: 11,
    op: 'TopK',
    attributes: { axis: 1 },
    kind: 'local',
    inputs: [image, ints([2])],
    rowAxes: [2, null],
    outputs: 2,
  },
  {
    name: 'best two, by attribute',
    opset: 9,
    op: 'TopK',
    attributes: { k: 2 },
    kind: 'local',
    inputs: [image],
    rowAxes: [2],
    outputs: 2,
  },
  {
    name: 'best rows',
    opset: 13,
    op: 'TopK',
    attributes: { axis: 2 },
    kind: 'whole',
    inputs: [image, ints([2])],
    rowAxes: [2, null],
    outputs: 2,
  },
];
