/**
 * A value of a network under construction, with the layers that can follow it. Convolutions are initialised as He et al.
 * 2015 (arXiv 1502.01852) do, so that the spread of activations neither dies out nor explodes with depth.
 */
import type { AttributeValue } from '@distredge/core';

/** One number for all spatial axes, or one for each. */
export type Size = number | readonly number[];

export interface ConvOptions {
  readonly stride?: Size;
  readonly pad?: Size;
  readonly dilation?: number;
  /** Left out before a batch normalisation, which has one of its own. */
  readonly bias?: boolean;
  /** Output variance by mean square of the input: 2 before a ReLU (the default), 1 before nothing. */
  readonly gain?: number;
  /** Name of the output, and the beginning of the weights' names. */
  readonly name?: string;
}

interface PoolOptions {
  readonly pad?: Size;
  /** Rounds the output size up, as Caffe does. */
  readonly ceil?: boolean;
}

/** What layers write themselves into. Names of values are returned. */
export interface NodeWriter {
  node(op: string, inputs: readonly string[], attributes: Attributes, name?: string): string;
  weight(name: string, shape: readonly number[], mean: number, deviation: number): string;
  ints(values: readonly number[]): string;
  /** A name that no other value has: the op's, numbered. */
  fresh(op: string): string;
}

export type Attributes = Readonly<Record<string, AttributeValue>>;

/** Spread of biases and of the parameters of batch normalisations, around 0 or 1. */
const SMALL = 0.1;

export class Layer {
  readonly #net: NodeWriter;
  readonly name: string;
  readonly shape: readonly number[];

  constructor(net: NodeWriter, name: string, shape: readonly number[]) {
    this.#net = net;
    this.name = name;
    this.shape = shape;
  }

  get channels(): number {
    return this.shape[1] ?? 1;
  }

  conv(filters: number, kernel: Size, options: ConvOptions = {}): Layer {
    const name = options.name ?? this.#net.fresh('Conv');
    const sizes = this.#each(kernel);
    const strides = this.#each(options.stride ?? 1);
    const pads = this.#each(options.pad ?? 0);
    const dilations = this.#each(options.dilation ?? 1);
    const fanIn = this.channels * product(sizes);
    const weight = this.#spread(`${name}.weight`, [filters, this.channels, ...sizes], fanIn, options.gain);
    const spatial = sizes.map((size, at) => {
      const reach = (size - 1) * (dilations[at] ?? 1) + 1;
      return Math.floor(((this.shape[at + 2] ?? 1) + 2 * (pads[at] ?? 0) - reach) / (strides[at] ?? 1)) + 1;
    });
    const attributes = { kernel_shape: sizes, strides, pads: [...pads, ...pads], dilations, group: 1 };
    return this.#weighted('Conv', weight, filters, attributes, spatial, options.bias ?? true, name);
  }

  /** A transposed convolution that enlarges by its stride. */
  deconv(filters: number, kernel: number, stride: number, pad: number): Layer {
    const name = this.#net.fresh('ConvTranspose');
    const sizes = this.#each(kernel);
    const reached = product(sizes) / stride ** sizes.length;
    const weight = this.#spread(`${name}.weight`, [this.channels, filters, ...sizes], this.channels * reached);
    const spatial = this.shape.slice(2).map((size) => (size - 1) * stride + kernel - 2 * pad);
    const attributes = {
      kernel_shape: sizes,
      strides: this.#each(stride),
      pads: [...this.#each(pad), ...this.#each(pad)],
    };
    return this.#weighted('ConvTranspose', weight, filters, attributes, spatial, false, name);
  }

  /** Fully connected, over a flat input. */
  linear(features: number, options: Pick<ConvOptions, 'gain' | 'name'> = {}): Layer {
    const name = options.name ?? this.#net.fresh('Gemm');
    const weight = this.#spread(`${name}.weight`, [features, this.channels], this.channels, options.gain);
    return this.#weighted('Gemm', weight, features, { transB: 1 }, [], true, name);
  }

  #spread(name: string, shape: readonly number[], fanIn: number, gain = 2): string {
    return this.#net.weight(name, shape, 0, Math.sqrt(gain / fanIn));
  }

  #weighted(
    op: string,
    weight: string,
    channels: number,
    attributes: Attributes,
    spatial: readonly number[],
    bias: boolean,
    name: string,
  ): Layer {
    const biases = bias ? [this.#net.weight(`${name}.bias`, [channels], 0, SMALL)] : [];
    const shape = [this.shape[0] ?? 1, channels, ...spatial];
    return this.#made(op, [this.name, weight, ...biases], attributes, shape, name);
  }

  /** Batch normalisation as it is when trained: with statistics, near those of its input. */
  batchNorm(epsilon = 1e-5, scale = 1): Layer {
    const name = this.#net.fresh('BatchNormalization');
    const parameter = (part: string, mean: number): string =>
      this.#net.weight(`${name}.${part}`, [this.channels], mean, SMALL);
    const parameters = [parameter('weight', scale), parameter('bias', 0)];
    const statistics = [parameter('running_mean', 0), parameter('running_var', 1)];
    const inputs = [this.name, ...parameters, ...statistics];
    return this.#made('BatchNormalization', inputs, { epsilon: { float: epsilon } }, this.shape, name);
  }

  relu(): Layer {
    return this.#same('Relu');
  }

  leakyRelu(alpha: number): Layer {
    return this.#same('LeakyRelu', { alpha: { float: alpha } });
  }

  add(other: Layer): Layer {
    return this.#made('Add', [this.name, other.name], {}, this.shape);
  }

  maxPool(kernel: number, stride: number, options: PoolOptions = {}): Layer {
    return this.#pool('MaxPool', kernel, stride, options);
  }

  /** An average that counts the padding, as PyTorch's does. */
  averagePool(kernel: number, stride: number, options: PoolOptions = {}): Layer {
    return this.#pool('AveragePool', kernel, stride, options, { count_include_pad: 1 });
  }

  #pool(
    op: string,
    kernel: number,
    stride: number,
    { pad = 0, ceil = false }: PoolOptions,
    more: Attributes = {},
  ): Layer {
    const pads = this.#each(pad);
    const spatial = this.shape.slice(2).map((size, at) => {
      const steps = (size + 2 * (pads[at] ?? 0) - kernel) / stride;
      return (ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
    });
    const attributes = {
      kernel_shape: this.#each(kernel),
      strides: this.#each(stride),
      pads: [...pads, ...pads],
      ...(ceil ? { ceil_mode: 1 } : {}),
      ...more,
    };
    return this.#made(op, [this.name], attributes, [...this.shape.slice(0, 2), ...spatial]);
  }

  globalAveragePool(): Layer {
    const shape = this.shape.map((size, axis) => (axis < 2 ? size : 1));
    return this.#made('GlobalAveragePool', [this.name], {}, shape);
  }

  flatten(): Layer {
    return this.#made('Flatten', [this.name], { axis: 1 }, [this.shape[0] ?? 1, product(this.shape.slice(1))]);
  }

  reshape(shape: readonly number[]): Layer {
    return this.#made('Reshape', [this.name, this.#net.ints(shape)], {}, shape);
  }

  /** Blocks of pixels become channels. */
  spaceToDepth(block: number): Layer {
    const [batch = 1, channels = 1, ...spatial] = this.shape;
    const shape = [batch, channels * block ** spatial.length, ...spatial.map((size) => size / block)];
    return this.#made('SpaceToDepth', [this.name], { blocksize: block }, shape);
  }

  /** Every pixel's channels scaled to the length 1, then by a weight for each channel. */
  l2Norm(scale: number): Layer {
    const unit = this.#same('LpNormalization', { axis: 1, p: 2 });
    const shape = [1, this.channels, ...this.shape.slice(2).map(() => 1)];
    const weight = this.#net.weight(`${unit.name}.weight`, shape, scale, SMALL * scale);
    return this.#made('Mul', [unit.name, weight], {}, this.shape);
  }

  #made(op: string, inputs: readonly string[], attributes: Attributes, shape: readonly number[], name?: string): Layer {
    return new Layer(this.#net, this.#net.node(op, inputs, attributes, name), shape);
  }

  #same(op: string, attributes: Attributes = {}): Layer {
    return this.#made(op, [this.name], attributes, this.shape);
  }

  #each(size: Size): readonly number[] {
    return typeof size === 'number' ? this.shape.slice(2).map(() => size) : size;
  }
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}
