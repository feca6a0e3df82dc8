/**
 * The networks of `mlp.ts` for batches, as nodes of an ONNX graph: forward pass, backward pass (reverse-mode differentiation,
 * written out), and one step of Adam (Kingma & Ba 2015) on the flat vector of parameters.
 */
import type { GraphWriter } from './graph-writer.js';
import { denseLayers, type Widths } from './mlp.js';

interface GraphLayer {
  readonly weights: string;
  readonly biases: string;
}

/** A forward pass: its output, and what its backward pass needs. */
export interface Pass {
  readonly layers: readonly GraphLayer[];
  /** What went into each layer. */
  readonly inputs: readonly string[];
  readonly output: string;
}

/** The network with these parameters, for a batch of inputs (one a row). */
export function forward(g: GraphWriter, widths: Widths, parameters: string, input: string): Pass {
  const layers = unpack(g, widths, parameters);
  const inputs: string[] = [];
  let value = input;
  layers.forEach(({ weights, biases }, index) => {
    inputs.push(value);
    const sum = g.node('Gemm', [value, weights, biases]);
    value = index < layers.length - 1 ? g.node('Relu', [sum]) : sum;
  });
  return { layers, inputs, output: value };
}

function unpack(g: GraphWriter, widths: Widths, parameters: string): GraphLayer[] {
  const dense = denseLayers(widths);
  const sizes = dense.flatMap(({ inputs, outputs }) => [inputs * outputs, outputs]);
  const pieces = g.split(parameters, sizes, 0);
  return dense.map(({ inputs, outputs }, index) => ({
    weights: g.node('Reshape', [pieces[2 * index] as string, g.ints([inputs, outputs])]),
    biases: pieces[2 * index + 1] as string,
  }));
}

/** The gradient of the parameters, as one vector, from the gradient of the output. */
export function parameterGradient(g: GraphWriter, { layers, inputs }: Pass, outputGradient: string): string {
  const pieces: string[] = [];
  let gradient = outputGradient;
  for (let index = layers.length - 1; index >= 0; index--) {
    const weights = g.node('Gemm', [inputs[index] as string, gradient], { transA: 1 });
    const biases = g.node('ReduceSum', [gradient, g.ints([0])], { keepdims: 0 });
    pieces.unshift(g.node('Reshape', [weights, g.ints([-1])]), biases);
    if (index > 0) gradient = throughRelu(g, throughWeights(g, layers[index], gradient), inputs[index]);
  }
  return g.node('Concat', pieces, { axis: 0 });
}

/** The gradient of the input, from the gradient of the output. */
export function inputGradient(g: GraphWriter, { layers, inputs }: Pass, outputGradient: string): string {
  let gradient = outputGradient;
  for (let index = layers.length - 1; index >= 0; index--) {
    gradient = throughWeights(g, layers[index], gradient);
    if (index > 0) gradient = throughRelu(g, gradient, inputs[index]);
  }
  return gradient;
}

function throughWeights(g: GraphWriter, layer: GraphLayer | undefined, gradient: string): string {
  return g.node('Gemm', [gradient, (layer as GraphLayer).weights], { transB: 1 });
}

/** Nothing passes where the ReLU gave zero. So steep a HardSigmoid is 0 there, 1 elsewhere, and faster than a comparison. */
function throughRelu(g: GraphWriter, gradient: string, activation: string | undefined): string {
  const passes = g.node('HardSigmoid', [activation as string], { alpha: { float: 1e30 }, beta: { float: 0 } });
  return g.node('Mul', [gradient, passes]);
}

/** Names of a vector of parameters, and of Adam's sums of its gradients and of their squares. */
export interface Trained {
  readonly parameters: string;
  readonly gradients: string;
  readonly squares: string;
}

const DECAY_GRADIENTS = 0.9;
const DECAY_SQUARES = 0.999;
const EPSILON = 1e-8;

/**
 * One step of Adam. Its moments are kept as decaying sums, not as averages, which saves passes over the vectors; the factors
 * between the two are in `rate` and `epsilon` (scalars, from `adamScalars`).
 */
export function adam(g: GraphWriter, last: Trained, gradient: string, rate: string, epsilon: string): Trained {
  const decayed = (sum: string, decay: number): string => g.node('Mul', [sum, g.fill(decay)]);
  const gradients = g.node('Add', [decayed(last.gradients, DECAY_GRADIENTS), gradient]);
  const squares = g.node('Add', [decayed(last.squares, DECAY_SQUARES), g.node('Mul', [gradient, gradient])]);
  const deviation = g.node('Add', [g.node('Sqrt', [squares]), epsilon]);
  const change = g.node('Div', [g.node('Mul', [gradients, rate]), deviation]);
  return { parameters: g.node('Sub', [last.parameters, change]), gradients, squares };
}

/** `rate` and `epsilon` of Adam's step number `step` (from 1 on), bias correction included. */
export function adamScalars(learningRate: number, step: number): [rate: number, epsilon: number] {
  const average = (1 - DECAY_GRADIENTS) / (1 - DECAY_GRADIENTS ** step);
  const spread = Math.sqrt((1 - DECAY_SQUARES ** step) / (1 - DECAY_SQUARES));
  return [learningRate * average * spread, EPSILON * spread];
}

/** `target` moved towards `value` by the share `tau` of their difference. */
export function towards(g: GraphWriter, target: string, value: string, tau: number): string {
  return g.node('Add', [target, g.node('Mul', [g.node('Sub', [value, target]), g.fill(tau)])]);
}
