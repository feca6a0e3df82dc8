/**
 * Where fused volumes should end, by the cost model of the papers that fuse layers: a volume takes as long as its slowest
 * device needs to receive the rows it lacks and to compute, in proportion to operations, its rows with their halo; volumes
 * follow one another. For given shares the best ends are found exactly, by dynamic programming over all of them.
 */
import type { NetworkLink, PlanningTask, WorkOp } from '@distredge/core';
import { fixedEnds, normal, type Shares } from './layout.js';
import { bytesPerMs, type LinearModel } from './linear-model.js';

interface Part {
  readonly device: number;
  /** Where its rows begin and end, as fractions of the height. */
  readonly from: number;
  readonly to: number;
}

/**
 * Ops after which volumes end, ascending; the last op is one of them. One answer for each weight that the time of transfers
 * may have against that of compute; 1 is as it is.
 */
export function fusedEnds(
  task: PlanningTask,
  model: LinearModel,
  shares: Shares,
  transfers: readonly number[] = [1],
): number[][] {
  const { ops } = task.workload;
  const fractions = partsByFraction(shares);
  const fixed = new Set(fixedEnds(task.workload));
  const last = livesOf(task);
  const searches = transfers.map((weight) => {
    const best = new Float64Array(ops.length + 1).fill(Number.POSITIVE_INFINITY);
    best[0] = 0;
    return { weight, best, starts: new Int32Array(ops.length) };
  });
  for (let end = 0; end < ops.length; end++) {
    const parts = partsByRows(fractions, ops[end]?.rows ?? 1);
    volumesThatEnd(task, model, parts, last, fixed, end, (start, computeMs, receiveMs) => {
      for (const { weight, best, starts } of searches) {
        let ms = 0;
        for (let p = 0; p < parts.length; p++) {
          ms = Math.max(ms, (computeMs[p] as number) + weight * (receiveMs[p] as number));
        }
        const total = (best[start] as number) + ms;
        // Longer volumes come later and win where it makes no difference: they have fewer messages.
        if (total > (best[end + 1] as number) * (1 + 1e-12)) continue;
        best[end + 1] = total;
        starts[end] = start;
      }
    });
  }
  return searches.map(({ starts }) => {
    const ends: number[] = [];
    for (let end = ops.length - 1; end >= 0; end = (starts[end] as number) - 1) ends.unshift(end);
    return ends;
  });
}

function partsByFraction(shares: Shares): Part[] {
  let before = 0;
  return normal(shares).flatMap((share, device) => {
    const from = before;
    before += share;
    return share > 0 ? [{ device, from, to: Math.min(1, before) }] : [];
  });
}

/** The same parts where a volume ends: at whole rows of its end tensor. Those without a row are left out. */
function partsByRows(parts: readonly Part[], rows: number): Part[] {
  return parts
    .map(({ device, from, to }) => ({ device, from: cut(from, rows) / rows, to: cut(to, rows) / rows }))
    .filter(({ from, to }) => to > from);
}

/** For every tensor, the last op that reads it; the number of ops for what the head or the requester gets. */
function livesOf({ workload }: PlanningTask): Int32Array {
  const { tensors, ops, outputs, head } = workload;
  const last = new Int32Array(tensors.length).fill(-1);
  ops.forEach(({ reads }, index) => {
    for (const { tensor } of reads) last[tensor] = index;
  });
  for (const tensor of [...outputs, ...(head?.reads ?? [])]) last[tensor] = ops.length;
  return last;
}

const cut = (fraction: number, rows: number): number => Math.floor(fraction * rows + 0.5);

/** Calls `found` with every possible start of a volume that ends after op `end`, and what it takes each part. */
function volumesThatEnd(
  task: PlanningTask,
  { rowWork, rate }: LinearModel,
  parts: readonly Part[],
  last: Int32Array,
  fixed: ReadonlySet<number>,
  end: number,
  found: (start: number, computeMs: Float64Array, receiveMs: Float64Array) => void,
): void {
  const { workload, network } = task;
  const { tensors, ops, inputs } = workload;
  // Rows of each tensor that each part needs so far; walking back from the end they only grow.
  const from = parts.map(() => new Int32Array(tensors.length));
  const to = parts.map(() => new Int32Array(tensors.length));
  const touched = new Set<number>();
  const computeMs = new Float64Array(parts.length);
  for (let start = end; start >= 0; start--) {
    const op = ops[start] as WorkOp;
    for (const tensor of op.outputs) touched.delete(tensor);
    parts.forEach((part, p) => {
      const [first, after] = wantedRows(op, part, from[p] as Int32Array, to[p] as Int32Array, (tensor) => {
        return (last[tensor] as number) > end;
      });
      if (after <= first) return;
      computeMs[p] =
        (computeMs[p] as number) + ((after - first) * (rowWork[start] as number)) / (rate[part.device] as number);
      for (const read of op.reads) {
        const a = read.from[first] as number;
        const b = read.to[after - 1] as number;
        const known = (to[p] as Int32Array)[read.tensor] as number;
        const begin = known === 0 ? a : Math.min(a, (from[p] as Int32Array)[read.tensor] as number);
        (from[p] as Int32Array)[read.tensor] = begin;
        (to[p] as Int32Array)[read.tensor] = Math.max(b, known);
        touched.add(read.tensor);
      }
    });
    found(start, computeMs, receiving());
    if (start === 0 || fixed.has(start - 1)) return;
  }

  /** Per part, the time until it has the rows it lacks, of what is read and not made since the start of the volume. */
  function receiving(): Float64Array {
    const ms = new Float64Array(parts.length);
    let medium = 0;
    let requester = 0;
    parts.forEach(({ device, from: top, to: bottom }, p) => {
      const link = network.devices[device] as NetworkLink;
      let fromPeers = 0;
      let fromRequester = 0;
      for (const tensor of touched) {
        const { rows = 0, bytesPerRow = 0 } = tensors[tensor] ?? {};
        const a = (from[p] as Int32Array)[tensor] as number;
        const b = (to[p] as Int32Array)[tensor] as number;
        if (tensor < inputs) fromRequester += (b - a) * bytesPerRow;
        else
          fromPeers +=
            Math.max(0, b - a - Math.max(0, Math.min(b, cut(bottom, rows)) - Math.max(a, cut(top, rows)))) *
            bytesPerRow;
      }
      const peersMs = fromPeers / bytesPerMs(link, link);
      const sendMs = fromRequester / bytesPerMs(link, network.requester);
      requester += sendMs;
      medium += peersMs + sendMs;
      const latency = fromPeers + fromRequester > 0 ? link.latencyMs : 0;
      ms[p] = latency + peersMs + (sendMs > 0 ? requester : 0);
    });
    return network.medium === 'shared' ? ms.map((own) => (own > 0 ? Math.max(own, medium) : 0)) : ms;
  }
}

/** Rows of an op that a part must make: what it is known to need, and its share of outputs that live on after the volume. */
function wantedRows(
  op: WorkOp,
  part: Part,
  from: Int32Array,
  to: Int32Array,
  livesOn: (tensor: number) => boolean,
): [number, number] {
  if (op.whole) return part.from === 0 ? [0, op.rows] : [0, 0];
  let first = op.rows;
  let after = 0;
  for (const tensor of op.outputs) {
    if ((to[tensor] as number) > 0) {
      first = Math.min(first, from[tensor] as number);
      after = Math.max(after, to[tensor] as number);
    }
    const a = cut(part.from, op.rows);
    const b = cut(part.to, op.rows);
    if (livesOn(tensor) && b > a) {
      first = Math.min(first, a);
      after = Math.max(after, b);
    }
  }
  return [first, after];
}
