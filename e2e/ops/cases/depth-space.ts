/** Cases of DepthToSpace and SpaceToDepth. */
import { type CaseDefinition, fed } from '../golden-case.js';

function blocks(
  op: string,
  opset: number,
  blocksize: number,
  image: readonly number[],
  mode?: string,
): CaseDefinition[] {
  const attributes = mode === undefined ? { blocksize } : { blocksize, mode };
  const kind = 'local';
  return [2, 3].map((axis) => {
    const name = `${op} by ${blocksize}${mode === undefined ? '' : ` ${mode}`}, axis ${axis}`;
    return { name, opset, op, attributes, kind, inputs: [fed([1, ...image])], rowAxes: [axis] };
  });
}

export const cases: readonly CaseDefinition[] = [
  ...blocks('DepthToSpace', 7, 2, [4, 3, 2]),
  ...['DCR', 'CRD'].flatMap((mode) => [
    ...blocks('DepthToSpace', 11, 2, [8, 4, 3], mode),
    ...blocks('DepthToSpace', 13, 3, [9, 3, 2], mode),
  ]),
  ...blocks('DepthToSpace', 13, 1, [2, 3, 2]),
  ...[7, 13].flatMap((opset) => blocks('SpaceToDepth', opset, 2, [2, 8, 4])),
  ...blocks('SpaceToDepth', 13, 3, [1, 9, 3]),
];
