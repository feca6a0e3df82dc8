/**
 * Which rows of a model input the rows of every op depend on, and how many rows of an op can be known at all once a given
 * number of input rows has arrived, in whatever order they come.
 */
import type { Workload, WorkRead } from '@distredge/core';

/** Rows [from[j], to[j]) of the input that row j of the op's outputs depends on. */
interface Reach {
  readonly from: Int32Array;
  readonly to: Int32Array;
}

/**
 * For every op, how many of its rows can be computed from r rows of the input: table[r], r = 0 … rows of the input.
 * Undefined where nothing is said: the op does not depend on the input, or its rows skip rows of it.
 */
export function computableRows(workload: Workload, input: number): (Int32Array | undefined)[] {
  const rows = workload.tensors[input]?.rows ?? 0;
  return reaches(workload, input).map((reach) => (reach === undefined ? undefined : tableOf(reach, rows)));
}

function reaches(workload: Workload, input: number): (Reach | undefined)[] {
  const known = new Map<number, Reach>([[input, identity(workload.tensors[input]?.rows ?? 0)]]);
  return workload.ops.map((op) => {
    const from = new Int32Array(op.rows);
    const to = new Int32Array(op.rows);
    for (const read of op.reads) {
      const before = known.get(read.tensor);
      // A read left out makes the op need less: the bound stays one.
      if (before === undefined || hasGaps(read)) continue;
      for (let j = 0; j < op.rows; j++) {
        const first = before.from[read.from[j] as number] as number;
        const end = before.to[(read.to[j] as number) - 1] as number;
        if (from[j] === to[j]) [from[j], to[j]] = [first, end];
        else if (first <= (to[j] as number) && end >= (from[j] as number)) {
          from[j] = Math.min(from[j] as number, first);
          to[j] = Math.max(to[j] as number, end);
        }
      }
    }
    if (from.some((first, j) => first === to[j]) || hasGaps({ from, to })) return undefined;
    const reach = { from, to };
    for (const tensor of op.outputs) known.set(tensor, reach);
    return reach;
  });
}

function identity(rows: number): Reach {
  return {
    from: Int32Array.from({ length: rows }, (_, j) => j),
    to: Int32Array.from({ length: rows }, (_, j) => j + 1),
  };
}

/** By tensor: the op that makes it. */
export function producers({ ops }: Workload): Map<number, number> {
  return new Map(ops.flatMap((op, index) => op.outputs.map((tensor): [number, number] => [tensor, index])));
}

/** Whether neighbouring output rows skip rows of what they read. */
export function hasGaps({ from, to }: Pick<WorkRead, 'from' | 'to'>): boolean {
  for (let j = 1; j < from.length; j++) if ((from[j] as number) > (to[j - 1] as number)) return true;
  return false;
}

/** Whether every one of a tensor's rows is read: then its last one, whichever it is, delays some row of the op. */
export function readsAll(read: Pick<WorkRead, 'from' | 'to'>, rows: number): boolean {
  return !hasGaps(read) && read.from[0] === 0 && read.to.at(-1) === rows;
}

/** The fewest rows that any k neighbouring output rows read together, k = 0 … rows. */
export function fewestRead({ from, to }: Pick<WorkRead, 'from' | 'to'>): Int32Array {
  const rows = from.length;
  const fewest = new Int32Array(rows + 1).fill(2 ** 30);
  fewest[0] = 0;
  for (let first = 0; first < rows; first++) {
    for (let last = first; last < rows; last++) {
      const need = (to[last] as number) - (from[first] as number);
      const k = last - first + 1;
      if (need < (fewest[k] as number)) fewest[k] = need;
    }
  }
  return fewest;
}

/**
 * Any set of k rows falls into runs whose needs do not touch (filling the gap between runs whose needs do touch adds rows
 * and no need), so its need is at least the cheapest sum of runs. Turned around: rows computable from r input rows.
 */
function tableOf(reach: Reach, inputRows: number): Int32Array {
  const run = fewestRead(reach);
  const rows = reach.from.length;
  const need = Int32Array.from(run);
  for (let k = 2; k <= rows; k++) {
    let best = need[k] as number;
    for (let a = 1; a < k; a++) best = Math.min(best, (run[a] as number) + (need[k - a] as number));
    need[k] = best;
  }
  // More rows never need less: what few rows need at least, more rows need too.
  for (let k = rows - 1; k >= 1; k--) need[k] = Math.min(need[k] as number, need[k + 1] as number);
  const table = new Int32Array(inputRows + 1);
  let k = 0;
  for (let r = 0; r <= inputRows; r++) {
    while (k < rows && (need[k + 1] as number) <= r) k += 1;
    table[r] = k;
  }
  return table;
}
