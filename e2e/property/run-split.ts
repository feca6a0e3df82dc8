/**
 * Runs a program without links: every device's part, made and parsed as for the network, walked step by step in one
 * process, all on one engine. Also the comparison with the whole model.
 */
import {
  byteLength,
  type DeviceProgram,
  deviceProgram,
  floats,
  numbers,
  type Program,
  parseDeviceProgram,
  pasteRows,
  REQUESTER,
  sliceRows,
  type Tensor,
} from '@distredge/core';
import { createOrtEngine, createWholeModel, type Engine } from '@distredge/runtime';
import { seeded } from '../../bench/_seeded.js';
import type { RandomModel } from './model-writer.js';

type Tensors = Readonly<Record<string, Tensor>>;

/** Slots of a device begin here times its index. */
const SLOTS = 1_000_000;

/** The outputs of a program for one image. */
export async function runSplit(program: Program, inputs: Tensors): Promise<Record<string, Tensor>> {
  const engine = createOrtEngine();
  try {
    return await walk(program, inputs, engine);
  } finally {
    await engine.close();
  }
}

async function walk(program: Program, inputs: Tensors, engine: Engine): Promise<Record<string, Tensor>> {
  const payloads = new Map<number, Uint8Array>();
  program.messages.forEach((message, index) => {
    if (message.from !== REQUESTER) return;
    const payload = new Uint8Array(message.bytes);
    for (const { value, range, offset } of message.pieces) {
      const axis = program.values.get(value)?.axis;
      const input = inputs[value] as Tensor;
      payload.set(axis === undefined ? input.data : sliceRows(input, axis, range).data, offset);
    }
    payloads.set(index, payload);
  });
  const handles: Promise<number>[] = [];
  const parts = new Map<number, { part: DeviceProgram; models: readonly number[] }>();
  for (const [at, { device }] of program.steps.entries()) {
    let known = parts.get(device);
    if (known === undefined) {
      const { program: part, models } = deviceProgram(program, device);
      known = { part: parseDeviceProgram(JSON.parse(JSON.stringify(part))), models };
      parts.set(device, known);
    }
    const step = known.part.steps.find(({ step: number }) => number === at);
    if (step === undefined) throw new Error(`device ${device} does not know its step ${at}`);
    const model = known.models[step.model] as number;
    const built = program.models[model] as Program['models'][number];
    handles[model] ??= engine.load({ model: built.bytes, weights: built.weights });
    const fetched = step.outputs.filter(({ fetch }) => fetch);
    const { outputs } = await engine.run({
      model: await handles[model],
      inputs: step.inputs.map((input) => {
        if ('slot' in input) return { name: input.port, slot: device * SLOTS + input.slot };
        const payload = payloads.get(input.message);
        if (payload === undefined) throw new Error(`step ${at} reads message ${input.message}, which nobody sent yet`);
        const { dtype, shape, port, offset } = input;
        return { name: port, tensor: { dtype, shape, data: payload.slice(offset, offset + byteLength(dtype, shape)) } };
      }),
      outputs: step.outputs.map(({ port, slot, fetch }) => ({
        name: port,
        fetch,
        ...(slot === undefined ? {} : { slot: device * SLOTS + slot }),
      })),
      release: step.release.map((slot) => device * SLOTS + slot),
    });
    for (const { message, bytes, pieces } of step.sends) {
      const payload = new Uint8Array(bytes);
      for (const { output, offset } of pieces) {
        const told = step.outputs[output] as DeviceProgram['steps'][number]['outputs'][number];
        const tensor = outputs[fetched.indexOf(told)] as Tensor;
        if (tensor.dtype !== told.dtype || `${tensor.shape}` !== `${told.shape}`) {
          throw new Error(
            `step ${at} gives ${told.port} as ${tensor.dtype} [${tensor.shape}], not ${told.dtype} [${told.shape}]`,
          );
        }
        payload.set(tensor.data, offset);
      }
      payloads.set(message, payload);
    }
  }
  return gathered(program, payloads);
}

/** The outputs, put together from what is sent to the requester. */
function gathered(program: Program, payloads: ReadonlyMap<number, Uint8Array>): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  for (const name of program.graph.outputs) {
    const { dtype = 'float32', shape = [] } = program.values.get(name) ?? {};
    // NaN where nothing is written.
    outputs[name] = { dtype, shape, data: new Uint8Array(byteLength(dtype, shape)).fill(0xff) };
  }
  program.messages.forEach((message, index) => {
    if (message.to !== REQUESTER) return;
    const payload = payloads.get(index);
    if (payload === undefined) throw new Error(`nobody sent message ${index} to the requester`);
    for (const { value, range, dtype, shape, offset } of message.pieces) {
      const data = payload.subarray(offset, offset + byteLength(dtype, shape));
      const axis = program.values.get(value)?.axis;
      const target = outputs[value] as Tensor;
      if (axis === undefined) target.data.set(data);
      else pasteRows(target, axis, range.from, { dtype, shape, data });
    }
  });
  return outputs;
}

/** The outputs of the unsplit model. */
export async function runWhole({ bytes }: Pick<RandomModel, 'bytes'>, inputs: Tensors): Promise<Tensors> {
  const whole = await createWholeModel(bytes);
  try {
    return (await whole.run(inputs)).outputs;
  } finally {
    await whole.close();
  }
}

/** Difference to the whole model's outputs that a split run may have, relative to an output's span. The promise is 1e-4. */
const TOLERANCE = 1e-5;

/** Throws where the outputs differ by more than rounding explains. */
export async function expectEqual(got: Tensors, wanted: Tensors, model: RandomModel): Promise<void> {
  const [name, difference, place] = largestDifference(got, wanted);
  if (difference <= TOLERANCE) return;
  // Some networks blow up the last bit of a number. What a change of that size in the image does is no fault of the split.
  if (difference > 3 * (await noiseOf(model, wanted)))
    throw new Error(`output ${name} differs by ${difference.toExponential(1)} of its span at ${place}`);
}

async function noiseOf(model: RandomModel, wanted: Tensors): Promise<number> {
  const random = seeded(1);
  const inputs = Object.fromEntries(
    Object.entries(model.inputs).map(([name, tensor]): [string, Tensor] => {
      if (tensor.dtype !== 'float32') return [name, tensor];
      const nudged = floats(tensor).map((value) => value * (1 + (random() < 0.5 ? 1 : -1) * 2 ** -22));
      return [name, { ...tensor, data: new Uint8Array(nudged.buffer) }];
    }),
  );
  return largestDifference(await runWhole(model, inputs), wanted)[1];
}

/** The output that differs most, by how much relative to its span, and where. */
function largestDifference(got: Tensors, wanted: Tensors): [string, number, string] {
  let worst: [string, number, string] = ['', 0, ''];
  for (const [name, tensor] of Object.entries(wanted)) {
    const other = got[name];
    if (other === undefined || other.dtype !== tensor.dtype || `${other.shape}` !== `${tensor.shape}`) {
      throw new Error(`output ${name} is ${other?.dtype} [${other?.shape}], not ${tensor.dtype} [${tensor.shape}]`);
    }
    const values = numbers(tensor);
    const span = Math.max(0, ...values) - Math.min(0, ...values);
    numbers(other).forEach((value, index) => {
      const right = values[index] as number;
      if (Object.is(value, right) || value === right) return;
      const difference = Math.abs(value - right) / span;
      if (difference <= worst[1]) return;
      worst = [
        name,
        Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference,
        `${placeOf(index, tensor.shape)}: ${value} instead of ${right}`,
      ];
    });
  }
  return worst;
}

function placeOf(index: number, shape: readonly number[]): string {
  const place: number[] = [];
  let rest = index;
  for (const size of [...shape].reverse()) {
    place.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return `[${place.join(',')}]`;
}
