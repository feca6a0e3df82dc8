/**
 * A provable lower bound on the latency of any plan, general ones included. Two relaxations, as one linear programme:
 *
 * - **fluid work**: every device computes any fraction of any op, at the best time per row that its table ever reaches;
 *   rows that it reads of a tensor it has computed or received, without halo;
 * - **arrival of the input**: the requester sends the input over its link. Until a share of the rows has arrived, only the
 *   rows of every op that depend on them can have been computed. So time falls into windows by arrived rows, and what cannot
 *   be known before the last row arrives is computed after it;
 * - **what follows** (`following.ts`): whatever a result is made from is computed, and sent, so much before the end as the ops
 *   take that must come behind it.
 *
 * On top come what must follow in turn: the head, and the result on its way back. Tensors that the requester wants are large for some
 * networks: their way back, behind what they are made from, is a bound of its own (`serial.ts`), and the larger one counts.
 */
import {
  type DeviceCosts,
  deviceKinds,
  type NetworkLink,
  type PlanningTask,
  sameNumbers,
  type Workload,
} from '@distredge/core';
import { nowMs } from '../clock.js';
import { BYTES_PER_MS } from '../units.js';
import { type Arrival, arrivalOf } from './arrival.js';
import { behindMs, followingMs, leastMs, levelsOf, neededRows } from './following.js';
import { LinearProgram } from './linear-program.js';
import { computableRows, fewestRead, hasGaps, producers } from './reach.js';
import { chainMs, headMs, lastRowMs, resultMs, returnedMs } from './serial.js';

export interface LowerBound {
  readonly ms: number;
  /** What holds it up, for people. */
  readonly reason: 'arrival of the input' | 'work of the devices' | 'way of the results';
}

export interface BoundOptions {
  /** Windows that the arrival of the input is divided into. More are tighter and slower. Default: by the size of the task. */
  readonly windows?: number;
  /** Limit of the solver. What it has by then still gives a bound. Default 5. */
  readonly seconds?: number;
}

/** Devices that are alike, treated as one of `count` times the capacity. */
interface DeviceClass {
  readonly costs: DeviceCosts;
  readonly link: NetworkLink;
  readonly count: number;
}

/** A programme with windows behind the last row too is begun where the one without took less than this part of the time. */
const LARGER = 3;
/** Rounding of the simulation and of this calculation. */
const SAFETY = 1 - 1e-9;

export async function lowerBound(task: PlanningTask, options: BoundOptions = {}): Promise<LowerBound> {
  const { workload } = task;
  const classes = classesOf(task);
  const input = largestInput(workload);
  const needed = neededRows(workload);
  const arrival = arrivalOf(task, input, needed[input] ?? 0);
  const after = workload.outputs.length === 0 ? headMs(task) + resultMs(task) : lastRowMs(task, arrival);
  const chain = chainMs(task, input);
  const { windows = windowsFor(classes.length * workload.ops.length), seconds = 5 } = options;
  const tables = computableRows(workload, input);
  const given = { arrival, needed, tables };
  const began = nowMs();
  const { tail: first, last } = await fluid(task, classes, given, { windows, behind: 0, seconds });
  const tookS = (nowMs() - began) / 1000;
  // What a solver that runs out of time leaves may be worth little: the larger programme comes second, and the better counts.
  const tail =
    windows > 1 && tookS * LARGER < seconds
      ? Math.max(
          first,
          (await fluid(task, classes, given, { windows, behind: windows - 1, seconds: seconds - tookS })).tail,
        )
      : first;
  const computedMs = last + Math.max(tail, chain) + after;
  const returned = returnedMs(task, arrival, tables);
  const ms = Math.max(computedMs, returned) * SAFETY;
  if (returned > computedMs) return { ms, reason: 'way of the results' };
  const whenArrived = arrival.latencyMs + arrival.totalMs;
  return { ms, reason: whenArrived > ms / 2 ? 'arrival of the input' : 'work of the devices' };
}

function largestInput({ tensors, inputs }: Workload): number {
  let best = 0;
  const bytes = (index: number): number => (tensors[index]?.rows ?? 0) * (tensors[index]?.bytesPerRow ?? 0);
  for (let index = 1; index < inputs; index++) if (bytes(index) > bytes(best)) best = index;
  return best;
}

function sameHead(a: DeviceCosts, b: DeviceCosts): boolean {
  if (a.headBeforeMs !== b.headBeforeMs || a.headAfterMs !== b.headAfterMs) return false;
  return sameNumbers(a.headCutMs, b.headCutMs);
}

function classesOf({ costs, network }: PlanningTask): DeviceClass[] {
  const kinds = deviceKinds(costs).of;
  const classes: (DeviceClass & { readonly kind: number })[] = [];
  costs.forEach((device, index) => {
    const link = network.devices[index] as NetworkLink;
    const kind = kinds[index] as number;
    const at = classes.findIndex(
      (other) =>
        other.kind === kind &&
        other.link.mbps === link.mbps &&
        other.link.latencyMs === link.latencyMs &&
        sameHead(other.costs, device),
    );
    const known = classes[at];
    if (known === undefined) classes.push({ kind, costs: device, link, count: 1 });
    else classes[at] = { ...known, count: known.count + 1 };
  });
  return classes;
}

/** Windows for a programme of so many device classes × ops: large ones would take tens of seconds with many. */
function windowsFor(size: number): number {
  return size <= 100 ? 4 : size <= 400 ? 3 : size <= 1200 ? 2 : 1;
}

/** What all programmes for a task are made from. */
interface Given {
  readonly arrival: Arrival;
  readonly needed: readonly number[];
  /** How many rows of each op can be computed from r rows of the input. */
  readonly tables: readonly (Int32Array | undefined)[];
}

async function fluid(
  task: PlanningTask,
  classes: readonly DeviceClass[],
  { arrival, needed, tables }: Given,
  { windows, behind: cutsBehind, seconds }: Required<BoundOptions> & { readonly behind: number },
): Promise<{ last: number; tail: number }> {
  const { workload, network } = task;
  const { ops, tensors } = workload;
  // Windows end when r rows have arrived: nothing that needs an r + 1st can have begun.
  const arrived = [
    ...new Set(Array.from({ length: windows }, (_, w) => Math.floor(((arrival.rows - 1) * (w + 1)) / windows))),
  ];
  const ends = arrived.map((r) => arrival.latencyMs + (r + 1) * arrival.rowMs);
  const last = ends.at(-1) as number;
  const lp = new LinearProgram();
  const crude = crudeMs(task);
  const tail = lp.variable(crude, 1);
  const producer = producers(workload);
  const readTensors = [...new Set(ops.flatMap((op) => op.reads.map((read) => read.tensor)))];
  const needs = ops.map((op) => op.reads.map(rowsPerRow));
  const total = ops.map((op) => Math.max(...op.outputs.map((tensor) => needed[tensor] ?? 0)));
  const remaining = ops.map((op, index) =>
    arrived.map((r) => Math.max(0, (total[index] as number) - (tables[index]?.[r] ?? op.rows))),
  );
  const computed: number[][][] = []; // [window][class][op]
  const hidden: number[][][] = []; // [window after the last row][class][op]: rows beside those that could not be computed before
  const received: number[][][] = []; // [window][class][tensor]
  // Behind the last row's arrival, windows end so long before the last op does: what more than that must follow is done by then.
  const behind = behindMs(task, total);
  const late = (times: readonly number[]): number[] => times.filter((_, o) => (remaining[o]?.at(-1) ?? 0) > 0);
  const cuts = [...levelsOf(late(behind), cutsBehind).reverse(), 0];
  const begin = ends.length;
  const final = begin + cuts.length - 1;
  for (let w = 0; w <= final; w++) {
    computed.push(classes.map(({ count }) => ops.map((op) => lp.variable(op.rows * count))));
    received.push(
      classes.map(({ count }) =>
        tensors.map((t, index) => (readTensors.includes(index) ? lp.variable(t.rows * count) : -1)),
      ),
    );
  }
  for (let w = begin; w <= final; w++)
    hidden[w] = classes.map(({ count }) => ops.map((op) => lp.variable(op.rows * count)));
  const following = followingMs(task);
  const levels = levelsOf(late(following.ops));
  const rowMs = classes.map(({ costs }) => ops.map((_, o) => perRow(task, costs, o, needs[o] ?? [])));
  // Every row is computed, and what depends on rows that have not arrived is computed later.
  ops.forEach((_, o) => {
    for (let w = -1; w < ends.length; w++) {
      const left = w < 0 ? (total[o] as number) : (remaining[o]?.[w] ?? 0);
      if (left <= 0) continue;
      const terms: [number, number][] = [];
      const by = begin + cuts.findIndex((cut) => (behind[o] as number) >= cut);
      for (let later = w + 1; later <= by; later++) {
        classes.forEach((_, d) => {
          terms.push([computed[later]?.[d]?.[o] as number, 1]);
          if (later >= begin && w < begin - 1) terms.push([hidden[later]?.[d]?.[o] as number, 1]);
        });
      }
      lp.row(terms, left);
    }
  });
  // Time of every device in every window.
  classes.forEach(({ costs, count }, d) => {
    for (let w = 0; w < ends.length; w++) {
      const length = (ends[w] as number) - (w === 0 ? 0 : (ends[w - 1] as number));
      lp.row(
        ops.map((_, o): [number, number] => [computed[w]?.[d]?.[o] as number, -(rowMs[d]?.[o] as number)]),
        -length * count,
      );
    }
    const spent = cuts.map((cut, k) => {
      const used = ops.map((op, o): [number, number][] => {
        const lateRows = computed[begin + k]?.[d]?.[o] as number;
        const others = hidden[begin + k]?.[d]?.[o] as number;
        const least = rowMs[d]?.[o] as number;
        const { few, more } = lateRates(costs.opMs[o] as Float64Array, remaining[o]?.at(-1) ?? 0, op.rows, least);
        const atBest: [number, number][] = [
          [lateRows, -least],
          [others, -least],
        ];
        if (few <= least) return atBest;
        // Two bounds on the time that the op takes here: by the best rate, and by what few rows cost.
        const ms = lp.variable(crude);
        lp.row([[ms, 1], ...atBest], 0);
        lp.row(
          [
            [ms, 1],
            [lateRows, -few],
            [others, -more],
          ],
          0,
        );
        return [[ms, -1]];
      });
      // The first of them begins when the last row has arrived; the others have a known length.
      if (k === 0) lp.row([[tail, count], ...used.flat()], cut * count);
      else lp.row(used.flat(), (cut - (cuts[k - 1] as number)) * count);
      return used;
    });
    for (const level of levels) {
      const used = spent.flatMap((window) => window.filter((_, o) => (following.ops[o] as number) >= level).flat());
      lp.row([[tail, count], ...used], level * count);
    }
  });
  // What is read is held: computed here or received, by the end of every window.
  const upTo = (
    w: number,
    of: readonly (readonly (readonly number[])[])[],
    d: number,
    at: number,
  ): [number, number][] => of.slice(0, w + 1).map((window): [number, number] => [window[d]?.[at] as number, 1]);
  const computedUpTo = (w: number, d: number, o: number): [number, number][] => [
    ...upTo(w, computed, d, o),
    ...upTo(w, hidden, d, o).filter(([variable]) => variable !== undefined),
  ];
  for (let w = 0; w <= final; w++) {
    classes.forEach((_, d) => {
      ops.forEach((op, o) => {
        op.reads.forEach((read, index) => {
          const need = needs[o]?.[index] ?? 0;
          if (need <= 0) return;
          const from = producer.get(read.tensor);
          const terms = [
            ...upTo(w, received, d, read.tensor),
            ...(from === undefined ? [] : computedUpTo(w, d, from)),
            ...computedUpTo(w, d, o).map(([variable]): [number, number] => [variable, -need]),
          ];
          lp.row(terms, 0);
        });
      });
    });
  }
  const after = { levels, tensors: following.tensors };
  networkRows(lp, task, classes, { received, ends, cuts, tail, arrival, network, readTensors, after });
  const bound = await lp.lowerBound(seconds);
  return { last, tail: Math.max(0, bound) };
}

function networkRows(
  lp: LinearProgram,
  { workload }: PlanningTask,
  classes: readonly DeviceClass[],
  given: {
    readonly received: readonly (readonly (readonly number[])[])[];
    readonly ends: readonly number[];
    readonly cuts: readonly number[];
    readonly tail: number;
    readonly arrival: Arrival;
    readonly network: PlanningTask['network'];
    readonly readTensors: readonly number[];
    readonly after: { readonly levels: readonly number[]; readonly tensors: readonly number[] };
  },
): void {
  const { received, ends, cuts, tail, arrival, network, readTensors, after } = given;
  const final = ends.length + cuts.length - 1;
  const isInput = (tensor: number): boolean => tensor < workload.inputs;
  const fastest = classes.map(({ link, count }, d) =>
    Math.min(link.mbps, Math.max(...classes.map((other, e) => (e !== d || count > 1 ? other.link.mbps : 0)))),
  );
  const msPerRow = (d: number, tensor: number): number => {
    const mbps = isInput(tensor)
      ? Math.min((classes[d] as DeviceClass).link.mbps, network.requester.mbps)
      : Math.max(fastest[d] as number, 1e-9);
    return (workload.tensors[tensor]?.bytesPerRow ?? 0) / (mbps * BYTES_PER_MS);
  };
  /** What the links carry of these tensors by the end of a window; `before`: so long before the last op ends, where it ends behind the last row. */
  const carried = (w: number, tensors: readonly number[], before: number): void => {
    const end = ends[Math.min(w, ends.length - 1)] as number;
    const limit = (terms: [number, number][], links: number): void => {
      if (terms.length === 0) return;
      if (w >= ends.length) terms.push([tail, links]);
      lp.row(terms, -(end - before - arrival.latencyMs) * links);
    };
    const used = (d: number, which: readonly number[]): [number, number][] =>
      which.flatMap((tensor) =>
        received
          .slice(0, w + 1)
          .map((window): [number, number] => [window[d]?.[tensor] as number, -msPerRow(d, tensor)]),
      );
    const all = classes.map((_, d) => d);
    limit(
      all.flatMap((d) => used(d, tensors.filter(isInput))),
      1,
    ); // the requester's uplink
    if (network.medium === 'shared')
      limit(
        all.flatMap((d) => used(d, tensors)),
        1,
      );
    else for (const d of all) limit(used(d, tensors), (classes[d] as DeviceClass).count);
  };
  for (let w = 0; w <= final; w++) carried(w, readTensors, cuts[w - ends.length] ?? 0);
  for (const level of after.levels) {
    carried(
      final,
      readTensors.filter((tensor) => (after.tensors[tensor] as number) >= level),
      level,
    );
  }
}

/** Rows of a tensor read per row made, at the least over all numbers of rows. */
function rowsPerRow(read: PlanningTask['workload']['ops'][number]['reads'][number]): number {
  const fewest = fewestRead(read);
  let least = Number.POSITIVE_INFINITY;
  for (let k = 1; k < fewest.length; k++) least = Math.min(least, (fewest[k] as number) / k);
  if (hasGaps(read)) {
    for (let j = 0; j < read.from.length; j++)
      least = Math.min(least, (read.to[j] as number) - (read.from[j] as number));
  }
  return least;
}

/** A device's best time per row of an op, reading included. */
function perRow({ workload }: PlanningTask, costs: DeviceCosts, o: number, needs: readonly number[]): number {
  const op = workload.ops[o] as Workload['ops'][number];
  const table = costs.opMs[o] as Float64Array;
  const perByte = costs.readMsPerByte[o] ?? 0;
  let least = Number.POSITIVE_INFINITY;
  for (let r = 1; r <= op.rows; r++) least = Math.min(least, (table[r] as number) / r);
  if (perByte === 0) return least;
  return op.reads.reduce(
    (sum, read, index) => sum + (needs[index] ?? 0) * (workload.tensors[read.tensor]?.bytesPerRow ?? 0) * perByte,
    least,
  );
}

/**
 * Rates with few · (late rows) + more · (other rows) ≤ the time for all of them, for any number of them: few rows cost more
 * each, since a launch or a wave of tiles is paid for whole.
 */
function lateRates(table: Float64Array, late: number, rows: number, least: number): { few: number; more: number } {
  if (late <= 0) return { few: least, more: least };
  let few = Number.POSITIVE_INFINITY;
  for (let r = 1; r <= Math.min(late, rows); r++) few = Math.min(few, leastMs(table, r) / r);
  let more = few;
  for (let r = late + 1; r <= rows; r++) more = Math.min(more, ((table[r] as number) - few * late) / (r - late));
  if (few < least) few = least;
  return { few, more: Math.max(0, Math.min(more, few)) };
}

/** More than any sensible plan takes: all work on the slowest device, and every tensor sent to every device. */
function crudeMs({ workload, costs, network }: PlanningTask): number {
  const work = Math.max(...costs.map((device) => device.opMs.reduce((sum, table) => sum + (table.at(-1) ?? 0), 0)));
  const bytes = workload.tensors.reduce((sum, { rows, bytesPerRow }) => sum + rows * bytesPerRow, 0);
  const slowest = Math.min(network.requester.mbps, ...network.devices.map((link) => link.mbps));
  return 10 * (work + (bytes * costs.length) / (slowest * BYTES_PER_MS));
}
