/**
 * The `Plan` artifact: how a model is cut and who computes what. Consecutive **volumes** end after some op; the rows of a
 * volume's end tensor are tiled by **parts** `{device, from, to}`; every other tensor alive at the cut is cut at the same
 * fraction of its height. A device may have none, one or several parts of a volume, in any order of devices. A volume around
 * one convolution may be cut by its output channels instead: then a device reads only its share of the weights.
 */
import * as z from 'zod';
import { DistrEdgeError } from '../errors.js';

export const PLAN_VERSION = 1;
/** More devices than any cluster this plans for; a bound on what a file can make us allocate. */
const MAX_DEVICES = 1024;

const device: z.ZodNumber = z
  .int()
  .min(0)
  .max(MAX_DEVICES - 1);
const row: z.ZodNumber = z
  .int()
  .min(0)
  .max(1 << 24);

const partSchema = z.strictObject({ device, from: row, to: row });

const volumeSchema = z.union([
  z.strictObject({ end: z.string().min(1).max(4096), channels: z.array(partSchema).min(1).max(MAX_DEVICES) }),
  z.strictObject({ end: z.string().min(1).max(4096), parts: z.array(partSchema).min(1).max(65_536) }),
  z.strictObject({ gather: device }),
]);

const planSchema = z.strictObject({
  version: z.literal(PLAN_VERSION).default(PLAN_VERSION),
  devices: z.int().min(1).max(MAX_DEVICES),
  volumes: z.array(volumeSchema).max(10_000),
  schedule: z
    .array(z.tuple([z.int().min(0), z.int().min(0)]))
    .max(1_000_000)
    .optional(),
  order: z.array(device).max(MAX_DEVICES).optional(),
  head: z.union([device, z.array(partSchema).min(1).max(MAX_DEVICES)]).optional(),
});

/** Rows `from` (inclusive) to `to` (exclusive) of a volume's end tensor, computed by one device. */
export interface PlanPart {
  readonly device: number;
  readonly from: number;
  readonly to: number;
}

/** Ops up to and including the one that makes tensor `end` (an ONNX value name). */
export interface PlanVolume {
  readonly end: string;
  readonly parts: readonly PlanPart[];
}

/**
 * Ops up to and including the one that makes tensor `end`, one of them a convolution whose output channels are divided:
 * each part computes channels `from` to `to` of `end`, all rows of them. What comes before the convolution is computed by
 * every device for itself; what comes after it must keep channels apart.
 */
export interface PlanChannels {
  readonly end: string;
  /** Tiles the channels of `end`; one part for a device at most. */
  readonly channels: readonly PlanPart[];
}

/** Between volumes: one device receives all live rows and alone owns them, without computing. */
export interface PlanGather {
  readonly gather: number;
}

export interface Plan {
  readonly version: typeof PLAN_VERSION;
  /** Number of devices of the cluster, those without work included. */
  readonly devices: number;
  readonly volumes: readonly (PlanVolume | PlanChannels | PlanGather)[];
  /** Order of all parts, as [volume, index in its parts]; a device runs its own in this order. Default: volume by volume. */
  readonly schedule?: readonly (readonly [number, number])[];
  /** Which receivers are sent to first. Default: ascending. */
  readonly order?: readonly number[];
  /**
   * Who runs the head: one device, or output channels of its first fully connected layer; the partial outputs go to the
   * first entry's device, which runs the rest. Default: the device with most rows of the last volume.
   */
  readonly head?: number | readonly PlanPart[];
}

/** A plan that cuts by rows alone. */
export interface RowPlan extends Plan {
  readonly volumes: readonly (PlanVolume | PlanGather)[];
}

/** A plan as one that cuts by rows alone. Throws `PLAN_INVALID` where it does not. */
export function asRowPlan(plan: Plan): RowPlan {
  const at = plan.volumes.findIndex(isChannels);
  if (at < 0) return plan as RowPlan;
  throw planError('a volume that is cut by channels cannot be simulated', `volumes.${at}`, {
    expected: "`parts`, rows of the volume's end tensor",
    got: '`channels`',
    hint: 'run the plan instead: distredge verify MODEL --plan FILE',
  });
}

/** A volume's parts: of its rows, or of its channels. */
export function partsOf(volume: PlanVolume | PlanChannels): readonly PlanPart[] {
  return isChannels(volume) ? volume.channels : volume.parts;
}

export function isGather(volume: object): volume is PlanGather {
  return 'gather' in volume;
}

export function isChannels(volume: object): volume is PlanChannels {
  return 'channels' in volume;
}

/** Checks the form of a plan that came from a file or the network. Throws `PLAN_INVALID` with the place. */
export function parsePlan(value: unknown): Plan {
  const result = planSchema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw planError(issue?.message ?? 'not a plan', `plan.${(issue?.path ?? []).join('.')}`);
  }
  const plan = result.data as Plan;
  const inCluster = (index: number, where: string): void => {
    if (index >= plan.devices) {
      throw planError('a device is not in the cluster', where, {
        expected: `0 to ${plan.devices - 1}`,
        got: `${index}`,
      });
    }
  };
  plan.volumes.forEach((volume, index) => {
    if (isGather(volume)) inCluster(volume.gather, `volumes.${index}.gather`);
    else if (isChannels(volume)) {
      checkTiling(volume.channels, `volumes.${index}`, inCluster);
      if (new Set(volume.channels.map(({ device: on }) => on)).size < volume.channels.length) {
        throw planError('a device has two parts of the channels', `volumes.${index}.channels`);
      }
    } else checkTiling(volume.parts, `volumes.${index}`, inCluster);
  });
  for (const index of plan.order ?? []) inCluster(index, 'order');
  if (plan.order !== undefined && new Set(plan.order).size !== plan.order.length) {
    throw planError('the order names a device twice', 'order');
  }
  if (typeof plan.head === 'number') inCluster(plan.head, 'head');
  else for (const part of plan.head ?? []) inCluster(part.device, 'head');
  checkSchedule(plan);
  return plan;
}

function checkTiling(
  parts: readonly PlanPart[],
  where: string,
  inCluster: (index: number, where: string) => void,
): void {
  let next = 0;
  for (const part of [...parts].sort((a, b) => a.from - b.from || a.to - b.to)) {
    inCluster(part.device, where);
    if (part.from !== next || part.to < part.from) {
      throw planError('the parts do not tile the rows or channels', where, {
        expected: `a part that begins at ${next}`,
        got: `[${part.from}, ${part.to})`,
      });
    }
    next = part.to;
  }
}

function checkSchedule({ schedule, volumes }: Plan): void {
  if (schedule === undefined) return;
  const seen = new Set<string>();
  for (const [volume, part] of schedule) {
    const entry = volumes[volume];
    const known = entry !== undefined && (isGather(entry) ? part === 0 : part < partsOf(entry).length);
    if (!known || seen.has(`${volume} ${part}`)) {
      throw planError('the schedule names a part that does not exist, or one twice', 'schedule', {
        got: `[${volume}, ${part}]`,
      });
    }
    seen.add(`${volume} ${part}`);
  }
  volumes.forEach((volume, index) => {
    if (isGather(volume)) return;
    partsOf(volume).forEach((part, at) => {
      if (part.to > part.from && !seen.has(`${index} ${at}`)) {
        throw planError('the schedule leaves a part out', 'schedule', { expected: `[${index}, ${at}]` });
      }
    });
  });
}

export function planError(
  message: string,
  where: string,
  facts: { expected?: string; got?: string; hint?: string } = {},
): DistrEdgeError {
  return new DistrEdgeError('PLAN_INVALID', message, { where, ...facts });
}
