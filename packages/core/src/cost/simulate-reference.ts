/**
 * The rules of simulation, written to be read: sets of rows, a queue of parts that end, nothing clever. Planners use the fast
 * simulator (`simulate.ts`), which must agree with this one. It is one file so that it can be read beside the rules.
 *
 * A plan becomes **steps** in the order of its schedule: parts, gathers, and last the head. What a step needs and its device
 * has not computed is sent by the owner, in **messages** that are known before anything runs; only their times are simulated.
 */
import { isGather, planError } from '../plan/plan.js';
import { hull, isEmpty, type Range, share } from '../rows/range.js';
import { checkWorkPlan, tooEarly, wholeTwice } from './check-plan.js';
import { partialBytes, weightsOf } from './head.js';
import { inTime, loadsOf } from './loads.js';
import type {
  DeviceCosts,
  NetworkLink,
  PlanningTask,
  PlanSimulator,
  SimulatedEvent,
  SimulatedRun,
  WorkPlan,
} from './task.js';
import type { Workload } from './workload.js';

const REQUESTER = -1;
type Rows = Set<number>;

/** What a device does at a stretch. */
interface Step {
  readonly device: number;
  /** Index in the plan's volumes; their number for the head. */
  readonly volume: number;
  readonly part: number;
  readonly ms: number;
  /** Rows read of tensors made before the volume. */
  readonly needs: ReadonlyMap<number, Range>;
  /** Rows made of tensors that are alive when the volume ends, halo included. */
  readonly holds: ReadonlyMap<number, Range>;
  /** Those of them that it sends to whoever lacks them. */
  readonly owns: ReadonlyMap<number, Range>;
  /** Weights of the ops it takes part in, by a name for what is loaded once. */
  readonly weights: ReadonlyMap<string, number>;
  /** Bytes it reads and owns. */
  readonly bytes: number;
  /** Messages that bring what it lacks. */
  readonly waits: Set<Message>;
}

interface Message {
  /** The step after which it leaves; undefined for the requester's. */
  readonly after: Step | undefined;
  readonly to: number;
  readonly volume: number;
  /** The step for which it was made; undefined for results. */
  readonly reader: Step | undefined;
  bytes: number;
  arrived: number | undefined;
}

/** A simulator that follows the rules step by step: some hundred times slower than `simulator`. */
export function referenceSimulator(task: PlanningTask): PlanSimulator {
  const run = (plan: WorkPlan): SimulatedRun => {
    checkWorkPlan(task, plan);
    const steps = stepsOf(task, plan);
    return play(task, steps, messagesOf(task, plan, steps));
  };
  return {
    task,
    latency: (plan) => run(plan).latencyMs,
    run,
    loads: (plan) => loadsOf(task, run(plan).events),
  };
}

// Steps

interface Life {
  /** Op that makes the tensor; -1 for the model's inputs. */
  readonly made: number;
  /** Last op that reads it; the number of ops for the head and for outputs. */
  readonly read: number;
}

function livesOf({ tensors, ops, head, outputs }: Workload): Life[] {
  return tensors.map((_, tensor) => {
    const kept = outputs.includes(tensor) || (head?.reads.includes(tensor) ?? false);
    return {
      made: ops.findIndex((op) => op.outputs.includes(tensor)),
      read: kept ? ops.length : ops.findLastIndex((op) => op.reads.some((read) => read.tensor === tensor)),
    };
  });
}

/** Every step in the order of the schedule, the head last. */
function stepsOf(task: PlanningTask, plan: WorkPlan): Step[] {
  const lives = livesOf(task.workload);
  const found = new Map<string, Step>();
  let start = 0;
  plan.volumes.forEach((volume, index) => {
    if (isGather(volume)) {
      const live = lives.flatMap(({ made, read }, tensor) =>
        made >= 0 && made < start && read >= start ? [tensor] : [],
      );
      found.set(`${index} 0`, gatherStep(task, volume.gather, index, live));
      return;
    }
    const live = lives.flatMap(({ made, read }, tensor) =>
      made >= start && made <= volume.end && read > volume.end ? [tensor] : [],
    );
    const computed = new Set<number>();
    volume.parts.forEach(({ device, from, to }, part) => {
      if (to === from) return;
      const span = { start, end: volume.end, volume: index };
      found.set(`${index} ${part}`, partStep(task, { device, part, range: { from, to } }, span, live, computed));
    });
    start = volume.end + 1;
  });
  const scheduled = inScheduleOrder(plan, found);
  return [...scheduled, ...headSteps(task, plan, scheduled)];
}

/** All parts and gathers in order. A gather that the schedule leaves out comes when all before it has been made. */
function inScheduleOrder({ volumes, schedule }: WorkPlan, found: ReadonlyMap<string, Step>): Step[] {
  if (schedule === undefined) {
    return volumes.flatMap((volume, index) => {
      if (isGather(volume)) return found.get(`${index} 0`) ?? [];
      const fromTop = [...volume.parts.entries()].sort(([, a], [, b]) => a.from - b.from);
      return fromTop.flatMap(([part]) => found.get(`${index} ${part}`) ?? []);
    });
  }
  const order = schedule.flatMap(([volume, part]) => found.get(`${volume} ${part}`) ?? []);
  volumes.forEach((volume, index) => {
    const gather = found.get(`${index} 0`);
    if (!isGather(volume) || gather === undefined || order.includes(gather)) return;
    order.splice(order.findLastIndex((step) => step.volume < index) + 1, 0, gather);
  });
  return order;
}

function bytesOf({ tensors }: Workload, ranges: ReadonlyMap<number, Range>): number {
  let bytes = 0;
  for (const [tensor, { from, to }] of ranges) bytes += (to - from) * (tensors[tensor]?.bytesPerRow ?? 0);
  return bytes;
}

/** All rows of the live tensors that ops have made come to one device. The rows are counted once, read and owned. */
function gatherStep({ workload }: PlanningTask, device: number, volume: number, live: readonly number[]): Step {
  const all = new Map(live.map((tensor): [number, Range] => [tensor, allRows(workload, tensor)]));
  const bytes = bytesOf(workload, all);
  const none = new Map<string, number>();
  return { device, volume, part: 0, ms: 0, needs: all, holds: all, owns: all, weights: none, bytes, waits: new Set() };
}

function allRows({ tensors }: Workload, tensor: number): Range {
  return { from: 0, to: tensors[tensor]?.rows ?? 0 };
}

/**
 * From the rows that the part owns back through the ops of its volume to the rows it reads. Of every tensor the rows wanted
 * by several readers are made as one range.
 * @param computed whole ops that a part of this volume makes already
 */
function partStep(
  { workload, costs }: PlanningTask,
  { device, part, range }: { device: number; part: number; range: Range },
  { start, end, volume }: { start: number; end: number; volume: number },
  live: readonly number[],
  computed: Set<number>,
): Step {
  const { ops, tensors } = workload;
  const height = tensors[ops[end]?.outputs[0] ?? -1]?.rows ?? 0;
  const owns = new Map<number, Range>();
  for (const tensor of live) {
    const rows = share(range, height, tensors[tensor]?.rows ?? 0);
    if (!isEmpty(rows)) owns.set(tensor, rows);
  }
  const wanted = new Map(owns);
  const made = new Map<number, Range>();
  const times: number[] = [];
  const weights = new Map<string, number>();
  for (let index = end; index >= start; index--) {
    const op = ops[index];
    if (op === undefined) continue;
    let rows: Range | undefined;
    for (const output of op.outputs) {
      const want = wanted.get(output);
      if (want !== undefined) rows = hull(rows, want);
    }
    if (rows === undefined) continue;
    if (op.whole) {
      rows = { from: 0, to: op.rows };
      if (computed.has(index)) wholeTwice(op.name, volume, part);
      computed.add(index);
    }
    for (const output of op.outputs) made.set(output, rows);
    let readBytes = 0;
    for (const read of op.reads) {
      const need = { from: read.from[rows.from] ?? 0, to: read.to[rows.to - 1] ?? 0 };
      if (isEmpty(need)) continue;
      wanted.set(read.tensor, hull(wanted.get(read.tensor), need));
      readBytes += (need.to - need.from) * (tensors[read.tensor]?.bytesPerRow ?? 0);
    }
    const cost = costs[device];
    times.unshift((cost?.opMs[index]?.[rows.to - rows.from] ?? 0) + (cost?.readMsPerByte[index] ?? 0) * readBytes);
    weights.set(`op ${index}`, op.weightBytes);
  }
  const inside = new Set(ops.slice(start, end + 1).flatMap(({ outputs }) => outputs));
  const needs = new Map([...wanted].filter(([tensor]) => !inside.has(tensor)));
  const holds = new Map([...made].filter(([tensor]) => live.includes(tensor)));
  const ms = times.reduce((sum, time) => sum + time, 0) + edgesMs(workload, costs[device], [needs, owns]);
  const bytes = bytesOf(workload, needs) + bytesOf(workload, owns);
  return { device, volume, part, ms, needs, holds, owns, weights, bytes, waits: new Set() };
}

/** What a part takes beyond its ops: to be started, and for the rows that cross its edges. */
function edgesMs(
  { tensors }: Workload,
  cost: DeviceCosts | undefined,
  crossing: readonly ReadonlyMap<number, Range>[],
): number {
  let ms = cost?.partMs ?? 0;
  for (const ranges of crossing) {
    for (const [tensor, { from, to }] of ranges) {
      ms += (cost?.edgeMsPerByte?.[tensor] ?? 0) * (to - from) * (tensors[tensor]?.bytesPerRow ?? 0);
    }
  }
  return ms;
}

/** The head: one step; or one for each range of output channels, by device, and one for the rest on the first entry's device. */
function headSteps({ workload, costs }: PlanningTask, plan: WorkPlan, before: readonly Step[]): Step[] {
  const { head } = workload;
  if (head === undefined) return [];
  const all = new Map(head.reads.map((tensor): [number, Range] => [tensor, allRows(workload, tensor)]));
  const read = bytesOf(workload, all);
  const none = new Map<number, Range>();
  const step = (device: number, part: number, ms: number, weights: [string, number][], bytes: number): Step => {
    const base = {
      device,
      volume: plan.volumes.length,
      part,
      ms,
      holds: none,
      owns: none,
      bytes,
      waits: new Set<Message>(),
    };
    return { ...base, needs: all, weights: new Map(weights) };
  };
  const { cut } = head;
  const [lead, ...others] = typeof plan.head === 'object' ? plan.head : [];
  const early: [string, number] = ['head before', weightsOf(head.before)];
  const late: [string, number] = ['head after', weightsOf(head.after)];
  if (lead === undefined || cut === undefined) {
    const device = typeof plan.head === 'number' ? plan.head : mostRows(plan, before);
    const cost = costs[device];
    const ms =
      (cost?.headBeforeMs ?? 0) +
      (cut === undefined ? 0 : (cost?.headCutMs[cut.channels] ?? 0)) +
      (cost?.headAfterMs ?? 0);
    const full: [string, number] = [`head 0`, cut?.weightBytes ?? 0];
    return [step(device, 0, ms, [early, full, late], read + head.resultBytes)];
  }
  const parts = [lead, ...others].flatMap(({ device, from, to }, part) => {
    if (to === from) return [];
    const cost = costs[device];
    const ms = (cost?.headBeforeMs ?? 0) + (cost?.headCutMs[to - from] ?? 0);
    const weights: [string, number] = [`head ${part}`, (cut.weightBytes * (to - from)) / cut.channels];
    return [step(device, part, ms, [early, weights], read + partialBytes(cut, to - from))];
  });
  const rest = step(
    lead.device,
    1 + others.length,
    costs[lead.device]?.headAfterMs ?? 0,
    [late],
    partialBytes(cut, cut.channels) + head.resultBytes,
  );
  return [...parts.sort((a, b) => a.device - b.device || a.part - b.part), { ...rest, needs: none }];
}

/** The device with most rows of the last volume, where the plan does not say who runs the head. */
function mostRows({ volumes }: WorkPlan, steps: readonly Step[]): number {
  const last = volumes.at(-1);
  if (last === undefined || steps.length === 0) return 0;
  if (isGather(last)) return last.gather;
  const rows = new Map<number, number>();
  for (const { device, from, to } of last.parts) rows.set(device, (rows.get(device) ?? 0) + to - from);
  return [...rows].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}

// Messages

/** Who sends which rows to whom, by the step after which they leave; notes in every step which messages it waits for. */
function messagesOf({ workload }: PlanningTask, plan: WorkPlan, steps: readonly Step[]): Message[] {
  const messages: Message[] = [];
  const lacks = lackedRows(steps);
  const place = new Map(steps.map((step, index): [Step, number] => [step, index]));
  const isInput = (tensor: number): boolean => tensor < workload.inputs;
  // What a device receives of a tensor, row by row: no row comes twice.
  const received = new Map<string, Message>();
  const send = (after: Step | undefined, reader: Step, tensor: number, row: number): void => {
    const { device: to, volume } = reader;
    const key = `${to} ${tensor} ${row}`;
    if (received.has(key)) return;
    const joins = (known: Message): boolean =>
      known.after === after &&
      (after === undefined ? known.reader === reader : known.to === to && known.volume === volume);
    let message = messages.find(joins);
    if (message === undefined) {
      message = { after, to, volume, reader, bytes: 0, arrived: undefined };
      messages.push(message);
    }
    message.bytes += workload.tensors[tensor]?.bytesPerRow ?? 0;
    received.set(key, message);
  };
  // The requester: one message for each part, in the order of the schedule.
  for (const step of steps) {
    for (const [tensor, rows] of lacks.get(step) ?? []) {
      if (isInput(tensor)) for (const row of rows) send(undefined, step, tensor, row);
    }
  }
  // The devices: what several volumes need goes with the nearest.
  for (let volume = 0; volume <= plan.volumes.length; volume++) {
    for (const step of steps) {
      if (step.volume !== volume) continue;
      for (const [tensor, rows] of lacks.get(step) ?? []) {
        if (isInput(tensor)) continue;
        for (const row of rows) send(ownerOf(steps, plan, tensor, row, volume), step, tensor, row);
      }
    }
  }
  for (const step of steps) {
    for (const [tensor, rows] of lacks.get(step) ?? []) {
      for (const row of rows) {
        const message = received.get(`${step.device} ${tensor} ${row}`) as Message;
        const { after } = message;
        if (after !== undefined && (place.get(after) as number) > (place.get(step) as number))
          tooEarly(step.volume, step.part);
        step.waits.add(message);
      }
    }
  }
  partialMessages(workload, plan, steps, messages);
  resultMessages(workload, plan, steps, messages);
  return inOrder(plan, messages);
}

/** Of the rows that a step needs, those that its device has not computed before it. */
function lackedRows(steps: readonly Step[]): Map<Step, Map<number, Rows>> {
  const computed = new Map<string, Rows>();
  const lacks = new Map<Step, Map<number, Rows>>();
  for (const step of steps) {
    const missing = new Map<number, Rows>();
    for (const [tensor, { from, to }] of step.needs) {
      const rows: Rows = new Set();
      for (let row = from; row < to; row++) if (!computed.get(`${step.device} ${tensor}`)?.has(row)) rows.add(row);
      if (rows.size > 0) missing.set(tensor, rows);
    }
    lacks.set(step, missing);
    for (const [tensor, { from, to }] of step.holds) {
      const key = `${step.device} ${tensor}`;
      const rows: Rows = computed.get(key) ?? new Set();
      for (let row = from; row < to; row++) rows.add(row);
      computed.set(key, rows);
    }
  }
  return lacks;
}

/** The step that owns a row when a volume begins: of the last gather before it, or of the volume that made it. */
function ownerOf(steps: readonly Step[], { volumes }: WorkPlan, tensor: number, row: number, volume: number): Step {
  let owner: Step | undefined;
  for (const step of steps) {
    const range = step.owns.get(tensor);
    if (range === undefined || row < range.from || row >= range.to || step.volume >= volume) continue;
    if (owner === undefined || step.volume > owner.volume) owner = step;
  }
  if (owner === undefined) {
    throw planError('a row is read that no part owns', `volumes.${Math.min(volume, volumes.length - 1)}`);
  }
  return owner;
}

/** The outputs of a head cut by channels, on their way to the device that runs the rest. */
function partialMessages({ head }: Workload, plan: WorkPlan, steps: readonly Step[], messages: Message[]): void {
  const volume = plan.volumes.length;
  const rest = steps.at(-1);
  if (head?.cut === undefined || typeof plan.head !== 'object' || rest === undefined) return;
  for (const step of steps) {
    if (step.volume !== volume || step === rest || step.device === rest.device) continue;
    const { from = 0, to = 0 } = plan.head[step.part] ?? {};
    const bytes = partialBytes(head.cut, to - from);
    const message = { after: step, to: rest.device, volume, reader: rest, bytes, arrived: undefined };
    messages.push(message);
    rest.waits.add(message);
  }
}

/** The model's outputs, from who owns them at the end to the requester. */
function resultMessages(workload: Workload, plan: WorkPlan, steps: readonly Step[], messages: Message[]): void {
  const volume = plan.volumes.length + 1;
  const send = (after: Step, bytes: number): void => {
    const known = messages.find((message) => message.after === after && message.to === REQUESTER);
    if (known === undefined)
      messages.push({ after, to: REQUESTER, volume, reader: undefined, bytes, arrived: undefined });
    else known.bytes += bytes;
  };
  for (const tensor of new Set(workload.outputs)) {
    if (tensor < workload.inputs) continue;
    const { rows = 0, bytesPerRow = 0 } = workload.tensors[tensor] ?? {};
    for (let row = 0; row < rows; row++) send(ownerOf(steps, plan, tensor, row, volume), bytesPerRow);
  }
  const last = steps.at(-1);
  if (workload.head !== undefined && last !== undefined) send(last, workload.head.resultBytes);
}

/** Messages of one step: the nearer volume first, then receivers in the plan's order, the requester last. */
function inOrder({ order = [] }: WorkPlan, messages: readonly Message[]): Message[] {
  const turn = ({ to }: Message): number => (order.includes(to) ? order.indexOf(to) : order.length + to);
  const given = messages.filter(({ after }) => after === undefined);
  const made = messages.filter(({ after }) => after !== undefined);
  return [...given, ...made.sort((a, b) => a.volume - b.volume || turn(a) - turn(b))];
}

// Time

/** Lets the devices run their steps and the links carry the messages. */
function play(task: PlanningTask, steps: readonly Step[], messages: readonly Message[]): SimulatedRun {
  const { costs, network } = task;
  const events: SimulatedEvent[] = [];
  const queues = costs.map((_, device) => steps.filter((step) => step.device === device));
  const deviceFree = costs.map(() => 0);
  /** Steps under way, with their ends. */
  let running: { step: Step; end: number }[] = [];
  const uplinkFree = new Map<number, number>();
  const downlinkFree = new Map<number, number>();
  let mediumFree = 0;
  let latencyMs = 0;

  const issue = (message: Message, now: number): void => {
    const from = message.after?.device ?? REQUESTER;
    const { to, volume, bytes } = message;
    const [sender, receiver] = [linkOf(task, from), linkOf(task, to)];
    // Every link serves messages in the order in which they are issued, and one takes both its links together.
    const free = Math.max(uplinkFree.get(from) ?? 0, downlinkFree.get(to) ?? 0);
    const start = Math.max(now, free, network.medium === 'shared' ? mediumFree : 0);
    const sent = start + (bytes * 8) / (Math.min(sender.mbps, receiver.mbps) * 1000);
    uplinkFree.set(from, sent);
    downlinkFree.set(to, sent);
    mediumFree = sent;
    const arrived = sent + Math.max(sender.latencyMs, receiver.latencyMs);
    message.arrived = arrived;
    events.push({ kind: 'message', from, to, volume, bytes, issued: now, start, sent, arrived });
    if (to === REQUESTER) latencyMs = Math.max(latencyMs, arrived);
  };

  const startWhatCan = (): void => {
    queues.forEach((queue, device) => {
      const [step] = queue;
      if (step === undefined || running.some((other) => other.step.device === device)) return;
      const arrivals = [...step.waits].map(({ arrived }) => arrived);
      if (arrivals.includes(undefined)) return;
      queue.shift();
      const ready = Math.max(0, ...arrivals.map((time) => time ?? 0));
      const start = Math.max(ready, deviceFree[device] ?? 0);
      const end = start + step.ms;
      running.push({ step, end });
      events.push({ kind: 'compute', device, volume: step.volume, part: step.part, ready, start, end });
    });
  };

  for (const message of messages) if (message.after === undefined) issue(message, 0);
  startWhatCan();
  while (running.length > 0) {
    const next = running.reduce((a, b) =>
      b.end < a.end || (b.end === a.end && b.step.device < a.step.device) ? b : a,
    );
    running = running.filter((other) => other !== next);
    deviceFree[next.step.device] = next.end;
    for (const message of messages) if (message.after === next.step) issue(message, next.end);
    startWhatCan();
  }
  const memoryBytes = costs.map((_, device) => memoryOf(steps.filter((step) => step.device === device)));
  if (memoryBytes.some((bytes, device) => bytes > (costs[device]?.memoryBytes ?? 0)))
    latencyMs = Number.POSITIVE_INFINITY;
  return { latencyMs, events: inTime(events), memoryBytes };
}

function linkOf({ network }: PlanningTask, device: number): NetworkLink {
  return device === REQUESTER ? network.requester : (network.devices[device] as NetworkLink);
}

/** Weights of all ops that a device takes part in, each once, and what its largest step reads and owns. */
function memoryOf(steps: readonly Step[]): number {
  const weights = new Map(steps.flatMap((step) => [...step.weights]));
  let bytes = 0;
  for (const weight of weights.values()) bytes += weight;
  return bytes + steps.reduce((most, step) => Math.max(most, step.bytes), 0);
}
