/**
 * Ops that compute every output element from the elements at the same place: activations, arithmetic, comparisons,
 * casts, with ONNX's multidirectional broadcasting (https://onnx.ai/onnx/repo-docs/Broadcasting.html).
 */
import { dtypeOf } from '../onnx/tensor-proto.js';
import { elements } from '../tensor.js';
import { emitCopy, type OpFamily, type OpView, type Range, type RowRule, whole } from './op.js';

const UNARY = [
  ...['Relu', 'LeakyRelu', 'ThresholdedRelu', 'Elu', 'Selu', 'Celu', 'Gelu', 'Mish', 'Sigmoid', 'HardSigmoid', 'Swish'],
  ...['HardSwish', 'Tanh', 'ScaledTanh', 'Softplus', 'ParametricSoftplus', 'Softsign', 'Affine', 'Shrink', 'Identity'],
  ...['Exp', 'Log', 'Sqrt', 'Abs', 'Neg', 'Floor', 'Ceil', 'Round', 'Reciprocal', 'Erf', 'Sign', 'Cast', 'Not'],
  ...['Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh'],
  ...['IsNaN', 'IsInf', 'BitwiseNot', 'com.microsoft:Gelu', 'com.microsoft:QuickGelu'],
];
const BINARY = [
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Mod', 'PRelu', 'And', 'Or', 'Xor', 'CastLike', 'com.microsoft:BiasGelu'],
  ...['Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual', 'BitwiseAnd', 'BitwiseOr', 'BitwiseXor', 'BitShift'],
];
const VARIADIC = ['Min', 'Max', 'Sum', 'Mean'];
/** How many inputs each op takes: at least and at most. */
const ARITY = new Map<string, readonly [number, number]>([
  ...UNARY.map((op): [string, [number, number]] => [op, [1, 1]]),
  ...BINARY.map((op): [string, [number, number]] => [op, [2, 2]]),
  ...VARIADIC.map((op): [string, [number, number]] => [op, [1, Number.POSITIVE_INFINITY]]),
  ['Where', [3, 3]],
  ['Clip', [1, 3]],
  ['Dropout', [1, 3]],
]);
/** Ops of which only the first input has elements; the others are a number each, or tell nothing but a type. */
const FIRST_ONLY = new Set(['Clip', 'Dropout', 'CastLike']);
const GIVES_BOOL = new Set(['Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual', 'IsNaN', 'IsInf']);
/** Ops whose result jumps; Cast too, where it makes whole numbers or truth values of fractions. */
const JUMPS = new Set([...GIVES_BOOL, 'Floor', 'Ceil', 'Round', 'Sign', 'Mod', 'ThresholdedRelu', 'Shrink']);
/** Ops that move values and compute nothing. */
const FREE = new Set(['Identity', 'Dropout', 'Cast', 'CastLike']);
/** Ops that need not even move them. */
const CARRIES = new Set(['Identity', 'Dropout']);
/** The input that tells the output's type, where that is not the first. */
const TYPED_BY = new Map([
  ['Where', 1],
  ['CastLike', 1],
]);

/** Ops computed around ½ or 1 in float32, so that small results carry that scale's rounding. */
const SATURATING = new Set(['Sigmoid', 'Tanh', 'Erf']);
const FOUR_ULPS_BELOW_ONE = 2 ** -22;

/** The shape that these shapes broadcast to; undefined where they do not fit. */
export function broadcast(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const result: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const dims = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((dim) => dim !== 1);
    if (dims.some((dim) => dim !== dims[0])) return undefined;
    result.push(dims[0] ?? 1);
  }
  return result;
}

function given(view: OpView): number[] {
  return view.inputs.flatMap((type, index) => (type === undefined ? [] : [index]));
}

function checkInputs(view: OpView): void {
  const { op, domain } = view.node;
  view.takes(...(ARITY.get(domain === '' ? op : `${domain}:${op}`) ?? [1, 1]));
  const count = (index: number): number => elements(view.inputs[index]?.shape ?? []);
  if ((op === 'Clip' || op === 'Dropout') && (count(1) !== 1 || count(2) !== 1)) {
    throw view.invalid('an operand is not one number');
  }
}

export const pointwise: OpFamily = {
  ops: [...ARITY.keys()],
  infer(view) {
    const { op } = view.node;
    checkInputs(view);
    const shapes = FIRST_ONLY.has(op) ? [view.shape(0)] : given(view).map((index) => view.shape(index));
    const shape = broadcast(shapes);
    if (shape === undefined) {
      throw view.invalid('the inputs do not broadcast', {
        got: shapes.map((item) => `[${item.join(', ')}]`).join(' and '),
      });
    }
    const dtype = op === 'Cast' ? dtypeOf(view.attributes.int('to', 0)) : view.inputs[TYPED_BY.get(op) ?? 0]?.dtype;
    // Until opset 10 the second output of a Dropout, its mask, had the type of the first.
    const second = view.opset < 10 ? dtype : 'bool';
    return view.node.outputs.map((_, index) => ({
      dtype: index > 0 ? second : GIVES_BOOL.has(op) ? 'bool' : dtype,
      shape,
    }));
  },
  flops(view) {
    return FREE.has(view.node.op) ? 0 : elements(view.outShape) * Math.max(1, given(view).length - 1);
  },
  channels(view) {
    const computed = given(view).filter((index) => view.constant(index) === undefined);
    const [follows] = computed;
    const rank = view.outShape.length;
    const all = view.outShape[1];
    if (follows === undefined || computed.length > 1 || `${view.shape(follows)}` !== `${view.outShape}`)
      return undefined;
    const cuts = given(view).flatMap((input) => {
      const axis = 1 - rank + view.shape(input).length;
      return input !== follows && axis >= 0 && view.shape(input)[axis] === all && all !== 1 ? [{ input, axis }] : [];
    });
    return { follows, cuts };
  },
  beside: ({ node }) => (CARRIES.has(node.op) ? 'view' : 'elementwise'),
  jumps(view) {
    const fractions = (type: (typeof view.inputs)[number]): boolean => type?.dtype?.startsWith('float') === true;
    if (!fractions(view.inputs[0])) return false;
    return JUMPS.has(view.node.op) || (view.node.op.startsWith('Cast') && !fractions(view.outputs[0]));
  },
  resolution: (view) => (SATURATING.has(view.node.op) ? FOUR_ULPS_BELOW_ONE : 0),
  rows(view, axes): RowRule {
    const training = view.constant(2)?.data.every((byte) => byte === 0) === false;
    if (view.node.op === 'Dropout' && view.has(2) && (training || view.constant(2) === undefined)) {
      return whole('it may drop values at random');
    }
    const outRank = view.outShape.length;
    const offset = (index: number): number => outRank - view.shape(index).length;
    const elementwise = FIRST_ONLY.has(view.node.op) ? 1 : axes.length;
    const aligned = axes
      .slice(0, elementwise)
      .flatMap((axis, index) => (axis === undefined ? [] : [axis + offset(index)]));
    const [axis] = aligned;
    if (axis === undefined) return whole('its elements have no rows');
    if (aligned.some((other) => other !== axis)) return whole('joins tensors whose rows lie along different axes');
    const rows = view.outShape[axis] ?? 1;
    /** Rows that input `index` has along the output's row axis: `rows`, or 1 where it broadcasts. */
    const height = (index: number): number => view.shape(index)[axis - offset(index)] ?? 1;
    return {
      kind: 'local',
      axes: view.node.outputs.map(() => axis),
      need(out) {
        return view.inputs.map((type, index): Range | undefined => {
          if (type === undefined) return undefined;
          if (index < elementwise && height(index) === rows && rows > 1) return out;
          return axes[index] === undefined ? undefined : { from: 0, to: 1 };
        });
      },
      emit: emitCopy(view),
    };
  },
};
