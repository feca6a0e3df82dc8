/**
 * Sliding windows along one spatial axis, as Conv and the pooling ops use them, and the rows they need (DistrEdge's
 * vertical splitting law, arXiv 2202.01699, with dilation and clipping at the image's edges).
 */
import type { OpView, Range } from './op.js';

/** A window along one axis, with padding resolved to numbers. */
export interface Window {
  readonly inputs: number;
  readonly outputs: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly padBegin: number;
  readonly padEnd: number;
}

/**
 * The windows of a Conv (which gives the kernel of its weights) or pooling node along every spatial axis, `auto_pad` and
 * `ceil_mode` resolved.
 */
export function windowsOf(view: OpView, weightKernel?: readonly number[]): Window[] {
  const spatial = view.shape(0).slice(2);
  const { attributes } = view;
  const all = (name: string, otherwise: number): number[] => {
    const values = attributes.ints(name) ?? [];
    if (values.length === 0) return spatial.map(() => otherwise);
    if (values.length !== spatial.length || values.some((value) => value < 1)) {
      throw view.invalid(`attribute '${name}' is not one positive number for each spatial axis`, {
        got: `[${values}]`,
      });
    }
    return values;
  };
  const kernel = kernelOf(view, spatial.length, weightKernel);
  const strides = all('strides', 1);
  const dilations = all('dilations', 1);
  const autoPad = attributes.string('auto_pad', 'NOTSET');
  const given = autoPad === 'NOTSET' || autoPad === '' ? (attributes.ints('pads') ?? []) : [];
  if (given.some((pad) => pad < 0) || (given.length !== 0 && given.length !== 2 * spatial.length)) {
    throw view.invalid(`attribute 'pads' is not two numbers ≥ 0 for each spatial axis`, { got: `[${given}]` });
  }
  return spatial.map((inputs, index) => {
    const size = kernel[index] as number;
    const stride = strides[index] as number;
    const dilation = dilations[index] as number;
    const explicit = [given[index] ?? 0, given[index + spatial.length] ?? 0] as const;
    const unpadded = { inputs, kernel: size, stride, dilation };
    return weightKernel === undefined ? poolWindow(view, unpadded, explicit) : convWindow(view, unpadded, explicit);
  });
}

function kernelOf(view: OpView, rank: number, weights: readonly number[] | undefined): readonly number[] {
  const given = view.attributes.ints('kernel_shape') ?? [];
  const kernel = given.length === 0 ? weights : given;
  const fits = weights === undefined || `${weights}` === `${kernel}`;
  if (rank < 1 || kernel?.length !== rank || !fits || kernel.some((size) => size < 1)) {
    throw view.invalid('the kernel does not have one size for each spatial axis', {
      expected: weights === undefined ? `${rank} sizes` : `${rank} sizes, as the weights have: [${weights.join(', ')}]`,
      got: kernel === undefined ? 'none' : `[${kernel.join(', ')}]`,
    });
  }
  return kernel;
}

type Unpadded = Pick<Window, 'inputs' | 'kernel' | 'stride' | 'dilation'>;
type Pads = readonly [number, number];

/** What SAME_UPPER and SAME_LOWER add so that ⌈inputs / stride⌉ windows reaching this far fit; may be negative. */
function samePads(view: OpView, { inputs, stride }: Unpadded, reach: number, least: number): Pads | undefined {
  const autoPad = view.attributes.string('auto_pad', 'NOTSET');
  if (autoPad !== 'SAME_UPPER' && autoPad !== 'SAME_LOWER') return undefined;
  const total = Math.max(least, (Math.ceil(inputs / stride) - 1) * stride + reach - inputs);
  const begin = Math.trunc((autoPad === 'SAME_UPPER' ? total : total + 1) / 2);
  return [begin, total - begin];
}

function convWindow(view: OpView, window: Unpadded, explicit: Pads): Window {
  const reach = (window.kernel - 1) * window.dilation + 1;
  const [padBegin, padEnd] = samePads(view, window, reach, 0) ?? explicit;
  const span = window.inputs + padBegin + padEnd - reach;
  if (span < 0) throw tooLarge(view, reach, span);
  return { ...window, outputs: Math.floor(span / window.stride) + 1, padBegin, padEnd };
}

/** Pooling as onnxruntime does it: SAME pads forget the dilation, and sizes are rounded towards zero. */
function poolWindow(view: OpView, window: Unpadded, explicit: Pads): Window {
  const { inputs, kernel, stride, dilation } = window;
  const reach = (kernel - 1) * dilation + 1;
  const [padBegin, padEnd] = samePads(view, window, kernel, Number.NEGATIVE_INFINITY) ?? explicit;
  if (padBegin >= kernel || padEnd >= kernel) {
    throw view.invalid('the padding is not smaller than the kernel', {
      expected: `pads below ${kernel}`,
      got: `${padBegin} and ${padEnd}`,
    });
  }
  const span = inputs + padBegin + padEnd - reach;
  const ceil = view.attributes.int('ceil_mode', 0) === 1;
  let outputs = (ceil ? Math.ceil(span / stride) : Math.trunc(span / stride)) + 1;
  // A last window that would begin in the padding after the image is dropped.
  if (ceil && (outputs - 1) * stride >= inputs + padBegin) outputs -= 1;
  if (outputs < 1) throw tooLarge(view, reach, span);
  return { ...window, outputs, padBegin, padEnd };
}

function tooLarge(view: OpView, reach: number, span: number): Error {
  return view.invalid('the kernel is larger than the padded input', { got: `${reach} over ${span + reach}` });
}

/** Input rows that output rows need, and the rows of padding before and after them. */
export interface WindowRows {
  /** Clipped to the input; one row even where the windows lie wholly in the padding. */
  readonly rows: Range;
  /** Padding rows before `rows`; negative where the first of `rows` is not read. */
  readonly before: number;
  /** Padding rows after `rows`, likewise. */
  readonly after: number;
}

/** `h_in = (h_out − 1)·S + F`, from the first window's first row to the last one's last, clipped. */
export function windowRows(window: Window, out: Range): WindowRows {
  const { inputs, stride, dilation, kernel, padBegin } = window;
  const low = out.from * stride - padBegin;
  const high = (out.to - 1) * stride - padBegin + (kernel - 1) * dilation + 1;
  const from = Math.min(Math.max(low, 0), inputs - 1);
  const to = Math.max(Math.min(high, inputs), from + 1);
  return { rows: { from, to }, before: from - low, after: high - to };
}
