/** What several kinds of moves have in common: which volumes they change, and parts with other heights. */
import type { SearchPart } from './parts.js';
import type { PlanState } from './plan-state.js';
import type { Random } from './random.js';

export function replaced(state: PlanState, changed: ReadonlyMap<number, readonly SearchPart[]>): PlanState {
  const volumes = state.volumes.map((volume, v) => {
    const parts = changed.get(v);
    return parts === undefined ? volume : { ...volume, parts };
  });
  return { ...state, volumes };
}

/** First and last volume of a run of neighbours around v; often v alone, sometimes all. */
export function stretch(v: number, count: number, random: Random): [number, number] {
  const u = random.next();
  if (u < 0.4) return [v, v];
  if (u < 0.55) return [0, count - 1];
  if (u < 0.7) return [v, count - 1];
  if (u < 0.8) return [0, v];
  const reach = Math.max(3, count / 3);
  const [a, b] = [random.next(), random.next()];
  return [Math.max(0, v - Math.floor(reach * a * a)), Math.min(count - 1, v + Math.floor(reach * b * b))];
}

/** The part with these rows. */
export function resized(part: SearchPart, from: number, to: number): SearchPart {
  if (part.from === from && part.to === to) return part;
  return { device: part.device, from, to, key: part.key };
}

/** The same parts with heights in proportion to weights; parts that round to nothing fall away. */
export function tiled(parts: readonly SearchPart[], weights: readonly number[]): SearchPart[] {
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
