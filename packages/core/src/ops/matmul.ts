/**
 * MatMul and Gemm. Specification: https://onnx.ai/onnx/operators/onnx__MatMul.html, https://onnx.ai/onnx/operators/onnx__Gemm.html
 *
 * Rows may lie along any axis that is not contracted. Where no operand has rows (a classifier's last layers), a constant
 * second operand can be cut by output channels instead: `channelRule`.
 */
import { elements } from '../tensor.js';
import { emitCopy, type LocalRule, like, type OpFamily, type OpView, type Range, type RowRule, whole } from './op.js';
import { broadcast } from './pointwise.js';

/** What each axis of the two operands is in the product: an output axis, or `contracted`. */
interface Product {
  readonly shape: readonly number[];
  readonly inner: number;
  readonly a: readonly Role[];
  readonly b: readonly Role[];
}
type Role = number | 'contracted';

function product(view: OpView): Product {
  const result = view.node.op === 'Gemm' ? gemmProduct(view) : matmulProduct(view);
  if (result === undefined) {
    const [a, b] = [view.shape(0), view.shape(1)];
    throw view.invalid('the matrices do not fit each other', { got: `[${a.join(', ')}] times [${b.join(', ')}]` });
  }
  return result;
}

function gemmProduct(view: OpView): Product | undefined {
  const [a, b] = [view.shape(0), view.shape(1)];
  const [turnA, turnB] = [view.attributes.int('transA', 0) !== 0, view.attributes.int('transB', 0) !== 0];
  const inner = a[turnA ? 0 : 1];
  if (a.length !== 2 || b.length !== 2 || inner === undefined || inner !== b[turnB ? 1 : 0]) return undefined;
  return {
    shape: [a[turnA ? 1 : 0] ?? 1, b[turnB ? 0 : 1] ?? 1],
    inner,
    a: turnA ? ['contracted', 0] : [0, 'contracted'],
    b: turnB ? [1, 'contracted'] : ['contracted', 1],
  };
}

/** As in NumPy: a vector is a row on the left and a column on the right, and that axis is then dropped. */
function matmulProduct(view: OpView): Product | undefined {
  const [a, b] = [view.shape(0), view.shape(1)];
  const inner = a.at(-1);
  if (inner === undefined || b.length === 0 || inner !== b[Math.max(0, b.length - 2)]) return undefined;
  const batch = broadcast([a.slice(0, -2), b.slice(0, -2)]);
  if (batch === undefined) return undefined;
  const height = a.length > 1 ? a.slice(-2, -1) : [];
  const width = b.length > 1 ? b.slice(-1) : [];
  const roles = (rank: number, matrix: readonly Role[]): Role[] => {
    const own = Math.max(0, rank - 2);
    return [...Array.from({ length: own }, (_, axis) => axis + batch.length - own), ...matrix];
  };
  return {
    shape: [...batch, ...height, ...width],
    inner,
    a: roles(a.length, a.length > 1 ? [batch.length, 'contracted'] : ['contracted']),
    b: roles(b.length, b.length > 1 ? ['contracted', batch.length + height.length] : ['contracted']),
  };
}

export const matmul: OpFamily = {
  ops: ['MatMul', 'Gemm'],
  infer(view) {
    view.takes(2, view.node.op === 'Gemm' ? 3 : 2);
    const { shape } = product(view);
    if (view.has(2) && `${broadcast([shape, view.shape(2)])}` !== `${shape}`) {
      throw view.invalid('the bias does not broadcast to the product', {
        expected: `[${shape.join(', ')}]`,
        got: `[${view.shape(2).join(', ')}]`,
      });
    }
    return like(view, shape);
  },
  flops(view) {
    const { shape, inner } = product(view);
    return elements(shape) * (2 * inner + (view.has(2) ? 1 : 0));
  },
  products: (view) => ({ each: product(view).inner, channelAxis: Math.max(0, view.outShape.length - 1) }),
  rows(view, axes): RowRule {
    const { a, b } = product(view);
    const roles = axes.flatMap((axis, index) => (axis === undefined ? [] : [roleOf(view, { a, b }, index, axis)]));
    const [row] = roles;
    if (row === undefined || row === 'contracted') return whole('adds up products over the rows');
    if (roles.some((role) => role !== row)) return whole('joins every row with every row');
    return productRows(view, row, axes);
  },
};

function roleOf(view: OpView, { a, b }: Pick<Product, 'a' | 'b'>, index: number, axis: number): Role | undefined {
  if (index === 0) return a[axis];
  return index === 1 ? b[axis] : axis + view.outShape.length - view.shape(index).length;
}

/** The product with the output cut along `row`: every operand that spans that axis is cut along its own. */
function productRows(view: OpView, row: number, axes: readonly (number | undefined)[]): RowRule {
  const { a, b } = product(view);
  const rows = view.outShape[row] ?? 1;
  const cuts = view.inputs.map((type, index): number | undefined => {
    if (type === undefined) return undefined;
    const axis = [a, b][index]?.indexOf(row) ?? row - view.outShape.length + view.shape(index).length;
    return axis >= 0 && view.shape(index)[axis] === rows ? axis : undefined;
  });
  if (axes.some((axis, index) => axis !== undefined && cuts[index] === undefined)) return whole('repeats its one row');
  if (cuts.every((cut) => cut === undefined)) return whole('repeats its one row');
  return {
    kind: 'local',
    axes: [row],
    cutAxes: cuts,
    need: (out) => cuts.map((cut): Range | undefined => (cut === undefined ? undefined : out)),
    emit: emitCopy(view),
  };
}

/**
 * A fully connected layer cut by its output channels: the "rows" are the output's last axis, and a part needs those columns
 * of the constant second operand and of the bias (`cutAxes`), and all of the first operand. Undefined where it is not one.
 */
export function channelRule(view: OpView): LocalRule | undefined {
  if (!matmul.ops.includes(view.node.op) || view.constant(1)?.shape.length !== 2) return undefined;
  if (view.inputs[0]?.shape === undefined || view.outputs[0]?.shape === undefined || view.outShape.length === 0)
    return undefined;
  const rule = productRows(view, view.outShape.length - 1, []);
  return rule.kind === 'local' ? rule : undefined;
}
