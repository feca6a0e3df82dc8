/** Cases of fully connected layers that are cut by their output channels (`channels.test.ts`). */
import { type CaseDefinition, fed, type Operand, weight } from '../golden-case.js';

function layer(
  name: string,
  op: string,
  inputs: readonly Operand[],
  attributes: CaseDefinition['attributes'] = {},
): CaseDefinition {
  return { name, opset: 13, op, attributes, inputs, rowAxes: inputs.map(() => null) };
}

export const cases: readonly CaseDefinition[] = [
  layer('classifier', 'Gemm', [fed([1, 12]), weight([7, 12]), weight([7])], { transB: 1 }),
  layer('classifier of many classes', 'Gemm', [fed([2, 9]), weight([9, 150]), weight([1, 150])]),
  layer('a bias for all channels', 'Gemm', [fed([3, 4]), weight([4, 5]), weight([3, 1])]),
  layer('no bias', 'Gemm', [fed([4, 3]), weight([4, 5])], { transA: 1, alpha: { float: 0.5 } }),
  layer('product', 'MatMul', [fed([1, 6, 4]), weight([4, 5])]),
  layer('vector', 'MatMul', [fed([4]), weight([4, 5])]),
];
