/** Cases of Reshape, Flatten, Squeeze and Unsqueeze. */
import { type CaseDefinition, fed, ints } from '../golden-case.js';

function reshaped(name: string, from: readonly number[], axis: number, to: readonly number[], more: Partial<CaseDefinition> = {}): CaseDefinition {
  return { name, opset: 13, op: 'Reshape', kind: 'local', folds: true, inputs: [fed(from), ints(to)], rowAxes: [axis, null], ...more };
}

export const cases: readonly CaseDefinition[] = [
  reshaped('channel shuffle, apart', [1, 6, 5, 3], 2, [1, 2, 3, 5, 3], { opset: 7 }),
  reshaped('channel shuffle, together', [1, 3, 2, 5, 3], 3, [1, -1, 5, 3]),
  reshaped('channel shuffle of columns', [1, 6, 5, 3], 3, [1, 2, 3, 5, 3]),
  reshaped('space to depth, apart', [1, 2, 6, 4], 2, [1, 2, 3, 2, 2, 2]),
  reshaped('space to depth, together', [1, 2, 2, 2, 3, 2], 4, [0, 8, 3, 2]),
  reshaped('depth to space, together', [1, 2, 3, 2, 2, 2], 2, [1, 2, 6, 4]),
  reshaped('depth to space by three', [1, 1, 4, 3, 2], 2, [1, 1, 12, 2]),
  reshaped('pixels of an NHWC map', [1, 4, 3, 6], 1, [1, -1, 2]),
  reshaped('pixels of an NHWC map, anchors apart', [1, 4, 3, 6], 1, [1, 36, 2]),
  reshaped('windows of a transformer', [1, 6, 4, 3], 1, [1, 2, 3, 2, 2, 3]),
  reshaped('windows into the batch', [1, 2, 2, 3, 2, 3], 1, [-1, 6, 3]),
  reshaped('batch of two', [2, 3, 5, 2], 2, [2, 3, 1, 5, 2]),
  reshaped('pixels of an NCHW map, in one row', [1, 3, 5, 2], 2, [1, 3, 10]),
  reshaped('an allowed zero', [0, 3], 1, [3, 0], { attributes: { allowzero: 1 }, opset: 14, kind: 'whole' }),
  reshaped('rows into channels', [1, 3, 4, 2], 2, [1, 24, 1, 1], { kind: 'whole' }),
  reshaped('rows that do not fit', [1, 4, 3], 1, [1, 3, 4], { kind: 'whole' }),
  reshaped('rows into the batch', [2, 3, 4, 2], 2, [6, 4, 2]),
  {
    name: 'flatten',
    opset: 13,
    op: 'Flatten',
    kind: 'whole',
    folds: true,
    inputs: [fed([1, 3, 4, 2])],
    rowAxes: [2],
  },
  { name: 'flatten one channel', opset: 9, op: 'Flatten', kind: 'local', inputs: [fed([1, 1, 4, 2])], rowAxes: [2] },
  { name: 'flatten behind the rows', opset: 11, op: 'Flatten', attributes: { axis: -1 }, kind: 'local', inputs: [fed([1, 1, 4, 2])], rowAxes: [2] },
  { name: 'flatten at the rank', opset: 11, op: 'Flatten', attributes: { axis: 2 }, inputs: [fed([3, 2])], rowAxes: [0] },
  { name: 'squeeze', opset: 11, op: 'Squeeze', attributes: { axes: [1, -1] }, kind: 'local', inputs: [fed([1, 1, 5, 2, 1])], rowAxes: [2] },
  { name: 'squeeze all', opset: 13, op: 'Squeeze', kind: 'local', folds: true, inputs: [fed([1, 3, 5, 1])], rowAxes: [2] },
  { name: 'squeeze by input', opset: 13, op: 'Squeeze', kind: 'local', folds: true, inputs: [fed([1, 3, 5, 1]), ints([-1])], rowAxes: [2, null] },
  { name: 'unsqueeze', opset: 11, op: 'Unsqueeze', attributes: { axes: [0, -1] }, kind: 'local', inputs: [fed([3, 5])], rowAxes: [1] },
  { name: 'unsqueeze by input', opset: 13, op: 'Unsqueeze', kind: 'local', folds: true, inputs: [fed([1, 3, 5, 2]), ints([2, 4])], rowAxes: [2, null] },
];
