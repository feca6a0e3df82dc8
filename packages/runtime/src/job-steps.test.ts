/** The memory of open requests: a set for each, within limits that no requester can talk a device out of. */
import { type DeviceProgram, deviceProgram } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { smallProgram } from './fixtures.js';
import { inputShapes, landingFor } from './job-steps.js';

const { program } = deviceProgram(smallProgram(2), 1);
const huge = (change: Partial<DeviceProgram>): DeviceProgram => ({ ...program, ...change });

describe('the memory of open requests', () => {
  it('is a buffer for each message and request', () => {
    const sets = landingFor(program, 3);
    const buffers = sets.flatMap((landing) => [...landing.values()].map(({ buffer }) => buffer));
    expect(new Set(buffers).size).toBe(3 * program.receives.length);
    for (const landing of sets)
      for (const { message, bytes } of program.receives) expect(landing.get(message)?.length).toBe(bytes);
  });

  it.each<[string, DeviceProgram, number, RegExp]>([
    ['rows', huge({ receives: [{ message: 0, from: -1, bytes: 2 ** 31 }] }), 3, /rows .* do not fit/],
    [
      'results',
      huge({
        steps: program.steps.map((step) => ({
          ...step,
          outputs: step.outputs.map((output) => ({ ...output, shape: [2 ** 16, 2 ** 15] })),
        })),
      }),
      2,
      /results .* do not fit/,
    ],
    [
      'messages',
      huge({ receives: Array.from({ length: 2 ** 19 }, (_, message) => ({ message, from: -1, bytes: 0 })) }),
      64,
      /too many parts/,
    ],
  ])('is refused for too many %s', (_, asked, requests, message) => {
    expect(() => landingFor(asked, requests)).toThrow(message);
    expect(() => landingFor(asked, requests)).toThrow(expect.objectContaining({ code: 'PROVIDER_FAILED' }));
  });
});

describe('the shapes of a model', () => {
  const [first, ...rest] = program.steps as [DeviceProgram['steps'][number], ...DeviceProgram['steps']];
  const higher = {
    ...first,
    flops: first.flops + 1,
    inputs: first.inputs.map((input) => ('slot' in input ? input : { ...input, shape: [1, 4, 99, 4] })),
  };

  it('are those of every run where one step has it, or all of its steps have the same', () => {
    for (const steps of [program.steps, [first, first, ...rest]]) {
      const shapes = inputShapes({ ...program, steps });
      expect([...shapes.keys()].sort()).toEqual([...new Set(steps.map(({ model }) => model))].sort());
      for (const { shapes: own, everyRun } of shapes.values()) {
        expect(everyRun).toBe(true);
        expect(Object.keys(own).length).toBeGreaterThan(0);
      }
    }
  });

  it('are those of the step that does most where they differ, and not of every run', () => {
    const shapes = inputShapes({ ...program, steps: [first, higher, ...rest] }).get(first.model);
    expect(shapes?.everyRun).toBe(false);
    expect(Object.values(shapes?.shapes ?? {})).toContainEqual([1, 4, 99, 4]);
  });
});
