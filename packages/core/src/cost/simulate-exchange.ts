/**
 * Which rows travel, for the fast simulator: every need that a device has not computed itself becomes part of a message from
 * the rows' owner. Nothing here knows time. Messages are numbered; those of the requester come first, in the order in which
 * it sends them. The arrays are used again for every plan.
 */
import { checkWorkPlan, tooEarly } from './check-plan.js';
import { partialBytes } from './head.js';
import { grown, Lacks } from './lacks.js';
import type { Steps } from './simulate-steps.js';
import type { PartWork, Span, Tables } from './simulate-tables.js';
import type { PlanningTask, WorkPlan } from './task.js';

/** Numbers of messages and runs grow from plan to plan, so that those of earlier plans need not be cleared; up to here. */
const MAX_SERIAL: number = 1 << 30;

export class Exchange {
  /** Messages of the plan. */
  count = 0;
  /** Those of them that the requester sends. */
  given = 0;
  /** Messages to the requester. */
  results = 0;
  /** Step after which it leaves; -1 for the requester's. */
  after: Int32Array = new Int32Array(0);
  /** Receiving device; their number for the requester. */
  to: Int32Array = new Int32Array(0);
  volume: Int32Array = new Int32Array(0);
  bytes: Float64Array = new Float64Array(0);
  /** The next message of the same step, in the order in which they are issued, or -1. */
  next: Int32Array = new Int32Array(0);
  /** First waiter of each message, or -1. */
  waiters: Int32Array = new Int32Array(0);
  /** Waiters: the step that waits, and the next one for the same message, or -1. */
  waiter: Int32Array = new Int32Array(0);
  nextWaiter: Int32Array = new Int32Array(0);
  /** First message of each step, or -1. */
  first: Int32Array = new Int32Array(0);
  /** For each step, the messages it waits for. */
  pending: Int32Array = new Int32Array(0);

  readonly #task: PlanningTask;
  readonly #tables: Tables;
  readonly #steps: Steps;
  readonly #devices: number;
  readonly #tensors: number;
  /** Place of each device among the receivers; the requester last. */
  readonly #turn: Int32Array;
  /** By volume, then turn: the order of one step's messages. */
  #key: Int32Array = new Int32Array(0);
  #last: Int32Array = new Int32Array(0);
  #waiterCount = 0;
  /** The newest message from a step to a device: [step × (devices + 1) + device], as a serial number. */
  #newest: Int32Array = new Int32Array(0);
  #messageSerial = 1;
  /** Runs of rows that a device receives of a tensor, newest first: [device × tensors + tensor], as a serial number. */
  readonly #received: Int32Array;
  #runSerial = 1;
  #runs = 0;
  #runFrom: Int32Array = new Int32Array(64);
  #runTo: Int32Array = new Int32Array(64);
  #runMessage: Int32Array = new Int32Array(64);
  #nextRun: Int32Array = new Int32Array(64);
  /** What is still lacking of the need at hand. */
  readonly #lacks: Lacks = new Lacks();

  constructor(task: PlanningTask, tables: Tables, steps: Steps) {
    this.#task = task;
    this.#tables = tables;
    this.#steps = steps;
    this.#devices = task.costs.length;
    this.#tensors = task.workload.tensors.length;
    this.#turn = new Int32Array(this.#devices + 1);
    this.#received = new Int32Array(this.#devices * this.#tensors);
  }

  /** Resolves what the plan just read by the steps needs. Throws `PLAN_INVALID` where the schedule puts a part too early. */
  resolve(plan: WorkPlan): void {
    const steps = this.#steps;
    const { inputs } = this.#task.workload;
    this.#begin(plan);
    for (let at = 0; at < steps.count; at++) {
      const step = steps.sequence[at] as number;
      if (steps.readsInput[step] !== true) continue;
      const needs = steps.needs[step] as Int32Array;
      let message = -1;
      for (let i = 0; i < needs.length; i += 3) {
        const tensor = needs[i] as number;
        if (tensor < inputs)
          message = this.#give(step, message, tensor, needs[i + 1] as number, needs[i + 2] as number);
      }
    }
    this.given = this.count;
    for (let step = 0; step < steps.count; step++) {
      const needs = steps.needs[step] as Int32Array;
      for (let i = 0; i < needs.length; i += 3) {
        const tensor = needs[i] as number;
        if (tensor >= inputs) this.#bring(step, tensor, needs[i + 1] as number, needs[i + 2] as number);
      }
    }
    if (steps.headCut) this.#partials(plan);
    this.#deliver();
  }

  #begin(plan: WorkPlan): void {
    const { count } = this.#steps;
    const devices = this.#devices;
    if (count > this.first.length) {
      const size = 2 * count;
      this.first = new Int32Array(size);
      this.#last = new Int32Array(size);
      this.pending = new Int32Array(size);
      this.#newest = new Int32Array(size * (devices + 1));
    }
    this.first.fill(-1, 0, count);
    this.pending.fill(0, 0, count);
    this.#messageSerial += this.count;
    this.#runSerial += this.#runs;
    if (this.#messageSerial > MAX_SERIAL || this.#runSerial > MAX_SERIAL) {
      this.#newest.fill(0);
      this.#received.fill(0);
      this.#messageSerial = 1;
      this.#runSerial = 1;
    }
    this.count = 0;
    this.results = 0;
    this.#runs = 0;
    this.#waiterCount = 0;
    const { order } = plan;
    const listed = order?.length ?? 0;
    for (let device = 0; device <= devices; device++) this.#turn[device] = listed + device;
    for (let index = 0; index < listed; index++) {
      const device = order?.[index] as number;
      // A device that is not there, or twice.
      if (!(device >= 0 && device < devices) || this.#turn[device] !== listed + device) checkWorkPlan(this.#task, plan);
      this.#turn[device] = index;
    }
  }

  /** Input rows come from the requester, in one message for the step. Returns that message, or -1 where there is none yet. */
  #give(step: number, known: number, tensor: number, from: number, to: number): number {
    let message = known;
    this.#lacks.begin(from, to);
    this.#takeReceived(step, tensor);
    for (let at = 0; at < this.#lacks.count; at++) {
      if (message < 0)
        message = this.#message(-1, this.#steps.device[step] as number, this.#steps.volume[step] as number);
      this.#carry(message, step, tensor, this.#lacks.from[at] as number, this.#lacks.to[at] as number);
    }
    return message;
  }

  /** Rows made by devices: what this one has not computed and nobody sends it yet comes from the owners. */
  #bring(step: number, tensor: number, from: number, to: number): void {
    const steps = this.#steps;
    const devices = this.#devices;
    const device = steps.device[step] as number;
    const place = steps.place[step] as number;
    const maker = steps.volumeOf[this.#tables.madeBy[tensor] as number] as number;
    const span = steps.spans[maker] as Span;
    const slot = 2 * (span.slots[tensor] as number);
    this.#lacks.begin(from, to);
    for (let own = steps.first[maker * devices + device] as number; own >= 0; own = steps.sibling[own] as number) {
      if ((steps.place[own] as number) > place) continue;
      const { holds } = steps.work[own] as PartWork;
      this.#lacks.take(holds[slot] as number, holds[slot + 1] as number);
      if (this.#lacks.count === 0) return;
    }
    if (steps.gathers.length > 0 && this.#gatheredHere(step, tensor)) return;
    this.#takeReceived(step, tensor);
    if (this.#lacks.count === 0) return;
    const gather = steps.gathers.length > 0 ? this.#gatherBefore(maker, steps.volume[step] as number) : -1;
    for (let at = 0; at < this.#lacks.count; at++) {
      const last = this.#lacks.to[at] as number;
      let next = this.#lacks.from[at] as number;
      if (gather >= 0) {
        this.#send(gather, step, tensor, next, last);
        continue;
      }
      for (let owner = this.#ownerOf(maker, slot, next); next < last; owner++) {
        const end = Math.min(last, (steps.work[owner] as PartWork).owns[slot + 1] as number);
        if (end > next) this.#send(owner, step, tensor, next, end);
        next = end;
      }
    }
  }

  /** The step of a volume that owns a row: the shares of its parts tile the tensor from top to bottom. */
  #ownerOf(volume: number, slot: number, row: number): number {
    const { base, work } = this.#steps;
    let low = base[volume] as number;
    let high = (base[volume + 1] as number) - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (((work[middle] as PartWork).owns[slot + 1] as number) > row) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Whether the step's device has gathered the tensor before. */
  #gatheredHere(step: number, tensor: number): boolean {
    const { device, place, gathers } = this.#steps;
    const [made, read] = [this.#tables.madeBy[tensor] as number, this.#tables.readBy[tensor] as number];
    return gathers.some(
      (gather) =>
        device[gather.step] === device[step] &&
        (place[gather.step] as number) < (place[step] as number) &&
        made < gather.boundary &&
        read >= gather.boundary,
    );
  }

  /** The last gather between two volumes, or -1. */
  #gatherBefore(after: number, before: number): number {
    const { gathers, volume } = this.#steps;
    for (let index = gathers.length - 1; index >= 0; index--) {
      const { step } = gathers[index] as { step: number };
      const at = volume[step] as number;
      if (at < before) return at > after ? step : -1;
    }
    return -1;
  }

  /** Waits for messages that bring lacking rows to the device anyway, for another of its steps. */
  #takeReceived(step: number, tensor: number): void {
    const { device, place, volume, part } = this.#steps;
    let run = (this.#received[(device[step] as number) * this.#tensors + tensor] as number) - this.#runSerial;
    for (; run >= 0 && this.#lacks.count > 0; run = this.#nextRun[run] as number) {
      if (!this.#lacks.take(this.#runFrom[run] as number, this.#runTo[run] as number)) continue;
      const message = this.#runMessage[run] as number;
      const after = this.after[message] as number;
      if (after >= 0 && (place[after] as number) > (place[step] as number)) {
        tooEarly(volume[step] as number, part[step] as number);
      }
      this.#wait(message, step);
    }
  }

  /** Adds rows to the message from a step to the reader's device for the reader's volume. */
  #send(owner: number, reader: number, tensor: number, from: number, to: number): void {
    const { device, place, volume, part } = this.#steps;
    const at = volume[reader] as number;
    if ((place[owner] as number) > (place[reader] as number)) tooEarly(at, part[reader] as number);
    const message = this.#messageTo(owner, device[reader] as number, at);
    this.#carry(message, reader, tensor, from, to);
  }

  #carry(message: number, step: number, tensor: number, from: number, to: number): void {
    const bytesPerRow = this.#task.workload.tensors[tensor]?.bytesPerRow ?? 0;
    this.bytes[message] = (this.bytes[message] as number) + (to - from) * bytesPerRow;
    const run = this.#runs++;
    if (run === this.#runFrom.length) {
      this.#runFrom = grown(this.#runFrom);
      this.#runTo = grown(this.#runTo);
      this.#runMessage = grown(this.#runMessage);
      this.#nextRun = grown(this.#nextRun);
    }
    const slot = (this.#steps.device[step] as number) * this.#tensors + tensor;
    this.#runFrom[run] = from;
    this.#runTo[run] = to;
    this.#runMessage[run] = message;
    this.#nextRun[run] = (this.#received[slot] as number) - this.#runSerial;
    this.#received[slot] = run + this.#runSerial;
    this.#wait(message, step);
  }

  #wait(message: number, step: number): void {
    const first = this.waiters[message] as number;
    if (first >= 0 && this.waiter[first] === step) return;
    const at = this.#waiterCount++;
    if (at === this.waiter.length) {
      this.waiter = grown(this.waiter);
      this.nextWaiter = grown(this.nextWaiter);
    }
    this.waiter[at] = step;
    this.nextWaiter[at] = first;
    this.waiters[message] = at;
    this.pending[step] = (this.pending[step] as number) + 1;
  }

  /** The message from a step to a receiver for a volume; volumes come one after another. */
  #messageTo(owner: number, to: number, volume: number): number {
    const slot = owner * (this.#devices + 1) + to;
    const newest = (this.#newest[slot] as number) - this.#messageSerial;
    if (newest >= 0 && this.volume[newest] === volume) return newest;
    const message = this.#message(owner, to, volume);
    this.#newest[slot] = message + this.#messageSerial;
    const key = volume * 2 * (this.#devices + 1) + (this.#turn[to] as number);
    this.#key[message] = key;
    let before = (this.first[owner] as number) < 0 ? -1 : (this.#last[owner] as number);
    if (before >= 0 && (this.#key[before] as number) > key) {
      before = -1;
      for (let at = this.first[owner] as number; (this.#key[at] as number) < key; at = this.next[at] as number)
        before = at;
    }
    if (before < 0) {
      this.next[message] = this.first[owner] as number;
      this.first[owner] = message;
    } else {
      this.next[message] = this.next[before] as number;
      this.next[before] = message;
    }
    if ((this.next[message] as number) < 0) this.#last[owner] = message;
    return message;
  }

  #message(after: number, to: number, volume: number): number {
    const message = this.count++;
    if (message === this.after.length) {
      this.after = grown(this.after);
      this.to = grown(this.to);
      this.volume = grown(this.volume);
      this.next = grown(this.next);
      this.waiters = grown(this.waiters);
      this.#key = grown(this.#key);
      const bytes = new Float64Array(this.after.length);
      bytes.set(this.bytes);
      this.bytes = bytes;
    }
    this.after[message] = after;
    this.to[message] = to;
    this.volume[message] = volume;
    this.bytes[message] = 0;
    this.next[message] = -1;
    this.waiters[message] = -1;
    return message;
  }

  /** The outputs of a head cut by channels go to the device that runs the rest. */
  #partials({ head }: WorkPlan): void {
    const { rest, base, volumes, device, part } = this.#steps;
    const { cut } = this.#task.workload.head ?? {};
    if (cut === undefined || typeof head !== 'object') return;
    for (let step = base[volumes] as number; step < rest; step++) {
      if (device[step] === device[rest]) continue;
      const { from = 0, to = 0 } = head[part[step] as number] ?? {};
      const message = this.#messageTo(step, device[rest] as number, volumes);
      this.bytes[message] = (this.bytes[message] as number) + partialBytes(cut, to - from);
      this.#wait(message, rest);
    }
  }

  /** The model's outputs go to the requester, from who owns them in the end. */
  #deliver(): void {
    const { workload } = this.#task;
    const { volumes, volumeOf, base, spans, work, gathers, rest } = this.#steps;
    const { outputs } = workload;
    const begun = this.count;
    const deliver = (step: number, bytes: number): void => {
      const message = this.#messageTo(step, this.#devices, volumes + 1);
      this.bytes[message] = (this.bytes[message] as number) + bytes;
    };
    for (let index = 0; index < outputs.length; index++) {
      const tensor = outputs[index] as number;
      if (tensor < workload.inputs || outputs.indexOf(tensor) < index) continue;
      const { rows = 0, bytesPerRow = 0 } = workload.tensors[tensor] ?? {};
      const maker = volumeOf[this.#tables.madeBy[tensor] as number] as number;
      const gather = gathers.length > 0 ? this.#gatherBefore(maker, volumes + 1) : -1;
      if (gather >= 0) {
        deliver(gather, rows * bytesPerRow);
        continue;
      }
      const slot = 2 * ((spans[maker] as Span).slots[tensor] as number);
      for (let step = base[maker] as number; step < (base[maker + 1] as number); step++) {
        const { owns } = work[step] as PartWork;
        const count = (owns[slot + 1] as number) - (owns[slot] as number);
        if (count > 0) deliver(step, count * bytesPerRow);
      }
    }
    if (rest >= 0) deliver(rest, workload.head?.resultBytes ?? 0);
    this.results = this.count - begun;
  }
}
