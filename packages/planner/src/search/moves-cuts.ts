/** Moves that change where volumes are cut into parts: cuts moved, parts cut in two, made one, or cut into chunks. */
import { type MoveContext, somePlace } from './context.js';
import type { Place } from './critical.js';
import { replaced, resized, stretch } from './moves-shared.js';
import type { SearchPart, SearchVolume } from './parts.js';
import type { PlanState } from './plan-state.js';
import type { Random } from './random.js';

/** A number of rows, mostly few, at most about a third of them. */
function someRows(rows: number, random: Random): number {
  const u = random.next();
  return 1 + Math.floor((rows / 3) * u * u * u);
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

/** A cut between two parts of a volume. */
interface Cut {
  readonly volume: number;
  /** Index of the part above it. */
  readonly part: number;
  readonly above: SearchPart;
  readonly below: SearchPart;
  /** Rows of the volume. */
  readonly rows: number;
}

/** A cut next to some part; undefined where its volume is not cut. */
function someCut({ volumes }: PlanState, place: Place, { random }: MoveContext): Cut | undefined {
  const [volume, at] = place;
  const { parts } = volumes[volume] as SearchVolume;
  if (parts.length < 2) return undefined;
  const isLower = at === parts.length - 1 || (at > 0 && random.next() < 0.5);
  const part = isLower ? at - 1 : at;
  const [above, below] = [parts[part] as SearchPart, parts[part + 1] as SearchPart];
  return { volume, part, above, below, rows: parts.at(-1)?.to ?? 1 };
}

export function moveCut(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random } = context;
  const cut = someCut(state, somePlace(state, context), context);
  if (cut === undefined) return undefined;
  const { volume: v, part: i, above, below, rows } = cut;
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
export function split(state: PlanState, context: MoveContext): PlanState | undefined {
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
export function merge(state: PlanState, context: MoveContext): PlanState | undefined {
  const { volumes } = state;
  const { random } = context;
  const cut = someCut(state, somePlace(state, context), context);
  if (cut === undefined) return undefined;
  const { volume: v, part: i, above, below, rows } = cut;
  const [first, last] = stretch(v, volumes.length, random);
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

/** Cuts the rows that a device has in some volumes into a few chunks, of equal height or growing downwards, or makes them one. */
export function rechunk(state: PlanState, context: MoveContext): PlanState | undefined {
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
