/**
 * Which rows the results are made from, and what must still happen after some of them are there: the ops that read them, one
 * after another, up to a result.
 *
 * Of a plan's computations count those that its results are made from. Each of an op that is no result itself (nor read by the
 * head) is followed by a computation, of one row at least, of an op that reads it, which is followed by another in turn. So
 * none of the op is done later than that chain takes before the last op ends, on whatever device, whether others compute the
 * same rows or not. The same holds for rows that arrive: what reads them follows.
 */
import type { PlanningTask, Workload } from '@distredge/core';
import { readsAll } from './reach.js';

/** Levels in a linear programme: more make it slower, and little tighter. */
const MOST_LEVELS = 6;

/** Least time in ms between a computation of each op, or the arrival of rows of each tensor, and the end of the last op. */
export interface Following {
  readonly ops: readonly number[];
  readonly tensors: readonly number[];
}

export function followingMs({ workload, costs }: PlanningTask): Following {
  const { ops, head, outputs } = workload;
  // What is read by nothing takes no part in a result.
  const tensors = workload.tensors.map(() => Number.POSITIVE_INFINITY);
  for (const tensor of [...outputs, ...(head?.reads ?? [])]) tensors[tensor] = 0;
  const following = ops.map(() => 0);
  for (let o = ops.length - 1; o >= 0; o--) {
    const op = ops[o] as Workload['ops'][number];
    const after = Math.min(...op.outputs.map((tensor) => tensors[tensor] as number));
    following[o] = after < Number.POSITIVE_INFINITY ? after : 0;
    const own = Math.min(...costs.map((device) => leastMs(device.opMs[o], op.whole ? op.rows : 1)));
    for (const { tensor } of op.reads) tensors[tensor] = Math.min(tensors[tensor] as number, own + after);
  }
  return { ops: following, tensors: tensors.map((ms) => (ms < Number.POSITIVE_INFINITY ? ms : 0)) };
}

/**
 * Least time in ms between when the last needed row of each op is first there and the end of the last op: some row of each op
 * that reads all of them waits for it, and so on. The longest such way counts, since the row is awaited on all of them.
 * @param needed rows of each op that results are made from
 */
export function behindMs({ workload, costs }: PlanningTask, needed: readonly number[]): number[] {
  const { ops } = workload;
  const behind = ops.map(() => 0);
  const tensors = workload.tensors.map(() => 0);
  for (let o = ops.length - 1; o >= 0; o--) {
    const op = ops[o] as Workload['ops'][number];
    behind[o] = op.outputs.length === 1 ? (tensors[op.outputs[0] as number] as number) : 0;
    if ((needed[o] as number) < op.rows) continue;
    const own = Math.min(...costs.map((device) => leastMs(device.opMs[o], op.whole ? op.rows : 1)));
    for (const read of op.reads) {
      if (readsAll(read, workload.tensors[read.tensor]?.rows ?? 0))
        tensors[read.tensor] = Math.max(tensors[read.tensor] as number, own + (behind[o] as number));
    }
  }
  return behind;
}

/** A few of the largest of these times, spread over them: distinct, ascending, none 0. */
export function levelsOf(times: readonly number[], count: number = MOST_LEVELS): number[] {
  const most = Math.max(0, ...times);
  const levels = new Set<number>();
  for (let k = 1; k <= count; k++) {
    const level = Math.min(...times.filter((ms) => ms > 0 && ms >= (most * k) / count));
    if (level < Number.POSITIVE_INFINITY) levels.add(level);
  }
  return [...levels].sort((a, b) => a - b);
}

/** How many rows of each tensor the results are made from. */
export function neededRows({ tensors, ops, outputs, head }: Workload): number[] {
  const needed = tensors.map(({ rows }) => new Uint8Array(rows));
  for (const tensor of [...outputs, ...(head?.reads ?? [])]) needed[tensor]?.fill(1);
  for (let o = ops.length - 1; o >= 0; o--) {
    const op = ops[o] as Workload['ops'][number];
    const any = op.outputs.some((tensor) => needed[tensor]?.includes(1));
    for (let row = 0; row < op.rows; row++) {
      const own = op.whole ? any : op.outputs.some((tensor) => needed[tensor]?.[row] === 1);
      if (!own) continue;
      for (const { tensor, from, to } of op.reads) needed[tensor]?.fill(1, from[row], to[row]);
    }
  }
  return needed.map((rows) => rows.reduce((sum, one) => sum + one, 0));
}

/** Least time for `rows` or more rows. */
export function leastMs(table: Float64Array | undefined, rows: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let r = rows; r < (table?.length ?? 0); r++) least = Math.min(least, table?.[r] as number);
  return least;
}
