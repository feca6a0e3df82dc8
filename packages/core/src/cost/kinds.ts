/** Kinds of devices: clusters often have several that are alike, and what one takes need not be worked out for each. */
import type { DeviceCosts } from './task.js';

export interface DeviceKinds {
  /** Kind of each device. */
  readonly of: Int32Array;
  /** Times of each kind. */
  readonly costs: readonly DeviceCosts[];
}

/** Devices whose parts take the same times are one kind, whatever their memory and what they take for the head. */
export function deviceKinds(costs: readonly DeviceCosts[]): DeviceKinds {
  const kinds: DeviceCosts[] = [];
  const of = Int32Array.from(costs, (device) => {
    const known = kinds.findIndex((kind) => sameTimes(kind, device));
    return known < 0 ? kinds.push(device) - 1 : known;
  });
  return { of, costs: kinds };
}

function sameTimes(a: DeviceCosts, b: DeviceCosts): boolean {
  if ((a.partMs ?? 0) !== (b.partMs ?? 0) || !sameNumbers(a.edgeMsPerByte ?? [], b.edgeMsPerByte ?? [])) return false;
  if (!sameNumbers(a.readMsPerByte, b.readMsPerByte) || a.opMs.length !== b.opMs.length) return false;
  return a.opMs.every((table, op) => sameNumbers(table, b.opMs[op] ?? []));
}

/** Whether two lists hold the same numbers. */
export function sameNumbers(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
