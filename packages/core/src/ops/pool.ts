/**
 * MaxPool, AveragePool and LpPool. Specification: https://onnx.ai/onnx/operators/onnx__AveragePool.html and its siblings.
 * A part pads by numbers, never by `ceil_mode`, except where the last window hangs over the image's padded end: only
 * there the two differ in what an average counts.
 */
import { attributeProto } from '../graph/graph.js';
import { elements } from '../tensor.js';
import { type LocalRule, like, type OpFamily, type OpView, type RowRule, whole } from './op.js';
import { globalAveragePool, globalLpPool, globalMaxPool } from './reduce.js';
import { type Window, windowRows, windowsOf } from './window.js';

const GLOBAL: Readonly<Record<string, OpFamily>> = {
  AveragePool: globalAveragePool,
  MaxPool: globalMaxPool,
  LpPool: globalLpPool,
};

export const pool: OpFamily = {
  ops: Object.keys(GLOBAL),
  infer(view) {
    view.takes(1);
    const windows = windowsOf(view);
    const shape = [...view.shape(0).slice(0, 2), ...windows.map((window) => window.outputs)];
    const [values] = like(view, shape);
    return view.node.outputs.map((_, index) => (index === 0 && values ? values : { dtype: 'int64', shape }));
  },
  flops(view) {
    return elements(view.outShape) * elements(view.attributes.ints('kernel_shape') ?? [1]);
  },
  // Exporters write an adaptive pooling that changes nothing as windows of one pixel.
  beside: (view) => (view.node.op !== 'LpPool' && windowsOf(view).every(onePixel) ? 'view' : undefined),
  rows(view, axes): RowRule {
    const axis = axes[0] as number;
    const windows = windowsOf(view);
    if (axis < 2) return whole('its rows are not along a spatial axis');
    if (view.node.outputs.slice(1).some((name) => name !== '')) {
      return whole('its second output counts positions over the image');
    }
    if (windows.every(coversAll)) {
      const rule = GLOBAL[view.node.op]?.rows(view, axes);
      if (rule?.kind === 'global') return rule;
    }
    if (windows.some(({ padBegin, padEnd }) => padBegin < 0 || padEnd < 0)) {
      return whole('its windows leave out the ends of the image');
    }
    return poolRows(view, windows, axis);
  },
};

function onePixel({ inputs, outputs, kernel, stride, padBegin }: Window): boolean {
  return kernel === 1 && stride === 1 && padBegin === 0 && inputs === outputs;
}

/** Whether the one window along this axis is the whole axis: a global pooling under another name. */
function coversAll({ inputs, outputs, kernel, dilation, padBegin, padEnd }: Window): boolean {
  return outputs === 1 && kernel === inputs && dilation === 1 && padBegin === 0 && padEnd === 0;
}

function poolRows(view: OpView, windows: readonly Window[], axis: number): LocalRule {
  const dimension = axis - 2;
  const window = windows[dimension] as Window;
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [windowRows(window, out).rows],
    emit({ build, out, input, output }) {
      const { before, after } = windowRows(window, out);
      // Where the last window hangs over the padded end, the part's does so by as much.
      const bottom = Math.min(after, window.padEnd);
      const begins = windows.map((item, index) => (index === dimension ? before : item.padBegin));
      const ends = windows.map((item, index) => (index === dimension ? bottom : item.padEnd));
      const attributes = new Map(view.node.attributes);
      attributes.delete('auto_pad');
      attributes.set('pads', attributeProto('pads', [...begins, ...ends]));
      build.copy({ ...view.node, attributes }, [input(0)], [output(0)]);
    },
  };
}
