/** Cases of Transpose. */
import { type CaseDefinition, fed } from '../golden-case.js';

function transposed(name: string, shape: readonly number[], axis: number, perm?: readonly number[]): CaseDefinition {
  const attributes = perm === undefined ? {} : { perm };
  return {
    name,
    opset: 13,
    op: 'Transpose',
    attributes,
    kind: 'local',
    folds: true,
    inputs: [fed(shape)],
    rowAxes: [axis],
  };
}

export const cases: readonly CaseDefinition[] = [
  transposed('NCHW to NHWC', [1, 3, 5, 2], 2, [0, 2, 3, 1]),
  transposed('channel shuffle', [1, 2, 3, 4, 2], 3, [0, 2, 1, 3, 4]),
  transposed('reversed', [2, 3, 4], 1),
  transposed('space to depth', [1, 2, 3, 2, 2, 2], 2, [0, 3, 5, 1, 2, 4]),
];
