import {
  attributeProto,
  encodeModelProto,
  externalProtoOf,
  floats,
  floatTensor,
  type NodeProto,
  protoOf,
  type Tensor,
  type TensorProto,
} from '@distredge/core';
import { afterAll, expect, test } from 'vitest';
import type { Engine } from './engine.js';
import { createOrtEngine } from './ort-node.js';
import { createOrtWorkerEngine } from './ort-worker.js';

interface Case {
  readonly channels: number;
  readonly filters: number;
  readonly height: number;
  readonly width: number;
  readonly pads: readonly [number, number, number, number];
  readonly bias?: true;
  readonly norm?: true;
  readonly pointwise?: string;
}

const CASES: Case[] = [
  { channels: 128, filters: 128, height: 28, width: 28, pads: [1, 1, 1, 1], bias: true, pointwise: 'Relu' },
  { channels: 128, filters: 160, height: 27, width: 29, pads: [1, 1, 1, 1], bias: true, norm: true, pointwise: 'Relu' },
  { channels: 128, filters: 128, height: 28, width: 31, pads: [0, 1, 1, 1], norm: true, pointwise: 'LeakyRelu' },
  { channels: 128, filters: 128, height: 29, width: 31, pads: [1, 0, 0, 1], bias: true },
  { channels: 128, filters: 128, height: 29, width: 30, pads: [0, 0, 0, 0], pointwise: 'HardSigmoid' },
  {
    channels: 256,
    filters: 256,
    height: 21,
    width: 14,
    pads: [0, 1, 0, 1],
    bias: true,
    norm: true,
    pointwise: 'Sigmoid',
  },
];

let state = 1;
const random = (shape: readonly number[], offset = 0): Tensor => {
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 0x7fffffff - 0.5 + offset;
  });
  return floatTensor(values, shape);
};

function build({ channels, filters, width, pads, bias, norm, pointwise }: Case): {
  readonly bytes: Uint8Array;
  readonly weights: Map<string, Uint8Array>;
} {
  const nodes: NodeProto[] = [];
  const constants: TensorProto[] = [];
  let last = 'x';
  const add = (opType: string, inputs: readonly string[], attribute: NodeProto['attribute'] = []): void => {
    const output = `v${nodes.length}`;
    nodes.push({ opType, name: output, input: [last, ...inputs], output: [output], attribute });
    last = output;
  };
  const vector = (name: string, offset = 0): string => {
    constants.push(protoOf(name, random([filters], offset)));
    return name;
  };
  const kernel = random([filters, channels, 3, 3]);
  constants.push(externalProtoOf('k', kernel, 'k'));
  add('Conv', bias ? ['k', vector('b')] : ['k'], [attributeProto('pads', pads)]);
  if (norm) add('BatchNormalization', [vector('gamma'), vector('beta'), vector('mean'), vector('variance', 1)]);
  if (pointwise !== undefined) add(pointwise, []);
  const value = (name: string, size: number, columns: number) => ({
    name,
    type: {
      tensorType: {
        elemType: 1,
        shape: {
          dim: [{ dimValue: 1n }, { dimValue: BigInt(size) }, { dimParam: `${name}_h` }, { dimValue: BigInt(columns) }],
        },
      },
    },
  });
  const bytes = encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'g',
      node: nodes,
      initializer: constants,
      input: [value('x', channels, width)],
      output: [value(last, filters, width + pads[1] + pads[3] - 2)],
    },
  });
  return { bytes, weights: new Map([['k', kernel.data]]) };
}

const engines: Record<'direct' | 'winograd' | 'worker', Engine> = {
  direct: createOrtEngine({ winograd: false }),
  winograd: createOrtEngine({ winograd: true }),
  worker: createOrtWorkerEngine({ winograd: true }),
};
afterAll(() => Promise.all(Object.values(engines).map((engine) => engine.close())));

test.each(CASES)(
  '$channels to $filters channels, $height × $width, pads $pads, bias $bias, norm $norm, $pointwise: as direct, at any height',
  async (item) => {
    const { bytes, weights } = build(item);
    const { channels, height, width } = item;
    const output = `v${[item.norm, item.pointwise].filter((part) => part !== undefined).length}`;
    const shapes = { x: [1, channels, height, width] };
    const handles = new Map<Engine, number>();
    for (const engine of Object.values(engines))
      handles.set(engine, await engine.load({ model: bytes, weights, shapes }));
    for (const rows of [height, height - 1, 4, 3]) {
      const x = random([1, channels, rows, width]);
      const fixed = await engines.winograd.load({ model: bytes, weights, shapes: { x: x.shape }, everyRun: true });
      const results: Tensor[] = [];
      for (const [engine, model] of [...handles, [engines.winograd, fixed] as const]) {
        const copy = { ...x, data: x.data.slice() };
        const call = { model, inputs: [{ name: 'x', tensor: copy }], outputs: [{ name: output, fetch: true }] };
        results.push((await engine.run(call)).outputs[0] as Tensor);
      }
      await engines.winograd.unload(fixed);
      const [direct, ...others] = results as [Tensor, ...Tensor[]];
      const expected = floats(direct);
      const range = expected.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
      for (const other of others) {
        expect(other.shape).toEqual(direct.shape);
        const worst = floats(other).reduce(
          (most, one, at) => Math.max(most, Math.abs(one - (expected[at] as number))),
          0,
        );
        expect(worst / range).toBeLessThan(3e-6);
        // Rounded otherwise somewhere: it really is another way of computing.
        if (rows === height) expect(other.data).not.toEqual(direct.data);
      }
    }
    for (const [engine, model] of handles) await engine.unload(model);
  },
  60_000,
);

test('an engine for direct convolutions does not take a session with others', async () => {
  const { bytes, weights } = build(CASES[0] as Case);
  const key = 'same model';
  const shapes = { x: [1, 128, 28, 28] };
  const x = random([1, 128, 28, 28]);
  const results = [];
  for (const engine of [engines.winograd, engines.direct]) {
    const model = await engine.load({ model: bytes, weights, key, shapes });
    const inputs = [{ name: 'x', tensor: { ...x, data: x.data.slice() } }];
    results.push((await engine.run({ model, inputs, outputs: [{ name: 'v1', fetch: true }] })).outputs[0]?.data);
  }
  expect(results[0]).not.toEqual(results[1]);
});
