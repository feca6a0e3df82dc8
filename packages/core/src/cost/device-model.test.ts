import { describe, expect, test } from 'vitest';
import { type DeviceModelSpec, deviceModelCosts } from './device-model.js';
import type { WorkHeadOp, Workload } from './workload.js';

const rows = Int32Array.from({ length: 8 }, (_, row) => row);
const own = { from: rows, to: rows.map((row) => row + 1) };
const base = { whole: false, rows: 8, weightBytes: 0 };

function layer(over: Partial<WorkHeadOp>): WorkHeadOp {
  return {
    name: 'f',
    type: 'Gemm',
    rows: 1,
    width: 1,
    channels: 10,
    multiplyAdds: 0,
    fullyConnected: false,
    weightBytes: 0,
    movedBytes: 0,
    ...over,
  };
}

/** A convolution of 8 rows × 100 columns × 48 channels with 9 multiply-adds each, a pooling of it, and a head. */
const workload: Workload = {
  model: 'small',
  tensors: [
    { name: 'x', rows: 8, bytesPerRow: 400 },
    { name: 'c', rows: 8, bytesPerRow: 19_200 },
    { name: 'p', rows: 8, bytesPerRow: 1000 },
  ],
  inputs: 1,
  ops: [
    {
      ...base,
      name: 'c',
      type: 'Conv',
      outputs: [1],
      reads: [{ tensor: 0, ...own }],
      multiplyAdds: 9,
      width: 100,
      channels: 48,
    },
    {
      ...base,
      name: 'p',
      type: 'MaxPool',
      outputs: [2],
      reads: [{ tensor: 1, ...own }],
      multiplyAdds: 0,
      width: 5,
      channels: 50,
    },
  ],
  forced: [],
  outputs: [],
  head: {
    reads: [2],
    before: [layer({ type: 'GlobalAveragePool', movedBytes: 4_000_000 })],
    cut: layer({ fullyConnected: true, multiplyAdds: 1e6, weightBytes: 40e6 }),
    after: [layer({ fullyConnected: true, channels: 1, multiplyAdds: 1e6, weightBytes: 4 })],
    resultBytes: 4,
  },
};

const cpu: DeviceModelSpec = { kind: 'cpu', cores: 4, gflops: 2, launch_us: 50, mem_gbps: 4, memory_mb: 700 };
const gpu: DeviceModelSpec = { ...cpu, kind: 'gpu', slots: 3, tile: [64, 32] };

describe('a cpu', () => {
  const costs = deviceModelCosts(workload, cpu, 'pi');

  test('deals rows to its cores', () => {
    // One row: 100 · 48 · 2 · 9 = 86 400 operations; 2 · 10⁶ of them in a millisecond.
    const round = (4 * 86_400) / 2e6;
    const [times] = costs.opMs;
    expect(times?.[0]).toBe(0);
    expect(times?.[1]).toBeCloseTo(0.05 + round, 12);
    expect(times?.[4]).toBeCloseTo(0.05 + round, 12);
    expect(times?.[5]).toBeCloseTo(0.05 + 2 * round, 12);
    expect(times).toHaveLength(9);
    expect(costs.readMsPerByte[0]).toBe(0);
  });

  test('is bound by memory where nothing is multiplied', () => {
    expect(costs.opMs[1]?.[3]).toBeCloseTo(0.05 + 3000 / 4e6, 12);
    expect(costs.readMsPerByte[1]).toBeCloseTo(1 / 4e6, 18);
  });

  test('reads the weights of a fully connected layer, or computes, whichever takes longer', () => {
    expect(costs.headBeforeMs).toBeCloseTo(0.05 + 1, 12);
    // 4 of 10 channels: 16 · 10⁶ bytes take 4 ms, as do 8 · 10⁶ operations.
    expect(costs.headCutMs[4]).toBeCloseTo(0.05 + 4, 12);
    expect(costs.headCutMs[0]).toBe(0);
    expect(costs.headCutMs).toHaveLength(11);
    expect(costs.headAfterMs).toBeCloseTo(0.05 + 1, 12);
    expect(costs).toMatchObject({ id: 'pi', memoryBytes: 700e6 });
  });
});

test('a gpu runs waves of tiles', () => {
  const [times] = deviceModelCosts(workload, gpu, 'nano').opMs;
  // 48 channels are two tiles, 100 pixels two: 4 tiles in 2 waves of 3.
  const wave = (3 * 64 * 32 * 2 * 9) / 2e6;
  expect(times?.[1]).toBeCloseTo(0.05 + 2 * wave, 12);
  // 300 pixels: 5 · 2 tiles in 4 waves.
  expect(times?.[3]).toBeCloseTo(0.05 + 4 * wave, 12);
});
