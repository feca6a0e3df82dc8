/**
 * Folding of arithmetic on int32, int64, float32, float64 and bool tensors. Integers are computed as bigints and wrap at
 * their width; floats as JavaScript numbers, rounded to their type when they are stored.
 */
import { dtypeOf, numbers } from '../onnx/tensor-proto.js';
import type { OpView } from '../ops/op.js';
import { broadcast } from '../ops/pointwise.js';
import { reduce, reductionOf } from '../ops/reduce.js';
import { type DataType, elements, type Tensor } from '../tensor.js';
import { expanded } from './fold-movement.js';

type Inputs = readonly (Tensor | undefined)[];
/** Undefined: not a number that this interpreter can give (a division by zero, an overflow). */
type Values = readonly (number | undefined)[] | readonly (bigint | undefined)[];

interface Kernel {
  readonly ints?: (a: bigint, b: bigint) => bigint | undefined;
  readonly floats?: (a: number, b: number) => number;
}

const BINARY: Readonly<Record<string, Kernel>> = {
  Add: { ints: (a, b) => a + b, floats: (a, b) => a + b },
  Sub: { ints: (a, b) => a - b, floats: (a, b) => a - b },
  Mul: { ints: (a, b) => a * b, floats: (a, b) => a * b },
  // Division of integers drops the fraction, towards zero.
  Div: { ints: (a, b) => (b === 0n ? undefined : a / b), floats: (a, b) => a / b },
  Min: { ints: (a, b) => (a < b ? a : b), floats: Math.min },
  Max: { ints: (a, b) => (a > b ? a : b), floats: Math.max },
};
/** Mod takes the sign of the divisor, or with `fmod` that of the dividend; floats have only the latter. */
const MOD: Kernel = { ints: (a, b) => (b === 0n ? undefined : ((a % b) + b) % b) };
const FMOD: Kernel = { ints: (a, b) => (b === 0n ? undefined : a % b), floats: (a, b) => a % b };

const UNARY: Readonly<Record<string, Kernel>> = {
  Neg: { ints: (a) => -a, floats: (a) => -a },
  Abs: { ints: (a) => (a < 0n ? -a : a), floats: Math.abs },
  Floor: { floats: Math.floor },
  Ceil: { floats: Math.ceil },
  Round: { floats: (a) => (Math.abs(a % 1) === 0.5 ? 2 * Math.round(a / 2) : Math.round(a)) },
  Sqrt: { floats: Math.sqrt },
  Reciprocal: { floats: (a) => 1 / a },
};
const COMPARE: Readonly<Record<string, (a: number | bigint, b: number | bigint) => boolean>> = {
  Equal: (a, b) => a === b,
  Less: (a, b) => a < b,
  LessOrEqual: (a, b) => a <= b,
  Greater: (a, b) => a > b,
  GreaterOrEqual: (a, b) => a >= b,
  And: (a, b) => a === 1 && b === 1,
  Or: (a, b) => a === 1 || b === 1,
  Not: (a) => a === 0,
};
const REDUCE: Readonly<Record<string, string>> = {
  ReduceSum: 'Add',
  ReduceProd: 'Mul',
  ReduceMax: 'Max',
  ReduceMin: 'Min',
};

/** The output of a node that computes; undefined where this interpreter does not know the op, the type or the value. */
export function foldArithmetic(view: OpView, inputs: Inputs, limit: number): readonly Tensor[] | undefined {
  const given = inputs.filter((tensor) => tensor !== undefined);
  const [first] = given;
  if (first === undefined || given.some(({ dtype }) => valuesKind(dtype) === undefined)) return undefined;
  const result = compute(view, given, first, limit);
  return result === undefined ? undefined : [result];
}

function compute(view: OpView, given: readonly Tensor[], first: Tensor, limit: number): Tensor | undefined {
  const { op } = view.node;
  const unary = UNARY[op];
  if (unary !== undefined) return mapped(first, first, unary);
  if (op === 'Cast') return cast(first, dtypeOf(view.attributes.int('to', 0)));
  if (op === 'Range') return range(given, limit);
  if (REDUCE[op] !== undefined) return reduced(view, first);
  const compare = COMPARE[op];
  const binary = op === 'Mod' ? (view.attributes.int('fmod', 0) === 1 ? FMOD : MOD) : BINARY[op];
  if (compare === undefined && binary === undefined && op !== 'Pow') return undefined;
  const shape = broadcast(given.map((tensor) => tensor.shape));
  if (shape === undefined || elements(shape) > limit) return undefined;
  const operands = given.map((tensor) => expanded(tensor, shape));
  const [left, right = left] = operands as [Tensor, ...Tensor[]];
  if (compare !== undefined) {
    const [a, b] = [valuesOf(left), valuesOf(right)];
    return tensorFrom(
      'bool',
      shape,
      a.map((value, index) => Number(compare(value, b[index] as number))),
    );
  }
  if (binary === undefined) return power(left, right);
  return operands.slice(1).reduce<Tensor | undefined>((sum, next) => sum && mapped(sum, next, binary), left);
}

/** How values of a type are held: integers as bigints, floats and booleans as numbers. */
function valuesKind(dtype: DataType): 'ints' | 'floats' | 'bools' | undefined {
  if (dtype === 'int64' || dtype === 'int32') return 'ints';
  if (dtype === 'float32' || dtype === 'float64') return 'floats';
  return dtype === 'bool' ? 'bools' : undefined;
}

function bigints({ dtype, data }: Tensor): bigint[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (dtype === 'int32')
    return Array.from({ length: data.byteLength / 4 }, (_, index) => BigInt(view.getInt32(4 * index, true)));
  return Array.from({ length: data.byteLength / 8 }, (_, index) => view.getBigInt64(8 * index, true));
}

function valuesOf(tensor: Tensor): (number | bigint)[] {
  return valuesKind(tensor.dtype) === 'ints' ? bigints(tensor) : numbers(tensor);
}

/** A tensor over these values, integers wrapped and floats rounded to the type; undefined where one value is. */
function tensorFrom(dtype: DataType, shape: readonly number[], values: Values): Tensor | undefined {
  if (values.some((value) => value === undefined)) return undefined;
  const array =
    dtype === 'int64'
      ? BigInt64Array.from(values as bigint[])
      : dtype === 'int32'
        ? Int32Array.from(values as bigint[], (value) => Number(BigInt.asIntN(32, value)))
        : dtype === 'float32'
          ? Float32Array.from(values as number[])
          : dtype === 'float64'
            ? Float64Array.from(values as number[])
            : Uint8Array.from(values as number[]);
  return { dtype, shape, data: new Uint8Array(array.buffer) };
}

/** A kernel on two tensors of one shape and type. */
function mapped(left: Tensor, right: Tensor, { ints, floats }: Kernel): Tensor | undefined {
  const kind = valuesKind(left.dtype);
  if (left.dtype !== right.dtype) return undefined;
  if (kind === 'ints' && ints !== undefined) {
    const other = bigints(right);
    return tensorFrom(
      left.dtype,
      left.shape,
      bigints(left).map((value, index) => ints(value, other[index] as bigint)),
    );
  }
  if (kind !== 'floats' || floats === undefined) return undefined;
  const other = numbers(right);
  return tensorFrom(
    left.dtype,
    left.shape,
    numbers(left).map((value, index) => floats(value, other[index] as number)),
  );
}

/** Pow has the type of its base; the exponent may have another. Integer powers drop the fraction. */
function power(base: Tensor, exponent: Tensor): Tensor | undefined {
  const kind = valuesKind(base.dtype);
  const other = numbers(exponent);
  const values = numbers(base).map((value, index) => value ** (other[index] as number));
  if (kind === 'floats') return tensorFrom(base.dtype, base.shape, values);
  return kind === 'ints' ? tensorFrom(base.dtype, base.shape, values.map(whole)) : undefined;
}

/** A float as an integer, towards zero; undefined where a double could not hold it exactly. */
function whole(value: number): bigint | undefined {
  const integer = Math.trunc(value);
  return Number.isSafeInteger(integer) ? BigInt(integer) : undefined;
}

function cast(tensor: Tensor, to: DataType | undefined): Tensor | undefined {
  const kind = to === undefined ? undefined : valuesKind(to);
  if (to === undefined || kind === undefined) return undefined;
  if (to === tensor.dtype) return tensor;
  const values = valuesOf(tensor);
  if (kind === 'bools')
    return tensorFrom(
      to,
      tensor.shape,
      values.map((value) => Number(Number(value) !== 0)),
    );
  if (kind === 'floats') return tensorFrom(to, tensor.shape, values.map(Number));
  const fits = (value: number): boolean => to === 'int64' || (Math.trunc(value) | 0) === Math.trunc(value);
  const integer = (value: number | bigint): bigint | undefined =>
    typeof value === 'bigint' ? value : fits(value) ? whole(value) : undefined;
  return tensorFrom(to, tensor.shape, values.map(integer));
}

/** Range: from `start` in steps of `delta` to just before `limit`. */
function range(given: readonly Tensor[], most: number): Tensor | undefined {
  const [from, to, by] = given.map(valuesOf).map((values) => values[0]);
  const dtype = given[0]?.dtype;
  if (from === undefined || to === undefined || by === undefined || dtype === undefined || Number(by) === 0)
    return undefined;
  if (given.some((operand) => operand.dtype !== dtype)) return undefined;
  const length = Math.max(0, Math.ceil((Number(to) - Number(from)) / Number(by)));
  if (!(length <= most)) return undefined;
  if (typeof from === 'bigint' && typeof by === 'bigint') {
    return tensorFrom(
      dtype,
      [length],
      Array.from({ length }, (_, index) => from + BigInt(index) * by),
    );
  }
  return tensorFrom(
    dtype,
    [length],
    Array.from({ length }, (_, index) => Number(from) + index * Number(by)),
  );
}

function reduced(view: OpView, data: Tensor): Tensor | undefined {
  const shape = reduce.infer(view)[0]?.shape;
  const reduction = reductionOf(view);
  const kernel = BINARY[REDUCE[view.node.op] ?? ''];
  const kind = valuesKind(data.dtype);
  if (shape === undefined || reduction === undefined || kernel === undefined || kind === 'bools') return undefined;
  if (elements(data.shape) === 0) return undefined;
  const kept = data.shape.map((dim, axis) => (reduction.axes.includes(axis) ? 1 : dim));
  const results: (number | bigint | undefined)[] = [];
  const apply = (a: number | bigint, b: number | bigint): number | bigint | undefined =>
    typeof a === 'bigint' ? kernel.ints?.(a, b as bigint) : kernel.floats?.(a, b as number);
  valuesOf(data).forEach((value, index) => {
    let [rest, at, step] = [index, 0, 1];
    for (let axis = data.shape.length - 1; axis >= 0; axis--) {
      const dim = data.shape[axis] ?? 1;
      if (kept[axis] !== 1) at += (rest % dim) * step;
      step *= kept[axis] ?? 1;
      rest = Math.floor(rest / dim);
    }
    const sum = results[at];
    results[at] = sum === undefined ? value : apply(sum, value);
  });
  return tensorFrom(data.dtype, shape, results as Values);
}
