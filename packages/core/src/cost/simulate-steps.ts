/**
 * A plan as steps in flat arrays, for the fast simulator. Steps are numbered volume by volume, from top to bottom, the head
 * last; that is also their default order. The arrays are used again for every plan.
 */
import { DistrEdgeError } from '../errors.js';
import type { PlanGather, PlanPart } from '../plan/plan.js';
import { checkWorkPlan, wholeTwice } from './check-plan.js';
import { partialBytes, weightsOf } from './head.js';
import type { PartWork, Span, Tables, Wholes } from './simulate-tables.js';
import type { DeviceCosts, PlanningTask, WorkPlan, WorkVolume } from './task.js';

const NO_NEEDS: Int32Array = new Int32Array(0);

export class Steps {
  count = 0;
  /** Number of the plan's volumes, gathers included. */
  volumes = 0;
  device: Int32Array = new Int32Array(0);
  /** Number of volumes for the head. */
  volume: Int32Array = new Int32Array(0);
  /** Index in the volume's or the head's list of parts. */
  part: Int32Array = new Int32Array(0);
  ms: Float64Array = new Float64Array(0);
  /** Place in the schedule. */
  place: Int32Array = new Int32Array(0);
  /** Steps in order of the schedule. */
  sequence: Int32Array = new Int32Array(0);
  /** The next step of the same device in the schedule, or -1. */
  next: Int32Array = new Int32Array(0);
  /** The next step of the same device and volume, or -1. */
  sibling: Int32Array = new Int32Array(0);
  /** Tensor, from, to. */
  readonly needs: Int32Array[] = [];
  readonly readsInput: boolean[] = [];
  /** Undefined for gathers and the head. */
  readonly work: (PartWork | undefined)[] = [];
  /** First step of every volume and of the head. */
  readonly base: number[] = [];
  /** Undefined for a gather. */
  readonly spans: (Span | undefined)[] = [];
  /** First step of a device in a volume, or -1: [volume × devices + device]. */
  first: Int32Array = new Int32Array(0);
  /** First step of every device in the schedule, or -1. */
  readonly queue: Int32Array;
  /** The plan's volume that makes every op. */
  readonly volumeOf: Int32Array;
  /** Steps that are gathers, each with the op before which it stands. */
  readonly gathers: { readonly step: number; readonly boundary: number }[] = [];
  /** The last step of the head, or -1. */
  rest = -1;
  /** Whether the steps before it in the head make partial outputs. */
  headCut = false;
  /** Bytes that every device needs. */
  readonly memory: Float64Array;

  readonly #task: PlanningTask;
  readonly #tables: Tables;
  readonly #head: Wholes;
  /** Weights of the head around the layer that can be cut. */
  readonly #beforeBytes: number;
  readonly #afterBytes: number;
  readonly #largest: Float64Array;
  /** Per device and volume at hand: which set of the span's ops it has weights of; -1 for none. */
  readonly #opSets: Int32Array;
  /** Whether a device's weights hold the head's first ops. */
  readonly #headOn: Uint8Array;
  /** Rows of every device in the last volume. */
  readonly #shares: Float64Array;
  /** Step of every part, in the order of the lists; -1 for empty ones. */
  #stepOf: Int32Array = new Int32Array(0);
  #seen: Uint8Array = new Uint8Array(0);
  /** Where each volume's parts begin in these lists. */
  readonly #listed: number[] = [];

  constructor(task: PlanningTask, tables: Tables) {
    const devices = task.costs.length;
    this.#task = task;
    this.#tables = tables;
    this.#head = tables.wholes(task.workload.head?.reads ?? []);
    this.#beforeBytes = weightsOf(task.workload.head?.before ?? []);
    this.#afterBytes = weightsOf(task.workload.head?.after ?? []);
    this.#largest = new Float64Array(devices);
    this.#shares = new Float64Array(devices);
    this.#opSets = new Int32Array(devices);
    this.#headOn = new Uint8Array(devices);
    this.queue = new Int32Array(devices);
    this.memory = new Float64Array(devices);
    this.volumeOf = new Int32Array(task.workload.ops.length);
  }

  /** Reads a plan. Throws `PLAN_INVALID` where it does not fit the task. */
  read(plan: WorkPlan): void {
    const { volumes } = plan;
    const devices = this.queue.length;
    this.#reserve(plan);
    this.volumes = volumes.length;
    this.count = 0;
    this.gathers.length = 0;
    this.memory.fill(0);
    this.#largest.fill(0);
    this.first.fill(-1, 0, volumes.length * devices);
    let start = 0;
    let listed = 0;
    for (let v = 0; v < volumes.length; v++) {
      const volume = volumes[v] as WorkVolume | PlanGather;
      this.base[v] = this.count;
      this.#listed[v] = listed;
      if ('gather' in volume) {
        this.#gather(plan, volume.gather, v, start);
        this.#stepOf[listed++] = this.count - 1;
      } else {
        const { end, parts } = volume;
        if ((end | 0) !== end || end < start || end >= this.volumeOf.length) this.#refuse(plan);
        this.#volume(plan, parts, v, this.#tables.span(start, end), listed);
        this.volumeOf.fill(v, start, end + 1);
        listed += parts.length;
        start = end + 1;
      }
    }
    if (start !== this.volumeOf.length) this.#refuse(plan);
    for (const op of this.#task.workload.forced) {
      if (op > 0 && this.volumeOf[op] === this.volumeOf[op - 1]) this.#refuse(plan);
    }
    this.base[volumes.length] = this.count;
    this.#schedule(plan, listed);
    this.#headSteps(plan);
    this.queue.fill(-1);
    for (let at = this.count - 1; at >= 0; at--) {
      const step = this.sequence[at] as number;
      const device = this.device[step] as number;
      this.place[step] = at;
      this.next[step] = this.queue[device] as number;
      this.queue[device] = step;
    }
    for (let device = 0; device < devices; device++) {
      this.memory[device] = (this.memory[device] as number) + (this.#largest[device] as number);
    }
  }

  /** Says what is wrong with a plan that the quick checks here do not like. */
  #refuse(plan: WorkPlan): never {
    checkWorkPlan(this.#task, plan);
    throw new DistrEdgeError('INTERNAL', 'the simulator refuses a plan in which nothing is wrong');
  }

  #reserve({ volumes, head }: WorkPlan): void {
    let parts = 0;
    for (const volume of volumes) parts += 'gather' in volume ? 1 : volume.parts.length;
    const steps = parts + (typeof head === 'object' ? head.length : 0) + 1;
    if (steps > this.device.length) {
      const size = 2 * steps;
      this.device = new Int32Array(size);
      this.volume = new Int32Array(size);
      this.part = new Int32Array(size);
      this.place = new Int32Array(size);
      this.sequence = new Int32Array(size);
      this.next = new Int32Array(size);
      this.sibling = new Int32Array(size);
      this.ms = new Float64Array(size);
      this.#stepOf = new Int32Array(size);
      this.#seen = new Uint8Array(size);
    }
    const firsts = volumes.length * this.queue.length;
    if (firsts > this.first.length) this.first = new Int32Array(2 * firsts);
  }

  #add(device: number, volume: number, part: number, ms: number, bytes: number): number {
    const step = this.count++;
    this.device[step] = device;
    this.volume[step] = volume;
    this.part[step] = part;
    this.ms[step] = ms;
    if (bytes > (this.#largest[device] as number)) this.#largest[device] = bytes;
    return step;
  }

  #isDevice(device: number): boolean {
    return (device | 0) === device && device >= 0 && device < this.queue.length;
  }

  #gather(plan: WorkPlan, device: number, volume: number, boundary: number): void {
    if (!this.#isDevice(device)) this.#refuse(plan);
    const { needs, bytes } = this.#tables.liveAt(boundary);
    const step = this.#add(device, volume, 0, 0, bytes);
    this.needs[step] = needs;
    this.readsInput[step] = false;
    this.work[step] = undefined;
    this.sibling[step] = -1;
    this.first[volume * this.queue.length + device] = step;
    this.spans[volume] = undefined;
    this.gathers.push({ step, boundary });
  }

  #volume(plan: WorkPlan, parts: readonly PlanPart[], volume: number, span: Span, listed: number): void {
    const { height } = span;
    const devices = this.queue.length;
    const begin = this.count;
    this.spans[volume] = span;
    let count = begin;
    let sorted = true;
    let next = 0;
    for (let index = 0; index < parts.length; index++) {
      const { device, from, to } = parts[index] as PlanPart;
      const fits = (from | 0) === from && (to | 0) === to && from >= 0 && from <= to && to <= height;
      if (!fits || !this.#isDevice(device)) this.#refuse(plan);
      this.#stepOf[listed + index] = -1;
      if (from === to) continue;
      if (from !== next) sorted = false;
      next = to;
      this.part[count++] = index;
    }
    if (!sorted) {
      this.part.subarray(begin, count).sort((a, b) => (parts[a] as PlanPart).from - (parts[b] as PlanPart).from);
      next = 0;
      for (let at = begin; at < count; at++) {
        const { from, to } = parts[this.part[at] as number] as PlanPart;
        if (from !== next) this.#refuse(plan);
        next = to;
      }
    }
    if (next !== height) this.#refuse(plan);
    this.#opSets.fill(-1);
    for (let at = begin; at < count; at++) {
      const index = this.part[at] as number;
      const { device, from, to } = parts[index] as PlanPart;
      const work = this.#tables.work(span, from, to);
      const step = this.#add(
        device,
        volume,
        index,
        this.#tables.time(span, work, this.#tables.kinds[device] as number),
        work.bytes,
      );
      this.needs[step] = work.needs;
      this.readsInput[step] = work.readsInput;
      this.work[step] = work;
      this.#stepOf[listed + index] = step;
      this.#weights(span, device, work.opSet);
      const slot = volume * devices + device;
      this.sibling[step] = this.first[slot] as number;
      this.first[slot] = step;
    }
    for (const whole of span.wholes) this.#onlyOne(volume, begin, whole, span);
  }

  #weights(span: Span, device: number, opSet: number): void {
    const old = this.#opSets[device] as number;
    if (old === opSet) return;
    const now = old < 0 ? opSet : this.#tables.union(span, old, opSet);
    const before = old < 0 ? 0 : (span.opSets[old]?.weightBytes ?? 0);
    this.#load(device, (span.opSets[now]?.weightBytes ?? 0) - before);
    this.#opSets[device] = now;
  }

  #onlyOne(volume: number, begin: number, whole: number, span: Span): void {
    let found = false;
    for (let step = begin; step < this.count; step++) {
      if (this.work[step]?.rows[whole] === 0) continue;
      if (found) {
        wholeTwice(this.#task.workload.ops[span.start + whole]?.name ?? '', volume, this.part[step] as number);
      }
      found = true;
    }
  }

  /** Puts the steps in the plan's order. A gather that a schedule leaves out comes when all before it has been made. */
  #schedule(plan: WorkPlan, listed: number): void {
    const { schedule, volumes } = plan;
    if (schedule === undefined) {
      for (let step = 0; step < this.count; step++) this.sequence[step] = step;
      return;
    }
    this.#seen.fill(0, 0, listed);
    let at = 0;
    for (let index = 0; index < schedule.length; index++) {
      const entry = schedule[index] as readonly [number, number];
      const volume = volumes[entry[0]];
      if (volume === undefined) this.#refuse(plan);
      const parts = 'gather' in volume ? 1 : volume.parts.length;
      const place = (this.#listed[entry[0]] as number) + entry[1];
      if (!(entry[1] >= 0 && entry[1] < parts) || this.#seen[place] !== 0) this.#refuse(plan);
      this.#seen[place] = 1;
      const step = this.#stepOf[place] as number;
      if (step >= 0) this.sequence[at++] = step;
    }
    if (at < this.count) this.#addGathers(plan, at);
  }

  #addGathers(plan: WorkPlan, scheduled: number): void {
    const order = Array.from(this.sequence.subarray(0, scheduled));
    for (const { step } of this.gathers) {
      if (order.includes(step)) continue;
      const volume = this.volume[step] as number;
      order.splice(order.findLastIndex((other) => (this.volume[other] as number) < volume) + 1, 0, step);
    }
    if (order.length < this.count) this.#refuse(plan);
    this.sequence.set(order);
  }

  /** One step; or one for each range of output channels, by device, and one for the rest on the first entry's device. */
  #headSteps(plan: WorkPlan): void {
    const { workload, costs } = this.#task;
    const { head } = workload;
    this.rest = -1;
    this.headCut = false;
    if (plan.head !== undefined) this.#checkHead(plan);
    if (head === undefined) return;
    const { cut } = head;
    const { needs, bytes } = this.#head;
    if (typeof plan.head !== 'object' || cut === undefined) {
      const device = typeof plan.head === 'number' ? plan.head : this.#mostRows(plan);
      const { headBeforeMs, headCutMs, headAfterMs } = costs[device] as DeviceCosts;
      const ms = headBeforeMs + (cut === undefined ? 0 : (headCutMs[cut.channels] as number)) + headAfterMs;
      this.#load(device, this.#beforeBytes + (cut?.weightBytes ?? 0) + this.#afterBytes);
      this.#addHead(device, 0, ms, bytes + head.resultBytes, needs);
      return;
    }
    this.headCut = true;
    this.#headOn.fill(0);
    const list = plan.head;
    const order: number[] = [];
    for (let index = 0; index < list.length; index++) {
      const { from, to } = list[index] as PlanPart;
      if (to > from) order.push(index);
    }
    order.sort((a, b) => (list[a] as PlanPart).device - (list[b] as PlanPart).device || a - b);
    for (const index of order) {
      const { device, from, to } = list[index] as PlanPart;
      const { headBeforeMs, headCutMs } = costs[device] as DeviceCosts;
      if (this.#headOn[device] === 0) this.#load(device, this.#beforeBytes);
      this.#headOn[device] = 1;
      this.#load(device, (cut.weightBytes * (to - from)) / cut.channels);
      const ms = headBeforeMs + (headCutMs[to - from] as number);
      this.#addHead(device, index, ms, bytes + partialBytes(cut, to - from), needs);
    }
    const lead = (list[0] as PlanPart).device;
    this.#load(lead, this.#afterBytes);
    const extra = partialBytes(cut, cut.channels) + head.resultBytes;
    this.#addHead(lead, list.length, (costs[lead] as DeviceCosts).headAfterMs, extra, NO_NEEDS);
  }

  #addHead(device: number, part: number, ms: number, bytes: number, needs: Int32Array): void {
    const step = this.#add(device, this.volumes, part, ms, bytes);
    this.needs[step] = needs;
    this.readsInput[step] = this.#head.readsInput && needs.length > 0;
    this.work[step] = undefined;
    this.sequence[step] = step;
    this.rest = step;
  }

  /** Counts weights that a device holds. */
  #load(device: number, bytes: number): void {
    this.memory[device] = (this.memory[device] as number) + bytes;
  }

  #checkHead(plan: WorkPlan): void {
    const { head } = plan;
    if (typeof head === 'number') {
      if (!this.#isDevice(head)) this.#refuse(plan);
      return;
    }
    let sum = 0;
    let next = 0;
    for (const { device, from, to } of head ?? []) {
      if (!this.#isDevice(device) || from !== next) sum = Number.NaN;
      next = to;
      sum += to - from;
    }
    // Anything but ascending ranges is left to the thorough check.
    if (sum !== this.#task.workload.head?.cut?.channels) checkWorkPlan(this.#task, plan);
  }

  /** The device with most rows of the last volume, where the plan does not say who runs the head. */
  #mostRows({ volumes }: WorkPlan): number {
    const last = volumes[volumes.length - 1];
    if (last === undefined) return 0;
    if ('gather' in last) return last.gather;
    const rows = this.#shares.fill(0);
    for (const { device, from, to } of last.parts) rows[device] = (rows[device] as number) + to - from;
    let best = last.parts[0]?.device ?? 0;
    for (const { device } of last.parts) if ((rows[device] as number) > (rows[best] as number)) best = device;
    return best;
  }
}
