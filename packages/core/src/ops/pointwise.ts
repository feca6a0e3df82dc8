/**
 * Ops that compute every output element from the elements at the same place: activations, arithmetic, comparisons,
 * casts, with ONNX's multidirectional broadcasting (https://onnx.ai/onnx/repo-docs/Broadcasting.html).
 */
import { dtypeOf } from '../onnx/tensor-proto.js';
import { elements } from '../tensor.js';
import { emitCopy, type OpFamily, type OpView, type Range, type RowRule, whole } from './op.js';

const UNARY = [
  ...[
    'Relu',
    'LeakyRelu',
    'ThresholdedRelu',
    'Elu',
    'Selu',
    'Celu',
    'Gelu',
    'Mish',
    'Sigmoid',
    'HardSigmoid',
    'HardSwish',
  ],
  ...[
    'Tanh',
    'Softplus',
    'Softsign',
    'Exp',
    'Log',
    'Sqrt',
    'Abs',
    'Neg',
    'Floor',
    'Ceil',
    'Round',
    'Reciprocal',
    'Erf',
  ],
  ...['Sign', 'Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh', 'Shrink', 'Not'],
  ...['Identity', 'Dropout', 'Cast', 'Clip', 'IsNaN', 'IsInf', 'BitwiseNot'],
];
const BROADCAST = [
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Mod', 'Min', 'Max', 'Sum', 'Mean', 'PRelu', 'Where', 'And', 'Or', 'Xor'],
  ...['Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual', 'BitwiseAnd', 'BitwiseOr', 'BitwiseXor', 'BitShift'],
];
const GIVES_BOOL = new Set(['Equal', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual', 'IsNaN', 'IsInf']);
/** Ops whose result jumps; Cast too, where it makes whole numbers or truth values of fractions. */
const JUMPS = new Set([...GIVES_BOOL, 'Floor', 'Ceil', 'Round', 'Sign', 'Mod', 'ThresholdedRelu', 'Shrink']);
/** Ops that move values and compute nothing. */
const FREE = new Set(['Identity', 'Dropout', 'Cast']);

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

export const pointwise: OpFamily = {
  ops: [...UNARY, ...BROADCAST],
  infer(view) {
    const { op } = view.node;
    const shapes = op === 'Dropout' || op === 'Clip' ? [view.shape(0)] : given(view).map((index) => view.shape(index));
    const shape = broadcast(shapes);
    if (shape === undefined) {
      throw view.invalid('the inputs do not broadcast', {
        got: shapes.map((item) => `[${item.join(', ')}]`).join(' and '),
      });
    }
    const dtype = op === 'Cast' ? dtypeOf(view.attributes.int('to', 0)) : view.inputs[op === 'Where' ? 1 : 0]?.dtype;
    return view.node.outputs.map((_, index) => ({ dtype: GIVES_BOOL.has(op) || index > 0 ? 'bool' : dtype, shape }));
  },
  flops(view) {
    return FREE.has(view.node.op) ? 0 : elements(view.outShape) * Math.max(1, given(view).length - 1);
  },
  jumps(view) {
    const fractions = (type: (typeof view.inputs)[number]): boolean => type?.dtype?.startsWith('float') === true;
    if (!fractions(view.inputs[0])) return false;
    return JUMPS.has(view.node.op) || (view.node.op === 'Cast' && !fractions(view.outputs[0]));
  },
  rows(view, axes): RowRule {
    const outRank = view.outShape.length;
    const offset = (index: number): number => outRank - view.shape(index).length;
    const aligned = axes.flatMap((axis, index) => (axis === undefined ? [] : [axis + offset(index)]));
    const axis = aligned[0] as number;
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
          if (height(index) === rows && rows > 1) return out;
          return axes[index] === undefined ? undefined : { from: 0, to: 1 };
        });
      },
      emit: emitCopy(view),
    };
  },
};
