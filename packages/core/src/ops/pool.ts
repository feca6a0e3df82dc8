/**
 * MaxPool, AveragePool and LpPool. Specification: https://onnx.ai/onnx/operators/onnx__AveragePool.html and its siblings.
 * A part pads by numbers, never by `ceil_mode`, except where the last window hangs over the image's padded end: only
 * there the two differ in what an average counts.
 */
import { attributeProto } from '../graph/graph.js';
import { elements } from '../tensor.js';
import { type LocalRule, like, type OpFamily, type OpView, type RowRule, whole } from './op.js';
import { globalAveragePool } from './reduce.js';
import { type Window, windowRows, windowsOf } from './window.js';

export const pool: OpFamily = {
  ops: ['MaxPool', 'AveragePool', 'LpPool'],
  infer(view) {
    const windows = windowsOf(view);
    const shape = [...view.shape(0).slice(0, 2), ...windows.map((window) => window.outputs)];
    const [values] = like(view, shape);
    return view.node.outputs.map((_, index) => (index === 0 && values ? values : { dtype: 'int64', shape }));
  },
  flops(view) {
    return elements(view.outShape) * elements(view.attributes.ints('kernel_shape') ?? [1]);
  },
  rows(view, axes): RowRule {
    const axis = axes[0] as number;
    const windows = windowsOf(view);
    const averages = view.node.op === 'AveragePool';
    if (axis < 2) return whole('its rows are not along a spatial axis');
    if (view.node.outputs.slice(1).some((name) => name !== ''))
      return whole('its second output counts positions over the image');
    if (averages && windows.every((window) => window.dilation === 1) && windows.every(coversAll)) {
      return globalAveragePool.rows(view, axes);
    }
    if (averages && windows.some((window) => window.dilation > 1)) return whole('it averages over dilated windows');
    return poolRows(view, windows, axis);
  },
};

/** Whether the one window along this axis is the whole axis: a global pooling under another name. */
function coversAll({ inputs, outputs, kernel, padBegin, padEnd }: Window): boolean {
  return outputs === 1 && kernel === inputs && padBegin === 0 && padEnd === 0;
}

function poolRows(view: OpView, windows: readonly Window[], axis: number): LocalRule {
  const dimension = axis - 2;
  const window = windows[dimension] as Window;
  const rank = view.shape(0).length;
  const ceil = view.attributes.int('ceil_mode', 0) === 1;
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [windowRows(window, out).rows],
    emit({ build, out, input, output }) {
      const { before, after } = windowRows(window, out);
      // A window that hangs over the padded end exists only under ceil_mode, and only there is it not all "padding".
      const overhangs = ceil && after > window.padEnd;
      let x = input(0);
      let [top, bottom] = [before, overhangs ? window.padEnd : after];
      if (view.node.op === 'MaxPool' && Math.max(top, after) >= window.kernel) {
        x = build.pad(x, rank, axis, top, after, Number.NEGATIVE_INFINITY);
        [top, bottom] = [0, 0];
      }
      const begins = windows.map((item, index) => (index === dimension ? top : item.padBegin));
      const ends = windows.map((item, index) => (index === dimension ? bottom : item.padEnd));
      const attributes = new Map(view.node.attributes);
      attributes.delete('auto_pad');
      attributes.set('pads', attributeProto('pads', [...begins, ...ends]));
      build.copy({ ...view.node, attributes }, [x], [output(0)]);
    },
  };
}
