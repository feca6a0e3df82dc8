/** Pad: adds rows around an image, or takes some away. Specification: https://onnx.ai/onnx/operators/onnx__Pad.html */
import { attributeProto, type Node } from '../graph/graph.js';
import { integers } from '../onnx/tensor-proto.js';
import { intTensor } from '../tensor.js';
import {
  axisOf,
  type LocalRule,
  like,
  type ModelBuilder,
  type OpFamily,
  type OpView,
  type Range,
  whole,
} from './op.js';

/** Since this opset the pads are an input, not an attribute. */
const PADS_INPUT = 11;

export const pad: OpFamily = {
  ops: ['Pad'],
  infer(view) {
    const shape = view.shape(0);
    const pads = padsOf(view);
    if (pads === undefined) return [{ dtype: view.inputs[0]?.dtype, shape: undefined }];
    const padded = shape.map((size, axis) => size + (pads[axis] ?? 0) + (pads[shape.length + axis] ?? 0));
    if (padded.some((size) => size < 0))
      throw view.invalid('the pads take away more than there is', { got: `[${pads}]` });
    return like(view, padded);
  },
  rows(view, axes) {
    const axis = axes[0];
    const pads = padsOf(view);
    if (axis === undefined || axes.some((other, index) => index > 0 && other !== undefined)) {
      return whole('its padding is computed from the image');
    }
    if (pads === undefined) return whole('its padding is not constant');
    const inputs = view.shape(0)[axis] as number;
    const begin = pads[axis] ?? 0;
    const end = pads[view.shape(0).length + axis] ?? 0;
    const mode = view.attributes.string('mode', 'constant');
    if (mode === 'wrap' && (begin !== 0 || end !== 0)) return whole('it pads each end with rows of the other end');
    const left = inputs + Math.min(begin, 0) + Math.min(end, 0);
    if (left < 1) return whole('its negative padding takes away every row');
    if (mode === 'reflect' && Math.max(begin, end) >= left) return whole('it reflects more rows than there are');
    return padRows(view, axis, pads, { from: Math.max(0, -begin), to: inputs - Math.max(0, -end) });
  },
};

/** Two pads for every axis; undefined where they are not constant. */
function padsOf(view: OpView): number[] | undefined {
  const rank = view.shape(0).length;
  let pads = view.attributes.ints(view.opset < 2 ? 'paddings' : 'pads');
  let axes = Array.from({ length: rank }, (_, axis) => axis);
  if (view.opset >= PADS_INPUT) {
    const constant = view.constant(1);
    if (constant === undefined) return undefined;
    pads = integers(constant);
    if (view.has(3)) {
      const chosen = view.constant(3);
      if (chosen === undefined) return undefined;
      axes = integers(chosen).map((axis) => axisOf(view, axis, rank));
    }
  }
  if (pads === undefined || pads.length !== 2 * axes.length) {
    throw view.invalid('there are not two pads for each axis', {
      expected: `${2 * axes.length} numbers`,
      got: pads === undefined ? 'none' : `[${pads.join(', ')}]`,
    });
  }
  const result = new Array<number>(2 * rank).fill(0);
  axes.forEach((axis, index) => {
    result[axis] = pads[index] ?? 0;
    result[rank + axis] = pads[axes.length + index] ?? 0;
  });
  return result;
}

/** Writes Pad with other pads than the node's own, or nothing where none are left. */
function emitPad(
  view: OpView,
  build: ModelBuilder,
  x: string,
  pads: readonly number[],
  value: string,
  output: string,
): void {
  const attributes: Node['attributes'] = new Map(view.node.attributes);
  if (pads.every((count) => count === 0)) {
    build.node('Identity', [x], {}, output);
  } else if (view.opset < PADS_INPUT) {
    const changed = new Map(attributes).set('pads', attributeProto('pads', pads));
    build.copy({ ...view.node, attributes: changed }, [x], [output]);
  } else {
    build.copy(view.node, [x, build.constant(intTensor(pads)), ...(value === '' ? [] : [value])], [output]);
  }
}

/** `kept`: the rows of the input that negative pads leave. */
function padRows(view: OpView, axis: number, pads: readonly number[], kept: Range): LocalRule {
  const begin = pads[axis] ?? 0;
  const rank = view.shape(0).length;
  const mode = view.attributes.string('mode', 'constant');
  const rest: (Range | undefined)[] = view.node.inputs.slice(1).map(() => undefined);
  const last = kept.to - 1;
  /** The input row behind an output row, counted from the input's first row. */
  const source = (row: number): number => {
    if (mode !== 'reflect') return Math.min(Math.max(row, kept.from), last);
    if (row < kept.from) return 2 * kept.from - row;
    return row > last ? 2 * last - row : row;
  };
  const sources = (out: Range): number[] =>
    Array.from({ length: out.to - out.from }, (_, index) => source(out.from + index - begin));
  const need = (out: Range): Range => {
    const [first, end] = [out.from - begin, out.to - 1 - begin];
    const turns = [kept.from, last].filter((row) => row > first && row < end);
    const rows = [first, end, ...turns].map(source);
    return { from: Math.min(...rows), to: Math.max(...rows) + 1 };
  };
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [need(out), ...rest],
    emit({ build, out, input, output }) {
      const value = view.opset >= PADS_INPUT && view.has(2) ? input(2) : '';
      const before = Math.max(0, kept.from - (out.from - begin));
      const after = Math.max(0, out.to - begin - kept.to);
      const own = [...pads];
      [own[axis], own[rank + axis]] = [0, 0];
      if (before + after === 0) return emitPad(view, build, input(0), own, value, output(0));
      if (mode !== 'constant') {
        const { from } = need(out);
        const rows = build.constant(intTensor(sources(out).map((row) => row - from)));
        return emitPad(view, build, build.node('Gather', [input(0), rows], { axis }), own, value, output(0));
      }
      // Where the part lies wholly in the padding, the one row it was given is padded all the same and then cut off.
      const rows = out.to - out.from;
      const inside = before < rows && after < rows;
      [own[axis], own[rank + axis]] = inside ? [before, after] : [before > 0 ? rows : 0, before > 0 ? 0 : rows];
      if (inside) return emitPad(view, build, input(0), own, value, output(0));
      const padded = `${output(0)}~padded`;
      emitPad(view, build, input(0), own, value, padded);
      if (before > 0) build.slice(padded, axis, 0, -1, output(0));
      else build.slice(padded, axis, 1, undefined, output(0));
    },
  };
}
