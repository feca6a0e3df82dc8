/**
 * Devices that share the rows of every volume in fixed proportions, and where volumes then best end: by dynamic programming over an
 * estimate. A volume takes as long as its slowest device, and as bringing the rows that its parts lack. Parts in chunks bring rows while
 * others compute, so that only one of them waits, and early volumes compute while the inputs arrive; nothing else overlaps.
 *
 * The rows that a part wants of what is made before its volume follow from walking back op by op from the volume's end, so one walk
 * gives the estimates for all places where the volume may start.
 */
import type { Workload } from '@distredge/core';
import { BYTES_PER_MS } from '../units.js';
import type { Geometry } from './geometry.js';
import type { SearchPart, SearchVolume } from './parts.js';

/** Cuts every part into chunks of a height of two rows at least. */
export function inChunks(parts: readonly SearchPart[], chunks: number): readonly SearchPart[] {
  if (chunks === 1) return parts;
  return parts.flatMap((part) => {
    const height = part.to - part.from;
    const n = Math.min(chunks, Math.max(1, Math.floor(height / 2)));
    const cuts = Array.from({ length: n + 1 }, (_, i) => part.from + Math.round((height * i) / n));
    return cuts.slice(1).map((to, i): SearchPart => ({ ...part, from: cuts[i] as number, to }));
  });
}

/** Starts of a volume in a row that are worse than ending a volume after every op, after which no earlier start is looked at. */
const PATIENCE = 12;

/** A volume from one op to another. Times in ms. */
interface Estimate {
  readonly start: number;
  /** Of the slowest device. */
  readonly computeMs: number;
  /** Bringing the rows that it lacks; of the first volume, the model's inputs from the requester. */
  readonly bringMs: number;
  /** Chunks of a part, in the mean. */
  readonly chunks: number;
}

/** A volume that ends a plan so far, and how it came about. Times in ms. */
interface Step {
  readonly ms: number;
  /** Bringing the inputs. */
  readonly inputMs: number;
  /** What follows the inputs while they arrive, and what of it is left when the last of them are there. */
  readonly streamMs: number;
  readonly lastMs: number;
  /** Volumes so far. */
  readonly depth: number;
  readonly start: number;
  /** Of the volume before. */
  readonly phase: number;
}

export class Team {
  readonly #geometry: Geometry;
  readonly #devices: readonly number[];
  readonly #weights: readonly number[];
  readonly #best: number;
  readonly #ends: readonly number[];
  /** Ops with which a volume may start. */
  readonly #starts: ReadonlySet<number>;
  /** By number of chunks. */
  readonly #walks = new Map<number, Walk>();

  /**
   * @param devices from top to bottom
   * @param weights share of the rows of each, up to a factor
   * @param best the one of them that computes what cannot be divided
   * @param ends ops after which a volume may end, ascending; those after which one must are among them
   */
  constructor(
    geometry: Geometry,
    devices: readonly number[],
    weights: readonly number[],
    best: number,
    ends: readonly number[],
  ) {
    this.#geometry = geometry;
    this.#devices = devices;
    this.#weights = weights;
    this.#best = best;
    this.#ends = ends;
    this.#starts = new Set([0, ...ends.map((end) => end + 1)]);
  }

  /** Volumes with these ends. */
  volumes(ends: readonly number[]): SearchVolume[] {
    return ends.map((end, i) => this.#volume(i === 0 ? 0 : (ends[i - 1] as number) + 1, end, 1));
  }

  /**
   * The volumes that take least.
   * @param chunks into which parts are cut: first where rows follow the inputs while those arrive, then where they do not any more
   */
  best(chunks: readonly [number, number] = [1, 1]): SearchVolume[] {
    const steps = new Map<number, readonly (Step | undefined)[]>();
    const phases = chunks[0] === 1 ? [0] : [0, 1];
    for (const end of this.#ends) {
      const row = phases.map((phase): Step | undefined => {
        let best: Step | undefined;
        for (const estimate of this.#walk(chunks[phase] as number).back(end, this.#starts)) {
          if (estimate.start === 0) {
            if (phase === 0) best = lesser(best, firstStep(estimate));
            continue;
          }
          const earlier = steps.get(estimate.start - 1);
          for (let before = 0; before <= phase; before++) {
            const step = earlier?.[before];
            if (step !== undefined) best = lesser(best, nextStep(step, before, phase, estimate));
          }
        }
        return best;
      });
      steps.set(end, row);
    }
    return this.#read(steps, chunks);
  }

  #read(steps: ReadonlyMap<number, readonly (Step | undefined)[]>, chunks: readonly [number, number]): SearchVolume[] {
    const last = this.#ends.at(-1) as number;
    const [first, second] = steps.get(last) as readonly (Step | undefined)[];
    let phase = second !== undefined && (first === undefined || second.ms < first.ms) ? 1 : 0;
    const volumes: SearchVolume[] = [];
    for (let end = last; end >= 0; ) {
      const step = steps.get(end)?.[phase] as Step;
      volumes.unshift(this.#volume(step.start, end, chunks[phase] as number));
      end = step.start - 1;
      phase = step.phase;
    }
    return volumes;
  }

  #volume(start: number, end: number, chunks: number): SearchVolume {
    const geometry = this.#geometry;
    const rows = geometry.rows(end);
    const parts = geometry.divisible(start, end)
      ? inChunks(tile(this.#devices, this.#weights, rows), chunks)
      : [{ device: this.#best, from: 0, to: rows, key: 0 }];
    return { start, end, parts };
  }

  #walk(chunks: number): Walk {
    let walk = this.#walks.get(chunks);
    if (walk === undefined) {
      walk = new Walk(this.#geometry, this.#devices, this.#weights, this.#best, chunks);
      this.#walks.set(chunks, walk);
    }
    return walk;
  }
}

function lesser(a: Step | undefined, b: Step): Step {
  return a !== undefined && a.ms <= b.ms ? a : b;
}

function firstStep({ start, computeMs, bringMs, chunks }: Estimate): Step {
  const lastMs = computeMs / chunks;
  const ms = Math.max(bringMs, computeMs - lastMs) + lastMs;
  return { ms, inputMs: bringMs, streamMs: computeMs, lastMs, depth: 1, start, phase: 0 };
}

/** @param before phase of the volume before */
function nextStep(step: Step, before: number, phase: number, { start, computeMs, bringMs, chunks }: Estimate): Step {
  const { inputMs } = step;
  const more = computeMs + bringMs;
  const depth = step.depth + 1;
  const streamMs = step.streamMs + more;
  // A chunk waits for halo rows of the next chunk of the volume before: each volume lags behind by a chunk.
  const lastMs = step.lastMs + more * Math.min(1, depth / chunks);
  const ms = phase === 1 ? step.ms + more : Math.max(inputMs, streamMs - lastMs) + lastMs;
  return { ms, inputMs, streamMs, lastMs, depth, start, phase: before };
}

/** Tiles rows in proportion to the weights; devices whose share rounds to nothing are left out. */
function tile(devices: readonly number[], weights: readonly number[], rows: number): SearchPart[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const parts: SearchPart[] = [];
  let sum = 0;
  let from = 0;
  devices.forEach((device, i) => {
    sum += weights[i] as number;
    const to = Math.floor((sum / total) * rows + 0.5);
    if (to > from) parts.push({ device, from, to, key: 0 });
    from = to;
  });
  return parts;
}

/** Walks back from the end of a volume that a team shares. */
class Walk {
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
      let a = 0;
      let b = 0;
      for (const tensor of op.outputs) {
        let x = this.#from[base + tensor] as number;
        let y = this.#to[base + tensor] as number;
        if ((geometry.lastUse[tensor] as number) > this.#end) {
          const from = geometry.share(tensor, top, rows);
          const to = geometry.share(tensor, bottom, rows);
          if (x >= y) [x, y] = [from, to];
          else if (from < to) [x, y] = [Math.min(x, from), Math.max(y, to)];
        }
        if (x >= y) continue;
        if (a >= b) [a, b] = [x, y];
        else [a, b] = [Math.min(a, x), Math.max(b, y)];
      }
      if (a >= b) continue;
      if (op.whole) [a, b] = [0, op.rows];
      let bytes = 0;
      for (const { tensor, from, to } of op.reads) {
        const x = from[a] as number;
        const y = to[b - 1] as number;
        if (x >= y) continue;
        bytes += (y - x) * (tensors[tensor]?.bytesPerRow ?? 0);
        const at = base + tensor;
        if ((this.#from[at] as number) >= (this.#to[at] as number)) {
          this.#from[at] = x;
          this.#to[at] = y;
          if (!this.#open.includes(tensor)) this.#open.push(tensor);
        } else {
          if (x < (this.#from[at] as number)) this.#from[at] = x;
          if (y > (this.#to[at] as number)) this.#to[at] = y;
        }
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
    const { network } = task;
    const { length } = workload.tensors;
    let together = 0;
    let slowest = 0;
    let latency = 0;
    let bytes = 0;
    for (let part = first; part <= last; part++) {
      const device = this.#device[part] as number;
      if (part === first || device !== this.#device[part - 1]) bytes = 0;
      const before = bytes;
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
      if (bytes === before) continue;
      const link = network.devices[device];
      const rate = (link?.mbps ?? 1) * BYTES_PER_MS;
      together += (bytes - before) / rate;
      slowest = Math.max(slowest, bytes / rate);
      latency = Math.max(latency, link?.latencyMs ?? 0);
    }
    return latency + (network.medium === 'shared' ? together : slowest) / this.#chunksHere;
  }

  /** Bringing the model's inputs from the requester. */
  #inputMs(first: number, last: number): number {
    const { workload, task } = this.#geometry;
    const { requester, devices } = task.network;
    const { length } = workload.tensors;
    let together = 0;
    let slowest = 0;
    let bytes = 0;
    for (let part = first; part <= last; part++) {
      const device = this.#device[part] as number;
      if (part === first || device !== this.#device[part - 1]) bytes = 0;
      const before = bytes;
      for (let tensor = 0; tensor < workload.inputs; tensor++) {
        const at = part * length + tensor;
        bytes += ((this.#to[at] as number) - (this.#from[at] as number)) * (workload.tensors[tensor]?.bytesPerRow ?? 0);
      }
      together += (bytes - before) / (requester.mbps * BYTES_PER_MS);
      slowest = Math.max(slowest, bytes / ((devices[device]?.mbps ?? 1) * BYTES_PER_MS));
    }
    return Math.max(together, slowest);
  }
}
