/**
 * A plan as the search handles it: volumes of parts from top to bottom, none of them empty, and a **key** for every part
 * that says when it may run at the earliest. Values never change, so that states share what moves leave alone.
 */
import type { PlanPart, WorkPlan } from '@distredge/core';
import type { Geometry } from './geometry.js';
import type { SearchPart, SearchVolume } from './parts.js';
import type { Scheduler } from './schedule.js';

export interface PlanState {
  readonly volumes: readonly SearchVolume[];
  /** Which receivers are sent to first; undefined: ascending. */
  readonly order: readonly number[] | undefined;
  /** Undefined where the model has no head. */
  readonly head: number | readonly PlanPart[] | undefined;
}

/** What restricts the plans that are searched. */
export interface PlanForm {
  /** One part per device and volume, in the devices' order, the head on one device, the default schedule and order. */
  readonly classical: boolean;
}

/** The plan to simulate. It shares the state's volumes: `cleaned` makes one to hand out. */
export function toWorkPlan(state: PlanState, scheduler: Scheduler, form: PlanForm): WorkPlan {
  const { volumes, order } = state;
  const head = state.head === undefined ? {} : { head: state.head };
  if (form.classical) return { volumes, ...head };
  const schedule = scheduler.order(volumes);
  return order === undefined ? { volumes, schedule, ...head } : { volumes, schedule, order, ...head };
}

/** The same plan without what only the search knows. */
export function cleaned(plan: WorkPlan): WorkPlan {
  const volumes = plan.volumes.map((volume) =>
    'gather' in volume
      ? volume
      : { end: volume.end, parts: volume.parts.map(({ device, from, to }) => ({ device, from, to })) },
  );
  return { ...plan, volumes };
}

/** Reads a plan of whatever origin. Gathers are left out: rows then go from device to device. */
export function fromWorkPlan(plan: WorkPlan, geometry: Geometry): PlanState {
  const { ops, head } = geometry.workload;
  const keys = new Map<string, number>();
  plan.schedule?.forEach(([volume, part], at) => {
    keys.set(`${volume} ${part}`, at);
  });
  const volumes: SearchVolume[] = [];
  let start = 0;
  plan.volumes.forEach((volume, index) => {
    if ('gather' in volume) return;
    const parts = volume.parts
      .map((part, at) => ({ ...part, key: keys.get(`${index} ${at}`) ?? index }))
      .filter((part) => part.to > part.from)
      .sort((a, b) => a.from - b.from);
    volumes.push({ start, end: volume.end, parts });
    start = volume.end + 1;
  });
  const last = volumes.at(-1);
  let chosen = plan.head;
  if (chosen === undefined && last !== undefined) chosen = largestDevice(last.parts);
  if (start < ops.length) throw new RangeError('the last volume must end with the last op');
  return { volumes, order: plan.order, head: head === undefined ? undefined : (chosen ?? 0) };
}

/** The device with most rows. */
function largestDevice(parts: readonly PlanPart[]): number {
  const rows = new Map<number, number>();
  for (const { device, from, to } of parts) rows.set(device, (rows.get(device) ?? 0) + to - from);
  let best = -1;
  for (const [device, count] of rows) if (best < 0 || count > (rows.get(best) ?? 0)) best = device;
  return Math.max(0, best);
}

/** The same tiling, at the same fractions, of another number of rows; parts without rows fall away. */
export function rescale(parts: readonly SearchPart[], rows: number): SearchPart[] {
  const before = parts.at(-1)?.to ?? 1;
  const out: SearchPart[] = [];
  let from = 0;
  for (const part of parts) {
    const to = Math.floor((part.to * rows) / before + 0.5);
    if (to > from) out.push({ device: part.device, from, to, key: part.key });
    from = Math.max(from, to);
  }
  return out;
}

/** Devices that compute rows or a share of the head. */
export function devicesOf(state: PlanState): number[] {
  const used = new Set<number>();
  for (const { parts } of state.volumes) for (const part of parts) used.add(part.device);
  if (typeof state.head === 'number') used.add(state.head);
  else for (const part of state.head ?? []) used.add(part.device);
  return [...used].sort((a, b) => a - b);
}
