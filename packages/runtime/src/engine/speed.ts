/** How fast an engine is, told by a moment's work: enough to know whether a step takes it milliseconds or seconds. */
import { DistrEdgeError, floats, floatTensor } from '@distredge/core';
import { convolutionChain } from './convolution-chain.js';
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
    const bytes = convolutionChain({ layers: 1, channels: CHANNELS, rows: ROWS, weight: 1 });
    const model = await engine.load({ model: bytes, weights: new Map() });
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
