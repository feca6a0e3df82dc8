/**
 * Steps of the devices' times: a device often computes a few rows more in the same time, or a few less in much less. A move
 * that puts a cut at a random row seldom meets such a step, and each miss costs a simulation. The times of the two parts
 * beside a cut are known without one, so cuts that a move has made may go to the row nearby at which both take least.
 */
import type { MoveContext } from './context.js';
import type { Geometry } from './geometry.js';
import type { SearchPart, SearchVolume } from './parts.js';
import type { PlanState } from './plan-state.js';

/** Share of the moves whose cuts are snapped: the other half finds what depends on more than the two parts. */
const SNAPPED = 0.5;
/** Rows that a cut may go either way, at most; drawn for each move. */
const MOST_ROWS = 4;
/** Share of the height of both parts that a cut may go either way at most, if that is more than a row. */
const MOST_SHARE = 0.25;
/** Less time by a smaller share than this is none. */
const ROUNDING = 1e-9;

/** The changed state, often with the cuts that are new in it at steps of the devices' times. */
export function snapped(before: PlanState, after: PlanState, { geometry, random }: MoveContext): PlanState {
  if (random.next() >= SNAPPED) return after;
  const most = 1 + random.below(MOST_ROWS);
  const old = new Map(before.volumes.map((volume) => [volume.end, volume]));
  let changed = false;
  const volumes = after.volumes.map((volume) => {
    const next = snappedVolume(old.get(volume.end), volume, geometry, most);
    if (next !== volume) changed = true;
    return next;
  });
  return changed ? { ...after, volumes } : after;
}

function snappedVolume(
  before: SearchVolume | undefined,
  volume: SearchVolume,
  geometry: Geometry,
  most: number,
): SearchVolume {
  const { start, end, parts } = volume;
  if (parts.length < 2 || volume === before) return volume;
  const sameOps = before !== undefined && before.start === start;
  if (sameOps && before.parts === parts) return volume;
  const known = new Set(sameOps ? before.parts.map(({ to }) => to) : []);
  let out: SearchPart[] | undefined;
  for (let i = 0; i + 1 < parts.length; i++) {
    const [above, below] = [(out ?? parts)[i] as SearchPart, parts[i + 1] as SearchPart];
    if (known.has(above.to)) continue;
    const reach = Math.min(most, Math.max(1, Math.floor((below.to - above.from) * MOST_SHARE)));
    const row = bestRow(above, below, reach, (part, from, to) => geometry.ms(part.device, start, end, from, to));
    if (row === above.to) continue;
    out ??= [...parts];
    out[i] = { ...above, to: row };
    out[i + 1] = { ...below, from: row };
  }
  return out === undefined ? volume : { start, end, parts: out };
}

/** The row, up to `reach` from the cut between two parts, at which both together take least time; the nearest one of equals. */
function bestRow(
  above: SearchPart,
  below: SearchPart,
  reach: number,
  msOf: (part: SearchPart, from: number, to: number) => number,
): number {
  let best = above.to;
  let least = msOf(above, above.from, best) + msOf(below, best, below.to);
  for (let k = 1; k <= 2 * reach; k++) {
    const row = above.to + (k % 2 === 0 ? k / 2 : -(k + 1) / 2);
    if (row <= above.from || row >= below.to) continue;
    const ms = msOf(above, above.from, row) + msOf(below, row, below.to);
    if (ms < least * (1 - ROUNDING)) [best, least] = [row, ms];
  }
  return best;
}
