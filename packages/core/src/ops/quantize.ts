/**
 * QuantizeLinear and DequantizeLinear: whole numbers at a scale, one for the tensor, for each index of an axis or for blocks
 * along one. Specification: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
 */
import { dtypeOf } from '../onnx/tensor-proto.js';
import { elements } from '../tensor.js';
import { axisOf, emitCopy, type OpFamily, type OpView, type Range, type RowRule, whole } from './op.js';

/** The axis of the input that the scales follow, and how many elements share one; undefined: one scale for all. */
function scalesOf(view: OpView): { readonly axis: number; readonly block: number } | undefined {
  const [shape, scale] = [view.shape(0), view.shape(1)];
  if (elements(scale) === 1 && scale.length < 2) return undefined;
  const axis = axisOf(view, view.attributes.int('axis', 1), shape.length);
  const block = view.attributes.int('block_size', 0);
  const size = shape[axis] ?? 1;
  const expected = block > 0 ? shape.map((dim, index) => (index === axis ? Math.ceil(size / block) : dim)) : [size];
  if (block < 0 || `${scale}` !== `${expected}`) {
    throw view.invalid('there is not one scale for each index of the axis or block', {
      expected: `[${expected.join(', ')}]`,
      got: `[${scale.join(', ')}]`,
    });
  }
  return { axis, block };
}

export const quantize: OpFamily = {
  ops: ['QuantizeLinear', 'DequantizeLinear'],
  infer(view) {
    view.takes(2, 3);
    scalesOf(view);
    if (view.has(2) && `${view.shape(2)}` !== `${view.shape(1)}`) {
      throw view.invalid('there are not as many zero points as scales');
    }
    const given = view.attributes.int('output_dtype', 0);
    const told = given === 0 ? undefined : dtypeOf(given);
    if (view.node.op === 'DequantizeLinear') return [{ dtype: told ?? view.inputs[1]?.dtype, shape: view.shape(0) }];
    return [{ dtype: told ?? (view.has(2) ? view.inputs[2]?.dtype : 'uint8'), shape: view.shape(0) }];
  },
  flops: (view) => 2 * elements(view.outShape),
  beside: () => 'elementwise',
  jumps: (view) => view.node.op === 'QuantizeLinear',
  rows(view, [axis, ...others]): RowRule {
    if (axis === undefined || others.some((other) => other !== undefined)) {
      return whole('its scales are computed from the image');
    }
    const scales = scalesOf(view);
    if (scales !== undefined && scales.block > 0 && scales.axis === axis)
      return whole('its rows share scales in blocks');
    // Scales in blocks have rows of their own along every other axis; a list of scales along the rows is cut with them.
    const cut = scales === undefined ? undefined : scales.block > 0 ? axis : scales.axis === axis ? 0 : undefined;
    const follow = (out: Range): Range | undefined => (cut === undefined ? undefined : out);
    return {
      kind: 'local',
      axes: [axis],
      cutAxes: [undefined, cut, cut],
      need: (out) => view.inputs.map((type, index) => (index === 0 ? out : type && follow(out))),
      emit: emitCopy(view),
    };
  },
};
