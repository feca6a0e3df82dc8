/**
 * The simulator that planners search with. It follows the rules of `simulate-reference.ts`, to which tests hold it, in flat
 * arrays that are used again for every plan: `Steps` reads the plan, `Exchange` says which rows travel, and here time passes.
 * The only events are ends of steps: when a step ends its messages are issued, and as every link serves messages in the order
 * in which they are issued, that settles when they arrive.
 */
import { DistrEdgeError } from '../errors.js';
import { inTime } from './loads.js';
import { Exchange } from './simulate-exchange.js';
import { Steps } from './simulate-steps.js';
import { Tables } from './simulate-tables.js';
import { Volumes } from './simulate-volumes.js';
import type {
  NetworkLink,
  PlanLoads,
  PlanningTask,
  PlanSimulator,
  SimulatedEvent,
  SimulatedRun,
  WorkPlan,
} from './task.js';

/**
 * A simulator that remembers parts of earlier plans: tens of thousands of plans in a second. Not to be shared by threads.
 * @param like another of these simulators; where only the network has changed since, what it remembers is used on
 */
export function simulator(task: PlanningTask, like?: PlanSimulator): PlanSimulator {
  return new FastSimulator(task, like instanceof FastSimulator ? like.tablesFor(task) : undefined);
}

class FastSimulator implements PlanSimulator {
  readonly task: PlanningTask;
  readonly #tables: Tables;
  readonly #steps: Steps;
  readonly #exchange: Exchange;
  readonly #devices: number;
  readonly #memoryBytes: Float64Array;
  readonly #shared: boolean;
  /** Of a message from one device to another, the requester last: 1000 × Mbit/s, and ms. */
  readonly #rate: Float64Array;
  readonly #delay: Float64Array;
  /** When each uplink, downlink and device will be free. */
  readonly #uplink: Float64Array;
  readonly #downlink: Float64Array;
  readonly #free: Float64Array;
  #medium = 0;
  /** The step that a device runs, or -1, with its end; the next one in its queue. */
  readonly #running: Int32Array;
  readonly #ends: Float64Array;
  readonly #upcoming: Int32Array;
  /** Devices that run a step, as a heap by its end, then by index. */
  readonly #heap: Int32Array;
  #busy = 0;
  /** Of every step: when the last message for it arrived, when it began. */
  #ready: Float64Array = new Float64Array(0);
  #began: Float64Array = new Float64Array(0);
  /** Of every message. */
  #issued: Float64Array = new Float64Array(0);
  #started: Float64Array = new Float64Array(0);
  #sent: Float64Array = new Float64Array(0);
  /** Messages to the requester still to be issued, and when the last one so far arrives. */
  #awaited = 0;
  #latest = 0;
  /** The plan that the steps and the exchange hold. */
  #last: WorkPlan | undefined;

  constructor(task: PlanningTask, tables: Tables = new Tables(task)) {
    const volumes = new Volumes(task, tables);
    this.task = task;
    this.#tables = tables;
    const { costs, network } = task;
    const ends = [...network.devices, network.requester];
    const devices = costs.length;
    this.#steps = new Steps(task, tables, volumes);
    this.#exchange = new Exchange(task, tables, volumes, this.#steps);
    this.#devices = devices;
    this.#memoryBytes = Float64Array.from(costs, (device) => device.memoryBytes);
    this.#shared = network.medium === 'shared';
    const pairs = (value: (a: NetworkLink, b: NetworkLink) => number): Float64Array =>
      Float64Array.from(ends.flatMap((a) => ends.map((b) => value(a, b))));
    this.#rate = pairs((a, b) => Math.min(a.mbps, b.mbps) * 1000);
    this.#delay = pairs((a, b) => Math.max(a.latencyMs, b.latencyMs));
    this.#uplink = new Float64Array(devices + 1);
    this.#downlink = new Float64Array(devices + 1);
    this.#free = new Float64Array(devices);
    this.#running = new Int32Array(devices);
    this.#ends = new Float64Array(devices);
    this.#upcoming = new Int32Array(devices);
    this.#heap = new Int32Array(devices);
  }

  /** What is remembered, where it holds for that task too: the same workload and the same costs, whatever the network. */
  tablesFor({ workload, costs }: PlanningTask): Tables | undefined {
    const { workload: own, costs: ownCosts } = this.task;
    const same = workload === own && costs.length === ownCosts.length && costs.every((cost, d) => cost === ownCosts[d]);
    return same ? this.#tables : undefined;
  }

  latency(plan: WorkPlan, bound: number = Number.POSITIVE_INFINITY): number {
    this.#read(plan);
    if (!this.#fits()) return Number.POSITIVE_INFINITY;
    return this.#play(bound);
  }

  run(plan: WorkPlan): SimulatedRun {
    this.#read(plan);
    const latencyMs = this.#play(Number.POSITIVE_INFINITY);
    return {
      latencyMs: this.#fits() ? latencyMs : Number.POSITIVE_INFINITY,
      events: inTime([...this.#computeEvents(), ...this.#messageEvents()]),
      memoryBytes: [...this.#steps.memory],
    };
  }

  loads(plan: WorkPlan): PlanLoads {
    const steps = this.#steps;
    const exchange = this.#exchange;
    this.#read(plan);
    const devices = this.#devices;
    const computeMs = new Float64Array(devices);
    const uplinkMs = new Float64Array(devices + 1);
    const downlinkMs = new Float64Array(devices + 1);
    let mediumMs = 0;
    let periodMs = 0;
    const add = (sums: Float64Array, index: number, ms: number): void => {
      const sum = (sums[index] as number) + ms;
      sums[index] = sum;
      if (sum > periodMs) periodMs = sum;
    };
    for (let step = 0; step < steps.count; step++)
      add(computeMs, steps.device[step] as number, steps.ms[step] as number);
    for (let message = 0; message < exchange.count; message++) {
      const [from, to] = [this.#sender(message), exchange.to[message] as number];
      const ms = ((exchange.bytes[message] as number) * 8) / (this.#rate[from * (devices + 1) + to] as number);
      add(uplinkMs, from, ms);
      add(downlinkMs, to, ms);
      if (this.#shared) mediumMs += ms;
    }
    return { computeMs, uplinkMs, downlinkMs, mediumMs, periodMs: Math.max(periodMs, mediumMs) };
  }

  keep(plan: WorkPlan): void {
    if (this.#last !== plan) this.#read(plan);
    if (this.#steps.gathers.length > 0) return;
    this.#steps.keep(plan);
    this.#exchange.keep();
  }

  #read(plan: WorkPlan): void {
    this.#last = undefined;
    this.#steps.read(plan);
    this.#exchange.resolve(plan);
    this.#last = plan;
  }

  #fits(): boolean {
    const { memory } = this.#steps;
    for (let device = 0; device < this.#devices; device++) {
      if ((memory[device] as number) > (this.#memoryBytes[device] as number)) return false;
    }
    return true;
  }

  #sender(message: number): number {
    const after = this.#exchange.after[message] as number;
    return after < 0 ? this.#devices : (this.#steps.device[after] as number);
  }

  /** Runs all steps. Returns Infinity as soon as it is certain that the latency is not below the bound. */
  #play(bound: number): number {
    const steps = this.#steps;
    const { given, first, next, pending, results } = this.#exchange;
    this.#reset();
    const { rest } = steps;
    const restMs = rest < 0 ? 0 : (steps.ms[rest] as number);
    for (let message = 0; message < given; message++) this.#issue(message, this.#devices, 0);
    for (let device = 0; device < this.#devices; device++) {
      const step = this.#upcoming[device] as number;
      if (step >= 0 && this.#running[device] === -1 && pending[step] === 0) this.#start(device, step);
    }
    this.#awaited = results;
    while (this.#busy > 0) {
      const device = this.#earliest();
      const now = this.#ends[device] as number;
      // What has not begun by now will not end earlier than that.
      const least = rest >= 0 && (this.#began[rest] as number) < 0 ? now + restMs : now;
      if (least >= bound && this.#awaited > 0) return Number.POSITIVE_INFINITY;
      const step = this.#running[device] as number;
      this.#running[device] = -1;
      this.#free[device] = now;
      for (let m = first[step] as number; m >= 0; m = next[m] as number) this.#issue(m, device, now);
      const upcoming = this.#upcoming[device] as number;
      if (upcoming >= 0 && pending[upcoming] === 0) this.#start(device, upcoming);
    }
    if (this.#awaited > 0) throw new DistrEdgeError('INTERNAL', 'a simulated run stands still');
    return this.#latest;
  }

  #reset(): void {
    const { count } = this.#steps;
    if (count > this.#ready.length) {
      this.#ready = new Float64Array(2 * count);
      this.#began = new Float64Array(2 * count);
    }
    const messages = this.#exchange.count;
    if (messages > this.#issued.length) {
      this.#issued = new Float64Array(2 * messages);
      this.#started = new Float64Array(2 * messages);
      this.#sent = new Float64Array(2 * messages);
    }
    this.#ready.fill(0, 0, count);
    this.#began.fill(-1, 0, count);
    this.#uplink.fill(0);
    this.#downlink.fill(0);
    this.#free.fill(0);
    this.#running.fill(-1);
    this.#upcoming.set(this.#steps.queue);
    this.#medium = 0;
    this.#busy = 0;
    this.#latest = 0;
  }

  /** A message takes its sender's uplink and its receiver's downlink together, after all that were issued before it. */
  #issue(message: number, from: number, now: number): void {
    const { to: receivers, bytes, waiters, waiter, nextWaiter, pending } = this.#exchange;
    const to = receivers[message] as number;
    const pair = from * (this.#devices + 1) + to;
    let start = now;
    if ((this.#uplink[from] as number) > start) start = this.#uplink[from] as number;
    if ((this.#downlink[to] as number) > start) start = this.#downlink[to] as number;
    if (this.#shared && this.#medium > start) start = this.#medium;
    const sent = start + ((bytes[message] as number) * 8) / (this.#rate[pair] as number);
    this.#uplink[from] = sent;
    this.#downlink[to] = sent;
    this.#medium = sent;
    const arrived = sent + (this.#delay[pair] as number);
    this.#issued[message] = now;
    this.#started[message] = start;
    this.#sent[message] = sent;
    if (to === this.#devices) {
      this.#awaited--;
      if (arrived > this.#latest) this.#latest = arrived;
      return;
    }
    for (let at = waiters[message] as number; at >= 0; at = nextWaiter[at] as number) {
      const step = waiter[at] as number;
      if (arrived > (this.#ready[step] as number)) this.#ready[step] = arrived;
      const left = (pending[step] as number) - 1;
      pending[step] = left;
      if (left === 0 && this.#upcoming[to] === step && this.#running[to] === -1) this.#start(to, step);
    }
  }

  #start(device: number, step: number): void {
    const ready = this.#ready[step] as number;
    const free = this.#free[device] as number;
    const began = ready > free ? ready : free;
    this.#began[step] = began;
    this.#running[device] = step;
    this.#upcoming[device] = this.#steps.next[step] as number;
    this.#ends[device] = began + (this.#steps.ms[step] as number);
    let at = this.#busy++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const other = this.#heap[parent] as number;
      if (!this.#before(device, other)) break;
      this.#heap[at] = other;
      at = parent;
    }
    this.#heap[at] = device;
  }

  /** Takes the device whose step ends first out of the heap. */
  #earliest(): number {
    const top = this.#heap[0] as number;
    const count = --this.#busy;
    const moved = this.#heap[count] as number;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && this.#before(this.#heap[child + 1] as number, this.#heap[child] as number)) child++;
      const other = this.#heap[child] as number;
      if (!this.#before(other, moved)) break;
      this.#heap[at] = other;
      at = child;
    }
    this.#heap[at] = moved;
    return top;
  }

  #before(a: number, b: number): boolean {
    const [x, y] = [this.#ends[a] as number, this.#ends[b] as number];
    return x < y || (x === y && a < b);
  }

  #computeEvents(): SimulatedEvent[] {
    const { count, device, volume, ms } = this.#steps;
    return Array.from({ length: count }, (_, step): SimulatedEvent => {
      const start = this.#began[step] as number;
      return {
        kind: 'compute',
        device: device[step] as number,
        volume: volume[step] as number,
        part: this.#steps.partOf(step),
        ready: this.#ready[step] as number,
        start,
        end: start + (ms[step] as number),
      };
    });
  }

  #messageEvents(): SimulatedEvent[] {
    const { count, to: receivers, volume, bytes } = this.#exchange;
    const named = (device: number): number => (device === this.#devices ? -1 : device);
    return Array.from({ length: count }, (_, message): SimulatedEvent => {
      const [from, to] = [this.#sender(message), receivers[message] as number];
      const sent = this.#sent[message] as number;
      return {
        kind: 'message',
        from: named(from),
        to: named(to),
        volume: volume[message] as number,
        bytes: bytes[message] as number,
        issued: this.#issued[message] as number,
        start: this.#started[message] as number,
        sent,
        arrived: sent + (this.#delay[from * (this.#devices + 1) + to] as number),
      };
    });
  }
}
