/** Transpose: the row axis moves with its place in `perm`. Specification: https://onnx.ai/onnx/operators/onnx__Transpose.html */
import { emitCopy, like, type OpFamily, type OpView } from './op.js';

/** For every output axis, the input axis it comes from. */
function permutation(view: OpView): number[] {
  const rank = view.shape(0).length;
  const perm = view.attributes.ints('perm') ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  if (perm.length !== rank || [...perm].sort((a, b) => a - b).some((axis, index) => axis !== index)) {
    throw view.invalid(`attribute 'perm' is not an order of the axes`, {
      expected: `0 to ${rank - 1}`,
      got: `[${perm.join(', ')}]`,
    });
  }
  return perm;
}

export const transpose: OpFamily = {
  ops: ['Transpose'],
  infer(view) {
    view.takes(1);
    const shape = view.shape(0);
    return like(
      view,
      permutation(view).map((axis) => shape[axis] ?? 1),
    );
  },
  beside: () => 'layout',
  rows(view, axes) {
    const axis = permutation(view).indexOf(axes[0] as number);
    return { kind: 'local', axes: [axis], need: (out) => [out], emit: emitCopy(view) };
  },
};
