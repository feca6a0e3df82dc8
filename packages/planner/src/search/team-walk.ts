/**
 * What the volumes that a team shares take, by an estimate. The rows that a part wants of what is made before its volume follow from
 * walking back op by op from the volume's end, so one walk gives the estimates for all places where the volume may start.
 */
import type { Workload } from '@distredge/core';
import { BYTES_PER_MS } from '../units.js';
import { type Geometry, wantedRows, widen } from './geometry.js';
import { tiled } from './moves-shared.js';
import { inChunks, type SearchPart } from './parts.js';

/** Starts of a volume in a row that are worse than ending a volume after every op, after which no earlier start is looked at. */
const PATIENCE = 12;

/** A volume from one op to another. Times in ms. */
export interface Estimate {
  readonly start: number;
  /** Of the slowest device. */
  readonly computeMs: number;
  /** Bringing the rows that it lacks; of the first volume, the model's inputs from the requester. */
  readonly bringMs: number;
  /** Chunks of a part, in the mean. */
  readonly chunks: number;
}

/** Tiles rows in proportion to the weights; devices whose share rounds to nothing are left out. */
export function tile(devices: readonly number[], weights: readonly number[], rows: number): SearchPart[] {
  return tiled(
    devices.map((device) => ({ device, from: 0, to: rows, key: 0 })),
    weights,
  );
}

/** Walks back from the end of a volume that a team shares. */
export class TeamWalk {
  readonly #geometry: Geometry;
  readonly #devices: readonly number[];
  readonly #weights: readonly number[];
  readonly #best: number;
  /** By device: the share of the height that it has, from 0 to 1. */
  readonly #low: Float64Array;
  readonly #high: Float64Array;
  readonly #chunks: number;
  /** Of the volume walked back from, in the mean. */
  #chunksHere = 1;
  /** By end: what is known. */
  readonly #known: Estimate[][] = [];
  /** What the ops before each one take together where every op is a volume of its own. */
  #apart: Float64Array | undefined;
  /** The device of each part, those of one device one after another; the last part is the whole volume on the best device. */
  readonly #device: Int32Array;
  readonly #ms: Float64Array;
  /** By part and tensor: rows wanted. */
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  /** Tensors wanted of which the op is not in the volume yet. */
  #open: number[] = [];
  #end = 0;
  #whole = false;
  readonly #edge: Int32Array;
  /** What `wantedRows` writes into. */
  readonly #wanted = new Int32Array(2);

  constructor(
    geometry: Geometry,
    devices: readonly number[],
    weights: readonly number[],
    best: number,
    chunks: number,
  ) {
    const { tensors } = geometry.workload;
    this.#geometry = geometry;
    this.#devices = devices;
    this.#weights = weights;
    this.#best = best;
    this.#chunks = chunks;
    const { length } = geometry.task.costs;
    this.#low = new Float64Array(length);
    this.#high = new Float64Array(length);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 0;
    devices.forEach((device, i) => {
      this.#low[device] = sum / total;
      sum += weights[i] as number;
      this.#high[device] = sum / total;
    });
    const parts = devices.length * chunks + 1;
    this.#device = new Int32Array(parts);
    this.#ms = new Float64Array(parts);
    this.#from = new Int32Array(parts * tensors.length);
    this.#to = new Int32Array(parts * tensors.length);
    this.#edge = new Int32Array(2 * parts);
  }

  /**
   * Of the volumes with this end, the latest start first.
   * @param starts ops with which a volume may start; always the same
   */
  back(end: number, starts: ReadonlySet<number>): readonly Estimate[] {
    const known = this.#known[end];
    if (known !== undefined) return known;
    const { required } = this.#geometry;
    const apart = this.#sumsApart();
    const found: Estimate[] = [];
    let worse = 0;
    this.#begin(end);
    for (let start = end; start >= 0; start--) {
      if (start < end && required.includes(start)) break;
      this.#take(start);
      if (!starts.has(start)) continue;
      const estimate = this.#estimateAt(start);
      found.push(estimate);
      worse =
        estimate.computeMs + estimate.bringMs > (apart[end + 1] as number) - (apart[start] as number) ? worse + 1 : 0;
      if (worse > PATIENCE) break;
    }
    this.#known[end] = found;
    return found;
  }

  #sumsApart(): Float64Array {
    if (this.#apart === undefined) {
      const { length } = this.#geometry.workload.ops;
      this.#apart = new Float64Array(length + 1);
      for (let op = 0; op < length; op++) {
        this.#begin(op);
        this.#take(op);
        const { computeMs, bringMs } = this.#estimateAt(op);
        this.#apart[op + 1] = (this.#apart[op] as number) + computeMs + bringMs;
      }
    }
    return this.#apart;
  }

  #begin(end: number): void {
    const geometry = this.#geometry;
    const parts = this.#device.length;
    const rows = geometry.rows(end);
    this.#from.fill(0);
    this.#to.fill(0);
    this.#open = [];
    this.#end = end;
    this.#whole = false;
    const edge = this.#edge.fill(0);
    this.#device.fill(this.#best);
    const whole = tile(this.#devices, this.#weights, rows);
    const cut = inChunks(whole, this.#chunks);
    this.#chunksHere = cut.length / Math.max(1, whole.length);
    cut.forEach(({ device, from, to }, at) => {
      this.#device[at] = device;
      edge[2 * at] = from;
      edge[2 * at + 1] = to;
    });
    edge[2 * parts - 1] = rows;
    for (let part = 0; part < parts; part++) {
      const some = (edge[2 * part] as number) < (edge[2 * part + 1] as number);
      this.#ms[part] = some ? (geometry.task.costs[this.#device[part] as number]?.partMs ?? 0) : 0;
    }
  }

  /** Takes one more op into the volume: the one before those that it has. */
  #take(index: number): void {
    const geometry = this.#geometry;
    const { ops, tensors } = geometry.workload;
    const { costs } = geometry.task;
    const { length } = tensors;
    const op = ops[index] as Workload['ops'][number];
    const rows = geometry.rows(this.#end);
    if (op.whole) this.#whole = true;
    for (const tensor of op.outputs) {
      const at = this.#open.indexOf(tensor);
      if (at >= 0) this.#open.splice(at, 1);
    }
    for (let part = 0; part < this.#device.length; part++) {
      const top = this.#edge[2 * part] as number;
      const bottom = this.#edge[2 * part + 1] as number;
      if (top >= bottom) continue;
      const base = part * length;
      // What is read behind the volume too, is wanted by share.
      for (const tensor of op.outputs) {
        if ((geometry.lastUse[tensor] as number) <= this.#end) continue;
        const from = geometry.share(tensor, top, rows);
        const to = geometry.share(tensor, bottom, rows);
        if (from < to) widen(this.#from, this.#to, base + tensor, from, to);
      }
      if (!wantedRows(op, this.#from, this.#to, base, this.#wanted)) continue;
      const [a, b] = [this.#wanted[0] as number, this.#wanted[1] as number];
      let bytes = 0;
      for (const { tensor, from, to } of op.reads) {
        const x = from[a] as number;
        const y = to[b - 1] as number;
        if (x >= y) continue;
        bytes += (y - x) * (tensors[tensor]?.bytesPerRow ?? 0);
        const isNew = widen(this.#from, this.#to, base + tensor, x, y);
        if (isNew && !this.#open.includes(tensor)) this.#open.push(tensor);
      }
      const own = costs[this.#device[part] as number];
      const ms = (own?.opMs[index]?.[b - a] ?? 0) + bytes * (own?.readMsPerByte[index] ?? 0);
      this.#ms[part] = (this.#ms[part] as number) + ms;
    }
  }

  #estimateAt(start: number): Estimate {
    const parts = this.#device.length - 1;
    const [first, last] = this.#whole ? [parts, parts] : [0, parts - 1];
    let computeMs = 0;
    let sum = 0;
    for (let part = first; part <= last; part++) {
      sum = (part > first && this.#device[part] === this.#device[part - 1] ? sum : 0) + (this.#ms[part] as number);
      if (sum > computeMs) computeMs = sum;
    }
    const bringMs = start === 0 ? this.#inputMs(first, last) : this.#bringMs(first, last);
    return { start, computeMs, chunks: this.#whole ? 1 : this.#chunksHere, bringMs };
  }

  /** Bringing what the parts lack of what others of the team have. */
  #bringMs(first: number, last: number): number {
    const { workload, task } = this.#geometry;
    const { length } = workload.tensors;
    const { slowestMs, togetherMs, latencyMs } = this.#transfer(first, last, (part, device) => {
      let bytes = 0;
      for (const tensor of this.#open) {
        if (tensor < workload.inputs) continue;
        const from = this.#from[part * length + tensor] as number;
        const to = this.#to[part * length + tensor] as number;
        if (from >= to) continue;
        const { rows, bytesPerRow } = workload.tensors[tensor] as Workload['tensors'][number];
        const x = Math.floor(rows * (this.#low[device] as number) + 0.5);
        const y = Math.floor(rows * (this.#high[device] as number) + 0.5);
        bytes += (to - from - Math.max(0, Math.min(to, y) - Math.max(from, x))) * bytesPerRow;
      }
      return bytes;
    });
    return latencyMs + (task.network.medium === 'shared' ? togetherMs : slowestMs) / this.#chunksHere;
  }

  /** Bringing the model's inputs from the requester. */
  #inputMs(first: number, last: number): number {
    const { workload, task } = this.#geometry;
    const { tensors, inputs } = workload;
    let all = 0;
    const { slowestMs } = this.#transfer(first, last, (part) => {
      let bytes = 0;
      for (let tensor = 0; tensor < inputs; tensor++) {
        const at = part * tensors.length + tensor;
        bytes += ((this.#to[at] as number) - (this.#from[at] as number)) * (tensors[tensor]?.bytesPerRow ?? 0);
      }
      all += bytes;
      return bytes;
    });
    return Math.max(all / (task.network.requester.mbps * BYTES_PER_MS), slowestMs);
  }

  /** What bytes for these parts take on the slowest device's link, on all links together, and the longest latency, ms. */
  #transfer(
    first: number,
    last: number,
    bytesFor: (part: number, device: number) => number,
  ): { readonly slowestMs: number; readonly togetherMs: number; readonly latencyMs: number } {
    const { devices } = this.#geometry.task.network;
    let [slowestMs, togetherMs, latencyMs, ownMs] = [0, 0, 0, 0];
    for (let part = first; part <= last; part++) {
      const device = this.#device[part] as number;
      if (part === first || device !== this.#device[part - 1]) ownMs = 0;
      const bytes = bytesFor(part, device);
      if (bytes === 0) continue;
      const link = devices[device];
      const ms = bytes / ((link?.mbps ?? 1) * BYTES_PER_MS);
      ownMs += ms;
      togetherMs += ms;
      slowestMs = Math.max(slowestMs, ownMs);
      latencyMs = Math.max(latencyMs, link?.latencyMs ?? 0);
    }
    return { slowestMs, togetherMs, latencyMs };
  }
}
