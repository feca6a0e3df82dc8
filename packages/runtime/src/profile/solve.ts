/**
 * From what ops take alone to what they take inside a part. Run alone, an op also pays for being started and for its tensors'
 * way in and out (copies, changes of layout), and cannot be fused with its neighbours. So **runs** of a few ops are measured
 * as one part, too; what they save over their ops alone gives, for each run, the time per byte at the edges of a part. What
 * neither explains (caches) stays as a factor on the run's ops.
 */
import type { ProfileTable, Workload, WorkOp } from '@distredge/core';

/** A run of ops measured as one part. */
export interface MeasuredRun {
  readonly first: number;
  readonly last: number;
  /** At several heights, the tallest last. */
  readonly points: readonly {
    /** Rows that it makes of each of its ops. */
    readonly rows: readonly number[];
    /** Bytes that enter or leave it, by tensor. */
    readonly crossing: ReadonlyMap<number, number>;
    readonly ms: number;
  }[];
}

/** What a part takes is `partMs`, its ops' times, and its crossing bytes' edges. */
export interface Solved {
  /** By tensor, ms per byte. */
  readonly edges: Float64Array;
  /** By op, inside a part. */
  readonly ops: readonly ProfileTable[];
  /** All runs at their tallest, over the sum of their ops alone. */
  readonly fusion: number;
}

/** Inside a part, an op takes at least this share of what it takes alone; but a fused one may take next to nothing. */
const LEAST_SHARE = 0.02;
/** No edge costs more than this: 1 ms for a megabyte. */
const MOST_EDGE = 1e-6;
/** Runs whose saving is explained by no edge at all keep the others' edges. */
const LEAST_FACTOR = 0.5;
const MOST_FACTOR = 2;

/** Time at some rows, between the measured points along a line; the first line goes on below the first point. */
function timeAt({ rows, ms }: ProfileTable, count: number): number {
  if (count <= 0) return 0;
  if (rows.length < 2) return ms[0] ?? 0;
  let above = 1;
  while (above < rows.length - 1 && count > (rows[above] as number)) above += 1;
  const [r0 = 0, r1 = 1] = [rows[above - 1], rows[above]];
  const [m0 = 0, m1 = 0] = [ms[above - 1], ms[above]];
  return Math.max(0, m0 + ((m1 - m0) * (count - r0)) / (r1 - r0));
}

/** Bytes that an op reads and makes for some rows in the middle, by tensor. */
function crossingOf({ tensors }: Workload, op: WorkOp, rows: number): Map<number, number> {
  const bytes = new Map<number, number>();
  if (rows < 1) return bytes;
  const count = Math.min(rows, op.rows);
  const from = (op.rows - count) >> 1;
  const add = (tensor: number, height: number): void => {
    bytes.set(tensor, (bytes.get(tensor) ?? 0) + Math.max(0, height) * (tensors[tensor]?.bytesPerRow ?? 0));
  };
  for (const read of op.reads) add(read.tensor, (read.to[from + count - 1] ?? 0) - (read.from[from] ?? 0));
  for (const tensor of op.outputs) add(tensor, count);
  return bytes;
}

/**
 * @param alone for each op, what a part of it alone takes over rows
 * @param runs tile the ops, in order
 * @param partMs what a part without ops takes
 */
export function solve(
  workload: Workload,
  alone: readonly ProfileTable[],
  runs: readonly MeasuredRun[],
  partMs: number,
): Solved {
  const edges = new Float64Array(workload.tensors.length).fill(Number.NaN);
  const long = runs.filter(({ first, last }) => last > first);
  const uniform = edgeRate(workload, alone, long, partMs, edges) ?? 0;
  const factors = runs.map((run) => {
    const rate = (run.last > run.first ? edgeRate(workload, alone, [run], partMs, edges) : undefined) ?? uniform;
    for (const op of workload.ops.slice(run.first, run.last + 1)) {
      for (const tensor of [...op.reads.map((read) => read.tensor), ...op.outputs]) {
        if (Number.isNaN(edges[tensor])) edges[tensor] = rate;
      }
    }
    return run.points.map((point) => {
      const rest = point.ms - partMs - edgeMs(point.crossing, edges, 0);
      const inside = insideMs(workload, alone, run, point.rows, partMs, edges, 0);
      return inside <= 0 ? 1 : Math.min(MOST_FACTOR, Math.max(LEAST_FACTOR, rest / inside));
    });
  });
  const ops: ProfileTable[] = [];
  runs.forEach((run, index) => {
    for (let at = run.first; at <= run.last; at++) {
      const op = workload.ops[at] as WorkOp;
      const { rows, ms } = alone[at] as ProfileTable;
      const heights = run.points.map((point) => (point.rows[at - run.first] ?? 0) / op.rows);
      ops.push({
        rows,
        ms: rows.map((count, point) => {
          const factor = factorAt(heights, factors[index] ?? [], count / op.rows);
          return factor * insideOf(workload, op, ms[point] as number, count, partMs, edges, 0);
        }),
      });
    }
  });
  const together = runs.reduce((sum, { points }) => sum + (points.at(-1)?.ms ?? 0), 0);
  const apart = alone.reduce((sum, { ms }) => sum + (ms.at(-1) ?? 0), 0);
  return {
    edges: edges.map((rate) => (Number.isNaN(rate) ? uniform : rate)),
    ops,
    fusion: apart > 0 ? together / apart : 1,
  };
}

/** Between the heights at which a run was measured, along a line; beyond them, the nearest. */
function factorAt(heights: readonly number[], factors: readonly number[], height: number): number {
  const [low = 1, high = low] = [factors[0], factors.at(-1)];
  const [from = 0, to = from] = [heights[0], heights.at(-1)];
  if (to <= from) return high;
  return low + (high - low) * Math.min(1, Math.max(0, (height - from) / (to - from)));
}

/**
 * The one time per byte at the edges (where it is not known yet) with which these runs take what they took; undefined where
 * none does: they take as much as their ops alone, or less than any edge explains.
 */
function edgeRate(
  workload: Workload,
  alone: readonly ProfileTable[],
  runs: readonly MeasuredRun[],
  partMs: number,
  edges: Float64Array,
): number | undefined {
  const excess = (rate: number): number => {
    let sum = 0;
    for (const run of runs) {
      for (const { rows, crossing, ms } of run.points) {
        const inside = insideMs(workload, alone, run, rows, partMs, edges, rate);
        sum += Math.log((partMs + inside + edgeMs(crossing, edges, rate)) / Math.max(ms, 1e-6));
      }
    }
    return sum;
  };
  if (runs.length === 0 || excess(MOST_EDGE) > 0) return undefined;
  if (excess(0) <= 0) return 0;
  let [low, high] = [0, MOST_EDGE];
  for (let step = 0; step < 50; step++) {
    const middle = (low + high) / 2;
    if (excess(middle) > 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

function edgeMs(crossing: ReadonlyMap<number, number>, edges: Float64Array, otherwise: number): number {
  let ms = 0;
  for (const [tensor, bytes] of crossing) {
    const rate = edges[tensor] ?? Number.NaN;
    ms += bytes * (Number.isNaN(rate) ? otherwise : rate);
  }
  return ms;
}

/** What an op that took so long alone takes inside a part. */
function insideOf(
  workload: Workload,
  op: WorkOp,
  aloneMs: number,
  rows: number,
  partMs: number,
  edges: Float64Array,
  otherwise: number,
): number {
  const edge = edgeMs(crossingOf(workload, op, rows), edges, otherwise);
  return Math.max(LEAST_SHARE * aloneMs, aloneMs - partMs - edge);
}

/** What a run's ops take inside it. */
function insideMs(
  workload: Workload,
  alone: readonly ProfileTable[],
  run: MeasuredRun,
  rows: readonly number[],
  partMs: number,
  edges: Float64Array,
  otherwise: number,
): number {
  return rows.reduce((sum, count, at) => {
    if (count === 0) return sum;
    const op = workload.ops[run.first + at] as WorkOp;
    const ms = timeAt(alone[run.first + at] as ProfileTable, count);
    return sum + insideOf(workload, op, ms, count, partMs, edges, otherwise);
  }, 0);
}
