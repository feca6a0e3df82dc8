/**
 * Which thread onnxruntime computes on. A thread of its own keeps sockets served while it computes; handing calls over costs
 * about 0.2 ms for every exchange of rows (measured: 0.23 instead of 0.50 ms from the last row made to the next step begun). So
 * it is used where there is something to gain: where rows can travel while the device computes on.
 */
import type { DeviceProgram } from '@distredge/core';
import type { Engine, EngineOptions } from './engine.js';
import { createOrtEngine } from './ort-node.js';
import { createOrtWorkerEngine } from './ort-worker.js';

/**
 * The most work of one step, in floating-point operations, that the calling thread may be held up with. Pings stay unanswered
 * meanwhile: on a device of 2 GFLOP/s this is 4 s, less than the patience of a requester.
 */
const MAX_HELD_UP_FLOPS = 8e9;
/** The largest model, with its weights, that the calling thread may be held up with while it loads (411 MB took 0.8 s). */
const MAX_HELD_UP_BYTES = 1e9;

/** Whether the device computes on while rows that it made or will need are on their way. */
function overlaps({ steps }: DeviceProgram): boolean {
  const goesOn = steps.some((step, index) => {
    const next = steps[index + 1];
    return step.sends.length > 0 && next !== undefined && !next.inputs.some((input) => 'message' in input);
  });
  const places = new Set(steps.map(({ volume, part }) => `${volume} ${part}`));
  const severalParts = places.size > new Set(steps.map(({ volume }) => volume)).size;
  return goesOn || severalParts;
}

/** The engine for a device's program, on the calling thread or one of its own. */
export function createOrtEngineFor(program: DeviceProgram, options: EngineOptions = {}): Engine {
  const heavy = program.steps.some(({ flops }) => flops > MAX_HELD_UP_FLOPS);
  const large = program.models.some(
    ({ bytes, weights }) => weights.reduce((sum, weight) => sum + weight.bytes, bytes) > MAX_HELD_UP_BYTES,
  );
  return heavy || large || overlaps(program) ? createOrtWorkerEngine(options) : createOrtEngine(options);
}
