/** What must happen in turn, whatever the plan: ops behind the last row of the input, the head, the way of the results. */
import type { PlanningTask, Workload } from '@distredge/core';
import { BYTES_PER_MS } from '../units.js';
import type { Arrival } from './arrival.js';
import { followingMs, leastMs } from './following.js';
import { producers, readsAll } from './reach.js';

/** Least time from when the last op is done to when the requester has the head's result. */
export function resultMs({ workload, network }: PlanningTask): number {
  const bytes = workload.head?.resultBytes ?? 0;
  return Math.min(
    ...network.devices.map(
      (link) =>
        bytes / (Math.min(link.mbps, network.requester.mbps) * BYTES_PER_MS) +
        Math.max(link.latencyMs, network.requester.latencyMs),
    ),
  );
}

/** Least time of the head: on one device, or its first layer over all of them, each taking what it can in that time. */
export function headMs({ workload, costs, network }: PlanningTask): number {
  const { head } = workload;
  if (head === undefined) return 0;
  const channels = head.cut?.channels ?? 0;
  const after = Math.min(...costs.map((device) => device.headAfterMs));
  const alone = Math.min(
    ...costs.map((device) => device.headBeforeMs + (device.headCutMs[channels] ?? 0) + device.headAfterMs),
  );
  if (head.cut === undefined || costs.length < 2) return alone;
  const done = (ms: number): number =>
    costs.reduce((sum, device) => sum + Math.max(0, largestWithin(device.headCutMs, ms - device.headBeforeMs)), 0);
  let low = 0;
  let high = alone;
  for (let step = 0; step < 50; step++) {
    const middle = (low + high) / 2;
    if (done(middle) >= channels) high = middle;
    else low = middle;
  }
  const latencies = network.devices.map((link) => link.latencyMs).sort((a, b) => a - b);
  return Math.min(alone, low + (latencies[1] ?? 0) + after);
}

/** The most channels whose time is at most this; times need not rise evenly. */
function largestWithin(table: Float64Array, ms: number): number {
  for (let n = table.length - 1; n >= 0; n--) if ((table[n] as number) <= ms) return n;
  return -1;
}

/** After the last input row something must still happen in turn: one row at least of every op on the longest way. */
export function chainMs({ workload, costs }: PlanningTask, input: number): number {
  const { ops, tensors } = workload;
  /** By tensor: time after the last input row until its last row is there, if that depends on it. */
  const until = new Map<number, number>([[input, 0]]);
  for (const [o, op] of ops.entries()) {
    let before = Number.NEGATIVE_INFINITY;
    for (const read of op.reads) {
      if (readsAll(read, tensors[read.tensor]?.rows ?? 0))
        before = Math.max(before, until.get(read.tensor) ?? Number.NEGATIVE_INFINITY);
    }
    if (before < 0) continue;
    const ms = before + Math.min(...costs.map((device) => leastMs(device.opMs[o], 1)));
    for (const tensor of op.outputs) until.set(tensor, ms);
  }
  const ends = [...workload.outputs, ...(workload.head?.reads ?? [])];
  return Math.max(0, ...ends.map((tensor) => until.get(tensor) ?? 0));
}

/** Least time from when the last op is done to when the requester has its last row, where it wants tensors, not a head's result. */
export function lastRowMs({ workload: { outputs, tensors } }: PlanningTask, { mbps, latencyMs }: Arrival): number {
  return latencyMs + Math.min(...outputs.map((tensor) => (tensors[tensor]?.bytesPerRow ?? 0) / (mbps * BYTES_PER_MS)));
}

/**
 * Least latency of a plan whose requester wants tensors, not a head's result. Whatever rows of the input have arrived, r of them: the
 * rows of the results that r rows do not suffice for leave after the next one has arrived and been computed with, all on the
 * requester's link. On a shared medium the rest of the input is in their way too.
 * @param tables how many rows of each op can be computed from r rows of the input
 */
export function returnedMs(task: PlanningTask, arrival: Arrival, tables: readonly (Int32Array | undefined)[]): number {
  const { workload, network } = task;
  const { tensors, outputs } = workload;
  const made = producers(workload);
  const computeMs = followingMs(task).tensors[arrival.input] ?? 0;
  const bytesPerMs = arrival.mbps * BYTES_PER_MS;
  let most = 0;
  for (let r = 0; r < arrival.rows; r++) {
    let bytes = 0;
    for (const tensor of outputs) {
      const { rows, bytesPerRow } = tensors[tensor] as Workload['tensors'][number];
      const table = tables[made.get(tensor) ?? -1];
      if (table !== undefined) bytes += (rows - (table[r] ?? rows)) * bytesPerRow;
    }
    if (bytes === 0) break;
    const inputMs = network.medium === 'shared' ? (arrival.rows - r - 1) * arrival.rowMs : 0;
    const beforeMs = Math.max(arrival.latencyMs + computeMs, inputMs);
    most = Math.max(most, (r + 1) * arrival.rowMs + beforeMs + bytes / bytesPerMs + arrival.latencyMs);
  }
  return most;
}
