/**
 * A volume of a plan as its steps, for the fast simulator: all that is known of it without the rest of the plan. The plans that
 * a search tries differ from the one it is at in few volumes. The steps of that plan are kept, together with their **flows**:
 * the messages that the parts of a volume wait for, which depend on the volumes before it too.
 */
import type { PlanPart } from '../plan/plan.js';
import { wholeTwice } from './check-plan.js';
import { grown, grownDoubles } from './lacks.js';
import type { PartWork, Span, Tables } from './simulate-tables.js';
import type { PlanningTask, WorkVolume } from './task.js';

/**
 * The messages that the steps of a volume wait for. It holds where the volumes before are the same as far back as rows come
 * from, and where the parts that `orders` names run in the same order. Steps are counted within their volume, volumes
 * backwards from this one, messages within their flow.
 */
export interface Flow {
  readonly id: number;
  /** The volumes before, nearest first, as far back as rows come from: their ids. */
  readonly makers: readonly number[];
  /** Ids of the flows of all of them but the farthest: what they bring to a device need not travel again. */
  readonly flows: readonly number[];
  /** Of the head: devices of its steps. */
  readonly readers: readonly number[] | undefined;
  /** Four numbers each: volume, step with rows that its own device needs, the step that needs them, 1 where that one runs first. */
  readonly orders: readonly number[];
  /** Four numbers each: volume, step after which it leaves, receiving device, bytes. */
  readonly messages: readonly number[];
  /** Three numbers each: volume for whose flow a message comes, message, step that waits. */
  readonly waits: readonly number[];
  /** Rows that later volumes need too; five numbers each: device, tensor, from, to, message. */
  readonly runs: readonly number[];
}

/** The steps of a volume, from top to bottom; parts without rows are none. The arrays have room for more. */
export class VolumeSteps {
  /** Of those that are kept: no other one has it. 0 otherwise. */
  id = 0;
  span: Span;
  count = 0;
  device: Int32Array = new Int32Array(16);
  /** Index in the volume's list of parts. */
  part: Int32Array = new Int32Array(16);
  ms: Float64Array = new Float64Array(16);
  readonly work: PartWork[] = [];
  /** The last step of every device, or -1; the one before it on the same device, or -1. */
  readonly last: Int32Array;
  before: Int32Array = new Int32Array(16);
  /** Number of listed parts; the step of each, -1 for those without rows. */
  listed = 0;
  stepOf: Int32Array = new Int32Array(16);
  readsInput = false;
  /** Number of devices with steps; these devices, the bytes of weights that each needs, and those of its largest part. */
  users = 0;
  readonly user: Int32Array;
  readonly weightBytes: Float64Array;
  readonly largestBytes: Float64Array;
  flow: Flow | undefined;
  /** The same for the head, where this is the last volume. */
  headFlow: Flow | undefined;

  constructor(span: Span, devices: number) {
    this.span = span;
    this.last = new Int32Array(devices);
    this.user = new Int32Array(devices);
    this.weightBytes = new Float64Array(devices);
    this.largestBytes = new Float64Array(devices);
  }

  reserve(steps: number): void {
    while (this.device.length < steps) {
      this.device = grown(this.device);
      this.part = grown(this.part);
      this.before = grown(this.before);
      this.stepOf = grown(this.stepOf);
      this.ms = grownDoubles(this.ms);
    }
  }
}

/** Makes the steps of volumes, and remembers those of one plan. */
export class Volumes {
  readonly #task: PlanningTask;
  readonly #tables: Tables;
  readonly #devices: number;
  /** Per device: which set of the span's ops it has weights of. */
  readonly #opSets: Int32Array;
  /** The volumes whose steps are kept, and these. */
  #kept: readonly object[] = [];
  #keptSteps: VolumeSteps[] = [];
  /** Not in use. */
  readonly #spare: VolumeSteps[] = [];
  #ids = 0;

  constructor(task: PlanningTask, tables: Tables) {
    this.#task = task;
    this.#tables = tables;
    this.#devices = task.costs.length;
    this.#opSets = new Int32Array(this.#devices);
  }

  /** A number to be remembered by. */
  newId(): number {
    return ++this.#ids;
  }

  /**
   * The steps of a volume that begins with an op, or undefined where its parts do not tile its rows or name what is no device.
   * @param index of the volume in its plan
   * @param count number of volumes in its plan
   */
  steps(volume: WorkVolume, start: number, index: number, count: number): VolumeSteps | undefined {
    // The same volume is at the same place from the front or from the end.
    const kept = this.#kept;
    let at = index;
    if (kept[at] !== volume) at += kept.length - count;
    const known = kept[at] === volume ? this.#keptSteps[at] : undefined;
    if (known !== undefined && known.span.start === start) return known;
    const span = this.#tables.span(start, volume.end);
    const steps = this.#spare.pop() ?? new VolumeSteps(span, this.#devices);
    if (this.#fill(steps, span, volume.parts, index)) return steps;
    this.#spare.push(steps);
    return undefined;
  }

  /** Takes back the steps of a plan that is no longer looked at. */
  release(steps: readonly (VolumeSteps | undefined)[], count: number): void {
    for (let v = 0; v < count; v++) {
      const own = steps[v];
      if (own !== undefined && own.id === 0) this.#spare.push(own);
    }
  }

  /** Keeps the steps of a plan; those kept before that are not among them are given up. */
  keep(volumes: readonly object[], steps: readonly (VolumeSteps | undefined)[]): void {
    const before = this.#keptSteps;
    this.#kept = volumes.slice();
    this.#keptSteps = steps.slice(0, volumes.length) as VolumeSteps[];
    const ids = new Set(this.#keptSteps.map(({ id }) => id));
    for (const own of this.#keptSteps) if (own.id === 0) own.id = this.newId();
    for (const own of before) {
      if (ids.has(own.id)) continue;
      own.id = 0;
      own.flow = undefined;
      own.headFlow = undefined;
      this.#spare.push(own);
    }
  }

  #fill(steps: VolumeSteps, span: Span, parts: readonly PlanPart[], index: number): boolean {
    const { height } = span;
    const devices = this.#devices;
    steps.reserve(parts.length);
    steps.span = span;
    steps.listed = parts.length;
    const { device, part, ms, work, last, before, stepOf, user, largestBytes } = steps;
    const opSets = this.#opSets;
    let count = 0;
    let sorted = true;
    let next = 0;
    for (let at = 0; at < parts.length; at++) {
      const { device: on, from, to } = parts[at] as PlanPart;
      const fits = (from | 0) === from && (to | 0) === to && from >= 0 && from <= to && to <= height;
      if (!fits || (on | 0) !== on || on < 0 || on >= devices) return false;
      stepOf[at] = -1;
      if (from === to) continue;
      if (from !== next) sorted = false;
      next = to;
      part[count++] = at;
    }
    if (!sorted) {
      part.subarray(0, count).sort((a, b) => (parts[a] as PlanPart).from - (parts[b] as PlanPart).from);
      next = 0;
      for (let step = 0; step < count; step++) {
        const { from, to } = parts[part[step] as number] as PlanPart;
        if (from !== next) return false;
        next = to;
      }
    }
    if (next !== height) return false;
    steps.count = count;
    steps.readsInput = false;
    last.fill(-1);
    let users = 0;
    for (let step = 0; step < count; step++) {
      const at = part[step] as number;
      const { device: on, from, to } = parts[at] as PlanPart;
      const own = this.#tables.work(span, from, to);
      work[step] = own;
      device[step] = on;
      ms[step] = this.#tables.time(span, own, this.#tables.kinds[on] as number);
      stepOf[at] = step;
      const above = last[on] as number;
      before[step] = above;
      last[on] = step;
      if (own.readsInput) steps.readsInput = true;
      if (above < 0) {
        user[users++] = on;
        opSets[on] = own.opSet;
        largestBytes[on] = own.bytes;
        continue;
      }
      if (opSets[on] !== own.opSet) opSets[on] = this.#tables.union(span, opSets[on] as number, own.opSet);
      if (own.bytes > (largestBytes[on] as number)) largestBytes[on] = own.bytes;
    }
    steps.users = users;
    for (let at = 0; at < users; at++) {
      const on = user[at] as number;
      steps.weightBytes[on] = span.opSets[opSets[on] as number]?.weightBytes ?? 0;
    }
    for (const whole of span.wholes) this.#onlyOne(steps, whole, index);
    return true;
  }

  #onlyOne({ span, count, work, part }: VolumeSteps, whole: number, volume: number): void {
    let found = false;
    for (let step = 0; step < count; step++) {
      if ((work[step] as PartWork).rows[whole] === 0) continue;
      if (found) {
        wholeTwice(this.#task.workload.ops[span.start + whole]?.name ?? '', volume, part[step] as number);
      }
      found = true;
    }
  }
}
