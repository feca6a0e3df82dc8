/**
 * The linear device model that the baselines' papers assume: a device has one rate, measured on the whole model, and takes
 * time in proportion to the operations it is given. What a device's tables really say enters only through the simulator.
 */
import type { DeviceCosts, NetworkLink, PlanningTask, Workload, WorkOp } from '@distredge/core';
import { BYTES_PER_MS } from '../units.js';

export interface LinearModel {
  /** Operations (multiply and add count 2) of one row of each op. */
  readonly rowWork: Float64Array;
  /** Operations of all ops that are cut by rows. */
  readonly work: number;
  /** Per device, operations per ms. */
  readonly rate: Float64Array;
}

export function linearModel({ workload, costs }: PlanningTask): LinearModel {
  const multiplies = workload.ops.some(({ multiplyAdds }) => multiplyAdds > 0);
  const rowWork = Float64Array.from(workload.ops, (op) => {
    // A model that only moves values: what it makes stands for its work.
    return multiplies ? 2 * op.multiplyAdds * op.width * op.channels : outputBytes(workload, op);
  });
  const work = workload.ops.reduce((sum, op, index) => sum + op.rows * (rowWork[index] as number), 0);
  return { rowWork, work, rate: Float64Array.from(costs, (device) => (work || 1) / bodyMs(workload, device)) };
}

/** Time of everything that is cut by rows on one device; of the head where that is nothing. Always positive. */
function bodyMs(workload: Workload, device: DeviceCosts): number {
  let ms = 0;
  workload.ops.forEach((op, index) => {
    ms += (device.opMs[index]?.[op.rows] ?? 0) + (device.readMsPerByte[index] ?? 0) * bytesRead(workload, op);
  });
  if (ms === 0) ms = device.headBeforeMs + (device.headCutMs.at(-1) ?? 0) + device.headAfterMs;
  return Math.max(ms, 1e-9);
}

/** Bytes of all the rows that an op reads. */
function bytesRead({ tensors }: Workload, { reads, rows }: WorkOp): number {
  let bytes = 0;
  for (const { tensor, from, to } of reads) {
    if (rows > 0) bytes += ((to[rows - 1] as number) - (from[0] as number)) * (tensors[tensor]?.bytesPerRow ?? 0);
  }
  return bytes;
}

function outputBytes({ tensors }: Workload, { outputs }: WorkOp): number {
  return outputs.reduce((sum, tensor) => sum + (tensors[tensor]?.bytesPerRow ?? 0), 0);
}

/** Rate in bytes per ms between two ends. */
export function bytesPerMs(a: NetworkLink, b: NetworkLink): number {
  return Math.min(a.mbps, b.mbps) * BYTES_PER_MS;
}

/** Bytes of all the outputs. */
export function resultBytes({ tensors, outputs, head }: Workload): number {
  return outputs.reduce((sum, tensor) => sum + tensorBytes(tensors[tensor]), 0) + (head?.resultBytes ?? 0);
}

/** Bytes of all the inputs. */
export function inputBytes({ tensors, inputs }: Workload): number {
  return tensors.slice(0, inputs).reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

function tensorBytes(tensor: { readonly rows: number; readonly bytesPerRow: number } | undefined): number {
  return (tensor?.rows ?? 0) * (tensor?.bytesPerRow ?? 0);
}
