import { expect, test } from 'vitest';
import type { DimensionProto, ValueInfoProto } from '../onnx/proto.js';
import { protoOf } from '../onnx/tensor-proto.js';
import { decodeModelProto, encodeModelProto } from '../onnx/wire.js';
import { floatTensor } from '../tensor.js';
import { withFixedShapes } from './fixed-shapes.js';

const value = (name: string, dim: readonly DimensionProto[]): ValueInfoProto => ({
  name,
  type: { tensorType: { elemType: 1, shape: { dim } } },
});
const open = [{ dimValue: 1n }, { dimParam: 'rows' }];
const bytes = encodeModelProto({
  irVersion: 8n,
  opsetImport: [{ domain: '', version: 17n }],
  graph: {
    name: 'g',
    node: [
      { opType: 'Add', input: ['a', 'b'], output: ['s'], attribute: [] },
      { opType: 'Add', input: ['s', 'c'], output: ['y'], attribute: [] },
    ],
    initializer: [protoOf('c', floatTensor([1], [1]))],
    input: [value('a', open), value('b', open), value('c', [{ dimValue: 1n }])],
    output: [value('y', open)],
  },
});

test('every input has the shape that is given, and nothing else changes', () => {
  const fixed = decodeModelProto(withFixedShapes(bytes, { a: [1, 5], b: [1, 5] }) ?? new Uint8Array());
  const before = decodeModelProto(bytes);
  const closed = [{ dimValue: 1n }, { dimValue: 5n }];
  expect(fixed.graph?.input).toMatchObject([value('a', closed), value('b', closed), value('c', [{ dimValue: 1n }])]);
  expect({ ...fixed, graph: { ...fixed.graph, input: before.graph?.input } }).toEqual(before);
});

test.each<[string, Uint8Array, Record<string, readonly number[]>]>([
  ['an input without a shape', bytes, { a: [1, 5] }],
  ['another rank', bytes, { a: [1, 5], b: [5] }],
  ['another size than the model says', bytes, { a: [1, 5], b: [2, 5] }],
  ['bytes that are no model', new Uint8Array([1, 2, 3]), { a: [1, 5], b: [1, 5] }],
  ['a model without inputs', encodeModelProto({ irVersion: 8n, graph: { name: 'g' } }), {}],
])('no model is made for %s', (_, given, shapes) => {
  expect(withFixedShapes(given, shapes)).toBeUndefined();
});
