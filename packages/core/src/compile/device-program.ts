/**
 * What one device must know of a program: the models it loads, its steps in order, the messages it receives and sends, and
 * in which of its slots the rows lie that it keeps. Plain data: it crosses the network as JSON once, before the first image,
 * and is checked on arrival as anything from outside is.
 */
import * as z from 'zod';
import { DistrEdgeError } from '../errors.js';
import { byteLength, type DataType, DTYPE_BYTES } from '../tensor.js';
import type { Program, ProgramStep } from './program.js';

const index: z.ZodNumber = z
  .int()
  .min(0)
  .max(1 << 24);
const bytes: z.ZodNumber = z
  .int()
  .min(0)
  .max(2 ** 40);
const name: z.ZodString = z.string().max(8192);
const dtype: z.ZodType<DataType> = z.enum(Object.keys(DTYPE_BYTES) as [DataType, ...DataType[]]);
const shape: z.ZodType<number[]> = z.array(index).max(16);

/** Where a step's input comes from: an own slot, or a piece of a message. */
export type DeviceInput =
  | { readonly port: string; readonly slot: number }
  | {
      readonly port: string;
      readonly message: number;
      /** Where the piece begins in the message, in bytes; a multiple of 8. */
      readonly offset: number;
      readonly dtype: DataType;
      readonly shape: readonly number[];
    };

export interface DeviceOutput {
  readonly port: string;
  /** The slot it is kept in for later steps. */
  readonly slot?: number | undefined;
  /** Whether a message carries it. */
  readonly fetch: boolean;
  readonly dtype: DataType;
  readonly shape: readonly number[];
}

export interface DeviceSend {
  /** Its number in the program. */
  readonly message: number;
  /** Device index; -1 is the requester. */
  readonly to: number;
  readonly bytes: number;
  /** What it carries: indices of the step's outputs, and where each begins. */
  readonly pieces: readonly { readonly output: number; readonly offset: number }[];
}

export interface DeviceStep {
  /** Its number in the program. */
  readonly step: number;
  /** Index in the device's models. */
  readonly model: number;
  readonly volume: number;
  readonly part: number;
  readonly from: number;
  readonly to: number;
  readonly flops: number;
  readonly inputs: readonly DeviceInput[];
  readonly outputs: readonly DeviceOutput[];
  readonly sends: readonly DeviceSend[];
  /** Slots that no later step reads. */
  readonly release: readonly number[];
}

/** Sizes in bytes of a model and of the weights it names. */
export interface DeviceModel {
  readonly bytes: number;
  readonly weights: readonly { readonly location: string; readonly bytes: number }[];
}

/** A device's part of a program. */
export interface DeviceProgram {
  readonly version: 1;
  readonly device: number;
  readonly devices: number;
  readonly models: readonly DeviceModel[];
  readonly slots: number;
  readonly receives: readonly { readonly message: number; readonly from: number; readonly bytes: number }[];
  readonly steps: readonly DeviceStep[];
}

const schema: z.ZodType<DeviceProgram> = z.strictObject({
  version: z.literal(1),
  device: index,
  devices: z.int().min(1).max(1024),
  models: z
    .array(z.strictObject({ bytes, weights: z.array(z.strictObject({ location: name, bytes })).max(100_000) }))
    .max(10_000),
  slots: index,
  receives: z.array(z.strictObject({ message: index, from: z.int().min(-1).max(1023), bytes })).max(1_000_000),
  steps: z
    .array(
      z.strictObject({
        step: index,
        model: index,
        volume: index,
        part: index,
        from: index,
        to: index,
        flops: z.number().min(0),
        inputs: z
          .array(
            z.union([
              z.strictObject({ port: name, slot: index }),
              z.strictObject({ port: name, message: index, offset: bytes, dtype, shape }),
            ]),
          )
          .max(100_000),
        outputs: z
          .array(z.strictObject({ port: name, slot: index.optional(), fetch: z.boolean(), dtype, shape }))
          .max(100_000),
        sends: z
          .array(
            z.strictObject({
              message: index,
              to: z.int().min(-1).max(1023),
              bytes,
              pieces: z
                .array(z.strictObject({ output: index, offset: bytes }))
                .min(1)
                .max(100_000),
            }),
          )
          .max(100_000),
        release: z.array(index).max(1_000_000),
      }),
    )
    .max(1_000_000),
});

/** The part of a program that one device runs, and the models it needs, as indices into `program.models`. */
export function deviceProgram(program: Program, device: number): { program: DeviceProgram; models: number[] } {
  const own = program.steps.flatMap((step, at) => (step.device === device ? [{ step, at }] : []));
  const models = [...new Set(own.map(({ step }) => step.model))];
  const slots = new Map<string, number>();
  const lastRead = new Map<string, number>();
  own.forEach(({ step, at }, order) => {
    for (const output of step.outputs) if (output.kept) slots.set(`${at} ${output.port}`, slots.size);
    for (const { source } of step.inputs) if ('step' in source) lastRead.set(`${source.step} ${source.port}`, order);
  });
  const steps = own.map(
    ({ step, at }, order): DeviceStep => deviceStep(program, step, at, order, models, slots, lastRead),
  );
  const receives = program.messages.flatMap(({ from, to, bytes: size }, message) =>
    to === device ? [{ message, from, bytes: size }] : [],
  );
  return {
    models,
    program: {
      version: 1,
      device,
      devices: program.plan.devices,
      models: models.map((model) => ({
        bytes: program.models[model]?.bytes.byteLength ?? 0,
        weights: [...(program.models[model]?.weights ?? [])].map(([location, data]) => ({
          location,
          bytes: data.byteLength,
        })),
      })),
      slots: slots.size,
      receives,
      steps,
    },
  };
}

function deviceStep(
  program: Program,
  step: ProgramStep,
  at: number,
  order: number,
  models: readonly number[],
  slots: ReadonlyMap<string, number>,
  lastRead: ReadonlyMap<string, number>,
): DeviceStep {
  const sends = step.sends.map((message) => {
    const { to, bytes: size, pieces } = program.messages[message] as Program['messages'][number];
    return {
      message,
      to,
      bytes: size,
      pieces: pieces.map(({ value, range, offset }) => ({
        output: step.outputs.findIndex(
          (output) => output.value === value && output.range.from === range.from && output.range.to === range.to,
        ),
        offset,
      })),
    };
  });
  const sent = new Set(sends.flatMap(({ pieces }) => pieces.map(({ output }) => output)));
  return {
    step: at,
    model: models.indexOf(step.model),
    volume: step.volume,
    part: step.part,
    from: step.range.from,
    to: step.range.to,
    flops: step.flops,
    inputs: step.inputs.map(({ port, source }) => {
      if ('step' in source) return { port, slot: slots.get(`${source.step} ${source.port}`) ?? 0 };
      const piece = program.messages[source.message]?.pieces[source.piece];
      if (piece === undefined) throw new DistrEdgeError('INTERNAL', 'a step reads a piece that no message carries');
      return { port, message: source.message, offset: piece.offset, dtype: piece.dtype, shape: [...piece.shape] };
    }),
    outputs: step.outputs.map(({ port, dtype: type, shape: dims }, output) => {
      const slot = slots.get(`${at} ${port}`);
      return { port, ...(slot === undefined ? {} : { slot }), fetch: sent.has(output), dtype: type, shape: [...dims] };
    }),
    sends,
    release: [...lastRead].flatMap(([key, last]) => (last === order ? [slots.get(key) ?? 0] : [])),
  };
}

/** Checks a device program that came over the network: form, limits, and that every index and size agrees. */
export function parseDeviceProgram(value: unknown): DeviceProgram {
  const result = schema.safeParse(value);
  const fail = (message: string, where: string): never => {
    throw new DistrEdgeError('PROTOCOL', message, { where, hint: 'are both ends the same version of distredge?' });
  };
  if (!result.success) {
    const [issue] = result.error.issues;
    return fail(issue?.message ?? 'not a device program', `program.${(issue?.path ?? []).join('.')}`);
  }
  const program = result.data;
  const incoming = new Map(program.receives.map((item) => [item.message, item.bytes]));
  const member = (device: number): boolean => device < program.devices;
  if (!member(program.device) || !program.receives.every(({ from }) => member(from)))
    fail('a device is not in the cluster', 'program.device');
  if (incoming.size !== program.receives.length) fail('a message is listed twice', 'program.receives');
  for (const [at, step] of program.steps.entries()) {
    const where = `program.steps.${at}`;
    if (step.model >= program.models.length) fail('a step runs a model that is not there', where);
    for (const input of step.inputs) {
      if ('slot' in input) {
        if (input.slot >= program.slots) fail('a step reads a slot that is not there', where);
        continue;
      }
      const size = incoming.get(input.message);
      if (size === undefined) return fail('a step reads a message that never comes', where);
      if (input.offset % 8 !== 0 || input.offset + byteLength(input.dtype, input.shape) > size)
        fail('a piece lies outside its message', where);
    }
    for (const { slot } of step.outputs)
      if (slot !== undefined && slot >= program.slots) fail('a step fills a slot that is not there', where);
    if (step.release.some((slot) => slot >= program.slots)) fail('a step frees a slot that is not there', where);
    for (const { to, bytes: size, pieces } of step.sends) {
      if (!member(to) || to === program.device) fail('a message goes to nobody', where);
      let free = 0;
      for (const { output, offset } of pieces) {
        const source = step.outputs[output];
        if (source === undefined || !source.fetch) return fail('a message sends an output that is not there', where);
        if (offset % 8 !== 0 || offset < free || offset + byteLength(source.dtype, source.shape) > size)
          fail('a piece lies outside its message, or on another', where);
        free = offset + byteLength(source.dtype, source.shape);
      }
    }
  }
  return program;
}
