/**
 * When every provider is done with a volume, worked out volume by volume while a plan is being made: what the state of the
 * decision process is read from. It follows the rules of the simulation for plans with one part per device and volume, with
 * two liberties: messages of earlier volumes are not put off by those of later volumes that were issued before them (they
 * take the gaps that are left), and rows of a tensor that a part computed beyond its share are not known to be there. The
 * latency that a plan is judged by comes from the simulator.
 */
import type { PlanningTask, Workload } from '@distredge/core';
import type { Geometry } from '../search/geometry.js';
import { BYTES_PER_MS } from '../units.js';

interface Message {
  readonly issued: number;
  /** -1 is the requester. */
  readonly from: number;
  readonly to: number;
  bytes: number;
}

export class Timeline {
  readonly #geometry: Geometry;
  readonly #workload: Workload;
  readonly #devices: number;
  readonly #shared: boolean;
  /** Link of each device, then the requester's. */
  readonly #mbps: Float64Array;
  readonly #latency: Float64Array;
  readonly #headMs: Float64Array;
  /** When each device has ended its last part so far, ms. */
  readonly finished: Float64Array;
  /** When each link is busy, each way, and the medium where it is shared. */
  readonly #up: readonly Busy[];
  readonly #down: readonly Busy[];
  readonly #medium = new Busy();
  /** [tensor · devices + device]: the rows it owns, those it has, and when it had made them. */
  readonly #ownFrom: Int32Array;
  readonly #ownTo: Int32Array;
  readonly #hasFrom: Int32Array;
  readonly #hasTo: Int32Array;
  readonly #madeAt: Float64Array;

  constructor(task: PlanningTask, geometry: Geometry) {
    const { workload, network, costs } = task;
    const links = [...network.devices, network.requester];
    this.#geometry = geometry;
    this.#workload = workload;
    this.#devices = costs.length;
    this.#shared = network.medium === 'shared';
    this.#mbps = Float64Array.from(links, ({ mbps }) => mbps);
    this.#latency = Float64Array.from(links, ({ latencyMs }) => latencyMs);
    const channels = workload.head?.cut?.channels ?? 0;
    this.#headMs = Float64Array.from(costs, (device) => {
      return device.headBeforeMs + (device.headCutMs[channels] ?? 0) + device.headAfterMs;
    });
    this.finished = new Float64Array(costs.length);
    this.#up = links.map(() => new Busy());
    this.#down = links.map(() => new Busy());
    const pairs = workload.tensors.length * costs.length;
    this.#ownFrom = new Int32Array(pairs);
    this.#ownTo = new Int32Array(pairs);
    this.#hasFrom = new Int32Array(pairs);
    this.#hasTo = new Int32Array(pairs);
    this.#madeAt = new Float64Array(pairs);
  }

  /** Back to time 0: nothing is computed, and the requester alone has rows. */
  reset(): void {
    for (const link of [...this.#up, ...this.#down, this.#medium]) link.clear();
    for (const values of [this.finished, this.#madeAt]) values.fill(0);
    for (const rows of [this.#ownFrom, this.#ownTo, this.#hasFrom, this.#hasTo]) rows.fill(0);
  }

  /**
   * Runs the volume of ops start … end.
   * @param cuts rows of the end tensor where the devices' parts begin, and their number at last: devices + 1 numbers, ascending
   */
  advance(start: number, end: number, cuts: ArrayLike<number>): void {
    const devices = this.#devices;
    const rows = this.#geometry.rows(end);
    const messages = new Map<number, Message>();
    for (let d = 0; d < devices; d++) {
      const from = cuts[d] as number;
      const to = cuts[d + 1] as number;
      if (from >= to) continue;
      const pieces = this.#geometry.needs(start, end, from, to);
      for (let p = 0; p < pieces.length; p += 3) {
        this.#bring(messages, d, pieces[p] as number, pieces[p + 1] as number, pieces[p + 2] as number);
      }
    }
    const arrived = this.#send([...messages.values()]);
    for (let d = 0; d < devices; d++) {
      const from = cuts[d] as number;
      const to = cuts[d + 1] as number;
      if (from >= to) continue;
      const begin = Math.max(this.finished[d] as number, arrived[d] as number);
      this.finished[d] = begin + this.#geometry.ms(d, start, end, from, to);
    }
    for (const tensor of this.#geometry.live(end)) {
      if ((this.#geometry.producer[tensor] as number) < start) continue;
      for (let d = 0; d < devices; d++) {
        const at = tensor * devices + d;
        const from = this.#geometry.share(tensor, cuts[d] as number, rows);
        const to = this.#geometry.share(tensor, cuts[d + 1] as number, rows);
        this.#ownFrom[at] = this.#hasFrom[at] = from;
        this.#ownTo[at] = this.#hasTo[at] = to;
        this.#madeAt[at] = this.finished[d] as number;
      }
    }
  }

  /** The device on which the head, run after all volumes, would give the requester its result first. */
  bestHead(): number {
    const { head } = this.#workload;
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let d = 0; d < this.#devices; d++) {
      let free = 0;
      let ready = this.finished[d] as number;
      for (let from = 0; from < this.#devices; from++) {
        if (from === d) continue;
        let bytes = 0;
        for (const tensor of head?.reads ?? []) {
          const at = tensor * this.#devices + from;
          bytes += ((this.#ownTo[at] as number) - (this.#ownFrom[at] as number)) * this.#bytesPerRow(tensor);
        }
        if (bytes === 0) continue;
        free = Math.max(free, this.finished[from] as number) + this.#travel(bytes, from, d);
        ready = Math.max(ready, free + this.#delay(from, d));
      }
      const requester = this.#devices;
      const result = this.#travel(head?.resultBytes ?? 0, d, requester) + this.#delay(d, requester);
      const done = ready + (this.#headMs[d] as number) + result;
      if (done < least) {
        least = done;
        best = d;
      }
    }
    return best;
  }

  #bytesPerRow(tensor: number): number {
    return this.#workload.tensors[tensor]?.bytesPerRow ?? 0;
  }

  /** Time that a message occupies the links of both ends. */
  #travel(bytes: number, from: number, to: number): number {
    return bytes / (Math.min(this.#mbps[from] as number, this.#mbps[to] as number) * BYTES_PER_MS);
  }

  #delay(from: number, to: number): number {
    return Math.max(this.#latency[from] as number, this.#latency[to] as number);
  }

  /** Adds what device d lacks of rows [from, to) of a tensor to the messages for it. */
  #bring(messages: Map<number, Message>, d: number, tensor: number, from: number, to: number): void {
    const at = tensor * this.#devices + d;
    const hasFrom = this.#hasFrom[at] as number;
    const hasTo = this.#hasTo[at] as number;
    if (hasFrom >= hasTo) {
      this.#fetch(messages, d, tensor, from, to);
      this.#hasFrom[at] = from;
      this.#hasTo[at] = to;
      return;
    }
    this.#fetch(messages, d, tensor, from, Math.min(to, hasFrom));
    this.#fetch(messages, d, tensor, Math.max(from, hasTo), to);
    this.#hasFrom[at] = Math.min(from, hasFrom);
    this.#hasTo[at] = Math.max(to, hasTo);
  }

  #fetch(messages: Map<number, Message>, to: number, tensor: number, first: number, last: number): void {
    if (first >= last) return;
    const perRow = this.#bytesPerRow(tensor);
    if (tensor < this.#workload.inputs) {
      this.#add(messages, to, -1, to, 0, (last - first) * perRow);
      return;
    }
    const producer = this.#geometry.producer[tensor] as number;
    for (let from = 0; from < this.#devices; from++) {
      const at = tensor * this.#devices + from;
      const rows = Math.min(last, this.#ownTo[at] as number) - Math.max(first, this.#ownFrom[at] as number);
      if (rows <= 0 || from === to) continue;
      // Tensors that were made by the same part leave in one message.
      const key = ((producer + 1) * this.#devices + from) * this.#devices + to;
      this.#add(messages, key + this.#devices, from, to, this.#madeAt[at] as number, rows * perRow);
    }
  }

  #add(messages: Map<number, Message>, key: number, from: number, to: number, issued: number, bytes: number): void {
    const known = messages.get(key);
    if (known === undefined) messages.set(key, { issued, from, to, bytes });
    else known.bytes += bytes;
  }

  /** Messages occupy links in the order in which they are issued. Returns when each device has the last of its own. */
  #send(messages: Message[]): Float64Array {
    const arrived = new Float64Array(this.#devices);
    messages.sort((a, b) => a.issued - b.issued || a.from - b.from || a.to - b.to);
    for (const { issued, from, to, bytes } of messages) {
      const sender = from < 0 ? this.#devices : from;
      const links = [this.#up[sender] as Busy, this.#down[to] as Busy];
      if (this.#shared) links.push(this.#medium);
      const sent = occupy(links, issued, this.#travel(bytes, sender, to));
      arrived[to] = Math.max(arrived[to] as number, sent + this.#delay(sender, to));
    }
    return arrived;
  }
}

/** When something is busy: intervals that do not overlap, ascending. */
class Busy {
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  clear(): void {
    this.#from.length = 0;
    this.#to.length = 0;
  }

  /** The first time from `start` on at which it stays free for so long, as far as the first interval in the way says. */
  freeFrom(start: number, ms: number): number {
    for (let i = this.#to.length - 1; i >= 0; i--) {
      if ((this.#to[i] as number) <= start) break;
      if ((this.#from[i] as number) < start + ms) return this.#to[i] as number;
    }
    return start;
  }

  add(from: number, to: number): void {
    let at = this.#from.length;
    while (at > 0 && (this.#from[at - 1] as number) > from) at -= 1;
    this.#from.splice(at, 0, from);
    this.#to.splice(at, 0, to);
  }
}

/** Occupies all of them for so long, from the first time on at which they are free together. Returns when it ends. */
function occupy(links: readonly Busy[], earliest: number, ms: number): number {
  let start = earliest;
  for (let moved = true; moved; ) {
    moved = false;
    for (const link of links) {
      const free = link.freeFrom(start, ms);
      moved ||= free > start;
      start = free;
    }
  }
  for (const link of links) link.add(start, start + ms);
  return start + ms;
}
