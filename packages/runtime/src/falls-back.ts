/** Which errors of providers, links and engines leave an image that others, or this machine alone, can still finish. */
import { DistrEdgeError } from '@distredge/core';

/**
 * Codes of such errors. Wrong inputs or a wrong plan would be wrong everywhere.
 * `CANCELLED` is among them since a plan that is given up cancels its images; whoever was cancelled himself must ask first.
 */
const FALLS_BACK: ReadonlySet<string> = new Set([
  'PROVIDER_LOST',
  'PROVIDER_FAILED',
  'LINK_FAILED',
  'LINK_CLOSED',
  'DEADLINE',
  'PROTOCOL',
  'FRAME_INVALID',
  'ENGINE_FAILED',
  'CANCELLED',
  'PEER_REFUSED',
]);

/** Whether an image that ended so may be finished otherwise. */
export function fallsBack(error: unknown): error is DistrEdgeError {
  return error instanceof DistrEdgeError && FALLS_BACK.has(error.code);
}
