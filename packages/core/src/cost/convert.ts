/**
 * Between the `Plan` artifact, whose volumes end at tensors of an ONNX model, and the `WorkPlan` of planners and simulators,
 * whose volumes end at ops of a `Workload`.
 *
 * The compiler divides a volume by itself where rows must be exchanged inside it; a `WorkPlan` says it: `fromPlan` inserts
 * these boundaries, with parts at the same fractions. An op whose result has no rows of its own in the model (partial results
 * of a global op) cannot end a volume of a `Plan`: `toPlan` ends it at the last tensor before that can.
 */
import {
  asRowPlan,
  isGather,
  PLAN_VERSION,
  type Plan,
  type PlanGather,
  type PlanPart,
  planError,
  type RowPlan,
} from '../plan/plan.js';
import { share } from '../rows/range.js';
import type { WorkPlan, WorkVolume } from './task.js';
import type { WorkEnd, Workload } from './workload.js';

const HINT = 'is this a plan for another model?';

function endsOf({ ends, ops, tensors }: Workload): ReadonlyMap<string, WorkEnd> {
  if (ends !== undefined) return ends;
  return new Map(
    ops.flatMap((op, index) =>
      op.outputs.map((tensor): [string, WorkEnd] => [
        tensors[tensor]?.name ?? '',
        { op: index, place: index, rows: op.rows },
      ]),
    ),
  );
}

/** The same parts of a tensor with another number of rows: the same fractions, rounded half up. */
function scaled(parts: readonly PlanPart[], height: number, rows: number): PlanPart[] {
  return parts.map((part) => ({ device: part.device, ...share(part, height, rows) }));
}

/**
 * The plan as an artifact. Keeps volumes, schedule, order and head; a volume that ends at no tensor of the model that has
 * rows becomes part of the next one.
 * @param devices number of devices of the cluster
 */
export function toPlan(workload: Workload, plan: WorkPlan, devices: number): RowPlan {
  const ends = endsOf(workload);
  const { ops, tensors } = workload;
  const volumes: RowPlan['volumes'][number][] = [];
  const place: (number | undefined)[] = [];
  let last = -1;
  for (const volume of plan.volumes) {
    if (isGather(volume)) {
      place.push(volumes.push(volume) - 1);
      continue;
    }
    const named = endName(volume.end, last);
    place.push(named === undefined ? undefined : volumes.length);
    if (named === undefined) continue;
    const height = ops[volume.end]?.rows ?? 0;
    volumes.push({ end: named.name, parts: scaled(volume.parts, height, named.rows) });
    last = volume.end;
  }
  const schedule = plan.schedule?.flatMap(([volume, part]): [number, number][] => {
    const at = place[volume];
    return at === undefined ? [] : [[at, part]];
  });
  return {
    version: PLAN_VERSION,
    devices,
    volumes,
    ...(schedule === undefined ? {} : { schedule }),
    ...(plan.order === undefined ? {} : { order: plan.order }),
    ...(plan.head === undefined ? {} : { head: plan.head }),
  };

  function endName(end: number, after: number): { name: string; rows: number } | undefined {
    for (let op = end; op > after; op--) {
      for (const tensor of ops[op]?.outputs ?? []) {
        const name = tensors[tensor]?.name ?? '';
        const known = ends.get(name);
        if (known !== undefined) return { name, rows: known.rows };
      }
    }
    return undefined;
  }
}

/**
 * What an artifact means for a workload. Throws `PLAN_INVALID` for a plan that is not for this model, or, where `devices` is
 * given, for another number of them.
 */
export function fromPlan(workload: Workload, plan: Plan, devices?: number): WorkPlan {
  if (devices !== undefined && plan.devices !== devices) {
    throw planError('the plan is for another number of devices', 'devices', {
      expected: `${devices}`,
      got: `${plan.devices}`,
    });
  }
  const ends = endsOf(workload);
  const { ops, tensors, forced } = workload;
  const lastVolume = plan.volumes.findLastIndex((volume) => !isGather(volume));
  if (lastVolume < 0 && ops.length > 0) {
    throw planError('the plan divides nothing of a model that has rows', 'volumes', {
      expected: 'one volume at least',
      got: 'none',
      hint: HINT,
    });
  }
  const volumes: (WorkVolume | PlanGather)[] = [];
  /** For each volume of the artifact, those that it becomes. */
  const became: number[][] = [];
  /** Volumes that go on to the end of their last group where rows are exchanged. */
  const longer = new Set<number>();
  let start = 0;
  let place = -1;
  asRowPlan(plan).volumes.forEach((volume, index) => {
    if (isGather(volume)) {
      became.push([volumes.push(volume) - 1]);
      return;
    }
    const where = `volumes.${index}`;
    const known = ends.get(volume.end);
    if (known === undefined) {
      throw planError('a volume ends at a tensor that cannot be cut by rows', where, {
        expected: `the name of a tensor of the divided part of ${workload.model}`,
        got: `'${volume.end}'`,
        hint: HINT,
      });
    }
    const covered = Math.max(...volume.parts.map(({ to }) => to));
    if (covered !== known.rows) {
      throw planError('the parts do not cover the rows of the volume', where, {
        expected: `rows 0 to ${known.rows} of '${volume.end}'`,
        got: `0 to ${covered}`,
        hint: HINT,
      });
    }
    if (known.place < place) {
      throw planError('the volumes are not in the order of the model', where, { got: `'${volume.end}'` });
    }
    place = known.place;
    const end = index === lastVolume ? ops.length - 1 : known.op;
    const inner = forced.filter((op) => op > start && op <= end).map((op) => op - 1);
    const made = end < start ? [] : [...inner, end];
    became.push(
      made.map((op) => volumes.push({ end: op, parts: partsAt(workload, op, volume.parts, known.rows) }) - 1),
    );
    start = Math.max(start, end + 1);
    if (forced.includes(start) && tensors[ops[end]?.outputs[0] ?? -1]?.name !== volume.end) longer.add(index);
  });
  return {
    volumes,
    ...(plan.schedule === undefined ? {} : { schedule: expanded(plan.schedule, became, longer) }),
    ...(plan.order === undefined ? {} : { order: plan.order }),
    ...(plan.head === undefined ? {} : { head: plan.head }),
  };
}

/** A volume's parts at one of its ops. What cannot be divided runs where the largest part is. */
function partsAt({ ops }: Workload, op: number, parts: readonly PlanPart[], height: number): PlanPart[] {
  const rows = ops[op]?.rows ?? 0;
  if (ops[op]?.whole !== true) return scaled(parts, height, rows);
  const size = ({ from, to }: PlanPart): number => to - from;
  const largest = parts.reduce((best, part, index) => (size(part) > size(parts[best] as PlanPart) ? index : best), 0);
  return parts.map(({ device }, index) => ({ device, from: 0, to: index === largest ? rows : 0 }));
}

/**
 * The schedule of the volumes that became of those in the plan. Where one became several, rows are exchanged between all its
 * parts in the middle: only when the first stretch is scheduled can anything behind the exchange begin.
 */
function expanded(
  schedule: NonNullable<Plan['schedule']>,
  became: readonly (readonly number[])[],
  longer: ReadonlySet<number>,
): [number, number][] {
  // Exchanges inside the volumes before each one.
  const before: number[] = [];
  let exchanges = 0;
  became.forEach((volumes, index) => {
    before.push(exchanges);
    exchanges += Math.max(0, volumes.length - 1) + (longer.has(index) ? 1 : 0);
  });
  const entries = schedule.flatMap(([volume, part]) =>
    (became[volume] ?? []).map((at, step) => ({ at, part, stretch: (before[volume] ?? 0) + step })),
  );
  return entries.sort((a, b) => a.stretch - b.stretch).map(({ at, part }) => [at, part]);
}
