import type { DeviceProgram, DeviceStep } from '@distredge/core';
import { afterEach, describe, expect, it } from 'vitest';
import type { Engine } from './engine.js';
import { createOrtEngineFor } from './ort-choice.js';
import { OrtEngine } from './ort-node.js';

const FROM_MESSAGE: DeviceStep['inputs'] = [{ port: 'in0', message: 0, offset: 0, dtype: 'float32', shape: [1] }];
const FROM_SLOT: DeviceStep['inputs'] = [{ port: 'in0', slot: 0 }];
const SENDS: DeviceStep['sends'] = [{ message: 1, to: 1, bytes: 8, pieces: [{ output: 0, offset: 0 }] }];
const LARGE_SENDS: DeviceStep['sends'] = [{ message: 1, to: 1, bytes: 1e6, pieces: [{ output: 0, offset: 0 }] }];

function step(volume: number, more: Partial<DeviceStep>): DeviceStep {
  const nothing = { inputs: FROM_MESSAGE, outputs: [], sends: SENDS, release: [] };
  return { step: 0, model: 0, volume, part: 0, from: 0, to: 1, flops: 1e9, ...nothing, ...more };
}

describe('the thread that onnxruntime computes on', () => {
  let engine: Engine | undefined;
  afterEach(() => engine?.close());

  function onCallingThread(...steps: DeviceStep[]): boolean {
    return withModels([], steps);
  }

  function at(flopsPerSecond: number, ...steps: DeviceStep[]): boolean {
    return withModels([], steps, flopsPerSecond);
  }

  function withModels(models: DeviceProgram['models'], steps: DeviceStep[], flopsPerSecond?: number): boolean {
    const program: DeviceProgram = { version: 1, device: 0, devices: 2, models, slots: 1, receives: [], steps };
    engine = createOrtEngineFor(program, flopsPerSecond === undefined ? {} : { flopsPerSecond });
    return engine instanceof OrtEngine;
  }

  it('is the calling one where every step waits for rows', () => {
    expect(onCallingThread(step(0, {}), step(1, {}), step(2, { sends: [] }))).toBe(true);
  });

  it('is one of its own where the next step goes on while many rows are sent', () => {
    expect(onCallingThread(step(0, { sends: LARGE_SENDS }), step(1, { inputs: FROM_SLOT }))).toBe(false);
  });

  it('is the calling one where the next step goes on while the kernel keeps the few rows that are sent', () => {
    expect(onCallingThread(step(0, {}), step(1, { inputs: FROM_SLOT }))).toBe(true);
  });

  it('is one of its own where the device has several parts of a volume and exchanges many rows', () => {
    expect(onCallingThread(step(0, { part: 0 }), step(0, { part: 1, sends: LARGE_SENDS }))).toBe(false);
    expect(onCallingThread(step(0, { part: 0 }), step(0, { part: 1 }))).toBe(true);
  });

  it('is one of its own where a step would hold the calling thread up for long', () => {
    expect(onCallingThread(step(0, { flops: 3e9 }))).toBe(false);
  });

  it('depends on how fast the device is', () => {
    expect(at(1e11, step(0, { flops: 3e10 }))).toBe(true);
    expect(at(1e11, step(0, { flops: 6e10 }))).toBe(false);
    expect(at(1e9, step(0, {}))).toBe(false);
  });

  it('is one of its own where a model would hold it up while it loads', () => {
    const weights = [{ location: 'w', bytes: 2e9 }];
    expect(withModels([{ bytes: 1000, weights }], [step(0, {})])).toBe(false);
  });
});
