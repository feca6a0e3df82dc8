/** Folding of the ops that only move elements, on raw bytes: exact for every element type. */
import { integers, tensorOf } from '../onnx/tensor-proto.js';
import { concat } from '../ops/concat.js';
import { expand, gather, tile } from '../ops/gather.js';
import { axisOf, type OpView } from '../ops/op.js';
import { broadcast } from '../ops/pointwise.js';
import { reshape } from '../ops/reshape.js';
import { slice, slicesOf, split } from '../ops/slice.js';
import { transpose } from '../ops/transpose.js';
import { DTYPE_BYTES, elements, floatTensor, type Tensor } from '../tensor.js';

type Shape = readonly number[];
type Inputs = readonly (Tensor | undefined)[];

/** A movement: the shapes it makes, known before anything is allocated, and the elements. */
interface Move {
  shapes(view: OpView, inputs: Inputs): readonly (Shape | undefined)[];
  compute(view: OpView, inputs: readonly Tensor[], shapes: readonly Shape[]): readonly Tensor[] | undefined;
}

/** The outputs of a node that moves elements; undefined for other ops and where they would hold more than `limit` elements. */
export function foldMovement(view: OpView, inputs: Inputs, limit: number): readonly Tensor[] | undefined {
  const move = MOVES[view.node.op];
  const shapes = move?.shapes(view, inputs).filter((shape) => shape !== undefined);
  if (move === undefined || shapes === undefined || shapes.length === 0) return undefined;
  if (shapes.some((shape) => shape.some((dim) => dim < 0))) return undefined;
  if (shapes.reduce((sum, shape) => sum + elements(shape), 0) > limit) return undefined;
  return move.compute(view, inputs as readonly Tensor[], shapes);
}

const inferred = (family: { infer(view: OpView): readonly { shape: Shape | undefined }[] }): Move['shapes'] => {
  return (view) => family.infer(view).map(({ shape }) => shape);
};

const sameBytes: Move = {
  shapes: inferred(reshape),
  compute: (_view, [data], [shape]) => data && shape && [{ ...data, shape }],
};

const MOVES: Readonly<Record<string, Move>> = {
  Identity: { shapes: (_view, [data]) => [data?.shape], compute: (_view, [data]) => data && [data] },
  Reshape: sameBytes,
  Flatten: sameBytes,
  Squeeze: sameBytes,
  Unsqueeze: sameBytes,
  Transpose: {
    shapes: inferred(transpose),
    compute(view, [data], [shape]) {
      if (data === undefined || shape === undefined) return undefined;
      const steps = strides(data.shape);
      const perm = view.attributes.ints('perm') ?? [...shape.keys()].reverse();
      return [moved(data, shape, (axis, index) => index * (steps[perm[axis] ?? 0] ?? 0))];
    },
  },
  Slice: {
    shapes: inferred(slice),
    compute(view, [data], [shape]) {
      const slices = slicesOf(view);
      if (data === undefined || shape === undefined || slices === undefined) return undefined;
      const steps = strides(data.shape);
      const along = new Map(slices.map((item) => [item.axis, item]));
      return [
        moved(data, shape, (axis, index) => {
          const { start, step } = along.get(axis) ?? { start: 0, step: 1 };
          return (start + index * step) * (steps[axis] ?? 0);
        }),
      ];
    },
  },
  Split: {
    shapes: inferred(split),
    compute(view, [data], shapes) {
      if (data === undefined) return undefined;
      const along = axisOf(view, view.attributes.int('axis', 0), data.shape.length);
      const steps = strides(data.shape);
      let start = 0;
      return shapes.map((shape) => {
        const first = start;
        start += shape[along] ?? 0;
        return moved(data, shape, (axis, index) => (index + (axis === along ? first : 0)) * (steps[axis] ?? 0));
      });
    },
  },
  Gather: {
    shapes: inferred(gather),
    compute(view, [data, indices], [shape]) {
      if (data === undefined || indices === undefined || shape === undefined) return undefined;
      const axis = axisOf(view, view.attributes.int('axis', 0), data.shape.length);
      const size = data.shape[axis] ?? 0;
      const places = integers(indices).map((index) => (index < 0 ? index + size : index));
      if (places.some((place) => place < 0 || place >= size)) return undefined;
      const steps = strides(data.shape);
      const flat = data.shape.map((dim, at) => (at === axis ? places.length : dim));
      const result = moved(data, flat, (at, index) => (at === axis ? (places[index] ?? 0) : index) * (steps[at] ?? 0));
      return [{ ...result, shape }];
    },
  },
  Expand: {
    shapes: inferred(expand),
    compute: (_view, [data], [shape]) => data && shape && [expanded(data, shape)],
  },
  Tile: {
    shapes: inferred(tile),
    compute(_view, [data], [shape]) {
      if (data === undefined || shape === undefined) return undefined;
      const steps = strides(data.shape);
      return [moved(data, shape, (axis, index) => (index % (data.shape[axis] ?? 1)) * (steps[axis] ?? 0))];
    },
  },
  ConstantOfShape: {
    shapes: (_view, [shape]) => [shape && integers(shape)],
    compute(view, _inputs, [shape]) {
      const given = view.node.attributes.get('value')?.t;
      const value = given === undefined ? floatTensor([0], [1]) : tensorOf(given);
      return value && shape && [moved(value, shape, () => 0)];
    },
  },
  Concat: {
    shapes: inferred(concat),
    compute(view, inputs, [shape]) {
      const [first] = inputs;
      if (first === undefined || shape === undefined) return undefined;
      if (inputs.some(({ dtype }) => dtype !== first.dtype)) return undefined;
      const axis = axisOf(view, view.attributes.int('axis', 1), shape.length);
      const outer = elements(shape.slice(0, axis));
      const data = new Uint8Array(elements(shape) * DTYPE_BYTES[first.dtype]);
      let at = 0;
      for (let index = 0; index < outer; index++) {
        for (const { data: part } of inputs) {
          const length = part.byteLength / outer;
          data.set(part.subarray(index * length, (index + 1) * length), at);
          at += length;
        }
      }
      return [{ dtype: first.dtype, shape, data }];
    },
  },
  Where: {
    shapes: (_view, inputs) => [broadcast(inputs.map((tensor) => tensor?.shape ?? []))],
    compute(_view, [condition, yes, no], [shape]) {
      if (condition === undefined || yes === undefined || no === undefined || shape === undefined) return undefined;
      if (condition.dtype !== 'bool' || yes.dtype !== no.dtype) return undefined;
      const chosen = expanded(condition, shape).data;
      const result = expanded(yes, shape);
      const other = expanded(no, shape).data;
      const size = DTYPE_BYTES[yes.dtype];
      for (let index = 0; index < chosen.length; index++) {
        if (chosen[index] === 0) result.data.set(other.subarray(index * size, (index + 1) * size), index * size);
      }
      return [result];
    },
  },
};

/** Elements between neighbours along each axis. */
function strides(shape: Shape): number[] {
  return shape.map((_, axis) => elements(shape.slice(axis + 1)));
}

/** The tensor broadcast to a shape, in memory of its own. */
export function expanded(tensor: Tensor, shape: Shape): Tensor {
  const steps = strides(tensor.shape);
  const missing = shape.length - tensor.shape.length;
  return moved(tensor, shape, (axis, index) =>
    (tensor.shape[axis - missing] ?? 1) === 1 ? 0 : index * (steps[axis - missing] ?? 0),
  );
}

/** A tensor of this shape whose element at [i, j, …] is the source's at `place(0, i) + place(1, j) + …`. */
function moved({ dtype, data }: Tensor, shape: Shape, place: (axis: number, index: number) => number): Tensor {
  if (elements(shape) === 0) return { dtype, shape, data: new Uint8Array(0) };
  const size = DTYPE_BYTES[dtype];
  let places = [0];
  shape.forEach((dim, axis) => {
    const along = Array.from({ length: dim }, (_, index) => place(axis, index));
    places = places.flatMap((start) => along.map((offset) => start + offset));
  });
  const result = new Uint8Array(places.length * size);
  places.forEach((from, to) => {
    for (let byte = 0; byte < size; byte++) result[to * size + byte] = data[from * size + byte] ?? 0;
  });
  return { dtype, shape, data: result };
}
