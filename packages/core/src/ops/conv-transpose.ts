/**
 * ConvTranspose: every input row spreads over `dilation · (kernel − 1) + 1` output rows, `stride` apart. Specification:
 * https://onnx.ai/onnx/operators/onnx__ConvTranspose.html. Where it is silent (odd paddings), as onnxruntime does it.
 */
import { attributeProto } from '../graph/graph.js';
import { elements } from '../tensor.js';
import { type LocalRule, like, type OpFamily, type OpView, type Range, whole } from './op.js';

/** How input rows spread along one axis, with padding resolved to numbers. */
interface Spread {
  readonly inputs: number;
  readonly outputs: number;
  readonly stride: number;
  /** Output rows that one input row reaches. */
  readonly reach: number;
  readonly padBegin: number;
  readonly padEnd: number;
  /** Rows after the last one that an unpadded input reaches. */
  readonly extra: number;
}

export const convTranspose: OpFamily = {
  ops: ['ConvTranspose'],
  infer(view) {
    const group = view.attributes.int('group', 1);
    const [batch = 1, channels = 1] = view.shape(0);
    const [inputs = 1, outputsPerGroup = 1] = view.shape(1);
    if (channels !== inputs || group < 1 || channels % group !== 0) {
      throw view.invalid('the weights do not fit the input channels', {
        expected: `${inputs} channels, a multiple of ${group} groups`,
        got: `${channels}`,
      });
    }
    return like(view, [batch, outputsPerGroup * group, ...spreadsOf(view).map((spread) => spread.outputs)]);
  },
  flops(view) {
    const perInput = elements(view.shape(1).slice(1));
    return elements(view.shape(0)) * 2 * perInput + (view.has(2) ? elements(view.outShape) : 0);
  },
  products(view) {
    const perInput = elements(view.shape(1).slice(1));
    return { each: (elements(view.shape(0)) * perInput) / elements(view.outShape), channelAxis: 1 };
  },
  rows(view, axes) {
    const axis = axes[0];
    if (axis === undefined || axes.some((other, index) => index > 0 && other !== undefined)) {
      return whole('its weights are computed from the image');
    }
    if (axis < 2) return whole('its rows are not along a spatial axis');
    return convTransposeRows(view, axis);
  },
};

function spreadsOf(view: OpView): Spread[] {
  const spatial = view.shape(0).slice(2);
  const kernel = view.shape(1).slice(2);
  if (kernel.length !== spatial.length) {
    throw view.invalid('the kernel does not have one size for each spatial axis', { got: `[${kernel.join(', ')}]` });
  }
  const { attributes } = view;
  const all = (name: string, count: number, otherwise: number): number[] => {
    const values = attributes.ints(name) ?? [];
    if (values.length === 0) return new Array<number>(count).fill(otherwise);
    if (values.length !== count || values.some((value) => value < otherwise)) {
      throw view.invalid(`attribute '${name}' is not ${count} numbers of at least ${otherwise}`, {
        got: `[${values}]`,
      });
    }
    return values;
  };
  const strides = all('strides', spatial.length, 1);
  const dilations = all('dilations', spatial.length, 1);
  const pads = all('pads', 2 * spatial.length, 0);
  const extras = all('output_padding', spatial.length, 0);
  const shape = (attributes.ints('output_shape') ?? []).slice(-spatial.length);
  const autoPad = attributes.string('auto_pad', 'NOTSET');
  const same = autoPad === 'SAME_UPPER' || autoPad === 'SAME_LOWER';
  return spatial.map((inputs, index) => {
    const stride = strides[index] ?? 1;
    const reach = ((kernel[index] ?? 1) - 1) * (dilations[index] ?? 1) + 1;
    const full = (inputs - 1) * stride + reach;
    let [padBegin, padEnd] = [pads[index] ?? 0, pads[spatial.length + index] ?? 0];
    const wanted = shape[index] ?? (same ? inputs * stride : undefined);
    if (wanted !== undefined) {
      const total = Math.max(0, full + (extras[index] ?? 0) - wanted);
      const small = Math.floor(total / 2);
      padBegin = autoPad === 'SAME_UPPER' ? small : total - small;
      padEnd = total - padBegin;
    }
    const outputs = shape[index] ?? full + (extras[index] ?? 0) - padBegin - padEnd;
    if (outputs < 1) throw view.invalid('the padding leaves no output', { got: `${outputs} rows` });
    return { inputs, outputs, stride, reach, padBegin, padEnd, extra: outputs - (full - padBegin - padEnd) };
  });
}

/** Input rows that reach these output rows; the nearest one where none does. */
function reaching({ inputs, stride, reach, padBegin }: Spread, out: Range): Range {
  const first = Math.ceil((out.from + padBegin - reach + 1) / stride);
  const last = Math.floor((out.to - 1 + padBegin) / stride);
  const from = Math.min(Math.max(first, 0), inputs - 1);
  return { from, to: Math.max(Math.min(last, inputs - 1), from) + 1 };
}

function convTransposeRows(view: OpView, axis: number): LocalRule {
  const spreads = spreadsOf(view);
  const dimension = axis - 2;
  const spread = spreads[dimension] as Spread;
  const { stride, reach, padBegin } = spread;
  const rest: (Range | undefined)[] = view.node.inputs.slice(1).map(() => undefined);
  return {
    kind: 'local',
    axes: [axis],
    need: (out) => [reaching(spread, out), ...rest],
    emit({ build, out, input, output }) {
      const rows = reaching(spread, out);
      // Rows to crop at both ends of what `rows` alone make. Negative: rows that nothing reaches, made by rows of zeros
      // before, and by `output_padding` after where that is below the stride, as it must be.
      let before = out.from + padBegin - rows.from * stride;
      let after = (rows.to - 1) * stride + reach - padBegin - out.to;
      const zerosBefore = Math.max(0, Math.ceil(-before / stride));
      const zerosAfter = -after < stride ? 0 : Math.ceil(-after / stride);
      let x = input(0);
      if (zerosBefore + zerosAfter > 0) x = build.pad(x, view.shape(0).length, axis, zerosBefore, zerosAfter, 0);
      before += zerosBefore * stride;
      after += zerosAfter * stride;
      const per = (own: number, other: (spread: Spread) => number): number[] =>
        spreads.map((item, index) => (index === dimension ? own : other(item)));
      const begins = per(before, (item) => item.padBegin);
      const ends = per(Math.max(0, after), (item) => item.padEnd);
      const extras = per(Math.max(0, -after), (item) => item.extra);
      const attributes = new Map(view.node.attributes);
      attributes.delete('auto_pad');
      attributes.delete('output_shape');
      attributes.set('pads', attributeProto('pads', [...begins, ...ends]));
      attributes.set('output_padding', attributeProto('output_padding', extras));
      const inputs = view.node.inputs.map((name, index) => (index === 0 ? x : name === '' ? '' : input(index)));
      build.copy({ ...view.node, attributes }, inputs, [output(0)]);
    },
  };
}
