/** Cases of MatMul and Gemm. */
import { type CaseDefinition, fed, type Operand, weight } from '../golden-case.js';

function matmul(
  name: string,
  a: Operand,
  b: Operand,
  rowAxes: readonly (number | null)[],
  kind: 'local' | 'whole' = 'local',
): CaseDefinition {
  return { name, opset: 13, op: 'MatMul', kind, inputs: [a, b], rowAxes };
}

function gemm(
  name: string,
  inputs: readonly Operand[],
  rowAxes: readonly (number | null)[],
  more: Partial<CaseDefinition> = {},
): CaseDefinition {
  return { name, opset: 13, op: 'Gemm', kind: 'local', inputs, rowAxes, ...more };
}

export const cases: readonly CaseDefinition[] = [
  matmul('tokens by weights', fed([1, 6, 4]), weight([4, 3]), [1, null]),
  matmul('NHWC by weights, rows in the batch', fed([1, 5, 3, 4]), weight([4, 2]), [1, null]),
  matmul('rows contracted on the left', fed([1, 3, 5]), weight([5, 2]), [2, null], 'whole'),
  matmul('rows contracted on the right', weight([2, 5]), fed([1, 5, 3]), [null, 1], 'whole'),
  matmul('rows on the right, last axis', weight([2, 4]), fed([1, 4, 6]), [null, 2]),
  matmul('rows in both batches', fed([5, 2, 3]), fed([5, 3, 2]), [0, 0]),
  matmul('rows in one batch, weights as high', fed([2, 5, 2, 3]), weight([5, 3, 2]), [1, null]),
  matmul('rows in one batch, weights repeated', fed([2, 5, 2, 3]), weight([1, 3, 2]), [1, null]),
  matmul('one row repeated', fed([1, 2, 3]), weight([4, 3, 2]), [0, null], 'whole'),
  matmul('attention over rows', fed([1, 5, 3]), fed([1, 3, 5]), [1, 2], 'whole'),
  matmul('times a vector', fed([1, 5, 3]), weight([3]), [1, null]),
  matmul('rows in the batch, times a vector', fed([5, 2, 3]), weight([3]), [0, null]),
  matmul('a vector times rows in the batch', weight([3]), fed([5, 3, 2]), [null, 0]),
  matmul('a vector times rows in the last axis', weight([3]), fed([3, 5]), [null, 1]),
  matmul('broadcast batches', fed([2, 1, 5, 3]), weight([3, 3, 2]), [2, null]),
  gemm('plain', [fed([6, 3]), weight([3, 2])], [0, null]),
  gemm('turned', [fed([3, 6]), weight([2, 3]), weight([2])], [1, null, null], {
    attributes: { transA: 1, transB: 1, alpha: { float: 0.5 }, beta: { float: 2 } },
  }),
  gemm('a bias as high', [fed([6, 3]), weight([3, 2]), weight([6, 1])], [0, null, null]),
  gemm('a bias with rows', [fed([6, 3]), weight([3, 2]), fed([6, 2])], [0, null, 0], { opset: 9 }),
  gemm('a scalar bias', [fed([6, 3]), weight([3, 2]), weight([])], [0, null, null]),
  gemm('rows in the second operand', [weight([2, 3]), fed([3, 6]), weight([6])], [null, 1, null], { opset: 7 }),
  gemm('rows in the second operand, turned', [weight([2, 3]), fed([6, 3]), weight([1, 6])], [null, 0, null], {
    attributes: { transB: 1 },
  }),
  gemm('rows contracted', [fed([2, 6]), weight([6, 3])], [1, null], { kind: 'whole' }),
];
