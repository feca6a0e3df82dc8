/** Cases of Concat. */
import { type CaseDefinition, fed, weight } from '../golden-case.js';

export const cases: readonly CaseDefinition[] = [
  {
    name: 'channels',
    opset: 7,
    op: 'Concat',
    attributes: { axis: 1 },
    kind: 'local',
    inputs: [fed([1, 2, 5, 3]), fed([1, 1, 5, 3])],
    rowAxes: [2, 2],
  },
  {
    name: 'a constant as high as the image',
    opset: 13,
    op: 'Concat',
    attributes: { axis: -3 },
    kind: 'local',
    inputs: [fed([2, 2, 9, 3]), weight([2, 1, 9, 3])],
    rowAxes: [2, null],
  },
  {
    name: 'along the rows',
    opset: 13,
    op: 'Concat',
    attributes: { axis: 2 },
    kind: 'whole',
    inputs: [fed([1, 2, 3, 3]), fed([1, 2, 4, 3])],
    rowAxes: [2, 2],
  },
  {
    name: 'width of a feature map by rows along its width',
    opset: 11,
    op: 'Concat',
    attributes: { axis: -2 },
    kind: 'local',
    inputs: [fed([1, 2, 3, 4]), fed([1, 2, 1, 4])],
    rowAxes: [3, 3],
  },
];
