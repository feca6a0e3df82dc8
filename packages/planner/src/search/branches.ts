/**
 * Branches of a network: ops that follow each other in its list, though neither reads from the other. While the rows of one branch are
 * exchanged, another one can compute, if volumes end where branches do and the parts take turns.
 */
import type { LcPssPartition } from '../lc-pss.js';
import type { Geometry } from './geometry.js';
import type { SearchPart, SearchVolume } from './parts.js';

/** The volumes, cut where an op reads nothing of the op before it: there another branch begins. The same value where none does. */
export function cutAtBranches(volumes: readonly SearchVolume[], geometry: Geometry): readonly SearchVolume[] {
  return cutBefore(new Set(branches(geometry)), volumes, geometry);
}

/**
 * The volumes, cut where a branch begins that ends in a result, and behind what that is made from: then its rows can be on their way back
 * while the rest is computed. The same value where there is no such branch.
 */
export function cutAtResults(volumes: readonly SearchVolume[], geometry: Geometry): readonly SearchVolume[] {
  const { producer } = geometry;
  const { ops, outputs } = geometry.workload;
  const begins = branches(geometry);
  const cuts = new Set<number>();
  begins.forEach((begin, i) => {
    const end = begins[i + 1] ?? ops.length;
    if (!ops[end - 1]?.outputs.some((tensor) => outputs.includes(tensor))) return;
    // Another branch joins it: that is the network going on.
    const joined = ops
      .slice(begin + 1, end)
      .some(({ reads }) => reads.some(({ tensor }) => (producer[tensor] ?? -1) < begin));
    if (joined) return;
    cuts.add(begin);
    for (const { tensor } of ops[begin]?.reads ?? []) cuts.add((producer[tensor] as number) + 1);
  });
  return cutBefore(cuts, volumes, geometry);
}

/**
 * These partitions of a network and, where it has branches, two by them: cut wherever one begins, and only where one ends in a result.
 * LC-PSS cuts one boundary at a time, and does not find what pays only for all branches together. Each partition once.
 */
export function withBranches(partitions: readonly LcPssPartition[], geometry: Geometry): LcPssPartition[] {
  const whole = geometry.required.map((end, i): SearchVolume => {
    const start = i === 0 ? 0 : (geometry.required[i - 1] as number) + 1;
    return { start, end, parts: [] };
  });
  const branched = [cutAtBranches(whole, geometry), cutAtResults(whole, geometry)]
    .filter((volumes) => volumes !== whole)
    .map((volumes): LcPssPartition => ({ ends: volumes.map(({ end }) => end), alphas: [] }));
  return [...new Map([...branched, ...partitions].map((one) => [one.ends.join(), one])).values()];
}

/** The first ops of branches, but for the first branch. */
function branches({ workload: { ops }, producer }: Geometry): number[] {
  const begins = ops.map((_, op) => op);
  return begins.filter((op) => ops[op]?.reads.every(({ tensor }) => producer[tensor] !== op - 1));
}

function cutBefore(
  cuts: ReadonlySet<number>,
  volumes: readonly SearchVolume[],
  geometry: Geometry,
): readonly SearchVolume[] {
  const out = volumes.flatMap((volume) => {
    const { start, end, parts } = volume;
    const pieces: SearchVolume[] = [];
    let from = start;
    for (let op = start; op <= end; op++) {
      if (op < end && !cuts.has(op + 1)) continue;
      pieces.push(
        op === end && from === start ? volume : { start: from, end: op, parts: scaled(parts, geometry, end, op) },
      );
      from = op + 1;
    }
    return pieces;
  });
  return out.length === volumes.length ? volumes : out;
}

/** Parts of the rows of one op at the same places of another one; those without rows are left out. */
function scaled(parts: readonly SearchPart[], geometry: Geometry, op: number, other: number): SearchPart[] {
  const scale = geometry.rows(other) / geometry.rows(op);
  return parts
    .map((part) => ({ ...part, from: Math.floor(part.from * scale + 0.5), to: Math.floor(part.to * scale + 0.5) }))
    .filter(({ from, to }) => to > from);
}

/**
 * Keys by when a volume could begin if nothing had to be brought: branches that do not read from each other take turns, so that rows of
 * one are exchanged while another computes. The same values where volumes can only follow each other.
 */
export function takingTurns(volumes: readonly SearchVolume[], geometry: Geometry): readonly SearchVolume[] {
  const begins: number[] = [];
  const ends: number[] = [];
  let latest = Number.NEGATIVE_INFINITY;
  let inTurn = true;
  volumes.forEach(({ start, end, parts }, v) => {
    let begin = 0;
    const pieces = geometry.needs(start, end, 0, geometry.rows(end));
    for (let at = 0; at < pieces.length; at += 3) {
      const maker = geometry.producer[pieces[at] as number] as number;
      if (maker < 0) continue;
      let w = v - 1;
      while ((volumes[w] as SearchVolume).start > maker) w--;
      begin = Math.max(begin, ends[w] as number);
    }
    let longest = 0;
    for (const { device, from, to } of parts) longest = Math.max(longest, geometry.ms(device, start, end, from, to));
    begins.push(begin);
    ends.push(begin + longest);
    if (begin < latest) inTurn = false;
    latest = begin;
  });
  if (inTurn) return volumes;
  return volumes.map((volume, v) => ({
    ...volume,
    parts: volume.parts.map((part) => ({ ...part, key: begins[v] as number })),
  }));
}
