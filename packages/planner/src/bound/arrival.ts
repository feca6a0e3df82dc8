/** How soon the rows of the input can arrive. */
import type { PlanningTask } from '@distredge/core';
import { BYTES_PER_MS } from '../units.js';

export interface Arrival {
  /** The tensor. */
  readonly input: number;
  /** Most that the requester sends or receives at once, 10⁶ bit/s. */
  readonly mbps: number;
  readonly latencyMs: number;
  /** Fastest time per input row on the requester's uplink. */
  readonly rowMs: number;
  readonly totalMs: number;
  readonly rows: number;
}

/** @param rows of the input that are needed: others are not sent */
export function arrivalOf({ workload, network }: PlanningTask, input: number, rows: number): Arrival {
  const { bytesPerRow = 0 } = workload.tensors[input] ?? {};
  const mbps = Math.min(network.requester.mbps, Math.max(...network.devices.map((link) => link.mbps)));
  const rowMs = bytesPerRow / (mbps * BYTES_PER_MS);
  const latencyMs = Math.min(...network.devices.map((link) => Math.max(link.latencyMs, network.requester.latencyMs)));
  return { input, mbps, latencyMs, rowMs, rows, totalMs: rows * rowMs };
}
