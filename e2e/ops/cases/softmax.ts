/** Cases of Softmax, LogSoftmax and Hardmax. */
import { type CaseDefinition, fed } from '../golden-case.js';

function normalised(
  op: string,
  opset: number,
  axis: number | undefined,
  row: number,
  kind: 'local' | 'whole',
): CaseDefinition {
  const name = `${op} over ${axis ?? 'the default'}, rows ${row}`;
  const attributes = axis === undefined ? {} : { axis };
  return { name, opset, op, attributes, kind, inputs: [fed([2, 3, 5, 4])], rowAxes: [row] };
}

export const cases: readonly CaseDefinition[] = [
  ...['Softmax', 'LogSoftmax', 'Hardmax'].flatMap((op) => [
    normalised(op, 13, 1, 2, 'local'),
    normalised(op, 13, undefined, 2, 'local'),
    normalised(op, 13, 2, 2, 'whole'),
    normalised(op, 11, 3, 2, 'local'),
    normalised(op, 11, -2, 1, 'local'),
    normalised(op, 9, undefined, 2, 'whole'),
    normalised(op, 9, 2, 1, 'local'),
  ]),
];
