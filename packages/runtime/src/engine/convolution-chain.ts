/** Equal 3 × 3 convolutions one behind another: work of a known size, to measure engines and exchanges with. */
import { attributeProto, encodeModelProto, floatTensor, protoOf, type ValueInfoProto } from '@distredge/core';

export interface ConvolutionChain {
  readonly layers: number;
  /** Of the input and of every output. */
  readonly channels: number;
  readonly rows: number;
  /** What every filter holds. */
  readonly weight: number;
}

/** A ModelProto from `x` to `y`, [1, channels, rows, rows] both. */
export function convolutionChain({ layers, channels, rows, weight }: ConvolutionChain): Uint8Array {
  const dim = [1, channels, rows, rows].map((size) => ({ dimValue: BigInt(size) }));
  const image = (name: string): ValueInfoProto => ({ name, type: { tensorType: { elemType: 1, shape: { dim } } } });
  const filters = floatTensor(new Float32Array(channels * channels * 9).fill(weight), [channels, channels, 3, 3]);
  const values = Array.from({ length: layers + 1 }, (_, at) => (at === 0 ? 'x' : at === layers ? 'y' : `y${at}`));
  const numbers = Array.from({ length: layers }, (_, at) => at);
  return encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 13n }],
    graph: {
      name: 'convolutions',
      input: [image('x')],
      output: [image('y')],
      // Weights of their own: layers of a network have them.
      initializer: numbers.map((at) => protoOf(`w${at}`, filters)),
      node: numbers.map((at) => ({
        opType: 'Conv',
        input: [values[at] as string, `w${at}`],
        output: [values[at + 1] as string],
        attribute: [attributeProto('pads', [1, 1, 1, 1])],
      })),
    },
  });
}
