/**
 * Normalisation over the image, rewritten by `rewrite`: with the image divided in any way, mean and variance combined from
 * the parts' moments must give what onnxruntime gives for the op on the whole image.
 */
import { describe, expect, test } from 'vitest';
import { type Port, SubModelBuilder } from '../../packages/core/src/compile/builder.js';
import {
  type AttributeValue,
  attributeMap,
  type Graph,
  type Node,
  type TensorType,
} from '../../packages/core/src/graph/graph.js';
import { rewrite } from '../../packages/core/src/graph/rewrite.js';
import { OpView, type Range } from '../../packages/core/src/ops/op.js';
import { familyOf } from '../../packages/core/src/ops/registry.js';
import { elements, floatTensor, intTensor, type Tensor } from '../../packages/core/src/tensor.js';
import { Sessions } from './engine.js';
import { compare } from './harness.js';
import { random, tilings } from './sampling.js';

type Step = readonly [
  op: string,
  inputs: readonly string[],
  output: string,
  attributes?: Record<string, AttributeValue>,
];

interface Model {
  readonly opset: number;
  readonly shape: readonly number[];
  readonly steps: readonly Step[];
  readonly constants?: Readonly<Record<string, Tensor>>;
  /** Shapes of values between the input `x` and the output `y`. */
  readonly between?: Readonly<Record<string, readonly number[]>>;
}

const CHANNELS = 6;
const IMAGE = [2, CHANNELS, 7, 5];

function noise(shape: readonly number[], seed: string, offset = 0): Tensor {
  const next = random(seed);
  return floatTensor(
    Array.from({ length: elements(shape) }, () => next() * 2 - 1 + offset),
    shape,
  );
}

/** Scale and bias for this many channels or groups. */
function affine(length: number): Record<string, Tensor> {
  return { scale: noise([length], 'scale', 1), bias: noise([length], 'bias') };
}

const instance = (opset: number, shape: readonly number[]): Model => ({
  opset,
  shape,
  steps: [['InstanceNormalization', ['x', 'scale', 'bias'], 'y', { epsilon: { float: 1e-3 } }]],
  constants: affine(CHANNELS),
});
const group = (opset: number, weights: number): Model => ({
  opset,
  shape: IMAGE,
  steps: [['GroupNormalization', ['x', 'scale', 'bias'], 'y', { num_groups: 3 }]],
  constants: affine(weights),
});
const exported: Model = {
  opset: 13,
  shape: IMAGE,
  steps: [
    ['Reshape', ['x', 'groups'], 'grouped'],
    ['InstanceNormalization', ['grouped', 'scale', 'bias'], 'normal'],
    ['Reshape', ['normal', 'back'], 'y'],
  ],
  constants: { ...affine(2), groups: intTensor([0, 2, -1]), back: intTensor(IMAGE) },
  between: { grouped: [2, 2, 105], normal: [2, 2, 105] },
};
const meanVariance = (axes?: readonly number[]): Model => ({
  opset: 13,
  shape: [1, ...IMAGE.slice(1)],
  steps: [['MeanVarianceNormalization', ['x'], 'y', axes === undefined ? {} : { axes }]],
});

const MODELS: Readonly<Record<string, Model>> = {
  'InstanceNormalization, opset 7': instance(7, IMAGE),
  'InstanceNormalization, opset 18': instance(18, IMAGE),
  'InstanceNormalization of a sequence': instance(13, [1, CHANNELS, 11]),
  'InstanceNormalization of a volume': instance(13, [1, CHANNELS, 3, 4, 2]),
  'GroupNormalization, a weight for each group': group(18, 3),
  'GroupNormalization, a weight for each channel': group(21, CHANNELS),
  'a group normalisation as exporters write it': exported,
  MeanVarianceNormalization: meanVariance(),
  'MeanVarianceNormalization over channels too': meanVariance([1, 2, 3]),
};

function graphOf({ opset, shape, steps, constants = {}, between = {} }: Model): Graph {
  const nodes = steps.map(([op, inputs, output, attributes = {}], index): Node => {
    const parts = { inputs, outputs: [output], captures: [], attributes: attributeMap(attributes) };
    return { name: `node${index}`, op, domain: '', ...parts };
  });
  const types = new Map<string, TensorType>(Object.entries(constants));
  for (const [name, dims] of Object.entries({ x: shape, y: shape, ...between })) {
    types.set(name, { dtype: 'float32', shape: dims });
  }
  return {
    name: 'normalisation',
    opset,
    opsetImports: [{ domain: '', version: BigInt(opset) }],
    irVersion: 8,
    extras: [],
    nodes,
    inputs: ['x'],
    outputs: ['y'],
    types,
    constants: new Map(Object.entries(constants)),
  };
}

/** Runs the graph; where it joins moments, over these parts of the rows of axis 2. */
async function run(graph: Graph, x: Tensor, tiling: readonly Range[]): Promise<Tensor | undefined> {
  const build = new SubModelBuilder(graph);
  const operand = (name: string): string => (graph.constants.has(name) ? build.weight(name) : name);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map(operand);
    const view = new OpView(node, graph.opset, graph.types, graph.constants, true);
    const rule = node.domain === '' ? undefined : familyOf(node)?.rows(view, [2]);
    if (rule?.kind !== 'global') {
      build.copy(node, inputs, node.outputs);
      continue;
    }
    const partials = tiling.map((rows) => {
      const part = build.fresh();
      rule.reduce(build, build.slice(inputs[0] ?? '', 2, rows.from, rows.to), rows, part);
      return build.reshape(part, [1, ...rule.partial.shape]);
    });
    rule.combine(build, build.concat(partials, 0), tiling, node.outputs);
  }
  const port = (name: string): Port => ({ name, dtype: 'float32', shape: x.shape });
  const results = await new Sessions().run(build.build([port('x')], [port('y')]), new Map([['x', x]]), graph.name);
  return results.get('y');
}

describe('normalisation over the image', () => {
  for (const [name, model] of Object.entries(MODELS)) {
    test(name, async () => {
      const graph = graphOf(model);
      const rewritten = rewrite(graph);
      expect(rewritten.nodes.some(({ op }) => op === 'RowMoments')).toBe(true);
      expect(rewritten.nodes.some(({ op }) => op.endsWith('Normalization'))).toBe(false);
      for (const { outputs } of rewritten.nodes)
        for (const value of outputs) expect(rewritten.types.get(value)?.shape).toBeDefined();
      const x = noise(model.shape, name, 1);
      const wanted = await run(graph, x, []);
      if (wanted === undefined) throw new Error('the whole op gives nothing');
      const rows = model.shape[2] ?? 1;
      for (const tiling of tilings(rows, name)) {
        const place = tiling.map(({ from, to }) => `${from}–${to}`).join(' ');
        compare(await run(rewritten, x, tiling), wanted, place);
      }
    });
  }

  test('leaves what it does not understand as it is', () => {
    const shared = { ...exported, steps: [...exported.steps, ['Relu', ['normal'], 'z'] as const] };
    for (const model of [instance(6, IMAGE), { ...meanVariance(), shape: IMAGE }, meanVariance([1])]) {
      const graph = graphOf(model);
      expect(rewrite(graph)).toBe(graph);
    }
    const split = rewrite(graphOf(shared));
    expect(split.nodes.filter(({ op }) => op === 'Reshape')).toHaveLength(2);
  });

  test('keeps its digits where the mean is far larger than the deviation', async () => {
    const rule = familyOf({ op: 'RowMoments', domain: 'distredge' });
    expect(rule).toBeDefined();
    const model = { ...instance(13, [1, CHANNELS, 8, 16]) };
    const x = noise(model.shape, 'far', 1000);
    const got = await run(rewrite(graphOf(model)), x, tilings(8, 'far')[1] ?? []);
    const { scale, bias } = affine(CHANNELS);
    const read = (tensor: Tensor | undefined): Float32Array =>
      new Float32Array(tensor?.data.slice().buffer ?? new ArrayBuffer(0));
    const [values, gains, shifts] = [read(x), read(scale), read(bias)];
    const each = 8 * 16;
    const exact = Array.from({ length: CHANNELS }, (_, channel) => {
      const own = [...values.subarray(channel * each, (channel + 1) * each)];
      const mean = own.reduce((sum, value) => sum + value, 0) / each;
      const variance = own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / each;
      const gain = (gains[channel] ?? 1) / Math.sqrt(variance + Math.fround(1e-3));
      return own.map((value) => (value - mean) * gain + (shifts[channel] ?? 0));
    });
    const wanted = read(floatTensor(exact.flat(), model.shape));
    const worst = read(got).reduce((most, value, index) => Math.max(most, Math.abs(value - (wanted[index] ?? 0))), 0);
    expect(worst).toBeLessThan(1e-3);
  });
});
