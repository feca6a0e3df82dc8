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

/** The windows of a Conv or pooling node along every spatial axis, `auto_pad` and `ceil_mode` resolved. */
export function windowsOf(view: OpView, weightKernel?: readonly number[]): Window[] {
  const spatial = view.shape(0).slice(2);
  const { attributes } = view;
  const kernel = attributes.ints('kernel_shape') ?? weightKernel;
  if (kernel === undefined || kernel.length !== spatial.length) {
    throw view.invalid('the kernel does not have one size for each spatial axis', {
      expected: `${spatial.length} sizes`,
      got: kernel === undefined ? 'none' : `[${kernel.join(', ')}]`,
    });
  }
  const all = (name: string, otherwise: number): number[] => {
    const values = attributes.ints(name) ?? spatial.map(() => otherwise);
    if (values.length !== spatial.length || values.some((value) => value < 1)) {
      throw view.invalid(`attribute '${name}' is not one positive number for each spatial axis`);
    }
    return values;
  };
  const strides = all('strides', 1);
  const dilations = all('dilations', 1);
  const autoPad = attributes.string('auto_pad', 'NOTSET');
  const pads = autoPad === 'NOTSET' || autoPad === '' ? attributes.ints('pads') : undefined;
  if (pads !== undefined && (pads.length !== 2 * spatial.length || pads.some((pad) => pad < 0))) {
    throw view.invalid(`attribute 'pads' is not two numbers ≥ 0 for each spatial axis`);
  }
  const ceil = attributes.int('ceil_mode', 0) === 1;
  return spatial.map((inputs, index) => {
    const stride = strides[index] ?? 1;
    const dilation = dilations[index] ?? 1;
    const size = kernel[index] ?? 1;
    if (size < 1) throw view.invalid('a kernel size is not positive');
    const reach = (size - 1) * dilation + 1;
    let padBegin = pads?.[index] ?? 0;
    let padEnd = pads?.[index + spatial.length] ?? 0;
    if (autoPad === 'SAME_UPPER' || autoPad === 'SAME_LOWER') {
      const total = Math.max(0, (Math.ceil(inputs / stride) - 1) * stride + reach - inputs);
      const small = Math.floor(total / 2);
      padBegin = autoPad === 'SAME_UPPER' ? small : total - small;
      padEnd = total - padBegin;
    }
    const span = inputs + padBegin + padEnd - reach;
    if (span < 0)
      throw view.invalid('the kernel is larger than the padded input', { got: `${reach} over ${span + reach}` });
    let outputs = Math.floor(span / stride) + 1;
    if (ceil) {
      outputs = Math.ceil(span / stride) + 1;
      // A last window that would begin in the padding after the image is dropped.
      if ((outputs - 1) * stride >= inputs + padBegin) outputs -= 1;
    }
    return { inputs, outputs, kernel: size, stride, dilation, padBegin, padEnd };
  });
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
