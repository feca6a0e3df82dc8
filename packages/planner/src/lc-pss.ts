/**
 * LC-PSS, the layer-configuration-based partition scheme search of DistrEdge (IPDPS 2022, arXiv 2202.01699, section IV):
 * where to end volumes, before anything is known about how their rows will be split.
 *
 * A partition P scores C(P) = α·T(P) + (1 − α)·O(P), averaged over random split decisions R: T are the bytes that change
 * hands between devices, O the operations, rows computed twice included. T is measured against its mean with every op a
 * volume of its own, O against its mean with one volume, so that both lie between 0 and 1 and α weighs like with like.
 * The search is greedy: from one volume, add the place to cut that lowers the score most, until none does.
 *
 * A split decision here is one share of the height for each device, the same for all volumes. So T of a boundary and O of
 * a volume depend on nothing outside the volume, and one walk back from every possible end gives both for every start.
 *
 * Two things are made precise here that chains of layers with many rows do not ask for:
 * - of the model's inputs only what is sent more than once counts. That every row must come from the requester is no merit
 *   or fault of a partition, and a large input would drown what is;
 * - O counts every operation once, and again what a provider computes beyond its share. With many rows that are the rows
 *   computed twice. But a volume is split at rows of its last op: where that has one row, one provider computes it all.
 */
import type { PlanningTask, Workload } from '@distredge/core';
import { Random } from './search/random.js';

/** Published weight of transmission against operations. */
const ALPHA = 0.75;
/** |R|: random split decisions that a score is averaged over. */
const DECISIONS = 100;
/** What `lcPssSweep` tries: the larger α, the fewer and longer volumes. */
const ALPHAS: readonly number[] = [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9];
/** Gains below this are rounding. */
const EPSILON = 1e-12;

export interface LcPssOptions {
  /** Weight of transmission, 0 … 1. */
  readonly alpha?: number;
  /** Number of random split decisions. */
  readonly decisions?: number;
  readonly seed?: number;
}

/** A partition, and the weights that lead to it. */
export interface LcPssPartition {
  /** Last op of every volume, ascending. */
  readonly ends: readonly number[];
  readonly alphas: readonly number[];
}

/** The partition that LC-PSS finds: the last op of every volume, ascending. */
export function lcPss(task: PlanningTask, options: LcPssOptions = {}): number[] {
  return search(partitionScores(task, options), options.alpha ?? ALPHA);
}

/**
 * The different partitions found with several weights, in ascending order of the first that leads to each: for every weight
 * what adding cuts finds and what taking cuts away finds.
 */
export function lcPssSweep(
  task: PlanningTask,
  options: Omit<LcPssOptions, 'alpha'> & { readonly alphas?: readonly number[] } = {},
): LcPssPartition[] {
  const scores = partitionScores(task, options);
  const found = new Map<string, { ends: number[]; alphas: number[] }>();
  for (const alpha of options.alphas ?? ALPHAS) {
    for (const ends of [greedy(scores, alpha), merge(scores, alpha)]) {
      const known = found.get(ends.join());
      if (known === undefined) found.set(ends.join(), { ends, alphas: [alpha] });
      else if (known.alphas.at(-1) !== alpha) known.alphas.push(alpha);
    }
  }
  return [...found.values()];
}

/** Ops after which every partition ends a volume, ascending: before forced ones, and the last. */
export function requiredEnds({ forced, ops }: Workload): number[] {
  const ends = new Set([...forced.filter((op) => op > 0).map((op) => op - 1), ops.length - 1]);
  return [...ends].sort((a, b) => a - b);
}

/** Mean T and O of every possible volume, both normalised. */
export interface PartitionScores {
  readonly ops: number;
  /** Ops after which every partition ends a volume, ascending; the last op is one of them. */
  readonly required: readonly number[];
  /** [start · ops + end]: bytes brought to the volume start … end, its share of the normalised T. */
  readonly transmitted: Float64Array;
  /** [start · ops + end]: its share of the normalised O. */
  readonly operations: Float64Array;
}

/** Mean T and O of every volume that a partition may hold; NaN for those that reach over a required end. */
export function partitionScores(
  task: PlanningTask,
  { decisions = DECISIONS, seed = 1 }: LcPssOptions,
): PartitionScores {
  const { workload } = task;
  const ops = workload.ops.length;
  const required = requiredEnds(workload);
  const transmitted = new Float64Array(ops * ops).fill(Number.NaN);
  const operations = new Float64Array(ops * ops).fill(Number.NaN);
  const walk = new Walk(workload, splitDecisions(task.costs.length, decisions, new Random(seed)));
  let start = 0;
  for (const stop of required) {
    for (let end = start; end <= stop; end++) walk.back(start, end, transmitted, operations);
    start = stop + 1;
  }
  let everyOp = 0;
  for (let op = 0; op < ops; op++) everyOp += transmitted[op * ops + op] as number;
  const fewest = walk.fusedOperations(required);
  return {
    ops,
    required,
    transmitted: transmitted.map((bytes) => bytes / Math.max(everyOp, 1)),
    operations: operations.map((count) => count / Math.max(fewest, 1)),
  };
}

/** Score of a partition: the lower the better. */
export function partitionScore(scores: PartitionScores, ends: readonly number[], alpha: number): number {
  let start = 0;
  let sum = 0;
  for (const end of ends) {
    sum += volumeScore(scores, start, end, alpha);
    start = end + 1;
  }
  return sum;
}

function volumeScore(
  { ops, transmitted, operations }: PartitionScores,
  start: number,
  end: number,
  alpha: number,
): number {
  const at = start * ops + end;
  return alpha * (transmitted[at] as number) + (1 - alpha) * (operations[at] as number);
}

/**
 * The published greedy search, and its mirror image: from every op a volume of its own, take away the cut whose absence
 * lowers the score most. The better result counts. In a chain it is nearly always the published one; where several outputs
 * of few rows end a network, no single cut may help although many together do.
 */
function search(scores: PartitionScores, alpha: number): number[] {
  const split = greedy(scores, alpha);
  const merged = merge(scores, alpha);
  return partitionScore(scores, merged, alpha) < partitionScore(scores, split, alpha) - EPSILON ? merged : split;
}

function greedy(scores: PartitionScores, alpha: number): number[] {
  let ends = [...scores.required];
  for (;;) {
    let best = -1;
    let gain = EPSILON;
    let start = 0;
    for (const end of ends) {
      for (let cut = start; cut < end; cut++) {
        const lower = -costOfCut(scores, start, cut, end, alpha);
        if (lower > gain) {
          best = cut;
          gain = lower;
        }
      }
      start = end + 1;
    }
    if (best < 0) return ends;
    ends = [...ends, best].sort((a, b) => a - b);
  }
}

function merge(scores: PartitionScores, alpha: number): number[] {
  let ends = Array.from({ length: scores.ops }, (_, op) => op);
  for (;;) {
    let worst = -1;
    // A cut that makes no difference goes too.
    let gain = -EPSILON;
    ends.slice(0, -1).forEach((cut, v) => {
      if (scores.required.includes(cut)) return;
      const lower = costOfCut(scores, (ends[v - 1] ?? -1) + 1, cut, ends[v + 1] as number, alpha);
      if (lower > gain) {
        worst = cut;
        gain = lower;
      }
    });
    if (worst < 0) return ends;
    ends = ends.filter((end) => end !== worst);
  }
}

/** By how much the score rises where the volume start … end is cut after op `cut`. */
function costOfCut(scores: PartitionScores, start: number, cut: number, end: number, alpha: number): number {
  const apart = volumeScore(scores, start, cut, alpha) + volumeScore(scores, cut + 1, end, alpha);
  return apart - volumeScore(scores, start, end, alpha);
}

/** One provider's part under a split decision: rows between two fractions of the height. */
interface SplitPart {
  readonly low: number;
  readonly high: number;
  /** Its share of the work, were there no halo and no rounding to rows. */
  readonly share: number;
  /** In the mean over decisions. */
  readonly weight: number;
}

/** The parts of all decisions, and one for volumes that cannot be divided: those go to the provider with the largest share. */
function splitDecisions(
  devices: number,
  decisions: number,
  random: Random,
): { parts: SplitPart[]; undivided: SplitPart } {
  const parts: SplitPart[] = [];
  const weight = 1 / decisions;
  let largest = 0;
  for (let decision = 0; decision < decisions; decision++) {
    const cuts = [0, ...Array.from({ length: devices - 1 }, () => random.next()).sort((a, b) => a - b), 1];
    const shares = cuts.slice(1).map((high, d) => high - (cuts[d] as number));
    shares.forEach((share, d) => {
      parts.push({ low: cuts[d] as number, high: cuts[d + 1] as number, share, weight });
    });
    largest += weight * Math.max(...shares);
  }
  return { parts, undivided: { low: 0, high: 1, share: largest, weight: 1 } };
}

/** Walks back from the end of a volume, once for every part of every decision, and adds up what each start would cost. */
class Walk {
  readonly #workload: Workload;
  readonly #parts: readonly SplitPart[];
  readonly #undivided: SplitPart;
  readonly #lastUse: Int32Array;
  /** Operations per row of every op; at least one an element, so that ops without multiply-adds count. */
  readonly #perRow: Float64Array;
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  /** Bytes to bring of every tensor wanted so far. */
  readonly #bytes: Float64Array;

  constructor(workload: Workload, { parts, undivided }: ReturnType<typeof splitDecisions>) {
    const { ops, tensors } = workload;
    this.#workload = workload;
    this.#parts = parts;
    this.#undivided = undivided;
    this.#lastUse = new Int32Array(tensors.length).fill(-1);
    ops.forEach((op, index) => {
      for (const read of op.reads) this.#lastUse[read.tensor] = index;
    });
    for (const tensor of [...workload.outputs, ...(workload.head?.reads ?? [])]) this.#lastUse[tensor] = ops.length;
    this.#perRow = Float64Array.from(ops, (op) => op.width * op.channels * Math.max(1, 2 * op.multiplyAdds));
    this.#from = new Int32Array(tensors.length);
    this.#to = new Int32Array(tensors.length);
    this.#bytes = new Float64Array(tensors.length);
  }

  /** Fills in mean bytes and operations of the volumes first … end, first + 1 … end, and so on to end … end. */
  back(first: number, end: number, transmitted: Float64Array, operations: Float64Array): void {
    const { ops } = this.#workload;
    let once = 0;
    for (let start = end; start >= first; start--) {
      once += (ops[start]?.rows ?? 0) * (this.#perRow[start] as number);
      transmitted[start * ops.length + end] = 0;
      operations[start * ops.length + end] = once;
    }
    let divided = end + 1;
    while (divided > first && ops[divided - 1]?.whole === false) divided -= 1;
    for (const part of this.#parts) this.#add(part, end, end, divided, transmitted, operations);
    // From the last op that cannot be divided on, one provider computes all of the volume.
    this.#add(this.#undivided, end, divided - 1, first, transmitted, operations);
  }

  /** Mean operations with no more volumes than required, rows computed twice included, were rows as fine as they like. */
  fusedOperations(required: readonly number[]): number {
    const { length } = this.#workload.ops;
    const transmitted = new Float64Array(length * length);
    const operations = new Float64Array(length * length);
    let sum = 0;
    let start = 0;
    for (const end of required) {
      for (const part of this.#parts) this.#add(part, end, start, start, transmitted, operations, true);
      for (let op = start; op <= end; op++) sum += (this.#workload.ops[op]?.rows ?? 0) * (this.#perRow[op] as number);
      sum += operations[start * length + end] as number;
      start = end + 1;
    }
    return sum;
  }

  /** Adds what a part costs in the volumes that end with `end` and start with op `latest`, the one before, … `earliest`. */
  #add(
    part: SplitPart,
    end: number,
    latest: number,
    earliest: number,
    transmitted: Float64Array,
    operations: Float64Array,
    fine = false,
  ): void {
    const { ops, tensors } = this.#workload;
    const { low, high, share, weight } = part;
    const rowsAtEnd = ops[end]?.rows ?? 1;
    const top = fine ? low : rounded(low * rowsAtEnd) / rowsAtEnd;
    const bottom = fine ? high : rounded(high * rowsAtEnd) / rowsAtEnd;
    const wantFrom = this.#from.fill(0);
    const wantTo = this.#to.fill(0);
    const toBring = this.#bytes.fill(0);
    let bytes = 0;
    let count = 0;
    let fair = 0;
    for (let index = end; index >= earliest; index--) {
      const op = ops[index] as Workload['ops'][number];
      // Rows that later ops of the volume want, and the part's share of what is alive after it.
      let a = op.rows;
      let b = 0;
      for (const tensor of op.outputs) {
        if ((wantFrom[tensor] as number) < (wantTo[tensor] as number)) {
          a = Math.min(a, wantFrom[tensor] as number);
          b = Math.max(b, wantTo[tensor] as number);
        }
        const from = rounded(top * op.rows);
        const to = rounded(bottom * op.rows);
        if (from < to && (this.#lastUse[tensor] as number) > end) {
          a = Math.min(a, from);
          b = Math.max(b, to);
        }
        // Made here, so not brought.
        bytes -= toBring[tensor] as number;
        toBring[tensor] = 0;
      }
      fair += share * op.rows * (this.#perRow[index] as number);
      count += Math.max(0, b - a) * (this.#perRow[index] as number);
      for (const read of a < b ? op.reads : []) {
        const { tensor } = read;
        let x = read.from[a] as number;
        let y = read.to[b - 1] as number;
        if (x >= y) continue;
        if ((wantFrom[tensor] as number) < (wantTo[tensor] as number)) {
          x = Math.min(x, wantFrom[tensor] as number);
          y = Math.max(y, wantTo[tensor] as number);
        }
        wantFrom[tensor] = x;
        wantTo[tensor] = y;
        const { rows, bytesPerRow } = tensors[tensor] as Workload['tensors'][number];
        const own =
          part === this.#undivided
            ? share * (y - x)
            : Math.max(0, Math.min(y, rounded(high * rows)) - Math.max(x, rounded(low * rows)));
        bytes += (y - x - own) * bytesPerRow - (toBring[tensor] as number);
        toBring[tensor] = (y - x - own) * bytesPerRow;
      }
      if (index > latest) continue;
      const at = index * ops.length + end;
      transmitted[at] = (transmitted[at] as number) + weight * bytes;
      operations[at] = (operations[at] as number) + weight * Math.max(0, count - fair);
    }
  }
}

function rounded(row: number): number {
  return Math.floor(row + 0.5);
}
