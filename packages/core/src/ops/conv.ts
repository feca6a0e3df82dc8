/** Conv: the window op. Specification: https://onnx.ai/onnx/operators/onnx__Conv.html */
import { attributeProto } from '../graph/graph.js';
import { elements } from '../tensor.js';
import { type LocalRule, like, type OpFamily, type OpView, type Range, whole } from './op.js';
import { type Window, windowRows, windowsOf } from './window.js';

export const conv: OpFamily = {
  ops: ['Conv'],
  infer(view) {
    view.takes(2, 3);
    const windows = windowsOf(view, view.shape(1).slice(2));
    const [batch = 1, channels = 1] = view.shape(0);
    const [filters = 1, perGroup = 1] = view.shape(1);
    const group = view.attributes.int('group', 1);
    if (group < 1 || channels !== perGroup * group || filters % group !== 0) {
      throw view.invalid('the weights do not fit the input channels', {
        expected: `${perGroup * group} channels (${perGroup} for each of ${group} groups)`,
        got: `${channels} channels, ${filters} filters`,
      });
    }
    if (view.has(2) && `${view.shape(2)}` !== `${filters}`) {
      throw view.invalid('the bias is not one number for each filter', {
        expected: `[${filters}]`,
        got: `[${view.shape(2).join(', ')}]`,
      });
    }
    return like(view, [batch, filters, ...windows.map((window) => window.outputs)]);
  },
  flops(view) {
    const perOutput = elements(view.shape(1).slice(1));
    return elements(view.outShape) * (2 * perOutput + (view.has(2) ? 1 : 0));
  },
  products: (view) => ({ each: elements(view.shape(1).slice(1)), channelAxis: 1 }),
  channels(view) {
    const own = [1, 2].filter((index) => view.has(index));
    if (view.attributes.int('group', 1) !== 1 || own.some((index) => view.constant(index) === undefined))
      return undefined;
    return { follows: undefined, cuts: own.map((input) => ({ input, axis: 0 })) };
  },
  rows(view, axes) {
    const axis = axes[0];
    if (axis === undefined || axes.some((other, index) => index > 0 && other !== undefined)) {
      return whole('its weights are computed from the image');
    }
    if (axis < 2) return whole('its rows are not along a spatial axis');
    return convRows(view, axis);
  },
};

function convRows(view: OpView, axis: number): LocalRule {
  const windows = windowsOf(view, view.shape(1).slice(2));
  const dimension = axis - 2;
  const window = windows[dimension] as Window;
  const rest: (Range | undefined)[] = view.node.inputs.slice(1).map(() => undefined);
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [windowRows(window, out).rows, ...rest],
    emit({ build, out, input, output }) {
      const { before, after } = windowRows(window, out);
      const { dilation, kernel, stride } = window;
      let x = input(0);
      let [top, bottom] = [before, after];
      if (before < 0 || after < 0) {
        // The windows lie wholly in the padding: the one row that is read all the same is moved out of their reach.
        const reach = (out.to - out.from - 1) * stride + (kernel - 1) * dilation + 1;
        const skip = Math.max(0, -before);
        x = build.pad(x, view.shape(0).length, axis, Math.max(0, before), Math.max(0, after), 0);
        x = build.slice(x, axis, skip, skip + reach);
        [top, bottom] = [0, 0];
      }
      const begins = windows.map((item, index) => (index === dimension ? top : item.padBegin));
      const ends = windows.map((item, index) => (index === dimension ? bottom : item.padEnd));
      const attributes = new Map(view.node.attributes);
      attributes.delete('auto_pad');
      attributes.set('pads', attributeProto('pads', [...begins, ...ends]));
      const inputs = view.node.inputs.map((name, index) => (index === 0 ? x : name === '' ? '' : input(index)));
      build.copy({ ...view.node, attributes }, inputs, [output(0)]);
    },
  };
}
