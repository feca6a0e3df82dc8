/**
 * Fully connected networks with ReLU between their layers, over one flat vector of parameters: each layer's weights, input by
 * output and row-major, then its biases. Here are their layout, their initial values, and the forward pass of one sample in
 * plain TypeScript; `mlp-graph.ts` writes the same networks, and their backward pass, for batches.
 */
import type { RandomSource } from './random.js';

/** The widths of a network, from its input to its output. */
export type Widths = readonly number[];

/** One layer: its widths, and where its parameters lie in the vector. */
export interface Dense {
  readonly inputs: number;
  readonly outputs: number;
  readonly weights: number;
  readonly biases: number;
}

export function denseLayers(widths: Widths): Dense[] {
  let at = 0;
  return widths.slice(1).map((outputs, index) => {
    const inputs = widths[index] as number;
    const weights = at;
    const biases = weights + inputs * outputs;
    at = biases + outputs;
    return { inputs, outputs, weights, biases };
  });
}

export function parameterCount(widths: Widths): number {
  const last = denseLayers(widths).at(-1);
  return last === undefined ? 0 : last.biases + last.outputs;
}

/** The last layer starts within ±3e-3, so that first actions and values are near zero. */
const LAST_LAYER_BOUND = 3e-3;

/** Initial parameters as the DDPG paper draws them: uniform within ±1/√(inputs), the last layer much smaller. */
export function initialParameters(widths: Widths, random: RandomSource): Float32Array {
  const parameters = new Float32Array(parameterCount(widths));
  const layers = denseLayers(widths);
  for (const layer of layers) {
    const bound = layer === layers.at(-1) ? LAST_LAYER_BOUND : 1 / Math.sqrt(layer.inputs);
    for (let i = layer.weights; i < layer.biases + layer.outputs; i++) {
      parameters[i] = bound * (2 * random.uniform() - 1);
    }
  }
  return parameters;
}

/** The forward pass for one sample. */
export class Forward {
  readonly #layers: readonly Dense[];
  readonly #values: readonly Float32Array[];

  constructor(widths: Widths) {
    this.#layers = denseLayers(widths);
    this.#values = this.#layers.map(({ outputs }) => new Float32Array(outputs));
  }

  /** The network's output, in an array that the next call overwrites. */
  run(parameters: Float32Array, input: ArrayLike<number>): Float32Array {
    let values: ArrayLike<number> = input;
    this.#layers.forEach((layer, index) => {
      const next = this.#values[index] as Float32Array;
      affine(parameters, layer, values, next);
      if (index < this.#layers.length - 1) relu(next);
      values = next;
    });
    return values as Float32Array;
  }
}

function affine(parameters: Float32Array, layer: Dense, input: ArrayLike<number>, output: Float32Array): void {
  const { inputs, outputs, weights, biases } = layer;
  for (let o = 0; o < outputs; o++) output[o] = parameters[biases + o] as number;
  for (let i = 0; i < inputs; i++) {
    const x = input[i] as number;
    if (x === 0) continue; // About half of what a ReLU gives.
    const row = weights + i * outputs;
    for (let o = 0; o < outputs; o++) output[o] = (output[o] as number) + x * (parameters[row + o] as number);
  }
}

function relu(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) if ((values[i] as number) < 0) values[i] = 0;
}
