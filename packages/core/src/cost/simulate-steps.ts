/**
 * A plan as steps in flat arrays, for the fast simulator. Steps are numbered volume by volume, from top to bottom, the head
 * last; that is also their default order. The arrays are used again for every plan.
 */
import { DistrEdgeError } from '../errors.js';
import type { PlanGather, PlanPart } from '../plan/plan.js';
import { checkWorkPlan } from './check-plan.js';
import { partialBytes, weightsOf } from './head.js';
import type { Tables, Wholes } from './simulate-tables.js';
import type { VolumeSteps, Volumes } from './simulate-volumes.js';
import type { DeviceCosts, PlanningTask, WorkPlan, WorkVolume } from './task.js';

const NO_NEEDS: Int32Array = new Int32Array(0);

export class Steps {
  count = 0;
  /** Number of the plan's volumes, gathers included. */
  volumes = 0;
  device: Int32Array = new Int32Array(0);
  /** Number of volumes for the head. */
  volume: Int32Array = new Int32Array(0);
  ms: Float64Array = new Float64Array(0);
  /** Place in the schedule. */
  place: Int32Array = new Int32Array(0);
  /** Steps in order of the schedule. */
  sequence: Int32Array = new Int32Array(0);
  /** The next step of the same device in the schedule, or -1. */
  next: Int32Array = new Int32Array(0);
  /** First step of every volume and of the head. */
  readonly base: number[] = [];
  /** Undefined for a gather. */
  readonly made: (VolumeSteps | undefined)[] = [];
  /** Of gathers and the head: tensor, from, to; and the index in the head's list of parts. */
  readonly needs: Int32Array[] = [];
  readonly part: number[] = [];
  /** The first step behind those that read the model's inputs. */
  inputEnd = 0;
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
  readonly #made: Volumes;
  /** How many of `made` are in use. */
  #held = 0;
  readonly #head: Wholes;
  /** Weights of the head around the layer that can be cut. */
  readonly #beforeBytes: number;
  readonly #afterBytes: number;
  readonly #largest: Float64Array;
  /** Whether a device's weights hold the head's first ops. */
  readonly #headOn: Uint8Array;
  /** Rows of every device in the last volume. */
  readonly #shares: Float64Array;
  /** Numbers of schedules read so far; of every step, the last one that named it. */
  #reading = 0;
  #seen: Float64Array = new Float64Array(0);

  constructor(task: PlanningTask, tables: Tables, volumes: Volumes) {
    const devices = task.costs.length;
    this.#task = task;
    this.#tables = tables;
    this.#made = volumes;
    this.#head = tables.wholes(task.workload.head?.reads ?? []);
    this.#beforeBytes = weightsOf(task.workload.head?.before ?? []);
    this.#afterBytes = weightsOf(task.workload.head?.after ?? []);
    this.#largest = new Float64Array(devices);
    this.#shares = new Float64Array(devices);
    this.#headOn = new Uint8Array(devices);
    this.queue = new Int32Array(devices);
    this.memory = new Float64Array(devices);
    this.volumeOf = new Int32Array(task.workload.ops.length);
  }

  /** Reads a plan. Throws `PLAN_INVALID` where it does not fit the task. */
  read(plan: WorkPlan): void {
    const { volumes } = plan;
    this.#reserve(plan);
    this.#made.release(this.made, this.#held);
    this.#held = 0;
    this.volumes = volumes.length;
    this.count = 0;
    this.inputEnd = 0;
    this.gathers.length = 0;
    this.memory.fill(0);
    this.#largest.fill(0);
    let start = 0;
    for (let v = 0; v < volumes.length; v++) {
      const volume = volumes[v] as WorkVolume | PlanGather;
      this.base[v] = this.count;
      if ('gather' in volume) {
        this.#gather(plan, volume.gather, v, start);
        continue;
      }
      const { end } = volume;
      if ((end | 0) !== end || end < start || end >= this.volumeOf.length) this.#refuse(plan);
      const made = this.#made.steps(volume, start, v, volumes.length);
      if (made === undefined) this.#refuse(plan);
      this.made[v] = made;
      this.#held = v + 1;
      this.#volume(made, v);
      this.volumeOf.fill(v, start, end + 1);
      start = end + 1;
    }
    if (start !== this.volumeOf.length) this.#refuse(plan);
    for (const op of this.#task.workload.forced) {
      if (op > 0 && this.volumeOf[op] === this.volumeOf[op - 1]) this.#refuse(plan);
    }
    this.base[volumes.length] = this.count;
    this.#schedule(plan);
    this.#headSteps(plan);
    this.queue.fill(-1);
    for (let at = this.count - 1; at >= 0; at--) {
      const step = this.sequence[at] as number;
      const device = this.device[step] as number;
      this.place[step] = at;
      this.next[step] = this.queue[device] as number;
      this.queue[device] = step;
    }
    for (let device = 0; device < this.memory.length; device++) {
      this.memory[device] = (this.memory[device] as number) + (this.#largest[device] as number);
    }
  }

  /** Keeps what was made of the volumes of the plan just read. Not for plans with gathers. */
  keep(plan: WorkPlan): void {
    this.#made.keep(plan.volumes, this.made);
  }

  /** Index of a step in its volume's, or the head's, list of parts. */
  partOf(step: number): number {
    const volume = this.volume[step] as number;
    const made = volume < this.volumes ? this.made[volume] : undefined;
    return made === undefined
      ? (this.part[step] as number)
      : (made.part[step - (this.base[volume] as number)] as number);
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
    if (steps <= this.device.length) return;
    const size = 2 * steps;
    this.device = new Int32Array(size);
    this.volume = new Int32Array(size);
    this.place = new Int32Array(size);
    this.sequence = new Int32Array(size);
    this.next = new Int32Array(size);
    this.ms = new Float64Array(size);
    this.#seen = new Float64Array(size);
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
    this.made[volume] = undefined;
    this.#held = volume + 1;
    this.gathers.push({ step, boundary });
  }

  #volume(made: VolumeSteps, volume: number): void {
    const { count, device, ms, users, user, weightBytes, largestBytes } = made;
    let step = this.count;
    for (let at = 0; at < count; at++, step++) {
      this.device[step] = device[at] as number;
      this.volume[step] = volume;
      this.ms[step] = ms[at] as number;
    }
    this.count = step;
    if (made.readsInput) this.inputEnd = step;
    for (let at = 0; at < users; at++) {
      const on = user[at] as number;
      this.#load(on, weightBytes[on] as number);
      if ((largestBytes[on] as number) > (this.#largest[on] as number)) this.#largest[on] = largestBytes[on] as number;
    }
  }

  /** Puts the steps in the plan's order. A gather that a schedule leaves out comes when all before it has been made. */
  #schedule(plan: WorkPlan): void {
    const { schedule } = plan;
    if (schedule === undefined) {
      for (let step = 0; step < this.count; step++) this.sequence[step] = step;
      return;
    }
    const reading = ++this.#reading;
    let at = 0;
    let empty = false;
    for (let index = 0; index < schedule.length; index++) {
      const entry = schedule[index] as readonly [number, number];
      const volume = entry[0];
      const part = entry[1];
      if (plan.volumes[volume] === undefined) this.#refuse(plan);
      const made = this.made[volume];
      if (!(part >= 0 && part < (made === undefined ? 1 : made.listed))) this.#refuse(plan);
      const own = made === undefined ? 0 : made.stepOf[part];
      if (own === undefined) this.#refuse(plan);
      if (own < 0) {
        empty = true;
        continue;
      }
      const step = (this.base[volume] as number) + own;
      if (this.#seen[step] === reading) this.#refuse(plan);
      this.#seen[step] = reading;
      this.sequence[at++] = step;
    }
    // Parts without rows may be named too, but not twice.
    if (empty) checkWorkPlan(this.#task, plan);
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
    if (this.#head.readsInput) this.inputEnd = step + 1;
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
