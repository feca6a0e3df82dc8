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
 * For how long one step may hold the calling thread up, in ms, by the device's speed. Pings stay unanswered meanwhile: a requester
 * takes a device for lost after two seconds, and work of other kinds than the measured one may be three times as slow.
 */
const MAX_HELD_UP_MS = 500;
/** A device of unknown speed may be a small board, with so many floating-point operations per second. */
const LEAST_SPEED = 4e9;
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

export interface ChoiceOptions extends EngineOptions {
  /** Floating-point operations per second, as `measureSpeed` finds them. Default: those of a small board. */
  readonly flopsPerSecond?: number;
}

/** The engine for a device's program, on the calling thread or one of its own. */
export function createOrtEngineFor(program: DeviceProgram, options: ChoiceOptions = {}): Engine {
  const { flopsPerSecond = LEAST_SPEED, ...engine } = options;
  const heavy = program.steps.some(({ flops }) => (1000 * flops) / flopsPerSecond > MAX_HELD_UP_MS);
  const large = program.models.some(
    ({ bytes, weights }) => weights.reduce((sum, weight) => sum + weight.bytes, bytes) > MAX_HELD_UP_BYTES,
  );
  return heavy || large || overlaps(program) ? createOrtWorkerEngine(engine) : createOrtEngine(engine);
}
