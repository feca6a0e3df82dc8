/** Cases of the ops that compute element by element, and of how their operands broadcast against the rows. */
import type { DataType } from '../../../packages/core/src/tensor.js';
import { type CaseDefinition, fed, type GoldenAttribute, type Operand, weight } from '../golden-case.js';

type Axes = readonly (number | null)[];
interface Options {
  readonly opset?: number;
  readonly kind?: 'local' | 'whole';
  readonly attributes?: Readonly<Record<string, GoldenAttribute>>;
  readonly outputs?: number | readonly boolean[];
  readonly domain?: string;
}

const IMAGE = [1, 2, 5, 3];
const image = fed(IMAGE);
const float = (value: number): GoldenAttribute => ({ float: value });
const of = (dtype: DataType, shape: readonly number[] = IMAGE, data?: Operand['data']): Operand => ({
  dtype,
  shape,
  ...(data === undefined ? {} : { data }),
});
/** Values within `low` to `high`, for functions that are defined only there. */
const within = (low: number, high: number): Operand =>
  fed(
    IMAGE,
    Array.from({ length: 30 }, (_, index) => low + (((index * 11) % 30) / 29) * (high - low)),
  );

function unary(
  op: string,
  { attributes = {}, opset = 13, ...more }: Options = {},
  input: Operand = image,
): CaseDefinition {
  const name = `${op} ${JSON.stringify(attributes)} of ${input.dtype}`;
  return { name, opset, op, attributes, kind: 'local', inputs: [input], rowAxes: [2], ...more };
}

function joins(
  op: string,
  name: string,
  inputs: readonly (Operand | null)[],
  rowAxes: Axes,
  options: Options = {},
): CaseDefinition {
  return { name: `${op}: ${name}`, opset: 13, op, kind: 'local', inputs, rowAxes, ...options };
}

const ACTIVATIONS = [
  ...['Relu', 'LeakyRelu', 'ThresholdedRelu', 'Elu', 'Selu', 'Celu', 'Sigmoid', 'HardSigmoid', 'HardSwish', 'Tanh'],
  ...['Softplus', 'Softsign', 'Shrink', 'Identity', 'Exp', 'Abs', 'Neg', 'Floor', 'Ceil', 'Round', 'Erf', 'Sign'],
  ...['Sin', 'Cos', 'Tan', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'IsNaN', 'IsInf', 'Dropout'],
];
const OLD = [
  'Relu',
  'LeakyRelu',
  'Elu',
  'Selu',
  'Sigmoid',
  'HardSigmoid',
  'Tanh',
  'Softplus',
  'Softsign',
  'Identity',
  'Dropout',
];
const COMPARISONS = ['Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual'];
const EXTREMES = fed(IMAGE, [
  ...['NaN', 'Infinity', '-Infinity', 0, 1, -1],
  ...Array.from({ length: 24 }, (_, index) => (index % 5 === 0 ? 'Infinity' : index % 7 === 0 ? 'NaN' : index - 12)),
]);
/** Operands that broadcast against [1, 2, 5, 3] with rows along axis 2. */
const PARTNERS: readonly (readonly [string, Operand, number | null])[] = [
  ['a number', weight([]), null],
  ['one channel', weight([1]), null],
  ['columns', weight([3]), null],
  ['channels', weight([2, 1, 1]), null],
  ['channels of a batch', weight([1, 2, 1, 1]), null],
  ['weights as high', weight([5, 1]), null],
  ['weights as large', weight(IMAGE), null],
  ['channels from the caller', fed([1, 2, 1, 1]), null],
  ['another image', fed(IMAGE), 2],
  ['an image of lower rank', fed([5, 3]), 0],
  ['an image of one channel', fed([1, 1, 5, 3]), 2],
  ['one column', fed([1, 2, 5, 1]), 2],
  ['a batch of images', fed([2, 1, 5, 3]), 2],
  ['an image of higher rank', fed([2, 1, 1, 5, 1]), 3],
  ['one row', fed([1, 1, 1, 3]), 2],
];

function arithmetic(op: string): CaseDefinition[] {
  return PARTNERS.flatMap(([name, partner, axis]) => [
    joins(op, `an image and ${name}`, [image, partner], [2, axis]),
    joins(op, `${name} and an image`, [partner, image], [axis, 2]),
  ]);
}

function clip(name: string, low: Operand | null, high: Operand | null, opset = 13): CaseDefinition {
  return joins('Clip', name, high === null ? [image, low] : [image, low, high], [2, null, null], { opset });
}

const bound = (value: number): Operand => weight([], [value]);
const truth = of('bool');

export const cases: readonly CaseDefinition[] = [
  ...ACTIVATIONS.map((op) => unary(op, { opset: 14 })),
  ...OLD.map((op) => unary(op, { opset: 7 })),
  ...['Abs', 'Exp', 'Neg', 'Floor', 'Ceil', 'Reciprocal'].map((op) => unary(op, { opset: 7 }, within(0.5, 2.5))),
  ...['Log', 'Sqrt', 'Reciprocal'].map((op) => unary(op, {}, within(0.25, 4))),
  ...['Asin', 'Acos', 'Atanh'].map((op) => unary(op, {}, within(-0.9, 0.9))),
  unary('Acosh', {}, within(1, 4)),
  unary('LeakyRelu', { attributes: { alpha: float(0.25) } }),
  unary('Elu', { attributes: { alpha: float(2) } }),
  unary('Celu', { attributes: { alpha: float(0.5) } }),
  unary('Selu', { attributes: { alpha: float(1.5), gamma: float(2) } }),
  unary('HardSigmoid', { attributes: { alpha: float(0.5), beta: float(0.25) } }),
  unary('ThresholdedRelu', { attributes: { alpha: float(0.25) } }),
  unary('Shrink', { attributes: { lambd: float(0.75), bias: float(0.5) } }),
  unary('Affine', { opset: 9, attributes: { alpha: float(0.5), beta: float(0.25) } }),
  unary('ScaledTanh', { opset: 9, attributes: { alpha: float(0.5), beta: float(2) } }),
  unary('ParametricSoftplus', { opset: 9, attributes: { alpha: float(0.5), beta: float(2) } }),
  ...['Mish', 'Gelu'].map((op) => unary(op, { opset: 20 })),
  unary('Gelu', { opset: 21, attributes: { approximate: 'tanh' } }),
  unary('Swish', { opset: 24 }),
  unary('Swish', { opset: 24, attributes: { alpha: float(1.5) } }),
  ...['Gelu', 'QuickGelu'].map((op) => unary(op, { domain: 'com.microsoft' })),
  joins('BiasGelu', 'columns', [image, weight([3])], [2, null], { domain: 'com.microsoft' }),
  unary('IsNaN', {}, EXTREMES),
  unary('IsInf', { attributes: { detect_negative: 0 } }, EXTREMES),
  unary('Not', {}, truth),
  unary('BitwiseNot', { opset: 18 }, of('int32')),
  ...(['float64', 'int32', 'int64', 'uint8', 'bool'] as const).map((dtype) => unary('Identity', {}, of(dtype))),
  ...(['float64', 'int8', 'int64'] as const).map((dtype) => unary('Abs', {}, of(dtype))),

  ...['Add', 'Sub', 'Mul', 'Div'].flatMap((op) => (op === 'Sub' ? arithmetic(op) : arithmetic(op).slice(8, 20))),
  ...[7, 14].flatMap((opset) =>
    ['Add', 'Mul'].map((op) => joins(op, 'channels', [image, weight([2, 1, 1])], [2, null], { opset })),
  ),
  joins('Pow', 'of a number', [within(0.5, 2), weight([], [2.5])], [2, null]),
  joins('Pow', 'of whole numbers', [image, of('int64', [5, 1], [1, 2, 3, 0, 1])], [2, 0]),
  joins('Mod', 'of fractions', [image, weight([], [0.75])], [2, null], { attributes: { fmod: 1 } }),
  joins('Mod', 'of whole numbers', [of('int32'), of('int32', [3], [3, 2, 5])], [2, null], { opset: 10 }),
  ...['Add', 'Sub', 'Mul'].map((op) => joins(op, 'of whole numbers', [of('int32'), of('int32', [2, 1, 1])], [2, null])),
  joins('Add', 'of doubles', [of('float64'), of('float64', [5, 1])], [2, 0]),
  joins('Add', 'rows along the columns', [image, fed([1, 2, 5, 3])], [3, 3]),
  joins('Add', 'rows that cross', [fed([1, 2, 3, 3]), fed([1, 2, 3, 3])], [2, 3], { kind: 'whole' }),
  joins('Add', 'one row each', [fed([1, 2, 1, 3]), fed([1, 1, 1, 3])], [2, 2]),
  joins('Add', 'tokens', [fed([1, 6, 4]), weight([4])], [1, null]),
  joins('Add', 'positions', [fed([1, 6, 4]), weight([1, 6, 4])], [1, null]),

  ...[7, 9, 16].map((opset) => joins('PRelu', 'channels', [image, weight([2, 1, 1])], [2, null], { opset })),
  joins('PRelu', 'one slope', [image, weight([1])], [2, null]),
  joins('PRelu', 'a slope for each pixel', [image, weight([2, 5, 3])], [2, null]),
  joins('PRelu', 'slopes from an image', [image, fed([1, 1, 5, 1])], [2, 2]),

  ...[9, 16].map((opset) => joins('Where', 'of three images', [truth, image, fed(IMAGE)], [2, 2, 2], { opset })),
  joins('Where', 'an image or a number', [truth, image, weight([], [-1])], [2, 2, null]),
  joins(
    'Where',
    'by a mask as high',
    [{ ...of('bool', [5, 1], [1, 0, 0, 1, 1]), constant: true }, image, weight([])],
    [null, 2, null],
  ),
  joins('Where', 'rows only in the mask', [of('bool', [1, 1, 5, 3]), weight([2, 1, 1]), weight([])], [2, null, null]),
  joins('Where', 'of whole numbers', [truth, of('int64'), of('int64', [3])], [2, 2, null]),

  ...['Min', 'Max', 'Sum', 'Mean'].flatMap((op) => [
    joins(op, 'of one', [image], [2]),
    joins(op, 'of three', [image, fed([5, 1]), weight([2, 1, 1])], [2, 0, null]),
    joins(op, 'of four, the image last', [weight([]), weight([3]), fed([1, 1, 1, 3]), image], [null, null, 2, 2], {
      opset: 8,
    }),
    joins(op, 'before broadcasting', [image, fed(IMAGE)], [2, 2], { opset: 7 }),
  ]),
  ...['Min', 'Max'].map((op) =>
    joins(op, 'of whole numbers', [of('int32'), of('int32', [5, 1])], [2, 0], { opset: 12 }),
  ),

  ...['And', 'Or', 'Xor'].flatMap((op) => [
    joins(op, 'of masks', [truth, of('bool', [5, 1])], [2, 0]),
    joins(op, 'with channels', [truth, { ...of('bool', [2, 1, 1]), constant: true as const }], [2, null], { opset: 7 }),
  ]),
  ...['BitwiseAnd', 'BitwiseOr', 'BitwiseXor'].map((op) =>
    joins(op, 'of whole numbers', [of('int32'), of('int32', [5, 1])], [2, 0], { opset: 18 }),
  ),
  ...['LEFT', 'RIGHT'].map((direction) =>
    joins('BitShift', direction, [of('uint8'), of('uint8', [3], [1, 2, 0])], [2, null], { attributes: { direction } }),
  ),
  ...COMPARISONS.flatMap((op) => [
    joins(op, 'to a number', [image, weight([], [0.5])], [2, null], { opset: 16 }),
    joins(op, 'to a lower image', [fed([5, 3]), image], [0, 2], { opset: 12 }),
    joins(op, 'of whole numbers', [of('int64'), of('int64', [2, 1, 1])], [2, null], { opset: 13 }),
  ]),
  joins('Equal', 'of whole numbers', [of('int32'), of('int32', [3])], [2, null], { opset: 7 }),
  ...['Greater', 'Less'].map((op) => joins(op, 'to a number', [image, weight([])], [2, null], { opset: 7 })),

  ...[7, 8, 10].map((opset) => unary('Clip', { opset, attributes: { min: float(-0.5), max: float(1) } })),
  unary('Clip', { opset: 7, attributes: { min: float(0) } }),
  unary('Clip', { opset: 9, attributes: { max: float(1) } }),
  ...[11, 12, 13].map((opset) => clip('both', bound(-0.5), bound(1), opset)),
  clip('below', bound(0), null),
  clip('above', null, bound(1)),
  clip('by lists of one number', weight([1], [0]), weight([1], [1.5]), 11),
  clip('by computed bounds', fed([], [-1]), fed([], [0.5])),
  unary('Clip', { opset: 13 }),
  joins('Clip', 'of whole numbers', [of('int32'), of('int32', [], [2]), of('int32', [], [6])], [2, null, null]),

  ...[7, 12].map((opset) => unary('Dropout', { opset, outputs: [true] })),
  ...[7, 10, 13].map((opset) => ({ ...unary('Dropout', { opset, outputs: 2 }), name: 'Dropout with a mask' })),
  joins('Dropout', 'with a ratio', [image, weight([], [0.5])], [2, null]),
  joins(
    'Dropout',
    'not in training',
    [image, weight([], [0.5]), { ...of('bool', [], [0]), constant: true }],
    [2, null, null],
  ),
  joins('Dropout', 'told by the caller', [image, weight([], [0.5]), of('bool', [], [0])], [2, null, null], {
    kind: 'whole',
  }),

  ...[1, 3, 6, 7, 9, 11].flatMap((to) => [9, 13].map((opset) => unary('Cast', { opset, attributes: { to } }))),
  ...(['int64', 'uint8', 'bool', 'float64'] as const).map((dtype) =>
    unary('Cast', { attributes: { to: 1 } }, of(dtype)),
  ),
  joins('CastLike', 'to whole numbers', [image, { ...of('int32', [1]), constant: true }], [2, null], { opset: 15 }),
  joins('CastLike', 'to the type of an image', [image, of('float64', [1, 1, 5, 3])], [2, 2], { opset: 19 }),
];
