/** BatchNormalization at inference. Specification: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html */
import { elements } from '../tensor.js';
import { emitCopy, like, type OpFamily, whole } from './op.js';

export const batchNormalization: OpFamily = {
  ops: ['BatchNormalization'],
  infer(view) {
    return view.node.outputs.flatMap((_, index) =>
      like(view, index === 0 ? view.shape(0) : view.shape(Math.min(index, 2) + 2)),
    );
  },
  flops: (view) => 2 * elements(view.outShape),
  rows(view, [axis, ...others]) {
    if (axis === undefined || others.some((other) => other !== undefined))
      return whole('its statistics are computed from the image');
    if (view.node.outputs.slice(1).some((name) => name !== '')) return whole('it is in training mode');
    if (axis < 2) return whole('its rows are not along a spatial axis');
    return {
      kind: 'local',
      axes: [axis],
      need: (out) => view.inputs.map((_, index) => (index === 0 ? out : undefined)),
      emit: emitCopy(view),
    };
  },
};
