/** Cases of the shape arithmetic that is computed when a model is loaded. */
import { type CaseDefinition, fed, ints, type Operand, weight } from '../golden-case.js';

const INT64_MAX = '9223372036854775807';
const FLOAT = 1;
const INT32 = 6;
const INT64 = 7;
const BOOL = 9;
const DOUBLE = 11;

function folded(op: string, inputs: readonly Operand[], more: Partial<CaseDefinition> = {}): CaseDefinition {
  const types = inputs.map(({ dtype, shape }) => `${dtype} [${shape}]`).join(', ');
  const name = `${op} of ${types}${more.attributes === undefined ? '' : ` ${JSON.stringify(more.attributes)}`}`;
  return { name, opset: 13, op, folds: true, inputs, rowAxes: inputs.map(() => null), ...more };
}

const int32 = (data: readonly number[]): Operand => ({ dtype: 'int32', shape: [data.length], data, constant: true });
const double = (data: readonly number[]): Operand => ({ dtype: 'float64', shape: [data.length], data, constant: true });
const bool = (data: readonly number[], shape: readonly number[] = [data.length]): Operand => ({
  dtype: 'bool',
  shape,
  data,
  constant: true,
});
const floats = weight([6], [2.5, -2.5, 3.5, -0.5, 0.1, -7]);
const others = weight([6], [2, 3, -0.3, -2, 0.7, 7]);
const wholes = ints([7, -7, 7, -7, 0, 9]);
const divisors = ints([2, 2, -2, -2, 5, -4]);

export const cases: readonly CaseDefinition[] = [
  ...['Add', 'Sub', 'Mul', 'Div', 'Min', 'Max'].flatMap((op) => [
    folded(op, [wholes, divisors]),
    folded(op, [int32([7, -7, 2147483647]), int32([2, 2, -3])]),
    folded(op, [floats, others]),
    folded(op, [double([0.1, 3]), double([0.2, -7])]),
    folded(op, [weight([2, 1]), weight([3])]),
  ]),
  folded('Max', [ints([1, 5]), ints([3]), ints([2, 9])]),
  folded('Mod', [wholes, divisors]),
  folded('Mod', [wholes, divisors], { attributes: { fmod: 1 } }),
  folded('Mod', [floats, others], { attributes: { fmod: 1 } }),
  folded('Pow', [ints([2, 3, -2, 5]), ints([3, 0, 3, 1])]),
  folded('Pow', [weight([3], [2, 2.5, 4]), weight([3], [0.5, -2, 3])]),
  folded('Pow', [weight([3], [2, 2.5, 4]), ints([2])]),
  folded('Pow', [ints([2, 9]), weight([1], [0.5])]),
  ...['Neg', 'Abs', 'Floor', 'Ceil', 'Round', 'Reciprocal'].map((op) => folded(op, [floats])),
  folded('Neg', [wholes]),
  folded('Abs', [wholes]),
  folded('Sqrt', [weight([3], [2, 9, 0.3])]),
  ...['Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual'].flatMap((op) => [
    folded(op, [wholes, ints([7])]),
    folded(op, [floats, others]),
  ]),
  folded('Equal', [bool([0, 1]), bool([1, 1])]),
  folded('And', [bool([0, 1, 1]), bool([1, 0, 1])]),
  folded('Or', [bool([0, 1, 0]), bool([1, 0, 0])]),
  folded('Not', [bool([0, 1])]),
  folded('Where', [bool([1, 0, 1]), ints([1, 2, 3]), ints([-1])]),
  folded('Where', [bool([1, 0], [2, 1]), weight([3]), weight([2, 3])]),
  ...[FLOAT, INT32, INT64, BOOL, DOUBLE].flatMap((to) => [
    folded('Cast', [floats], { attributes: { to } }),
    folded('Cast', [ints([5, -6, 0, 4294967301])], { attributes: { to } }),
    folded('Cast', [bool([0, 1])], { attributes: { to } }),
    folded('Cast', [double([0.1, -1.9])], { attributes: { to } }),
  ]),
  folded('Range', [ints([2], []), ints([9], []), ints([3], [])]),
  folded('Range', [ints([5], []), ints([-1], []), ints([-2], [])]),
  folded('Range', [ints([5], []), ints([1], []), ints([1], [])]),
  folded('Range', [weight([], [0]), weight([], [1]), weight([], [0.1])]),
  folded('ConstantOfShape', [ints([2, 3])]),
  folded('ConstantOfShape', [ints([2])], {
    attributes: { value: { tensor: { dtype: 'int64', shape: [1], data: [7] } } },
  }),
  folded('ConstantOfShape', [ints([], [0])]),
  folded('Shape', [fed([1, 3, 5])]),
  folded('Shape', [fed([1, 3, 5])], { opset: 15, attributes: { start: -2, end: 9 } }),
  folded('Shape', [fed([1, 3, 5])], { opset: 15, attributes: { start: 2, end: -2 } }),
  folded('Size', [fed([2, 3, 5])]),
  folded('Identity', [wholes]),
  folded('Concat', [ints([1, 2]), { dtype: 'int64', shape: [1], data: [INT64_MAX], constant: true }], {
    attributes: { axis: 0 },
  }),
  folded('Concat', [ints([1, 2, 3, 4], [2, 2]), ints([5, 6], [2, 1])], { attributes: { axis: -1 } }),
  folded('Constant', [], { attributes: { value_ints: [1, 2] } }),
  folded('Constant', [], { attributes: { value_int: 4 } }),
  folded('Constant', [], { attributes: { value_float: { float: 0.1 } } }),
  folded('Constant', [], { attributes: { value_floats: { floats: [0.1, 2] } } }),
  folded('Constant', [], { attributes: { value: { tensor: { dtype: 'uint8', shape: [2], data: [1, 255] } } } }),
  ...['ReduceSum', 'ReduceProd', 'ReduceMax', 'ReduceMin'].flatMap((op) => [
    folded(op, [ints([1, -2, 3, 4, 5, 6], [2, 3])], { attributes: { keepdims: 0 } }),
    folded(op, [weight([2, 3, 2])], op === 'ReduceSum' ? {} : { attributes: { axes: [0, -1] } }),
  ]),
  folded('ReduceProd', [ints([1, -2, 3, 4, 5, 6], [3, 2]), ints([-1])], { opset: 18 }),
];
