/** The memory of open requests: a set for each, within limits that no requester can talk a device out of. */
import { type DeviceProgram, deviceProgram } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { smallProgram } from './fixtures.js';
import { landingFor } from './job-steps.js';

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
