/**
 * The moves of the local search: each takes a state and returns a changed one, or undefined where it does not apply. Those
 * that shift rows do so alike in several volumes, since a cut that differs from its neighbours' is paid for in halo rows.
 */
import { type MoveContext, somePlace } from './context.js';
import { moveHead } from './head.js';
import { merge, moveCut, rechunk, split } from './moves-cuts.js';
import { drop, exchange, lend, reassign, reweigh, tilt } from './moves-devices.js';
import { replaced } from './moves-shared.js';
import { addEnd, copyNeighbour, cross, removeEnd, shiftEnd } from './moves-volumes.js';
import type { SearchPart, SearchVolume } from './parts.js';
import type { PlanState } from './plan-state.js';
import { depthFirst } from './schedule.js';

export interface Move {
  readonly name: string;
  readonly weight: number;
  /** Not for classical plans. */
  readonly general?: boolean;
  readonly apply: (state: PlanState, context: MoveContext) => PlanState | undefined;
}

/** Runs a part earlier or later. */
function rekey(state: PlanState, context: MoveContext): PlanState | undefined {
  const { random } = context;
  const u = random.next();
  if (u < 0.05) return { ...state, volumes: depthFirst(state.volumes) };
  const [v, i] = somePlace(state, context);
  const { parts } = state.volumes[v] as SearchVolume;
  let key = 0;
  if (u < 0.7) {
    const other = random.pick((random.pick(state.volumes) as SearchVolume).parts);
    key = other.key + (random.next() < 0.5 ? -1e-3 : 1e-3);
  }
  return replaced(state, new Map([[v, parts.map((part, at) => (at === i ? { ...part, key } : part))]]));
}

/** Sends to one device earlier. */
function reorder(state: PlanState, { random, geometry, devices }: MoveContext): PlanState | undefined {
  if (devices.length < 2) return undefined;
  const order = [...(state.order ?? geometry.task.costs.map((_, device) => device))];
  const from = order.indexOf(random.pick(devices));
  const [device] = order.splice(from, 1) as [number];
  order.splice(random.below(order.length + 1), 0, device);
  return { ...state, order };
}

export const MOVES: readonly Move[] = [
  { name: 'move a cut', weight: 10, apply: moveCut },
  { name: 'split a part', weight: 5, apply: split },
  { name: 'merge parts', weight: 4, apply: merge },
  { name: 'reassign a part', weight: 1.5, apply: reassign },
  { name: 'exchange devices', weight: 0.7, apply: exchange },
  { name: 'drop a device', weight: 0.7, apply: drop },
  { name: 'lend a strip', weight: 2, apply: lend },
  { name: 'cut into chunks', weight: 3, general: true, apply: rechunk },
  { name: 'reweigh a device', weight: 2, apply: reweigh },
  { name: 'tilt towards a device', weight: 2, apply: tilt },
  { name: 'add a volume end', weight: 2, apply: addEnd },
  { name: 'remove a volume end', weight: 3, apply: removeEnd },
  { name: 'shift a volume end', weight: 4, apply: shiftEnd },
  { name: 'copy a neighbour', weight: 1.5, apply: copyNeighbour },
  { name: 'cross with another plan', weight: 1, apply: cross },
  { name: 'run a part elsewhen', weight: 1, general: true, apply: rekey },
  { name: 'send in another order', weight: 0.2, general: true, apply: reorder },
  { name: 'change the head', weight: 2, apply: moveHead },
];

/** The same rows for every device, one part each, devices ascending from top to bottom: the classical form. */
export function inOrder(state: PlanState): PlanState {
  let changed = false;
  const volumes = state.volumes.map((volume) => {
    const { parts } = volume;
    if (parts.every((part, i) => i === 0 || part.device > (parts[i - 1] as SearchPart).device)) return volume;
    changed = true;
    const rows = new Map<number, number>();
    for (const { device, from, to } of parts) rows.set(device, (rows.get(device) ?? 0) + to - from);
    const key = parts[0]?.key ?? 0;
    let from = 0;
    const sorted = [...rows.keys()].sort((a, b) => a - b);
    const tiles = sorted.map((device): SearchPart => {
      const to = from + (rows.get(device) as number);
      const part = { device, from, to, key };
      from = to;
      return part;
    });
    return { ...volume, parts: tiles };
  });
  return changed ? { ...state, volumes } : state;
}

/** Whether the volumes have at most one part per device, devices ascending from top to bottom. */
export function isClassical(state: PlanState): boolean {
  return state.volumes.every(({ parts }) =>
    parts.every((part, i) => i === 0 || part.device > (parts[i - 1] as SearchPart).device),
  );
}
