/**
 * Slice and Split. Specification: https://onnx.ai/onnx/operators/onnx__Slice.html, https://onnx.ai/onnx/operators/onnx__Split.html
 * A slice of the rows is a shifted, strided window; the part is given exactly the rows from its first to its last.
 */
import { integers } from '../onnx/tensor-proto.js';
import { intTensor } from '../tensor.js';
import { axisOf, emitCopy, like, type ModelBuilder, type OpFamily, type OpView, type RowRule, whole } from './op.js';

/** A slice along one axis, resolved: `count` indices from `start`, `step` apart. */
export interface AxisSlice {
  readonly axis: number;
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** The slices of a Slice node; undefined where its operands are computed while the model runs. */
export function slicesOf(view: OpView): AxisSlice[] | undefined {
  const shape = view.shape(0);
  const list = (name: string, index: number): number[] | undefined => {
    if (view.opset < 10) return view.attributes.ints(name);
    const constant = view.constant(index);
    return constant === undefined ? undefined : integers(constant);
  };
  const starts = list('starts', 1);
  const ends = list('ends', 2);
  const axes = list('axes', 3);
  const steps = view.opset < 10 ? undefined : list('steps', 4);
  const computed = view.opset >= 10 && ((view.has(3) && axes === undefined) || (view.has(4) && steps === undefined));
  if (starts === undefined || ends === undefined || computed) return undefined;
  for (const others of [ends, axes, steps]) {
    if (others !== undefined && others.length !== starts.length) {
      throw view.invalid('starts, ends, axes and steps are not equally many');
    }
  }
  const chosen = starts.map((_, index) => axisOf(view, axes?.[index] ?? index, shape.length));
  if (new Set(chosen).size !== chosen.length) {
    throw view.invalid('an axis is sliced twice', { got: `[${chosen.join(', ')}]` });
  }
  return starts.map((from, index) => {
    const axis = chosen[index] as number;
    const size = shape[axis] ?? 0;
    const step = steps?.[index] ?? 1;
    if (step === 0) throw view.invalid('a slice has a step of 0');
    // Downwards nothing starts behind the last element, and the end may stand before the first.
    const clamp = (value: number, low: number, high: number): number =>
      Math.min(Math.max(value < 0 ? value + size : value, low), high);
    const start = clamp(from, 0, step > 0 ? size : size - 1);
    const end = clamp(ends[index] ?? 0, step > 0 ? 0 : -1, size);
    return { axis, start, step, count: Math.max(0, Math.ceil((end - start) / step)) };
  });
}

export const slice: OpFamily = {
  ops: ['Slice'],
  infer(view) {
    view.takes(1, 5);
    const slices = slicesOf(view);
    if (slices === undefined) return [{ dtype: view.inputs[0]?.dtype, shape: undefined }];
    const shape = [...view.shape(0)];
    for (const { axis, count } of slices) shape[axis] = count;
    return like(view, shape);
  },
  rows(view, axes): RowRule {
    const row = axes[0];
    const slices = slicesOf(view);
    if (row === undefined || slices === undefined) return whole('its bounds are computed from the image');
    const along = slices.find(({ axis }) => axis === row) ?? { start: 0, step: 1 };
    const { start, step } = along;
    if (step < 0) return whole('turns the rows upside down');
    if (view.outShape[row] === 0) return whole('keeps none of the rows');
    const others = slices.filter(({ axis }) => axis !== row);
    const rest = view.node.inputs.slice(1).map(() => undefined);
    return {
      kind: 'local',
      axes: [row],
      need: ({ from, to }) => [{ from: start + from * step, to: start + (to - 1) * step + 1 }, ...rest],
      emit({ build, input, output }) {
        // The part begins with its first row, so that every part's sub-model is the same.
        const rows = step === 1 ? [] : [{ axis: row, start: 0, step, count: Number.POSITIVE_INFINITY }];
        emitSlices(build, input(0), [...rows, ...others], view.shape(0), output(0));
      },
    };
  },
};

const TO_THE_END = 0x7fffffff;

function emitSlices(
  build: ModelBuilder,
  input: string,
  slices: readonly AxisSlice[],
  shape: readonly number[],
  output: string,
): void {
  if (slices.length === 0) {
    build.node('Identity', [input], {}, output);
    return;
  }
  const axes = slices.map(({ axis }) => axis);
  const starts = slices.map(({ start }) => start);
  const ends = slices.map(({ axis, start, step, count }) => {
    const end = start + step * count;
    // Downwards to the first element: an end before it, out of reach of counting from the end.
    return end < 0 ? -TO_THE_END : end >= (shape[axis] ?? 0) ? TO_THE_END : end;
  });
  if (build.opset < 10) {
    build.node('Slice', [input], { axes, starts, ends }, output);
    return;
  }
  const steps = slices.map(({ step }) => step);
  const operands = [starts, ends, axes, steps].map((values) => build.constant(intTensor(values)));
  build.node('Slice', [input, ...operands], {}, output);
}

/** Sizes of the pieces of a Split node; undefined where they are computed while the model runs. */
function splitSizes(view: OpView, size: number): number[] | undefined {
  const constant = view.constant(1);
  if (view.has(1) && constant === undefined) return undefined;
  const given = constant === undefined ? view.attributes.ints('split') : integers(constant);
  const pieces = view.node.outputs.length;
  // Without sizes all pieces are equal; from opset 18 on the last one may be smaller.
  const each = Math.ceil(size / pieces);
  const sizes = given ?? view.node.outputs.map((_, index) => Math.max(0, Math.min(each, size - each * index)));
  const sum = sizes.reduce((total, item) => total + item, 0);
  if (sizes.length !== pieces || sum !== size || sizes.some((item) => item < 0)) {
    throw view.invalid('the pieces do not make up the axis', {
      expected: `${pieces} sizes, ${size} together`,
      got: `[${sizes.join(', ')}]`,
    });
  }
  return sizes;
}

export const split: OpFamily = {
  ops: ['Split'],
  infer(view) {
    view.takes(1, 2);
    const shape = view.shape(0);
    const axis = axisOf(view, view.attributes.int('axis', 0), shape.length);
    const sizes = splitSizes(view, shape[axis] ?? 0);
    return view.node.outputs.map((_, index) => ({
      dtype: view.inputs[0]?.dtype,
      shape: sizes === undefined ? undefined : shape.map((dim, at) => (at === axis ? (sizes[index] ?? 0) : dim)),
    }));
  },
  rows(view, axes): RowRule {
    const row = axes[0];
    if (row === undefined) return whole('its sizes are computed from the image');
    if (axisOf(view, view.attributes.int('axis', 0), view.shape(0).length) === row)
      return whole('splits along the rows');
    const rest = view.node.inputs.slice(1).map(() => undefined);
    return {
      kind: 'local',
      axes: view.node.outputs.map(() => row),
      need: (out) => [out, ...rest],
      emit: emitCopy(view),
    };
  },
};
