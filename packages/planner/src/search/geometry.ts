/**
 * The row algebra that the search needs: which tensors are alive at a cut, which rows a part reads of tensors made before
 * its volume, and how long a device computes for it. Answers are remembered, since a search asks the same again and again.
 */
import { type DeviceKinds, deviceKinds, type PlanningTask, type Workload } from '@distredge/core';

/** Remembered answers; more are forgotten all at once. */
const REMEMBERED = 200_000;

/** Rows [from, to) of one tensor, as three numbers: tensor, from, to. Several in a row. */
export type Pieces = Int32Array;

/** What is known of the volume from one op to another: by first row and end of a part. */
interface Span {
  readonly needs: Map<number, Pieces>;
  /** Per kind of device. */
  readonly times: Map<number, number>[];
}

/** Has a range of rows, one of many in two arrays, hold [x, y) too; whether it was empty. */
export function widen(from: Int32Array, to: Int32Array, at: number, x: number, y: number): boolean {
  const empty = (from[at] as number) >= (to[at] as number);
  if (empty || x < (from[at] as number)) from[at] = x;
  if (empty || y > (to[at] as number)) to[at] = y;
  return empty;
}

/**
 * The rows of an op that are wanted, written as [first, behind the last): the range that holds what is wanted of each of its outputs,
 * by tensor from `base` on in two arrays; all where it computes only whole. Returns whether there are any.
 */
export function wantedRows(
  { outputs, whole, rows }: Workload['ops'][number],
  from: Int32Array,
  to: Int32Array,
  base: number,
  wanted: Int32Array,
): boolean {
  let a = 0;
  let b = 0;
  for (const tensor of outputs) {
    const x = from[base + tensor] as number;
    const y = to[base + tensor] as number;
    if (x >= y) continue;
    a = a < b ? Math.min(a, x) : x;
    b = Math.max(b, y);
  }
  if (a >= b) return false;
  wanted[0] = whole ? 0 : a;
  wanted[1] = whole ? rows : b;
  return true;
}

export class Geometry {
  readonly task: PlanningTask;
  readonly workload: Workload;
  /** Op that makes a tensor; -1 for inputs of the model. */
  readonly producer: Int32Array;
  /** Last op that reads a tensor; the number of ops where the head or the requester does. */
  readonly lastUse: Int32Array;
  /** Ops after which a volume must end, ascending; the last op is one of them. */
  readonly required: readonly number[];
  /** Ops after which a volume may end, ascending. */
  readonly ends: readonly number[];
  /** How many of the ops before an op cannot be divided. */
  readonly #wholeBefore: Int32Array;
  readonly #kinds: DeviceKinds;
  /** More than any number of rows. */
  readonly #radix: number;
  readonly #live = new Map<number, Int32Array>();
  readonly #spans = new Map<number, Span>();
  #remembered = 0;
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  /** What `wantedRows` writes into. */
  readonly #wanted = new Int32Array(2);

  constructor(task: PlanningTask) {
    const { workload } = task;
    const { ops, tensors } = workload;
    this.task = task;
    this.workload = workload;
    this.producer = new Int32Array(tensors.length).fill(-1);
    this.lastUse = new Int32Array(tensors.length).fill(-1);
    ops.forEach((op, index) => {
      for (const tensor of op.outputs) this.producer[tensor] = index;
      for (const read of op.reads) this.lastUse[read.tensor] = index;
    });
    for (const tensor of [...workload.outputs, ...(workload.head?.reads ?? [])]) this.lastUse[tensor] = ops.length;
    const last = ops.length - 1;
    this.required = [...new Set([...workload.forced.filter((op) => op > 0).map((op) => op - 1), last])].sort(
      (a, b) => a - b,
    );
    this.#wholeBefore = new Int32Array(ops.length + 1);
    ops.forEach((op, index) => {
      this.#wholeBefore[index + 1] = (this.#wholeBefore[index] as number) + (op.whole ? 1 : 0);
    });
    this.#kinds = deviceKinds(task.costs);
    this.ends = ops.map((_, index) => index);
    this.#radix = Math.max(0, ...ops.map((op) => op.rows)) + 1;
    this.#from = new Int32Array(tensors.length);
    this.#to = new Int32Array(tensors.length);
  }

  /** Rows of the tensor whose tiling is the volume that ends with this op. */
  rows(end: number): number {
    return this.workload.ops[end]?.rows ?? 0;
  }

  /** Whether ops start … end can be divided among parts. */
  divisible(start: number, end: number): boolean {
    return this.#wholeBefore[end + 1] === this.#wholeBefore[start];
  }

  /** Tensors made by then that are read later, inputs of the model left out: what parts own when a volume ends. */
  live(end: number): Int32Array {
    let live = this.#live.get(end);
    if (live === undefined) {
      const found: number[] = [];
      for (let t = this.workload.inputs; t < this.producer.length; t++) {
        if ((this.producer[t] as number) <= end && (this.lastUse[t] as number) > end) found.push(t);
      }
      live = Int32Array.from(found);
      this.#live.set(end, live);
    }
    return live;
  }

  /** First row of a tensor that belongs to the part beginning at `row` of the `rows` rows of the end tensor. */
  share(tensor: number, row: number, rows: number): number {
    return Math.floor(((this.workload.tensors[tensor]?.rows ?? 0) * row) / rows + 0.5);
  }

  /** Rows read of tensors made before op `start` by the part [from, to) of the volume start … end. */
  needs(start: number, end: number, from: number, to: number): Pieces {
    const { needs } = this.#span(start, end);
    const key = from * this.#radix + to;
    let pieces = needs.get(key);
    if (pieces === undefined) {
      this.#walk(start, end, from, to, -1);
      pieces = this.#collect(start);
      needs.set(key, pieces);
      this.#remembered++;
    }
    return pieces;
  }

  /** Time the device computes for that part, ms. */
  ms(device: number, start: number, end: number, from: number, to: number): number {
    const { times } = this.#span(start, end);
    const kind = this.#kinds.of[device] as number;
    times[kind] ??= new Map();
    const known = times[kind] as Map<number, number>;
    const key = from * this.#radix + to;
    let ms = known.get(key);
    if (ms === undefined) {
      ms = this.#walk(start, end, from, to, kind);
      known.set(key, ms);
      this.#remembered++;
    }
    return ms;
  }

  #span(start: number, end: number): Span {
    if (this.#remembered > REMEMBERED) {
      this.#spans.clear();
      this.#remembered = 0;
    }
    const key = start * this.workload.ops.length + end;
    let span = this.#spans.get(key);
    if (span === undefined) {
      span = { needs: new Map(), times: [] };
      this.#spans.set(key, span);
    }
    return span;
  }

  /** Leaves the rows wanted of every tensor in #from, #to; returns the time of a kind of device. */
  #walk(start: number, end: number, from: number, to: number, kind: number): number {
    const { ops, tensors } = this.workload;
    const costs = this.#kinds.costs[kind];
    const wantFrom = this.#from.fill(0);
    const wantTo = this.#to.fill(0);
    const rows = this.rows(end);
    for (const tensor of this.live(end)) {
      if ((this.producer[tensor] as number) < start) continue;
      wantFrom[tensor] = this.share(tensor, from, rows);
      wantTo[tensor] = this.share(tensor, to, rows);
    }
    let ms = costs?.partMs ?? 0;
    for (let index = end; index >= start; index--) {
      const op = ops[index] as Workload['ops'][number];
      if (!wantedRows(op, wantFrom, wantTo, 0, this.#wanted)) continue;
      const [a, b] = [this.#wanted[0] as number, this.#wanted[1] as number];
      let bytes = 0;
      for (const read of op.reads) {
        const x = read.from[a] as number;
        const y = read.to[b - 1] as number;
        if (x >= y) continue;
        const tensor = read.tensor;
        bytes += (y - x) * (tensors[tensor]?.bytesPerRow ?? 0);
        widen(wantFrom, wantTo, tensor, x, y);
      }
      if (costs !== undefined) ms += (costs.opMs[index]?.[b - a] ?? 0) + bytes * (costs.readMsPerByte[index] ?? 0);
    }
    return ms;
  }

  #collect(start: number): Pieces {
    const found: number[] = [];
    for (let tensor = 0; tensor < this.#from.length; tensor++) {
      const from = this.#from[tensor] as number;
      const to = this.#to[tensor] as number;
      if (from < to && (this.producer[tensor] as number) < start) found.push(tensor, from, to);
    }
    return Int32Array.from(found);
  }
}
