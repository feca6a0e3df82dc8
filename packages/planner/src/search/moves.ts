/**
 * The moves of the local search: each takes a state and returns a changed one, or undefined where it does not apply. Those
 * that shift rows do so alike in several volumes, since a cut that differs from its neighbours' is paid for in halo rows.
 */
import { type MoveContext, somePlace } from './context.js';
import type { Place } from './critical.js';
import { moveHead } from './head.js';
import type { SearchPart, SearchVolume } from './parts.js';
import { type PlanState, rescale } from './plan-state.js';
import type { Random } from './random.js';
import { depthFirst } from './schedule.js';

export interface Move {
  readonly name: string;
  readonly weight: number;
  /** Not for classical plans. */
  readonly general?: boolean;
  readonly apply: (state: PlanState, context: MoveContext) => PlanState | undefined;
}

function replaced(state: PlanState, changed: ReadonlyMap<number, readonly SearchPart[]>): PlanState {
  const volumes = state.volumes.map((volume, v) => {
    const parts = changed.get(v);
    return parts === undefined ? volume : { ...volume, parts };
  });
  return { ...state, volumes };
}

/** A number of rows, mostly few, at most about a third of them. */
function someRows(rows: number, random: Random): number {
  const u = random.next();
  return 1 + Math.floor((rows / 3) * u * u * u);
}

/** First and last volume of a run of neighbours around v; often v alone, sometimes all. */
function stretch(v: number, count: number, random: Random): [number, number] {
  const u = random.next();
  if (u < 0.4) return [v, v];
  if (u < 0.55) return [0, count - 1];
  if (u < 0.7) return [v, count - 1];
  if (u < 0.8) return [0, v];
  const reach = Math.max(3, count / 3);
  const [a, b] = [random.next(), random.next()];
  return [Math.max(0, v - Math.floor(reach * a * a)), Math.min(count - 1, v + Math.floor(reach * b * b))];
}

/** Moves the boundary between parts i and i + 1 to a row; parts that it passes fall away. */
function withCut(parts: readonly SearchPart[], i: number, row: number): SearchPart[] {
  const out: SearchPart[] = [];
  parts.forEach((part, at) => {
    const from = at <= i ? Math.min(part.from, row) : at === i + 1 ? row : Math.max(part.from, row);
    const to = at < i ? Math.min(part.to, row) : at === i ? row : Math.max(part.to, row);
    if (to > from) out.push(resized(part, from, to));
  });
  return out;
}

/** The part with these rows. */
function resized(part: SearchPart, from: number, to: number): SearchPart {
  if (part.from === from && part.to === to) return part;
  return { device: part.device, from, to, key: part.key };
}

/** The boundary of these parts nearest to a fraction of the height, between the same two devices where there is one. */
function nearestCut(parts: readonly SearchPart[], fraction: number, above: number, below: number): number {
  const rows = parts.at(-1)?.to ?? 1;
  let best = -1;
  let least = 0.15;
  for (let i = 0; i + 1 < parts.length; i++) {
    const same = parts[i]?.device === above && parts[i + 1]?.device === below;
    const distance = Math.abs((parts[i] as SearchPart).to / rows - fraction) + (same ? 0 : 0.1);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

/** Index of a volume and of a part that has another one below it; -1 where none has. */
function someCut(state: PlanState, context: MoveContext): Place {
  const [v, part] = somePlace(state, context);
  const count = (state.volumes[v] as SearchVolume).parts.length;
  if (count < 2) return [v, -1];
  const above = part === count - 1 || (part > 0 && context.random.next() < 0.5);
  return [v, above ? part - 1 : part];
}

function moveCut(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random } = context;
  const [v, i] = someCut(state, context);
  if (i < 0) return undefined;
  const { parts } = volumes[v] as SearchVolume;
  const above = parts[i] as SearchPart;
  const below = parts[i + 1] as SearchPart;
  const rows = parts.at(-1)?.to ?? 1;
  const step = someRows(rows, random) * (random.next() < 0.5 ? -1 : 1);
  const [first, last] = stretch(v, volumes.length, random);
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const theirs = (volumes[w] as SearchVolume).parts;
    const height = theirs.at(-1)?.to ?? 1;
    const at = w === v ? i : nearestCut(theirs, above.to / rows, above.device, below.device);
    if (at < 0) continue;
    const delta = w === v ? step : Math.round((step * height) / rows);
    if (delta === 0) continue;
    const row = Math.max(0, Math.min(height, (theirs[at] as SearchPart).to + delta));
    changed.set(w, withCut(theirs, at, row));
  }
  return changed.size === 0 ? undefined : replaced(state, changed);
}

/** Cuts a part in two, and the parts at the same place of neighbouring volumes. */
function split(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random, geometry, devices, form } = context;
  const [v, i] = somePlace(state, context);
  const { parts } = volumes[v] as SearchVolume;
  const rows = parts.at(-1)?.to ?? 1;
  const chosen = parts[i] as SearchPart;
  if (chosen.to - chosen.from < 2) return undefined;
  const row = chosen.from + 1 + random.below(chosen.to - chosen.from - 1);
  const other = form.classical || random.next() < 0.3 ? random.pick(devices) : chosen.device;
  const upper = random.next() < 0.5;
  const [first, last] = stretch(v, volumes.length, random);
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const volume = volumes[w] as SearchVolume;
    if (!geometry.divisible(volume.start, volume.end)) continue;
    const height = volume.parts.at(-1)?.to ?? 1;
    const at = w === v ? row : Math.round((row * height) / rows);
    const out: SearchPart[] = [];
    for (const part of volume.parts) {
      if (part.from < at && at < part.to && (w === v || part.device === chosen.device)) {
        out.push({ ...part, to: at, device: upper ? other : part.device });
        out.push({ ...part, from: at, device: upper ? part.device : other });
      } else out.push(part);
    }
    if (out.length > volume.parts.length) changed.set(w, out);
  }
  return changed.size === 0 ? undefined : replaced(state, changed);
}

/** Makes two neighbouring parts one. */
function merge(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random } = context;
  const [v, i] = someCut(state, context);
  if (i < 0) return undefined;
  const { parts } = volumes[v] as SearchVolume;
  const above = parts[i] as SearchPart;
  const below = parts[i + 1] as SearchPart;
  const [first, last] = stretch(v, volumes.length, random);
  const rows = parts.at(-1)?.to ?? 1;
  const keep = random.next() < 0.5 ? above : below;
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const theirs = (volumes[w] as SearchVolume).parts;
    const at = w === v ? i : nearestCut(theirs, above.to / rows, above.device, below.device);
    if (at < 0) continue;
    const a = theirs[at] as SearchPart;
    const b = theirs[at + 1] as SearchPart;
    const one = { device: keep.device, from: a.from, to: b.to, key: Math.max(a.key, b.key) };
    changed.set(w, [...theirs.slice(0, at), one, ...theirs.slice(at + 2)]);
  }
  return replaced(state, changed);
}

/** Gives a part, and those at the same place of neighbouring volumes, to another device: mostly one next to it. */
function reassign(state: PlanState, context: MoveContext): PlanState | undefined {
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
function exchange(state: PlanState, { random, devices }: MoveContext): PlanState | undefined {
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

/** Cuts the rows that a device has in some volumes into a few chunks, of equal height or growing downwards, or makes them one. */
function rechunk(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random, geometry } = context;
  const [v, i] = somePlace(state, context);
  const { device } = (volumes[v] as SearchVolume).parts[i] as SearchPart;
  const count = 1 + random.below(5);
  // The first chunk is small where what follows waits for it.
  const growth = random.next() < 0.5 ? 1 : 0.8 + random.next();
  const [first, last] = stretch(v, volumes.length, random);
  const changed = new Map<number, readonly SearchPart[]>();
  for (let w = first; w <= last; w++) {
    const { start, end, parts } = volumes[w] as SearchVolume;
    if (!geometry.divisible(start, end)) continue;
    const out: SearchPart[] = [];
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as SearchPart;
      if (part.device !== device) {
        out.push(part);
        continue;
      }
      let to = part.to;
      const keys = [part.key];
      while (parts[i + 1]?.device === device) {
        i++;
        to = (parts[i] as SearchPart).to;
        keys.push((parts[i] as SearchPart).key);
      }
      const n = Math.min(count, to - part.from);
      const height = to - part.from;
      let begin = part.from;
      for (let k = 0; k < n; k++) {
        const share = growth === 1 ? (k + 1) / n : (growth ** (k + 1) - 1) / (growth ** n - 1);
        const end = k === n - 1 ? to : part.from + Math.round(height * share);
        if (end <= begin) continue;
        out.push({ device, from: begin, to: end, key: keys[Math.floor((k * keys.length) / n)] as number });
        begin = end;
      }
    }
    changed.set(w, out);
  }
  return changed.size === 0 ? undefined : replaced(state, changed);
}

/** Gives a device more or fewer of the rows of some volumes; all others give or take in proportion. */
function reweigh(state: PlanState, context: MoveContext): PlanState | undefined {
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
function tilt(state: PlanState, context: MoveContext): PlanState | undefined {
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

/** The same parts with heights in proportion to weights; parts that round to nothing fall away. */
function tiled(parts: readonly SearchPart[], weights: readonly number[]): SearchPart[] {
  const height = parts.at(-1)?.to ?? 1;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const out: SearchPart[] = [];
  let done = 0;
  let from = 0;
  parts.forEach((part, i) => {
    done += weights[i] as number;
    const to = i === parts.length - 1 ? height : Math.round((done * height) / total);
    if (to > from) out.push(resized(part, from, to));
    from = Math.max(from, to);
  });
  return out;
}

/** Gives a device a strip at the top or at the bottom in some volumes. */
function lend(state: PlanState, { random, geometry, devices }: MoveContext): PlanState | undefined {
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
function drop(state: PlanState, context: MoveContext): PlanState | undefined {
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

/** Ends a volume somewhere inside it. */
function addEnd(state: PlanState, context: MoveContext): PlanState | undefined {
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
function removeEnd(state: PlanState, { random, geometry }: MoveContext): PlanState | undefined {
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
function shiftEnd(state: PlanState, { random, geometry }: MoveContext): PlanState | undefined {
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
function cross(state: PlanState, { random, geometry, others = [] }: MoveContext): PlanState | undefined {
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
function copyNeighbour(state: PlanState, { random, geometry }: MoveContext): PlanState | undefined {
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
