/**
 * Which thread onnxruntime computes on. Handing calls over to a thread of its own costs 0.2 to 0.4 ms for every exchange of
 * rows (measured: 0.16 to 0.25 instead of 0.43 ms over a bare socket), so the calling thread computes where it can: rows that
 * are sent between two steps lie in the kernel's socket buffers at once and travel while the next step computes, and rows that
 * arrive meanwhile wait there too. A thread of its own keeps sockets served where that is not enough.
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

/** What the kernel's buffers of a socket surely take, in bytes, after a few images have made them grow. */
const SOCKET_BYTES = 256 * 1024;

/** Whether the device computes on while rows that it made or will need are on their way, too many for the kernel to keep. */
function overlaps({ steps, receives }: DeviceProgram): boolean {
  const early = steps.some((step, index) => {
    const next = steps[index + 1];
    return step.sends.some(isLarge) && next !== undefined && !next.inputs.some((input) => 'message' in input);
  });
  const places = new Set(steps.map(({ volume, part }) => `${volume} ${part}`));
  const severalParts = places.size > new Set(steps.map(({ volume }) => volume)).size;
  return early || (severalParts && (receives.some(isLarge) || steps.some(({ sends }) => sends.some(isLarge))));
}

function isLarge({ bytes }: { readonly bytes: number }): boolean {
  return bytes > SOCKET_BYTES;
}

/** The engine for a device's program, on the calling thread or one of its own. */
export function createOrtEngineFor(program: DeviceProgram, options: EngineOptions = {}): Engine {
  const heavy = program.steps.some(({ flops }) => flops > MAX_HELD_UP_FLOPS);
  const large = program.models.some(
    ({ bytes, weights }) => weights.reduce((sum, weight) => sum + weight.bytes, bytes) > MAX_HELD_UP_BYTES,
  );
  return heavy || large || overlaps(program) ? createOrtWorkerEngine(options) : createOrtEngine(options);
}
