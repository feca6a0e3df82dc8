/**
 * Softmax, LogSoftmax and Hardmax. Specification: https://onnx.ai/onnx/operators/onnx__Softmax.html
 * Before opset 13 they flatten the tensor to two dimensions at `axis` and normalise over everything behind it; since then
 * over that one axis.
 */
import { elements } from '../tensor.js';
import { axisOf, emitCopy, like, type OpFamily, type OpView, whole } from './op.js';

/** A maximum, a subtraction, an exponential, a sum and a division for each element. */
const FLOPS_PER_ELEMENT = 5;

function axisOfNode(view: OpView): number {
  return axisOf(view, view.attributes.int('axis', view.opset < 13 ? 1 : -1), view.shape(0).length);
}

function normalises(view: OpView, axis: number): boolean {
  const first = axisOfNode(view);
  return view.opset < 13 ? axis >= first : axis === first;
}

export const softmax: OpFamily = {
  ops: ['Softmax', 'LogSoftmax', 'Hardmax'],
  infer(view) {
    view.takes(1);
    axisOfNode(view);
    return like(view, view.shape(0));
  },
  flops: (view) => FLOPS_PER_ELEMENT * elements(view.shape(0)),
  rows(view, [axis]) {
    if (normalises(view, axis as number)) return whole('normalises over the rows');
    return { kind: 'local', axes: [axis as number], need: (out) => [out], emit: emitCopy(view) };
  },
};
