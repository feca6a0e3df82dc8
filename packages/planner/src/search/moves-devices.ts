/** Moves that change how much of the work devices have: parts given to others, shares grown or shrunk, devices left out. */
import { type MoveContext, somePlace } from './context.js';
import { replaced, stretch, tiled } from './moves-shared.js';
import type { SearchPart, SearchVolume } from './parts.js';
import type { PlanState } from './plan-state.js';

/** Gives a part, and those at the same place of neighbouring volumes, to another device: mostly one next to it. */
export function reassign(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random, devices } = context;
  const [v, i] = somePlace(state, context);
  const { parts } = volumes[v] as SearchVolume;
  const chosen = parts[i] as SearchPart;
  const near = random.next() < 0.6 ? parts[i + (random.next() < 0.5 ? -1 : 1)] : undefined;
  const device = near?.device ?? random.pick(devices);
  if (device === chosen.device) return undefined;
  const middle = (chosen.from + chosen.to) / 2 / (parts.at(-1)?.to ?? 1);
  const [first, last] = stretch(v, volumes.length, random);
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const theirs = (volumes[w] as SearchVolume).parts;
    const at = middle * (theirs.at(-1)?.to ?? 1);
    const place = w === v ? i : theirs.findIndex((part) => part.from <= at && at < part.to);
    if (place < 0 || theirs[place]?.device !== chosen.device) continue;
    changed.set(
      w,
      theirs.map((part, index) => (index === place ? { ...part, device } : part)),
    );
  }
  return replaced(state, changed);
}

/** Exchanges two devices, or puts one in another's place, in some volumes. */
export function exchange(state: PlanState, { random, devices }: MoveContext): PlanState | undefined {
  const { volumes } = state;
  if (devices.length < 2) return undefined;
  const v = random.below(volumes.length);
  const a = random.pick((volumes[v] as SearchVolume).parts).device;
  const b = random.pick(devices);
  if (a === b) return undefined;
  const both = random.next() < 0.6;
  const other = (device: number): number => (device === a ? b : both && device === b ? a : device);
  const [first, last] = stretch(v, volumes.length, random);
  const all = first === 0 && last === volumes.length - 1;
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    changed.set(
      w,
      (volumes[w] as SearchVolume).parts.map((part) => ({ ...part, device: other(part.device) })),
    );
  }
  const next = replaced(state, changed);
  if (!all || state.head === undefined) return next;
  if (typeof state.head === 'number') return { ...next, head: other(state.head) };
  if (!both && state.head.some((part) => part.device === b)) return next;
  return { ...next, head: state.head.map((part) => ({ ...part, device: other(part.device) })) };
}

/** Gives a device more or fewer of the rows of some volumes; all others give or take in proportion. */
export function reweigh(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random } = context;
  const [v, i] = somePlace(state, context);
  const { device } = (volumes[v] as SearchVolume).parts[i] as SearchPart;
  const factor = Math.exp((random.next() - 0.5) * (random.next() < 0.5 ? 0.3 : 1.5));
  const [first, last] = stretch(v, volumes.length, random);
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const { parts } = volumes[w] as SearchVolume;
    if (parts.every((part) => part.device === device) || parts.every((part) => part.device !== device)) continue;
    const weights = parts.map((part) => (part.to - part.from) * (part.device === device ? factor : 1));
    const next = tiled(parts, weights);
    if (next.length !== parts.length || next.some((part, i) => part.to !== parts[i]?.to)) changed.set(w, next);
  }
  return changed.size === 0 ? undefined : replaced(state, changed);
}

/** Gives a device ever more, or ever fewer, of the rows from a volume on, and the head where it runs on one device. */
export function tilt(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes, head } = state;
  const { random, devices, geometry } = context;
  const [v] = somePlace(state, context);
  const device = random.pick(devices);
  const most = (random.next() < 0.7 ? 1 : -1) * 3 * random.next() ** 2;
  const changed = new Map<number, readonly SearchPart[]>();
  const count = volumes.length - v;
  for (let w = v; w < volumes.length; w++) {
    const { start, end, parts } = volumes[w] as SearchVolume;
    if (!geometry.divisible(start, end) || parts.every((part) => part.device === device)) continue;
    const factor = Math.exp((most * (w - v + 1)) / count);
    const weights = parts.map((part) => (part.to - part.from) * (part.device === device ? factor : 1));
    const next = tiled(parts, weights);
    if (next.length !== parts.length || next.some((part, i) => part.to !== parts[i]?.to)) changed.set(w, next);
  }
  const next = changed.size === 0 ? state : replaced(state, changed);
  if (typeof head === 'number' && head !== device && most > 0 && random.next() < 0.5) return { ...next, head: device };
  return changed.size === 0 ? undefined : next;
}

/** Gives a device a strip at the top or at the bottom in some volumes. */
export function lend(state: PlanState, { random, geometry, devices }: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const v = random.below(volumes.length);
  const device = random.pick(devices);
  const u = random.next();
  const fraction = 0.02 + 0.6 * u * u;
  const top = random.next() < 0.5;
  const [first, last] = stretch(v, volumes.length, random);
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const volume = volumes[w] as SearchVolume;
    if (!geometry.divisible(volume.start, volume.end)) continue;
    const strip = withStrip(volume.parts, device, fraction, top);
    if (strip !== undefined) changed.set(w, strip);
  }
  return changed.size === 0 ? undefined : replaced(state, changed);
}

/** The parts with a strip of this share of the height, at one end, given to a device. */
function withStrip(
  parts: readonly SearchPart[],
  device: number,
  fraction: number,
  top: boolean,
): SearchPart[] | undefined {
  const height = parts.at(-1)?.to ?? 1;
  const rows = Math.min(height, Math.max(1, Math.round(height * fraction)));
  const edge = top ? parts[0] : parts.at(-1);
  if (edge === undefined || edge.device === device) return undefined;
  const at = top ? rows : height - rows;
  const strip = top ? { from: 0, to: at } : { from: at, to: height };
  const rest = parts
    .map((part) => (top ? { ...part, from: Math.max(part.from, at) } : { ...part, to: Math.min(part.to, at) }))
    .filter((part) => part.to > part.from);
  const own = { device, ...strip, key: edge.key };
  return top ? [own, ...rest] : [...rest, own];
}

/** Takes a device out of some volumes; its neighbours take its rows. */
export function drop(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random } = context;
  const [v, i] = somePlace(state, context);
  const { device } = (volumes[v] as SearchVolume).parts[i] as SearchPart;
  const [first, last] = stretch(v, volumes.length, random);
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const { parts } = volumes[w] as SearchVolume;
    const kept = parts.filter((part) => part.device !== device);
    if (kept.length === 0 || kept.length === parts.length) continue;
    const weights = parts.map((part) => (part.device === device ? 0 : part.to - part.from));
    changed.set(w, tiled(parts, weights));
  }
  return changed.size === 0 ? undefined : replaced(state, changed);
}
