/** How fast an engine is, told by a moment's work: enough to know whether a step takes it milliseconds or seconds. */
import {
  attributeProto,
  DistrEdgeError,
  encodeModelProto,
  floats,
  floatTensor,
  protoOf,
  type ValueInfoProto,
} from '@distredge/core';
import type { EngineOptions } from './engine.js';
import { createOrtEngine } from './ort-node.js';

/** A 3 × 3 convolution as in the middle of a classifier: 58 MFLOP, a millisecond on a laptop's core, 30 on a small board's. */
const CHANNELS = 64;
const ROWS = 28;
const FLOPS = 2 * CHANNELS * CHANNELS * 9 * ROWS * ROWS;
const RUNS = 3;

/**
 * Measures floating-point operations per second of a convolution, the quickest of a few runs; takes some 20 to 150 ms. Rejects with
 * `ENGINE_FAILED` where the engine cannot compute it, or not rightly.
 */
export async function measureSpeed(options: Pick<EngineOptions, 'threads'> = {}): Promise<number> {
  const engine = createOrtEngine({ ...options, winograd: false });
  try {
    const model = await engine.load({ model: convolution(), weights: new Map() });
    const shape = [1, CHANNELS, ROWS, ROWS];
    const times: number[] = [];
    for (let run = -1; run < RUNS; run++) {
      const tensor = floatTensor(new Float32Array(CHANNELS * ROWS * ROWS).fill(1), shape);
      const call = { model, inputs: [{ name: 'x', tensor }], outputs: [{ name: 'y', fetch: true }] };
      const { start, end, outputs } = await engine.run(call);
      // In the middle every output is the sum of all that are under its filter.
      const middle = outputs[0] === undefined ? Number.NaN : floats(outputs[0])[(ROWS >> 1) * (ROWS + 1)];
      if (middle !== CHANNELS * 9)
        throw new DistrEdgeError('ENGINE_FAILED', 'a convolution of ones has another result than their number', {
          where: engine.name,
          expected: `${CHANNELS * 9}`,
          got: `${middle}`,
        });
      if (run >= 0) times.push(end - start);
    }
    // A clock that stands still for a moment tells of no infinite speed.
    return (1000 * FLOPS) / Math.max(Math.min(...times), 0.01);
  } finally {
    await engine.close();
  }
}

function convolution(): Uint8Array {
  const dim = [1, CHANNELS, ROWS, ROWS].map((size) => ({ dimValue: BigInt(size) }));
  const image = (name: string): ValueInfoProto => ({ name, type: { tensorType: { elemType: 1, shape: { dim } } } });
  const ones = floatTensor(new Float32Array(CHANNELS * CHANNELS * 9).fill(1), [CHANNELS, CHANNELS, 3, 3]);
  return encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 13n }],
    graph: {
      name: 'speed',
      input: [image('x')],
      output: [image('y')],
      initializer: [protoOf('w', ones)],
      node: [{ opType: 'Conv', input: ['x', 'w'], output: ['y'], attribute: [attributeProto('pads', [1, 1, 1, 1])] }],
    },
  });
}
