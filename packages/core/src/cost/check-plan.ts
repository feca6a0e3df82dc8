/** Whether a plan by indices fits its task: everything that can be said without asking which rows travel. */
import { isGather, type PlanPart, planError } from '../plan/plan.js';
import type { PlanningTask, WorkPlan } from './task.js';
import type { Workload } from './workload.js';

/** Throws `PLAN_INVALID`, with the place, for a plan that does not fit the task. */
export function checkWorkPlan({ workload, costs }: PlanningTask, plan: WorkPlan): void {
  checkVolumes(workload, plan, costs.length);
  checkOrder(plan, costs.length);
  checkSchedule(plan);
  checkHead(workload, plan, costs.length);
}

function checkDevice(device: number, devices: number, where: string): void {
  if (Number.isInteger(device) && device >= 0 && device < devices) return;
  throw planError('a device is not in the cluster', where, { expected: `0 to ${devices - 1}`, got: `${device}` });
}

function checkVolumes(workload: Workload, { volumes }: WorkPlan, devices: number): void {
  const { ops, tensors, forced } = workload;
  const ends = new Set<number>();
  let last = -1;
  volumes.forEach((volume, index) => {
    const where = `volumes.${index}`;
    if (isGather(volume)) {
      checkDevice(volume.gather, devices, `${where}.gather`);
      return;
    }
    const { end, parts } = volume;
    if (!Number.isInteger(end) || end <= last || end >= ops.length) {
      throw planError('a volume does not end after the one before it, inside the model', `${where}.end`, {
        expected: `${last + 1} to ${ops.length - 1}`,
        got: `${end}`,
      });
    }
    last = end;
    ends.add(end);
    for (const part of parts) checkDevice(part.device, devices, where);
    checkTiling(parts, tensors[ops[end]?.outputs[0] ?? -1]?.rows ?? 0, where, 'rows');
  });
  if (last !== ops.length - 1) {
    throw planError('the volumes do not reach the last op', 'volumes', {
      expected: `a volume that ends at op ${ops.length - 1}`,
      got: last < 0 ? 'no volume' : `the last one ends at op ${last}`,
    });
  }
  for (const op of forced) {
    if (op === 0 || ends.has(op - 1)) continue;
    throw planError('a volume goes on over an op before which rows must be exchanged', 'volumes', {
      expected: `a volume that ends at op ${op - 1}, before '${ops[op]?.name}'`,
      got: 'none',
    });
  }
}

/** Parts in any order, empty ones anywhere, must tile [0, height). */
function checkTiling(parts: readonly PlanPart[], height: number, where: string, what: string): void {
  let next = 0;
  for (const { from, to } of [...parts].sort((a, b) => a.from - b.from || a.to - b.to)) {
    const whole = Number.isInteger(from) && Number.isInteger(to) && from >= 0 && to >= from && to <= height;
    if (whole && to === from) continue;
    if (!whole || from !== next) {
      throw planError(`the parts do not tile the ${what}`, where, {
        expected: `a part of [0, ${height}) that begins at ${next}`,
        got: `[${from}, ${to})`,
      });
    }
    next = to;
  }
  if (next !== height) {
    throw planError(`the parts do not tile the ${what}`, where, {
      expected: `${what} 0 to ${height}`,
      got: `0 to ${next}`,
    });
  }
}

function checkOrder({ order = [] }: WorkPlan, devices: number): void {
  for (const device of order) checkDevice(device, devices, 'order');
  if (new Set(order).size !== order.length) throw planError('the order names a device twice', 'order');
}

function checkSchedule({ schedule, volumes }: WorkPlan): void {
  if (schedule === undefined) return;
  const seen = new Set<string>();
  schedule.forEach(([volume, part], index) => {
    const entry = volumes[volume];
    const known = entry !== undefined && (isGather(entry) ? part === 0 : entry.parts[part] !== undefined);
    if (!known || seen.has(`${volume} ${part}`)) {
      throw planError('the schedule names a part that does not exist, or one twice', `schedule.${index}`, {
        got: `[${volume}, ${part}]`,
      });
    }
    seen.add(`${volume} ${part}`);
  });
  volumes.forEach((volume, index) => {
    if (isGather(volume)) return;
    volume.parts.forEach(({ from, to }, part) => {
      if (to <= from || seen.has(`${index} ${part}`)) return;
      throw planError('the schedule leaves a part out', 'schedule', { expected: `[${index}, ${part}]` });
    });
  });
}

function checkHead({ head: tail }: Workload, { head }: WorkPlan, devices: number): void {
  if (head === undefined) return;
  for (const device of typeof head === 'number' ? [head] : head.map((part) => part.device)) {
    checkDevice(device, devices, 'head');
  }
  if (tail === undefined || typeof head === 'number') return;
  if (head.length === 0) throw planError('the head names no device', 'head', { expected: 'one part at least' });
  if (tail.cut === undefined) {
    throw planError('the head has no fully connected layer that can be cut by output channels', 'head', {
      expected: 'the index of one device',
    });
  }
  checkTiling(head, tail.cut.channels, 'head', 'output channels');
}

/** A part comes before one that makes what it reads. */
export function tooEarly(volume: number, part: number): never {
  throw planError('the schedule runs a part before its own inputs exist', `schedule, part [${volume}, ${part}]`);
}

/** Two parts of a volume need an op that only one may make. */
export function wholeTwice(op: string, volume: number, part: number): never {
  throw planError('several parts need an op that cannot be divided', `volumes.${volume}`, {
    expected: 'one part that needs it',
    got: `'${op}' needed by part ${part} and another one`,
    hint: 'end a volume before and after the op, and give this one a single part',
  });
}
