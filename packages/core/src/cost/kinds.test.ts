import { describe, expect, it } from 'vitest';
import { deviceKinds } from './kinds.js';
import type { DeviceCosts } from './task.js';

function device(id: string, ms: number, more: Partial<DeviceCosts> = {}): DeviceCosts {
  return {
    id,
    memoryBytes: 1e9,
    opMs: [Float64Array.of(0, ms, 2 * ms)],
    readMsPerByte: Float64Array.of(0),
    headBeforeMs: 0,
    headCutMs: new Float64Array(0),
    headAfterMs: 0,
    ...more,
  };
}

describe('deviceKinds', () => {
  it('makes one kind of devices that take the same times, whatever their memory and their time for the head', () => {
    const kinds = deviceKinds([device('a', 1), device('b', 2), device('c', 1, { memoryBytes: 5, headAfterMs: 3 })]);
    expect([...kinds.of]).toEqual([0, 1, 0]);
    expect(kinds.costs.map(({ id }) => id)).toEqual(['a', 'b']);
  });

  it('tells devices apart by any of their times', () => {
    const others = [
      device('b', 1, { partMs: 0.1 }),
      device('c', 1, { edgeMsPerByte: Float64Array.of(1e-6) }),
      device('d', 1, { readMsPerByte: Float64Array.of(1e-6) }),
      device('e', 1, { opMs: [Float64Array.of(0, 1, 2.5)] }),
      device('f', 1, { opMs: [Float64Array.of(0, 1)] }),
    ];
    expect([...deviceKinds([device('a', 1), ...others]).of]).toEqual([0, 1, 2, 3, 4, 5]);
    expect(deviceKinds([]).costs).toEqual([]);
  });
});
