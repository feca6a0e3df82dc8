/** Messages written as bytes: in pieces or whole, with large payloads left where they are. */
import { describe, expect, test } from 'vitest';
import type { ModelProto, TensorProto } from './proto.js';
import { decodeModelProto, encodeModelPieces, encodeModelProto } from './wire.js';

const payload = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, at) => (at * 7) % 251);
const tensor = (name: string, bytes: number): TensorProto => ({ name, dataType: 2, rawData: payload(bytes) });

/** Small and large payloads in turn, as initialisers and inside a node's attribute. */
const model: ModelProto = {
  irVersion: 8n,
  graph: {
    node: [{ opType: 'Constant', output: ['c'], attribute: [{ name: 'value', type: 4, t: tensor('t', 5000) }] }],
    name: 'pieces',
    initializer: [tensor('a', 3), tensor('b', 10_000), tensor('c', 4096), tensor('d', 4095), tensor('e', 9000)],
    input: [{ name: 'x', type: { tensorType: { elemType: 1, shape: { dim: [{ dimValue: 3n }] } } } }],
  },
  opsetImport: [{ domain: '', version: 17n }],
  unknown: [Uint8Array.of(0x70, 5)],
};

describe('encoding', () => {
  test('gives back the message when it is decoded', () => {
    expect(decodeModelProto(encodeModelProto(model))).toEqual(model);
  });

  test('leaves payloads of 4096 bytes and more as pieces of their own, uncopied', () => {
    const pieces = encodeModelPieces(model);
    const own = [model.graph?.node?.[0]?.attribute?.[0]?.t, ...[1, 2, 4].map((at) => model.graph?.initializer?.[at])];
    for (const large of own) expect(pieces.filter((piece) => piece === large?.rawData)).toHaveLength(1);
    expect(Buffer.concat(pieces)).toEqual(Buffer.from(encodeModelProto(model)));
  });

  test('of a message without payloads is one piece', () => {
    expect(encodeModelPieces({ irVersion: 8n, graph: { name: 'g' } })).toHaveLength(1);
    expect(encodeModelProto({})).toHaveLength(0);
  });
});
