/**
 * The head: on one device, or its first fully connected layer cut by output channels over several, so that they read its
 * weights in parallel. Shares such that all take equally long are found by bisection on their tables.
 */
import type { DeviceCosts, PlanPart } from '@distredge/core';
import { BYTES_PER_MS } from '../units.js';
import type { MoveContext } from './context.js';
import type { Geometry } from './geometry.js';
import type { PlanState } from './plan-state.js';

/**
 * Channels per device such that all end at about the same time; the first device of the list runs the rest.
 * @param laterMs how much later than the first of them each device of the list can begin, or must be done
 */
export function balancedHead(
  devices: readonly number[],
  costs: readonly DeviceCosts[],
  laterMs: readonly number[] = [],
): PlanPart[] {
  const channels = Math.max(0, ((costs[devices[0] as number] as DeviceCosts).headCutMs.length || 1) - 1);
  const within = (ms: number): number[] =>
    devices.map((device, i) => {
      const { headBeforeMs, headCutMs } = costs[device] as DeviceCosts;
      return mostWithin(headCutMs, ms - headBeforeMs - (laterMs[i] ?? 0));
    });
  let low = 0;
  let high = 1;
  const enough = (ms: number): boolean => within(ms).reduce((sum, n) => sum + n, 0) >= channels;
  while (!enough(high) && high < 1e9) high *= 2;
  for (let step = 0; step < 30; step++) {
    const middle = (low + high) / 2;
    if (enough(middle)) high = middle;
    else low = middle;
  }
  const parts: PlanPart[] = [];
  let from = 0;
  within(high).forEach((n, i) => {
    const to = Math.min(channels, from + n);
    if (to > from) parts.push({ device: devices[i] as number, from, to });
    from = to;
  });
  return parts;
}

/** The most channels within that time; the table is taken to rise. */
function mostWithin(table: Float64Array, ms: number): number {
  let low = 0;
  let high = table.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((table[middle] as number) <= ms) low = middle;
    else high = middle;
  }
  return ms < 0 ? 0 : low;
}

/** Moves the head to another device, cuts it anew, or shifts channels from one part to another. */
export function moveHead(state: PlanState, { geometry, random, devices, form }: MoveContext): PlanState | undefined {
  const { head } = state;
  if (head === undefined) return undefined;
  const { costs } = geometry.task;
  const now = typeof head === 'number' ? [head] : head.map((part) => part.device);
  const canCut = geometry.workload.head?.cut !== undefined && !form.classical;
  const u = random.next();
  if (!canCut || u < 0.1) {
    const device = random.pick(devices);
    return device === head ? undefined : { ...state, head: device };
  }
  if (typeof head !== 'number' && u < 0.6) return shiftChannels(state, head, random.below(head.length), random.next());
  const device = random.pick(devices);
  let next: number[];
  if (u < 0.8) next = now.includes(device) ? now.filter((other) => other !== device) : [...now, device];
  else next = [device, ...now.filter((other) => other !== device)];
  if (next.length === 0) return undefined;
  const waits = next.length < 2 ? [] : arrivals(next, state, geometry);
  // Sometimes as if all rows were there, sometimes as if links were busy.
  const busy = 2 * random.next();
  const later = waits.map((ms, i) => (i === 0 ? 0 : 2 * random.next() * random.next()) + busy * ms);
  const parts = next.length === 1 ? (next[0] as number) : balancedHead(next, costs, later);
  return { ...state, head: typeof parts !== 'number' && parts.length < 2 ? (parts[0]?.device ?? 0) : parts };
}

/** For each device, the time until it has what the head reads, were its link idle: the rows that it does not own, ms. */
function arrivals(devices: readonly number[], { volumes }: PlanState, { task }: Geometry): number[] {
  const { workload, network } = task;
  const parts = volumes.at(-1)?.parts ?? [];
  const height = parts.at(-1)?.to ?? 1;
  let bytes = 0;
  for (const tensor of workload.head?.reads ?? []) {
    bytes += (workload.tensors[tensor]?.rows ?? 0) * (workload.tensors[tensor]?.bytesPerRow ?? 0);
  }
  return devices.map((device) => {
    let own = 0;
    for (const part of parts) if (part.device === device) own += part.to - part.from;
    const { mbps = 1, latencyMs = 0 } = network.devices[device] ?? {};
    return own === height ? 0 : latencyMs + ((1 - own / height) * bytes) / (mbps * BYTES_PER_MS);
  });
}

function shiftChannels(state: PlanState, head: readonly PlanPart[], at: number, u: number): PlanState | undefined {
  const below = head[at + 1];
  const above = head[at];
  if (above === undefined || below === undefined) return undefined;
  const size = below.to - above.from;
  const step = Math.round((2 * u - 1) ** 3 * size * 0.5) || 1;
  const cut = Math.max(above.from + 1, Math.min(below.to - 1, above.to + step));
  if (cut === above.to) return undefined;
  const parts = head.map((part, i) => (i === at ? { ...part, to: cut } : i === at + 1 ? { ...part, from: cut } : part));
  return { ...state, head: parts };
}
