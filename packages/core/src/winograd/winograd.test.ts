import { expect, test } from 'vitest';
import { type AttributeValue, attributeProto } from '../graph/graph.js';
import type { NodeProto, TensorProto } from '../onnx/proto.js';
import { externalProtoOf, protoOf } from '../onnx/tensor-proto.js';
import { decodeModelProto, encodeModelProto } from '../onnx/wire.js';
import { floatTensor } from '../tensor.js';
import { winogradModel } from './winograd.js';

const SIZE = 128;
const weights = floatTensor(new Float32Array(SIZE * SIZE * 9).fill(0.01), [SIZE, SIZE, 3, 3]);
const shapes = { x: [1, SIZE, 28, 28] };

function node(
  opType: string,
  input: readonly string[],
  output: string,
  attributes: Record<string, AttributeValue> = {},
): NodeProto {
  const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
  return { opType, name: output, input, output: [output], attribute };
}

const pads = { pads: [1, 1, 1, 1] };

function model(nodes: readonly NodeProto[], output = 'y', opset = 17n, more: readonly TensorProto[] = []): Uint8Array {
  const value = (name: string) => ({
    name,
    type: {
      tensorType: {
        elemType: 1,
        shape: { dim: [{ dimValue: 1n }, { dimValue: BigInt(SIZE) }, { dimParam: 'h' }, { dimParam: 'w' }] },
      },
    },
  });
  return encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: opset }],
    graph: {
      name: 'g',
      node: nodes,
      initializer: [externalProtoOf('k', weights, 'k.bin'), ...more],
      input: [value('x')],
      output: [value(output)],
    },
  });
}

test('a convolution is replaced, with what follows it, and its filters are read no more', () => {
  const bytes = model([node('Conv', ['x', 'k'], 'c', pads), node('Relu', ['c'], 'y')]);
  const found = winogradModel(bytes, shapes);
  expect(found?.reads).toEqual(['k.bin']);
  expect(found?.unread).toEqual(['k.bin']);
  const written = found?.write(new Map([['k.bin', weights.data]]));
  const graph = decodeModelProto(written?.bytes ?? new Uint8Array()).graph;
  expect(graph?.node?.filter(({ opType }) => opType === 'Relu')).toHaveLength(4);
  expect(graph?.node?.at(-1)?.output).toEqual(['y']);
  expect(graph?.initializer?.some(({ name }) => name === 'k')).toBe(false);
  expect([...(written?.weights ?? [])].map(([, data]) => data.byteLength)).toEqual([SIZE * SIZE * 16 * 4]);
});

test('an engine that compares shapes by name finds those of all sums equal', () => {
  const written = winogradModel(model([node('Conv', ['x', 'k'], 'y', pads)]), shapes)?.write(
    new Map([['k.bin', weights.data]]),
  );
  const graph = decodeModelProto(written?.bytes ?? new Uint8Array()).graph;
  const said = new Map(graph?.valueInfo?.map(({ name, type }) => [name, type?.tensorType?.shape?.dim]));
  const summed = graph?.node?.filter(({ opType, input }) => opType === 'Add' && said.has(input?.[0] ?? ''));
  // Four for each column of a tile, and four for each row of outputs.
  expect(summed).toHaveLength(4 * 4 + 2 * 4);
  for (const { input = [], output = [] } of summed ?? [])
    for (const name of [...input, ...output])
      expect(said.get(name)?.map(({ dimValue, dimParam }) => dimValue ?? dimParam)).toEqual([
        1n,
        BigInt(SIZE),
        '~w0.rows',
        14n,
      ]);
});

test.each([
  [28, 0],
  [27, 1],
])('where every run has %i rows, nothing is measured, and rows are cut off only where they are odd', (rows, slices) => {
  const bytes = model([node('Conv', ['x', 'k'], 'y', pads)]);
  const written = winogradModel(bytes, { x: [1, SIZE, rows, 28] }, true)?.write(new Map([['k.bin', weights.data]]));
  const graph = decodeModelProto(written?.bytes ?? new Uint8Array()).graph;
  const count = (op: string): number => (graph?.node ?? []).filter(({ opType }) => opType === op).length;
  expect([count('Shape'), count('Gather'), count('Slice')]).toEqual([0, 0, slices]);
  const said = graph?.valueInfo?.map(({ type }) => type?.tensorType?.shape?.dim?.map(({ dimValue }) => dimValue));
  expect(said?.length).toBeGreaterThan(0);
  for (const dims of said ?? []) expect(dims).toEqual([1n, BigInt(SIZE), 14n, 14n]);
});

test('no more are written than an engine loads in a moment, those that gain most', () => {
  const more = floatTensor(new Float32Array(2 * SIZE * SIZE * 9).fill(0.01), [2 * SIZE, SIZE, 3, 3]);
  const chain = Array.from({ length: 30 }, (_, index) =>
    node('Conv', [index === 0 ? 'x' : `c${index - 1}`, 'k'], `c${index}`, pads),
  );
  const found = winogradModel(
    model([...chain, node('Conv', ['c29', 'm'], 'y', pads)], 'y', 17n, [externalProtoOf('m', more, 'm.bin')]),
    shapes,
  );
  const written = found?.write(
    new Map([
      ['k.bin', weights.data],
      ['m.bin', more.data],
    ]),
  );
  const left = decodeModelProto(written?.bytes ?? new Uint8Array()).graph?.node?.filter(
    ({ input }) => input?.[1] === 'k' || input?.[1] === 'm',
  );
  expect(left?.map(({ input }) => input?.[1])).toEqual(Array(31 - 24).fill('k'));
});

test('what others read too stays behind the convolution', () => {
  const bytes = model([node('Conv', ['x', 'k'], 'c', pads), node('Relu', ['c'], 'r'), node('Add', ['c', 'r'], 'y')]);
  const written = winogradModel(bytes, shapes)?.write(new Map([['k.bin', weights.data]]));
  const graph = decodeModelProto(written?.bytes ?? new Uint8Array()).graph;
  expect(graph?.node?.filter(({ opType }) => opType === 'Relu')).toHaveLength(1);
  expect(graph?.node?.some(({ output }) => output?.[0] === 'c')).toBe(true);
});

test('filters that another node reads stay', () => {
  const bytes = model([
    node('Conv', ['x', 'k'], 'c', pads),
    node('Conv', ['c', 'k'], 'y', { ...pads, strides: [2, 2] }),
  ]);
  const found = winogradModel(bytes, shapes);
  expect(found?.reads).toEqual(['k.bin']);
  const written = found?.write(new Map([['k.bin', weights.data]]));
  expect(
    decodeModelProto(written?.bytes ?? new Uint8Array()).graph?.initializer?.some(({ name }) => name === 'k'),
  ).toBe(true);
  expect(found?.unread).toEqual([]);
});

test.each<[string, Uint8Array]>([
  ['a stride', model([node('Conv', ['x', 'k'], 'y', { ...pads, strides: [2, 2] })])],
  ['a dilation', model([node('Conv', ['x', 'k'], 'y', { ...pads, dilations: [2, 2] })])],
  ['wider padding', model([node('Conv', ['x', 'k'], 'y', { pads: [2, 2, 2, 2] })])],
  ['padding by rule', model([node('Conv', ['x', 'k'], 'y', { auto_pad: 'SAME_UPPER' })])],
  ['an old opset', model([node('Conv', ['x', 'k'], 'y', pads)], 'y', 9n)],
  ['no convolution', model([node('Relu', ['x'], 'y')])],
  ['bytes that are no model', new Uint8Array([1, 2, 3])],
])('%s leaves the model as it is', (_, bytes) => {
  expect(winogradModel(bytes, shapes)).toBeUndefined();
});

test('few positions, or shapes that do not fit, leave the model as it is', () => {
  const bytes = model([node('Conv', ['x', 'k'], 'y', pads)]);
  expect(winogradModel(bytes, { x: [1, SIZE, 2, 2] })).toBeUndefined();
  expect(winogradModel(bytes, { x: [1, SIZE - 1, 28, 28] })).toBeUndefined();
  expect(winogradModel(bytes, { z: [1] })).toBeUndefined();
  expect(winogradModel(bytes, { x: [2, SIZE, 28, 28] })).toBeUndefined();
});

test('a normalisation by constants goes into the filters', () => {
  const vector = (name: string, value: number): TensorProto =>
    protoOf(name, floatTensor(new Float32Array(SIZE).fill(value), [SIZE]));
  const bytes = model(
    [node('Conv', ['x', 'k'], 'c', pads), node('BatchNormalization', ['c', 'g', 'b', 'm', 'v'], 'y')],
    'y',
    17n,
    [vector('g', 2), vector('b', 1), vector('m', 0), vector('v', 4)],
  );
  const written = winogradModel(bytes, shapes)?.write(new Map([['k.bin', weights.data]]));
  const graph = decodeModelProto(written?.bytes ?? new Uint8Array()).graph;
  expect(graph?.node?.some(({ opType }) => opType === 'BatchNormalization')).toBe(false);
  const [filters = new Uint8Array()] = [...(written?.weights.values() ?? [])];
  expect(new Float32Array(filters.buffer)[0]).toBeCloseTo(0.01 * (2 / Math.sqrt(4 + 1e-5)), 6);
});
