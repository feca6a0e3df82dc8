/** Moves that change where volumes end, or take volumes over from a neighbour or from another plan. */
import { type MoveContext, somePlace } from './context.js';
import { replaced } from './moves-shared.js';
import type { SearchPart, SearchVolume } from './parts.js';
import { type PlanState, rescale } from './plan-state.js';

/** Ends a volume somewhere inside it. */
export function addEnd(state: PlanState, context: MoveContext): PlanState | undefined {
  const { random, geometry } = context;
  const [v] = somePlace(state, context);
  const volume = state.volumes[v] as SearchVolume;
  if (volume.end === volume.start) return undefined;
  const end = volume.start + random.below(volume.end - volume.start);
  const upper: SearchVolume = { start: volume.start, end, parts: rescale(volume.parts, geometry.rows(end)) };
  const lower: SearchVolume = { ...volume, start: end + 1 };
  return { ...state, volumes: [...state.volumes.slice(0, v), upper, lower, ...state.volumes.slice(v + 1)] };
}

/** Makes two consecutive volumes one, with the parts of either. */
export function removeEnd(state: PlanState, { random, geometry }: MoveContext): PlanState | undefined {
  if (state.volumes.length < 2) return undefined;
  const v = random.below(state.volumes.length - 1);
  const upper = state.volumes[v] as SearchVolume;
  const lower = state.volumes[v + 1] as SearchVolume;
  if (geometry.required.includes(upper.end)) return undefined;
  const parts = random.next() < 0.5 ? lower.parts : rescale(upper.parts, geometry.rows(lower.end));
  if (parts.length > 1 && !geometry.divisible(upper.start, lower.end)) return undefined;
  const one = { start: upper.start, end: lower.end, parts };
  return { ...state, volumes: [...state.volumes.slice(0, v), one, ...state.volumes.slice(v + 2)] };
}

/** Moves the end of a volume by some ops. */
export function shiftEnd(state: PlanState, { random, geometry }: MoveContext): PlanState | undefined {
  if (state.volumes.length < 2) return undefined;
  const v = random.below(state.volumes.length - 1);
  const upper = state.volumes[v] as SearchVolume;
  const lower = state.volumes[v + 1] as SearchVolume;
  const u = random.next();
  const by = (1 + Math.floor(6 * u * u * u)) * (random.next() < 0.5 ? -1 : 1);
  const end = upper.end + by;
  if (end < upper.start || end >= lower.end || geometry.required.includes(upper.end)) return undefined;
  if (upper.parts.length > 1 && !geometry.divisible(upper.start, end)) return undefined;
  if (lower.parts.length > 1 && !geometry.divisible(end + 1, lower.end)) return undefined;
  const volumes = [...state.volumes];
  volumes[v] = { start: upper.start, end, parts: rescale(upper.parts, geometry.rows(end)) };
  volumes[v + 1] = { ...lower, start: end + 1 };
  return { ...state, volumes };
}

/** Takes the beginning from this plan and the rest from another, or the other way round. */
export function cross(state: PlanState, { random, geometry, others = [] }: MoveContext): PlanState | undefined {
  if (others.length === 0 || state.volumes.length < 2) return undefined;
  const other = random.pick(others);
  const { end } = state.volumes[random.below(state.volumes.length - 1)] as SearchVolume;
  const [upper, lower] = random.next() < 0.5 ? [state, other] : [other, state];
  const volumes: SearchVolume[] = upper.volumes.filter((volume) => volume.end <= end);
  const open = upper.volumes.find((volume) => volume.start <= end && volume.end > end);
  if (open !== undefined) volumes.push({ start: open.start, end, parts: rescale(open.parts, geometry.rows(end)) });
  for (const volume of lower.volumes) {
    if (volume.end > end) volumes.push(volume.start > end ? volume : { ...volume, start: end + 1 });
  }
  return { ...lower, volumes };
}

/** Gives a volume the parts of the one before or behind it, at the same fractions. */
export function copyNeighbour(state: PlanState, { random, geometry }: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const v = random.below(volumes.length);
  const source = volumes[v] as SearchVolume;
  const step = random.next() < 0.5 ? -1 : 1;
  const changed = new Map<number, readonly SearchPart[]>();
  const count = 1 + random.below(3);
  for (let w = v + step, n = 0; n < count && w >= 0 && w < volumes.length; w += step, n++) {
    const volume = volumes[w] as SearchVolume;
    if (source.parts.length > 1 && !geometry.divisible(volume.start, volume.end)) continue;
    const key = random.next() < 0.5 ? (volume.parts[0]?.key ?? 0) : undefined;
    changed.set(
      w,
      rescale(source.parts, geometry.rows(volume.end)).map((part) => (key === undefined ? part : { ...part, key })),
    );
  }
  return changed.size === 0 ? undefined : replaced(state, changed);
}
