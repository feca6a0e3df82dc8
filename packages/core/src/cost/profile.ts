/**
 * The `Profile` artifact: what one device really takes for the ops of one model over rows, as measured. No formula stands
 * behind it: between measured points it is read along a straight line, so that a staircase stays one.
 */
import * as z from 'zod';
import { DistrEdgeError } from '../errors.js';
import type { DeviceCosts } from './task.js';
import type { Workload } from './workload.js';

export const PROFILE_VERSION = 1;

/** A day: nothing that is planned for takes longer. */
const MAX_MS = 86_400_000;
const MAX_ROWS: number = 1 << 24;
/** More points than a measurement would take of one op. */
const MAX_POINTS = 4096;

const text: z.ZodString = z.string().min(1).max(4096);
const time: z.ZodNumber = z.number().min(0).max(MAX_MS);
const counts: z.ZodArray<z.ZodNumber> = z.array(z.int().min(1).max(MAX_ROWS)).min(1).max(MAX_POINTS);
const times: z.ZodArray<z.ZodNumber> = z.array(time).min(1).max(MAX_POINTS);

const schema = z.strictObject({
  version: z.literal(PROFILE_VERSION),
  device: z.strictObject({ id: text, engine: text, threads: z.int().min(1).max(4096), cpu: text }),
  model: z.strictObject({ name: text, hash: z.string().regex(/^[0-9a-f]{8,128}$/) }),
  memory_mb: z.number().positive().max(1e9),
  part_ms: time,
  input_edge_ms_per_mb: time,
  fusion: z.number().positive().max(1000),
  ops: z.array(z.strictObject({ end: text, rows: counts, ms: times, edge_ms_per_mb: time })).max(100_000),
  head: z
    .strictObject({
      before_ms: time,
      cut: z.strictObject({ channels: counts, ms: times }).optional(),
      after_ms: time,
    })
    .optional(),
  link: z.strictObject({ mbps: z.number().positive().max(1e9), latency_ms: time }).optional(),
});

/** Time over a count of rows or channels, at measured points. */
export interface ProfileTable {
  /** Increasing; the last is all of them. */
  readonly rows: readonly number[];
  /** For each, milliseconds. */
  readonly ms: readonly number[];
}

export interface ProfileOp extends ProfileTable {
  /** Name of the first tensor that the op makes. */
  readonly end: string;
  /** What it takes to bring the op's outputs into a part or out of one, in ms per 10⁶ bytes. */
  readonly edge_ms_per_mb: number;
}

/** What a device takes for a model. Times in milliseconds, sizes in 10⁶ bytes. */
export interface Profile {
  readonly version: typeof PROFILE_VERSION;
  readonly device: {
    readonly id: string;
    /** Name and version of the engine. */
    readonly engine: string;
    readonly threads: number;
    readonly cpu: string;
  };
  readonly model: {
    readonly name: string;
    /** Of what the times depend on: the ops, their attributes and shapes; not the values of weights. Hexadecimal. */
    readonly hash: string;
  };
  readonly memory_mb: number;
  /** What it takes to start a part. */
  readonly part_ms: number;
  /** As `edge_ms_per_mb` of an op, for the model's inputs. */
  readonly input_edge_ms_per_mb: number;
  /** For people: all ops run together, over the sum of each run alone. */
  readonly fusion: number;
  /** What each op takes inside a part; what a part takes beyond its ops is `part_ms` and the edges of its tensors. */
  readonly ops: readonly ProfileOp[];
  /** A part of a cut head takes `before_ms` and the time for its channels. */
  readonly head?:
    | {
        readonly before_ms: number;
        readonly cut?: { readonly channels: readonly number[]; readonly ms: readonly number[] } | undefined;
        readonly after_ms: number;
      }
    | undefined;
  /** To a neighbour on the same machine. */
  readonly link?: { readonly mbps: number; readonly latency_ms: number } | undefined;
}

/** Checks a profile that came from a file or the network. Throws `PROFILE_INVALID` with the place. */
export function parseProfile(value: unknown): Profile {
  const result = schema.safeParse(value);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw profileError(issue?.message ?? 'not a profile', `profile.${(issue?.path ?? []).join('.')}`);
  }
  const profile = result.data as Profile;
  const known = new Set<string>();
  profile.ops.forEach((op, index) => {
    const where = `profile.ops.${index} ('${op.end}')`;
    if (known.has(op.end)) throw profileError('an op is measured twice', where);
    known.add(op.end);
    checkTable(op.rows, op.ms, where);
  });
  const cut = profile.head?.cut;
  if (cut !== undefined) checkTable(cut.channels, cut.ms, 'profile.head.cut');
  return profile;
}

function checkTable(counts: readonly number[], ms: readonly number[], where: string): void {
  if (counts.length !== ms.length) {
    throw profileError('not every point has one time', where, {
      expected: `${counts.length} times`,
      got: `${ms.length}`,
    });
  }
  const wrong = counts.findIndex((count, index) => index > 0 && count <= (counts[index - 1] as number));
  if (wrong >= 0) {
    throw profileError('the points are not in increasing order', where, {
      expected: `more than ${counts[wrong - 1]}`,
      got: `${counts[wrong]}`,
    });
  }
}

/**
 * What the profile's device takes for the ops of a workload, under the name `id`. Throws `PROFILE_INVALID` where the profile
 * is not of this model, naming the op.
 */
export function profileCosts(workload: Workload, profile: Profile, id: string): DeviceCosts {
  const { ops, tensors, inputs } = workload;
  const measured = new Map(profile.ops.map((op) => [op.end, op]));
  const edges = new Float64Array(tensors.length).fill(profile.input_edge_ms_per_mb / 1e6, 0, inputs);
  const opMs = ops.map((op) => {
    const end = tensors[op.outputs[0] ?? -1]?.name ?? '';
    const entry = measured.get(end);
    measured.delete(end);
    if (entry === undefined) throw otherModel(workload, profile, op.name, 'no time for this op', `'${end}'`);
    const rows = entry.rows.at(-1);
    if (rows !== op.rows) {
      throw otherModel(
        workload,
        profile,
        op.name,
        'an op was measured with another height',
        `${op.rows} rows`,
        `${rows}`,
      );
    }
    for (const tensor of op.outputs) edges[tensor] = entry.edge_ms_per_mb / 1e6;
    return interpolate(entry.rows, entry.ms);
  });
  const [extra] = measured.keys();
  if (extra !== undefined) {
    throw otherModel(workload, profile, `'${extra}'`, 'the profile has an op that the model has not');
  }
  return {
    id,
    memoryBytes: profile.memory_mb * 1e6,
    opMs,
    readMsPerByte: new Float64Array(ops.length),
    partMs: profile.part_ms,
    edgeMsPerByte: edges,
    ...headCosts(workload, profile),
  };
}

function headCosts(
  workload: Workload,
  profile: Profile,
): Pick<DeviceCosts, 'headBeforeMs' | 'headCutMs' | 'headAfterMs'> {
  const { head } = workload;
  if ((head === undefined) !== (profile.head === undefined)) {
    throw otherModel(workload, profile, 'the head', 'only one of model and profile has a head');
  }
  const { before_ms = 0, after_ms = 0, cut } = profile.head ?? {};
  const channels = head?.cut?.channels;
  if (channels !== cut?.channels.at(-1)) {
    throw otherModel(
      workload,
      profile,
      'the head',
      'the fully connected layer was measured with another width',
      `${channels ?? 'no'} channels`,
      `${cut?.channels.at(-1) ?? 'none'}`,
    );
  }
  const headCutMs = cut === undefined ? new Float64Array(0) : interpolate(cut.channels, cut.ms);
  return { headBeforeMs: before_ms, headCutMs, headAfterMs: after_ms };
}

/**
 * The time for every count from 0 (nothing) to the last one measured. Between points along a straight line; below the first
 * one on along the first line, but never below zero nor above the first point.
 */
export function interpolate(counts: readonly number[], ms: readonly number[]): Float64Array {
  const last = counts.at(-1) ?? 0;
  const table = new Float64Array(last + 1);
  const first = counts[0] ?? 0;
  const slope = counts.length < 2 ? 0 : ((ms[1] as number) - (ms[0] as number)) / ((counts[1] as number) - first);
  for (let count = 1; count < first; count++) {
    table[count] = Math.max(0, (ms[0] as number) - Math.max(0, slope) * (first - count));
  }
  for (let index = 0; index < counts.length; index++) {
    const at = counts[index] as number;
    const from = index === 0 ? at : (counts[index - 1] as number);
    for (let count = from; count <= at; count++) {
      const part = at === from ? 1 : (count - from) / (at - from);
      const low = index === 0 ? (ms[0] as number) : (ms[index - 1] as number);
      table[count] = low + part * ((ms[index] as number) - low);
    }
  }
  return table;
}

function profileError(message: string, where: string, facts: { expected?: string; got?: string } = {}): DistrEdgeError {
  return new DistrEdgeError('PROFILE_INVALID', message, { where, ...facts });
}

function otherModel(
  workload: Workload,
  profile: Profile,
  where: string,
  message: string,
  expected?: string,
  got?: string,
): DistrEdgeError {
  return new DistrEdgeError('PROFILE_INVALID', message, {
    where: `${workload.model}, ${where}`,
    ...(expected === undefined ? {} : { expected }),
    ...(got === undefined ? {} : { got }),
    hint: `this is a profile of '${profile.model.name}': measure this model with: distredge profile`,
  });
}
