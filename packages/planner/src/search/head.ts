/**
 * The head: on one device, or its first fully connected layer cut by output channels over several, so that they read its
 * weights in parallel. Shares such that all take equally long are found by bisection on their tables.
 */
import type { DeviceCosts, PlanPart } from '@distredge/core';
import type { MoveContext } from './context.js';
import type { PlanState } from './plan-state.js';

/** Channels per device such that all end at about the same time; the first device of the list runs the rest. */
export function balancedHead(devices: readonly number[], costs: readonly DeviceCosts[], extraMs = 0): PlanPart[] {
  const channels = Math.max(0, ((costs[devices[0] as number] as DeviceCosts).headCutMs.length || 1) - 1);
  const within = (ms: number): number[] =>
    devices.map((device, i) => {
      const { headBeforeMs, headCutMs } = costs[device] as DeviceCosts;
      return mostWithin(headCutMs, ms - headBeforeMs - (i === 0 ? 0 : extraMs));
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
  const parts = next.length === 1 ? (next[0] as number) : balancedHead(next, costs, 2 * random.next() * random.next());
  return { ...state, head: typeof parts !== 'number' && parts.length < 2 ? (parts[0]?.device ?? 0) : parts };
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
