/**
 * Which rows travel, for the fast simulator: every need that a device has not computed itself becomes part of a message from
 * the rows' owner. Nothing here knows time. Messages are numbered; those of the requester come first, in the order in which
 * it sends them. The arrays are used again for every plan. What the parts of a volume wait for can be written down as
 * a `Flow`, and is read again as long as it holds.
 *
 * One long file: resolving needs, numbering messages and writing flows down share all these arrays, in the innermost loop of
 * every search.
 */
import { checkWorkPlan, tooEarly } from './check-plan.js';
import { partialBytes } from './head.js';
import { grown, Lacks } from './lacks.js';
import type { Steps } from './simulate-steps.js';
import type { PartWork, Tables } from './simulate-tables.js';
import type { Flow, VolumeSteps, Volumes } from './simulate-volumes.js';
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
  /** The message that each waits for. */
  #awaited: Int32Array = new Int32Array(0);
  /** First message of each step, or -1. */
  first: Int32Array = new Int32Array(0);
  /** For each step, the messages it waits for. */
  pending: Int32Array = new Int32Array(0);

  readonly #task: PlanningTask;
  readonly #tables: Tables;
  readonly #steps: Steps;
  readonly #volumes: Volumes;
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
  #runTensor: Int32Array = new Int32Array(64);
  /** What is still lacking of the need at hand. */
  readonly #lacks: Lacks = new Lacks();
  /** Of every volume and the head: the first message of its flow, the flow as kept, and what was worked out for it. */
  readonly #flowBase: number[] = [];
  readonly #flows: (Flow | undefined)[] = [];
  readonly #firstWaiter: number[] = [];
  readonly #firstRun: number[] = [];
  readonly #firstOrder: number[] = [];
  readonly #farthest: number[] = [];
  /** The orders that they depend on, as in `Flow`. */
  readonly #orders: number[] = [];
  /** Outputs of the model that ops make, each once. */
  readonly #outputs: readonly number[];

  constructor(task: PlanningTask, tables: Tables, volumes: Volumes, steps: Steps) {
    this.#task = task;
    this.#tables = tables;
    this.#volumes = volumes;
    this.#steps = steps;
    this.#devices = task.costs.length;
    this.#tensors = task.workload.tensors.length;
    const { outputs, inputs } = task.workload;
    this.#outputs = [...new Set(outputs)].filter((tensor) => tensor >= inputs);
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
      if (step >= steps.inputEnd) continue;
      const needs = this.#needsOf(step);
      let message = -1;
      for (let i = 0; i < needs.length; i += 3) {
        const tensor = needs[i] as number;
        if (tensor < inputs)
          message = this.#give(step, message, tensor, needs[i + 1] as number, needs[i + 2] as number);
      }
    }
    this.given = this.count;
    this.#orders.length = 0;
    for (let volume = 0; volume <= steps.volumes; volume++) {
      this.#mark(volume);
      this.#flow(volume);
    }
    this.#mark(steps.volumes + 1);
    if (steps.headCut) this.#partials(plan);
    this.#deliver();
  }

  /** Tensor, from, to. */
  #needsOf(step: number): Int32Array {
    const { volume, volumes, made, base, needs } = this.#steps;
    const v = volume[step] as number;
    const own = v < volumes ? made[v] : undefined;
    return own === undefined ? (needs[step] as Int32Array) : (own.work[step - (base[v] as number)] as PartWork).needs;
  }

  /** Says that what follows belongs to a volume. */
  #mark(volume: number): void {
    this.#flowBase[volume] = this.count;
    this.#firstWaiter[volume] = this.#waiterCount;
    this.#firstRun[volume] = this.#runs;
    this.#firstOrder[volume] = this.#orders.length;
    this.#farthest[volume] = volume;
    this.#flows[volume] = undefined;
  }

  /** Brings what the steps of a volume, or of the head, need: as written down, or worked out. */
  #flow(volume: number): void {
    const steps = this.#steps;
    const { inputs } = this.#task.workload;
    const isHead = volume === steps.volumes;
    const begin = steps.base[volume] as number;
    const end = isHead ? steps.count : (steps.base[volume + 1] as number);
    if (begin === end) return;
    // With gathers it also depends on them: such plans are rare.
    const owner = steps.gathers.length > 0 ? undefined : steps.made[isHead ? volume - 1 : volume];
    const known = isHead ? owner?.headFlow : owner?.flow;
    if (known !== undefined && this.#holds(known, volume, begin, end)) {
      this.#repeat(known, volume, begin);
      this.#flows[volume] = known;
      return;
    }
    for (let step = begin; step < end; step++) {
      const needs = this.#needsOf(step);
      for (let i = 0; i < needs.length; i += 3) {
        const tensor = needs[i] as number;
        if (tensor >= inputs) this.#bring(step, tensor, needs[i + 1] as number, needs[i + 2] as number);
      }
    }
  }

  /** Writes down what was worked out for the volumes of the plan just resolved, which have been kept. Not for plans with gathers. */
  keep(): void {
    const { volumes, made, base, count } = this.#steps;
    for (let volume = 0; volume <= volumes; volume++) {
      const isHead = volume === volumes;
      const begin = base[volume] as number;
      const end = isHead ? count : (base[volume + 1] as number);
      if (begin === end || this.#flows[volume] !== undefined) continue;
      const flow = this.#written(volume);
      this.#flows[volume] = flow;
      const owner = made[isHead ? volume - 1 : volume] as VolumeSteps;
      if (isHead) owner.headFlow = flow;
      else owner.flow = flow;
    }
  }

  /** Whether a flow written down for a volume is what would be worked out for it in this plan. */
  #holds({ makers, flows, readers, orders }: Flow, volume: number, begin: number, end: number): boolean {
    const { made, base, place, device } = this.#steps;
    for (let back = 1; back <= makers.length; back++) if (made[volume - back]?.id !== makers[back - 1]) return false;
    for (let back = 1; back <= flows.length; back++)
      if ((this.#flows[volume - back]?.id ?? 0) !== flows[back - 1]) return false;
    if (readers !== undefined) {
      if (readers.length !== end - begin) return false;
      for (let at = 0; at < readers.length; at++) if (readers[at] !== device[begin + at]) return false;
    }
    for (let i = 0; i < orders.length; i += 4) {
      const own = (base[volume - (orders[i] as number)] as number) + (orders[i + 1] as number);
      const later = (place[own] as number) > (place[begin + (orders[i + 2] as number)] as number);
      if (later !== (orders[i + 3] === 1)) return false;
    }
    return true;
  }

  #repeat({ messages, waits, runs }: Flow, volume: number, begin: number): void {
    const { base, place } = this.#steps;
    const first = this.count;
    for (let i = 0; i < messages.length; i += 4) {
      const owner = (base[volume - (messages[i] as number)] as number) + (messages[i + 1] as number);
      const message = this.#message(owner, messages[i + 2] as number, volume);
      this.#leaves(message, owner);
      this.bytes[message] = messages[i + 3] as number;
    }
    for (let i = 0; i < waits.length; i += 3) {
      const back = waits[i] as number;
      const message = (back === 0 ? first : (this.#flowBase[volume - back] as number)) + (waits[i + 1] as number);
      const step = begin + (waits[i + 2] as number);
      if ((place[this.after[message] as number] as number) > (place[step] as number)) this.#tooEarly(step);
      this.#addWaiter(message, step);
    }
    for (let i = 0; i < runs.length; i += 5) {
      const slot = (runs[i] as number) * this.#tensors + (runs[i + 1] as number);
      this.#addRun(
        slot,
        runs[i + 1] as number,
        runs[i + 2] as number,
        runs[i + 3] as number,
        first + (runs[i + 4] as number),
      );
    }
  }

  #written(volume: number): Flow {
    const { made, base, volume: volumeOf, device, volumes, count } = this.#steps;
    const begin = base[volume] as number;
    const first = this.#flowBase[volume] as number;
    const end = this.#flowBase[volume + 1] as number;
    const reach = volume - (this.#farthest[volume] as number);
    const makers: number[] = [];
    const flows: number[] = [];
    for (let back = 1; back <= reach; back++) {
      makers.push((made[volume - back] as VolumeSteps).id);
      if (back < reach) flows.push(this.#flows[volume - back]?.id ?? 0);
    }
    const messages: number[] = [];
    for (let message = first; message < end; message++) {
      const after = this.after[message] as number;
      const from = volumeOf[after] as number;
      const step = after - (base[from] as number);
      messages.push(volume - from, step, this.to[message] as number, this.bytes[message] as number);
    }
    const waits: number[] = [];
    for (let at = this.#firstWaiter[volume] as number; at < (this.#firstWaiter[volume + 1] as number); at++) {
      const message = this.#awaited[at] as number;
      const of = this.volume[message] as number;
      waits.push(volume - of, message - (this.#flowBase[of] as number), (this.waiter[at] as number) - begin);
    }
    const runs: number[] = [];
    const last = volume < volumes ? (made[volume] as VolumeSteps).span.end : Number.POSITIVE_INFINITY;
    for (let run = this.#firstRun[volume] as number; run < (this.#firstRun[volume + 1] as number); run++) {
      const tensor = this.#runTensor[run] as number;
      if ((this.#tables.readBy[tensor] as number) <= last) continue;
      const message = this.#runMessage[run] as number;
      runs.push(
        this.to[message] as number,
        tensor,
        this.#runFrom[run] as number,
        this.#runTo[run] as number,
        message - first,
      );
    }
    return {
      id: this.#volumes.newId(),
      makers,
      flows,
      readers: volume < volumes ? undefined : [...device.subarray(begin, count)],
      orders: this.#orders.slice(this.#firstOrder[volume], this.#firstOrder[volume + 1]),
      messages,
      waits,
      runs,
    };
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
    const device = steps.device[step] as number;
    const place = steps.place[step] as number;
    const reader = steps.volume[step] as number;
    const maker = steps.volumeOf[this.#tables.madeBy[tensor] as number] as number;
    const { span, count, work, last, before } = steps.made[maker] as VolumeSteps;
    const base = steps.base[maker] as number;
    const slot = 2 * (span.slots[tensor] as number);
    if (maker < (this.#farthest[reader] as number)) this.#farthest[reader] = maker;
    this.#lacks.begin(from, to);
    for (let own = last[device] as number; own >= 0; own = before[own] as number) {
      const { holds } = work[own] as PartWork;
      const held = holds[slot] as number;
      const heldTo = holds[slot + 1] as number;
      if (held >= to || heldTo <= from || held >= heldTo) continue;
      const later = (steps.place[base + own] as number) > place;
      this.#orders.push(reader - maker, own, step - (steps.base[reader] as number), later ? 1 : 0);
      if (later) continue;
      this.#lacks.take(held, heldTo);
      if (this.#lacks.count === 0) return;
    }
    if (steps.gathers.length > 0 && this.#gatheredHere(step, tensor)) return;
    this.#takeReceived(step, tensor);
    if (this.#lacks.count === 0) return;
    const gather = steps.gathers.length > 0 ? this.#gatherBefore(maker, reader) : -1;
    for (let at = 0; at < this.#lacks.count; at++) {
      const end = this.#lacks.to[at] as number;
      let next = this.#lacks.from[at] as number;
      if (gather >= 0) {
        this.#send(gather, step, tensor, next, end);
        continue;
      }
      for (let owner = ownerOf(work, count, slot, next); next < end; owner++) {
        const ends = Math.min(end, (work[owner] as PartWork).owns[slot + 1] as number);
        if (ends > next) this.#send(base + owner, step, tensor, next, ends);
        next = ends;
      }
    }
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
    const { device, place } = this.#steps;
    let run = (this.#received[(device[step] as number) * this.#tensors + tensor] as number) - this.#runSerial;
    for (; run >= 0 && this.#lacks.count > 0; run = this.#nextRun[run] as number) {
      if (!this.#lacks.take(this.#runFrom[run] as number, this.#runTo[run] as number)) continue;
      const message = this.#runMessage[run] as number;
      const after = this.after[message] as number;
      if (after >= 0 && (place[after] as number) > (place[step] as number)) this.#tooEarly(step);
      this.#wait(message, step);
    }
  }

  /** Adds rows to the message from a step to the reader's device for the reader's volume. */
  #send(owner: number, reader: number, tensor: number, from: number, to: number): void {
    const { device, place, volume } = this.#steps;
    if ((place[owner] as number) > (place[reader] as number)) this.#tooEarly(reader);
    const message = this.#messageTo(owner, device[reader] as number, volume[reader] as number);
    this.#carry(message, reader, tensor, from, to);
  }

  #tooEarly(step: number): never {
    tooEarly(this.#steps.volume[step] as number, this.#steps.partOf(step));
  }

  #carry(message: number, step: number, tensor: number, from: number, to: number): void {
    const bytesPerRow = this.#task.workload.tensors[tensor]?.bytesPerRow ?? 0;
    this.bytes[message] = (this.bytes[message] as number) + (to - from) * bytesPerRow;
    this.#addRun((this.#steps.device[step] as number) * this.#tensors + tensor, tensor, from, to, message);
    this.#wait(message, step);
  }

  /** @param slot device × tensors + tensor */
  #addRun(slot: number, tensor: number, from: number, to: number, message: number): void {
    const run = this.#runs++;
    if (run === this.#runFrom.length) {
      this.#runFrom = grown(this.#runFrom);
      this.#runTo = grown(this.#runTo);
      this.#runMessage = grown(this.#runMessage);
      this.#runTensor = grown(this.#runTensor);
      this.#nextRun = grown(this.#nextRun);
    }
    this.#runFrom[run] = from;
    this.#runTo[run] = to;
    this.#runMessage[run] = message;
    this.#runTensor[run] = tensor;
    this.#nextRun[run] = (this.#received[slot] as number) - this.#runSerial;
    this.#received[slot] = run + this.#runSerial;
  }

  #wait(message: number, step: number): void {
    const first = this.waiters[message] as number;
    if (first < 0 || this.waiter[first] !== step) this.#addWaiter(message, step);
  }

  #addWaiter(message: number, step: number): void {
    const at = this.#waiterCount++;
    if (at === this.waiter.length) {
      this.waiter = grown(this.waiter);
      this.nextWaiter = grown(this.nextWaiter);
      this.#awaited = grown(this.#awaited);
    }
    this.waiter[at] = step;
    this.#awaited[at] = message;
    this.nextWaiter[at] = this.waiters[message] as number;
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
    this.#leaves(message, owner);
    return message;
  }

  /** Puts a message in its place among those that leave after a step. */
  #leaves(message: number, owner: number): void {
    const turn = this.#turn[this.to[message] as number] as number;
    const key = (this.volume[message] as number) * 2 * (this.#devices + 1) + turn;
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
    const { volumes, volumeOf, made, base, gathers, rest } = this.#steps;
    const begun = this.count;
    const deliver = (step: number, bytes: number): void => {
      const message = this.#messageTo(step, this.#devices, volumes + 1);
      this.bytes[message] = (this.bytes[message] as number) + bytes;
    };
    for (let index = 0; index < this.#outputs.length; index++) {
      const tensor = this.#outputs[index] as number;
      const { rows = 0, bytesPerRow = 0 } = workload.tensors[tensor] ?? {};
      const maker = volumeOf[this.#tables.madeBy[tensor] as number] as number;
      const gather = gathers.length > 0 ? this.#gatherBefore(maker, volumes + 1) : -1;
      if (gather >= 0) {
        deliver(gather, rows * bytesPerRow);
        continue;
      }
      const { span, count, work } = made[maker] as VolumeSteps;
      const slot = 2 * (span.slots[tensor] as number);
      for (let step = 0; step < count; step++) {
        const { owns } = work[step] as PartWork;
        const share = (owns[slot + 1] as number) - (owns[slot] as number);
        if (share > 0) deliver((base[maker] as number) + step, share * bytesPerRow);
      }
    }
    if (rest >= 0) deliver(rest, workload.head?.resultBytes ?? 0);
    this.results = this.count - begun;
  }
}

/** The step of a volume that owns a row: the shares of its parts tile the tensor from top to bottom. */
function ownerOf(work: readonly PartWork[], count: number, slot: number, row: number): number {
  let low = 0;
  let high = count - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (((work[middle] as PartWork).owns[slot + 1] as number) > row) high = middle;
    else low = middle + 1;
  }
  return low;
}
