/** What is told of a plan: who has work in it, and what that gains over one device. */
import { isGather, type SimulatedRun, type WorkPlan } from '@distredge/core';

/** Devices that compute or gather something, ascending. */
export function devicesUsed({ volumes, head }: WorkPlan, run?: SimulatedRun): number[] {
  const used = new Set<number>();
  const take = (parts: readonly { readonly device: number; readonly from: number; readonly to: number }[]): void => {
    for (const { device, from, to } of parts) if (to > from) used.add(device);
  };
  for (const volume of volumes) {
    if (isGather(volume)) used.add(volume.gather);
    else take(volume.parts);
  }
  if (typeof head === 'number') used.add(head);
  else if (head !== undefined) take(head);
  for (const event of run?.events ?? []) if (event.kind === 'compute') used.add(event.device);
  return [...used].sort((a, b) => a - b);
}

/** Names as people list them. */
export function listed(names: readonly string[]): string {
  if (names.length < 2) return names.join('');
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

export interface Verdict {
  readonly latencyMs: number;
  /** The devices that the plan uses, and of how many. */
  readonly used: readonly string[];
  readonly devices: number;
  /** The best that one device alone does, given the image whole; undefined where none has the memory. */
  readonly alone: { readonly device: string; readonly latencyMs: number } | undefined;
}

/** Below this, relatively, two predictions are the same. */
const SAME = 1e-3;

/** One sentence on whether to use the plan, and what it gains. */
export function verdict({ latencyMs, used, devices, alone }: Verdict): string {
  const who =
    used.length === 1
      ? `${used[0]} alone, of ${devices} ${devices === 1 ? 'device' : 'devices'}, computes everything`
      : `${used.length} of ${devices} devices share the work (${listed(used)})`;
  if (alone === undefined) return `${who}; no device has the memory to compute it alone.`;
  const gain = alone.latencyMs / latencyMs;
  if (used.length === 1 && used[0] === alone.device && gain < 1 + SAME)
    return `${who}: no division was found that is faster.`;
  if (used.length === 1 && used[0] === alone.device)
    return `${who}, in parts, so that it begins before the whole image is there: ${gain.toFixed(2)}× as fast as at one stretch (${alone.latencyMs.toFixed(1)} ms).`;
  const best = `the best device given the whole image (${alone.device}, ${alone.latencyMs.toFixed(1)} ms)`;
  if (gain >= 1 + SAME) return `${who}: ${gain.toFixed(2)}× as fast as ${best}.`;
  if (gain > 1 - SAME) return `${who}: as fast as ${best}.`;
  return `${who}: slower than ${best}; use that, or --planner auto.`;
}
