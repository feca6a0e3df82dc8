/**
 * What the fast simulator remembers of a task. For consecutive ops [start, end] a **span** knows which tensors are alive when it
 * ends; for rows [from, to) of its end tensor a **work** knows what a part reads, makes and owns, and what it takes on each kind
 * of device. The plans of one search have most of their parts in common, so works are made once and kept, up to a limit.
 */
import { deviceKinds } from './kinds.js';
import type { DeviceCosts, PlanningTask } from './task.js';
import type { Workload } from './workload.js';

/** Works kept, of all spans together; beyond, all are forgotten. Some 500 bytes each. */
const MAX_WORKS = 1 << 16;

/** One part of a span, for any device. */
export interface PartWork {
  /** Tensor, from, to: rows read of tensors made before the span. */
  readonly needs: Int32Array;
  /** Whether some of them are rows of the model's inputs. */
  readonly readsInput: boolean;
  /** From, to of every live tensor of the span: rows made, halo included. */
  readonly holds: Int32Array;
  /** From, to of every live tensor of the span: rows owned. */
  readonly owns: Int32Array;
  /** Bytes read and owned. */
  readonly bytes: number;
  /** Which ops of the span it takes part in; an index of the span's op sets. */
  readonly opSet: number;
  /** Rows made by every op of the span. */
  readonly rows: Int32Array;
  /** Bytes read by every op of the span. */
  readonly readBytes: Float64Array;
  /** Time by kind of device; NaN where not asked yet. */
  readonly ms: Float64Array;
}

export interface Span {
  readonly start: number;
  readonly end: number;
  /** Rows of the end tensor. */
  readonly height: number;
  /** Tensors made by the span and alive when it ends. */
  readonly live: readonly number[];
  /** Place of a tensor among them. */
  readonly slots: Int32Array;
  /** Ops that cannot be divided, counted from the start of the span. */
  readonly wholes: readonly number[];
  readonly works: Map<number, PartWork>;
  /** Sets of ops met so far, with the bytes of their weights. The first one holds all ops. */
  readonly opSets: { readonly ops: ReadonlySet<number>; readonly weightBytes: number }[];
}

/** Undivided tensors that a gather or a head reads. */
export interface Wholes {
  readonly needs: Int32Array;
  readonly readsInput: boolean;
  readonly bytes: number;
}

export class Tables {
  /** Op that makes each tensor; -1 for the model's inputs. */
  readonly madeBy: Int32Array;
  /** Last op that reads each tensor; the number of ops for the head and outputs. */
  readonly readBy: Int32Array;
  /** Kind of each device: devices with the same times are one kind. */
  readonly kinds: Int32Array;
  readonly #workload: Workload;
  readonly #kindCosts: readonly DeviceCosts[];
  readonly #spans: (Span | undefined)[] = [];
  readonly #liveAt: (Wholes | undefined)[] = [];
  #kept = 0;
  /** Rows wanted of each tensor, while a work is made. */
  readonly #from: Int32Array;
  readonly #to: Int32Array;

  constructor({ workload, costs }: PlanningTask) {
    this.#workload = workload;
    const { tensors, ops, head, outputs } = workload;
    this.madeBy = new Int32Array(tensors.length).fill(-1);
    this.readBy = new Int32Array(tensors.length).fill(-1);
    ops.forEach((op, index) => {
      for (const tensor of op.outputs) this.madeBy[tensor] = index;
      for (const { tensor } of op.reads) this.readBy[tensor] = index;
    });
    for (const tensor of [...outputs, ...(head?.reads ?? [])]) this.readBy[tensor] = ops.length;
    const kinds = deviceKinds(costs);
    this.kinds = kinds.of;
    this.#kindCosts = kinds.costs;
    this.#from = new Int32Array(tensors.length);
    this.#to = new Int32Array(tensors.length);
  }

  span(start: number, end: number): Span {
    const key = start * this.#workload.ops.length + end;
    const known = this.#spans[key];
    if (known !== undefined) return known;
    const { ops, tensors } = this.#workload;
    const live = tensors.flatMap((_, tensor) => {
      const made = this.madeBy[tensor] as number;
      return made >= start && made <= end && (this.readBy[tensor] as number) > end ? [tensor] : [];
    });
    const slots = new Int32Array(tensors.length).fill(-1);
    for (const [slot, tensor] of live.entries()) slots[tensor] = slot;
    const inside = ops.slice(start, end + 1);
    const all = { ops: new Set(inside.keys()), weightBytes: inside.reduce((sum, op) => sum + op.weightBytes, 0) };
    const height = tensors[ops[end]?.outputs[0] ?? -1]?.rows ?? 0;
    const wholes = inside.flatMap((op, index) => (op.whole ? [index] : []));
    const span: Span = { start, end, height, live, slots, wholes, works: new Map(), opSets: [all] };
    this.#spans[key] = span;
    return span;
  }

  work(span: Span, from: number, to: number): PartWork {
    const key = from * (span.height + 1) + to;
    const known = span.works.get(key);
    if (known !== undefined) return known;
    if (this.#kept >= MAX_WORKS) {
      for (const other of this.#spans) other?.works.clear();
      this.#kept = 0;
    }
    const work = this.#make(span, from, to);
    span.works.set(key, work);
    this.#kept++;
    return work;
  }

  /** Time of a work on a kind of device, op after op as the reference adds them up. */
  time({ start, end, live }: Span, work: PartWork, kind: number): number {
    const known = work.ms[kind] as number;
    if (!Number.isNaN(known)) return known;
    const { opMs, readMsPerByte } = this.#kindCosts[kind] as DeviceCosts;
    let ms = 0;
    for (let op = start; op <= end; op++) {
      const rows = work.rows[op - start] as number;
      if (rows === 0) continue;
      ms +=
        ((opMs[op] as Float64Array)[rows] as number) +
        (readMsPerByte[op] as number) * (work.readBytes[op - start] as number);
    }
    ms += this.#edgesMs(live, work, kind);
    work.ms[kind] = ms;
    return ms;
  }

  /** What a work takes beyond its ops: to be started, and for the rows that it reads from outside and owns. */
  #edgesMs(live: readonly number[], { needs, owns }: PartWork, kind: number): number {
    const { tensors } = this.#workload;
    const { partMs = 0, edgeMsPerByte } = this.#kindCosts[kind] as DeviceCosts;
    let ms = partMs;
    if (edgeMsPerByte === undefined) return ms;
    const cross = (tensor: number, rows: number): void => {
      if (rows > 0) ms += (edgeMsPerByte[tensor] ?? 0) * rows * (tensors[tensor]?.bytesPerRow ?? 0);
    };
    for (let i = 0; i < needs.length; i += 3)
      cross(needs[i] as number, (needs[i + 2] as number) - (needs[i + 1] as number));
    live.forEach((tensor, slot) => {
      cross(tensor, (owns[2 * slot + 1] as number) - (owns[2 * slot] as number));
    });
    return ms;
  }

  /** Tensors made before op `boundary` that are alive there: what a gather moves. */
  liveAt(boundary: number): Wholes {
    const known = this.#liveAt[boundary];
    if (known !== undefined) return known;
    const live: number[] = [];
    this.madeBy.forEach((made, tensor) => {
      if (made >= 0 && made < boundary && (this.readBy[tensor] as number) >= boundary) live.push(tensor);
    });
    const wholes = this.wholes(live);
    this.#liveAt[boundary] = wholes;
    return wholes;
  }

  /** All rows of some tensors. */
  wholes(list: readonly number[]): Wholes {
    const { tensors, inputs } = this.#workload;
    let bytes = 0;
    const needs = list.flatMap((tensor) => {
      const { rows = 0, bytesPerRow = 0 } = tensors[tensor] ?? {};
      bytes += rows * bytesPerRow;
      return rows > 0 ? [tensor, 0, rows] : [];
    });
    return { needs: Int32Array.from(needs), readsInput: list.some((tensor) => tensor < inputs), bytes };
  }

  /** The set of ops in one of two sets of a span. */
  union(span: Span, a: number, b: number): number {
    if (a === b || a === 0) return a;
    if (b === 0) return b;
    return this.#opSet(span, new Set([...(span.opSets[a]?.ops ?? []), ...(span.opSets[b]?.ops ?? [])]));
  }

  #opSet(span: Span, ops: ReadonlySet<number>): number {
    const known = span.opSets.findIndex((set) => set.ops.size === ops.size && [...ops].every((op) => set.ops.has(op)));
    if (known >= 0) return known;
    let weightBytes = 0;
    for (const op of ops) weightBytes += this.#workload.ops[span.start + op]?.weightBytes ?? 0;
    return span.opSets.push({ ops, weightBytes }) - 1;
  }

  /** From the rows owned back through the ops of the span; of every tensor one range is made. */
  #make(span: Span, from: number, to: number): PartWork {
    const { start, end, height, live } = span;
    const { tensors, ops, inputs } = this.#workload;
    const [wantFrom, wantTo] = [this.#from, this.#to];
    const want = (tensor: number, a: number, b: number): void => {
      const empty = (wantTo[tensor] as number) <= (wantFrom[tensor] as number);
      if (empty || a < (wantFrom[tensor] as number)) wantFrom[tensor] = a;
      if (empty || b > (wantTo[tensor] as number)) wantTo[tensor] = b;
    };
    const bytesPerRow = (tensor: number): number => tensors[tensor]?.bytesPerRow ?? 0;
    wantFrom.fill(0);
    wantTo.fill(0);
    const owns = new Int32Array(2 * live.length);
    let bytes = 0;
    live.forEach((tensor, slot) => {
      const all = tensors[tensor]?.rows ?? 0;
      const a = Math.floor((2 * from * all + height) / (2 * height));
      const b = Math.floor((2 * to * all + height) / (2 * height));
      owns[2 * slot] = a;
      owns[2 * slot + 1] = b;
      bytes += (b - a) * bytesPerRow(tensor);
      if (b > a) want(tensor, a, b);
    });
    const rows = new Int32Array(end - start + 1);
    const readBytes = new Float64Array(end - start + 1);
    const holds = new Int32Array(2 * live.length);
    const outer = new Set<number>();
    for (let index = end; index >= start; index--) {
      const op = ops[index];
      if (op === undefined) continue;
      let a = Number.POSITIVE_INFINITY;
      let b = 0;
      for (const output of op.outputs) {
        if ((wantTo[output] as number) <= (wantFrom[output] as number)) continue;
        a = Math.min(a, wantFrom[output] as number);
        b = Math.max(b, wantTo[output] as number);
      }
      if (b <= a) continue;
      if (op.whole) {
        a = 0;
        b = op.rows;
      }
      rows[index - start] = b - a;
      for (const output of op.outputs) {
        const slot = span.slots[output] as number;
        if (slot < 0) continue;
        holds[2 * slot] = a;
        holds[2 * slot + 1] = b;
      }
      for (const { tensor, from: first, to: last } of op.reads) {
        const needFrom = first[a] as number;
        const needTo = last[b - 1] as number;
        if (needTo <= needFrom) continue;
        want(tensor, needFrom, needTo);
        readBytes[index - start] = (readBytes[index - start] as number) + (needTo - needFrom) * bytesPerRow(tensor);
        if ((this.madeBy[tensor] as number) < start) outer.add(tensor);
      }
    }
    const needs: number[] = [];
    for (const tensor of outer) {
      needs.push(tensor, wantFrom[tensor] as number, wantTo[tensor] as number);
      bytes += ((wantTo[tensor] as number) - (wantFrom[tensor] as number)) * bytesPerRow(tensor);
    }
    const taken = new Set<number>();
    rows.forEach((count, op) => {
      if (count > 0) taken.add(op);
    });
    return {
      needs: Int32Array.from(needs),
      readsInput: [...outer].some((tensor) => tensor < inputs),
      holds,
      owns,
      bytes,
      opSet: this.#opSet(span, taken),
      rows,
      readBytes,
      ms: new Float64Array(this.#kindCosts.length).fill(Number.NaN),
    };
  }
}
