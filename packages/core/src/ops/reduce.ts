/**
 * Reductions and global pooling. Specification: https://onnx.ai/onnx/operators/onnx__ReduceMean.html,
 * https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html and their siblings.
 *
 * A reduction over the rows is global: every part reduces its own rows to one small tensor (a sum, a maximum), and these
 * combine. Means divide once, at the end, by the count of all elements.
 */
import { integers } from '../onnx/tensor-proto.js';
import { type DataType, elements, floatTensor, intTensor, type Tensor } from '../tensor.js';
import {
  axisOf,
  emitCopy,
  type GlobalRule,
  like,
  type ModelBuilder,
  type OpFamily,
  type OpView,
  type RowRule,
  whole,
} from './op.js';

/** How a reduction divides: a reduction over each part's rows, one over the partial results, and a last step. */
interface Parts {
  readonly partial: string;
  readonly combine: string;
  readonly last?: 'divide' | 'sqrt' | 'log';
}

const SUM: Parts = { partial: 'ReduceSum', combine: 'ReduceSum' };
const PARTS: Readonly<Record<string, Parts>> = {
  ReduceSum: SUM,
  ReduceMean: { ...SUM, last: 'divide' },
  ReduceMax: { partial: 'ReduceMax', combine: 'ReduceMax' },
  ReduceMin: { partial: 'ReduceMin', combine: 'ReduceMin' },
  ReduceProd: { partial: 'ReduceProd', combine: 'ReduceProd' },
  ReduceSumSquare: { partial: 'ReduceSumSquare', combine: 'ReduceSum' },
  ReduceL1: { partial: 'ReduceL1', combine: 'ReduceSum' },
  ReduceL2: { partial: 'ReduceSumSquare', combine: 'ReduceSum', last: 'sqrt' },
  ReduceLogSum: { ...SUM, last: 'log' },
  // The log-sum-exp of log-sum-exps is that of all elements; the engine computes each one safely against overflow.
  ReduceLogSumExp: { partial: 'ReduceLogSumExp', combine: 'ReduceLogSumExp' },
};
/** Types in which partial results lose nothing against the whole reduction. */
const SAFE: ReadonlySet<DataType | undefined> = new Set<DataType>(['float32', 'float64', 'int32', 'int64']);

/** What a reduction reduces: the axes, in order, and whether they stay as 1. */
export interface Reduction {
  readonly axes: readonly number[];
  readonly keep: boolean;
}

/** The axes of a Reduce node: an attribute at first, an input since opset 18 (13 for ReduceSum). */
export function reductionOf(view: OpView): Reduction | undefined {
  const rank = view.shape(0).length;
  const keep = view.attributes.int('keepdims', 1) === 1;
  const constant = view.constant(1);
  if (view.has(1) && constant === undefined) return undefined;
  const given = constant === undefined ? view.attributes.ints('axes') : integers(constant);
  if (given !== undefined && given.length > 0) {
    const axes = new Set(given.map((axis) => axisOf(view, axis, rank)));
    return { axes: [...axes].sort((a, b) => a - b), keep };
  }
  if (view.attributes.int('noop_with_empty_axes', 0) === 1) return { axes: [], keep };
  return { axes: Array.from({ length: rank }, (_, axis) => axis), keep };
}

export const reduce: OpFamily = {
  ops: Object.keys(PARTS),
  infer(view) {
    view.takes(1, 2);
    const reduction = reductionOf(view);
    return reduction === undefined
      ? [{ dtype: view.inputs[0]?.dtype, shape: undefined }]
      : like(view, reducedShape(view, reduction));
  },
  flops: (view) => elements(view.shape(0)),
  rows(view, [axis, ...others]): RowRule {
    const reduction = reductionOf(view);
    if (axis === undefined || reduction === undefined || others.some((other) => other !== undefined)) {
      return whole('its axes are computed from the image');
    }
    if (!reduction.axes.includes(axis)) return localReduction(view, reduction, axis);
    return reducedRows(view, PARTS[view.node.op] as Parts, reduction.axes);
  },
};

function reducedShape(view: OpView, { axes, keep }: Reduction): number[] {
  return view.shape(0).flatMap((dim, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [dim]));
}

function localReduction(view: OpView, { axes, keep }: Reduction, axis: number): RowRule {
  const row = keep ? axis : axis - axes.filter((other) => other < axis).length;
  const rest = view.node.inputs.slice(1).map(() => undefined);
  return { kind: 'local', axes: [row], need: (out) => [out, ...rest], emit: emitCopy(view) };
}

/** Reduces every part over these axes, among them the rows, and the partial results over their new first axis. */
function reducedRows(view: OpView, { partial, combine, last }: Parts, axes: readonly number[]): RowRule {
  const dtype = view.inputs[0]?.dtype;
  if (!SAFE.has(dtype)) return whole(`reduces over all rows in ${dtype ?? 'an unknown type'}`);
  const count = elements(axes.map((axis) => view.shape(0)[axis] ?? 1));
  return {
    kind: 'global',
    input: 0,
    partial: { dtype, shape: view.shape(0).map((dim, axis) => (axes.includes(axis) ? 1 : dim)) },
    reduce: (build, input, _rows, output) => void build.reduce(partial, input, axes, output),
    combine(build, partials, _rows, [output]) {
      let result = build.reduce(combine, partials, [0]);
      if (last === 'sqrt') result = build.node('Sqrt', [result]);
      if (last === 'log') result = build.node('Log', [result]);
      if (last === 'divide') result = build.node('Div', [result, build.constant(scalar(count, dtype))]);
      build.reshape(result, view.outShape, output);
    },
  };
}

function scalar(value: number, dtype: DataType | undefined): Tensor {
  if (dtype === 'int64') return intTensor([value], []);
  if (dtype === 'int32') return { dtype, shape: [], data: new Uint8Array(Int32Array.of(value).buffer) };
  if (dtype === 'float64') return { dtype, shape: [], data: new Uint8Array(Float64Array.of(value).buffer) };
  return floatTensor([value], []);
}

/** A pooling over all of a map: the reduction of its spatial axes. */
function globalPool(op: string, parts: (view: OpView) => Parts | undefined): OpFamily {
  const spatial = (view: OpView): number[] => [...view.shape(0).keys()].slice(2);
  return {
    ops: [op],
    infer(view) {
      view.takes(1);
      return like(view, reducedShape(view, { axes: spatial(view), keep: true }));
    },
    flops: (view) => elements(view.shape(0)),
    rows(view, [axis]): RowRule {
      const axes = spatial(view);
      if (axis === undefined || !axes.includes(axis)) return localReduction(view, { axes, keep: true }, axis ?? 0);
      const known = parts(view);
      return known === undefined ? powerPool(view, axes) : reducedRows(view, known, axes);
    },
  };
}

/** Also right for an AveragePool whose one window is the whole map. */
export const globalAveragePool: OpFamily = globalPool('GlobalAveragePool', () => PARTS['ReduceMean']);
export const globalMaxPool: OpFamily = globalPool('GlobalMaxPool', () => PARTS['ReduceMax']);
export const globalLpPool: OpFamily = globalPool('GlobalLpPool', (view) => {
  const power = view.attributes.int('p', 2);
  return power === 1 ? PARTS['ReduceL1'] : power === 2 ? PARTS['ReduceL2'] : undefined;
});

/** GlobalLpPool of any power: the p-th root of the sum of p-th powers of magnitudes. */
function powerPool(view: OpView, axes: readonly number[]): RowRule {
  const power = view.attributes.int('p', 2);
  const sum = reducedRows(view, SUM, axes);
  if (sum.kind !== 'global') return sum;
  const raised = (build: ModelBuilder, input: string, exponent: number): string =>
    build.node('Pow', [input, build.constant(floatTensor([exponent], []))]);
  const rule: GlobalRule = {
    ...sum,
    reduce: (build, input, rows, output) =>
      sum.reduce(build, raised(build, build.node('Abs', [input]), power), rows, output),
    combine(build, partials, _rows, [output]) {
      build.reshape(raised(build, build.reduce('ReduceSum', partials, [0]), 1 / power), view.outShape, output);
    },
  };
  return rule;
}

/** ArgMax and ArgMin: the place of an extreme along one axis. */
export const argExtreme: OpFamily = {
  ops: ['ArgMax', 'ArgMin'],
  infer(view) {
    view.takes(1);
    return [{ dtype: 'int64', shape: reducedShape(view, argReduction(view)) }];
  },
  flops: (view) => elements(view.shape(0)),
  jumps: () => true,
  rows(view, [axis]): RowRule {
    const reduction = argReduction(view);
    if (axis === undefined || reduction.axes.includes(axis)) return whole('finds an extreme among all rows');
    return localReduction(view, reduction, axis);
  },
};

function argReduction(view: OpView): Reduction {
  const axis = axisOf(view, view.attributes.int('axis', 0), view.shape(0).length);
  return { axes: [axis], keep: view.attributes.int('keepdims', 1) === 1 };
}
