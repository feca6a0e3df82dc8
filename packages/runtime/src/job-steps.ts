/**
 * A device's steps with what is worked out once, before the first image: the calls of the engine, the messages each step
 * waits for, and the bytes that leave after it. For every request that may be open at the same time there is one set of
 * all this, with memory of its own.
 */
import { byteLength, type DeviceProgram, type DeviceStep, DistrEdgeError, type Tensor } from '@distredge/core';
import type { Engine, EngineInput, FixedCall, FixedCalls } from './engine/engine.js';
import { layOut } from './protocol.js';

/** The most bytes of rows that the open requests may bring to a device: more is a mistake, or an attack. */
const MAX_LANDING_BYTES = 2 ** 32;
/** The most bytes that the results of a device's steps may take, for all open requests. */
const MAX_RESULT_BYTES = 2 ** 34;

/** The most messages and tensors that a device holds memory for when several images are in flight. */
const MAX_PLACES = 2 ** 20;

/** Where the rows of each message land for one open request: always the same memory, which the calls read. */
export type Landing = ReadonlyMap<number, Uint8Array>;

/** One message that leaves, laid out over the outputs of its step. */
export interface Leaving {
  readonly message: number;
  /** Device index; -1 is the requester. */
  readonly to: number;
  readonly pieces: readonly Uint8Array[];
}

/** The memory that one open request lands in. Throws `PROVIDER_FAILED` where `requests` of them do not fit. */
export function landingFor(program: DeviceProgram, requests: number): Landing[] {
  const sum = (sizes: readonly number[]): number => sizes.reduce((total, bytes) => total + bytes, 0);
  const landing = sum(program.receives.map(({ bytes }) => bytes)) * requests;
  const results =
    sum(program.steps.flatMap(({ outputs }) => outputs.map(({ dtype, shape }) => byteLength(dtype, shape)))) * requests;
  const refuse = (what: string, most: number, got: number): never => {
    throw new DistrEdgeError('PROVIDER_FAILED', `${what} do not fit into memory`, {
      where: `device ${program.device}, ${requests} images at a time`,
      expected: `at most ${most} bytes`,
      got: `${got} bytes`,
      hint: 'have fewer images in flight, or cut the model into smaller parts',
    });
  };
  if (!(landing <= MAX_LANDING_BYTES)) refuse('the rows that a program receives', MAX_LANDING_BYTES, landing);
  const places =
    sum(program.steps.map(({ inputs, outputs }) => inputs.length + outputs.length)) + program.receives.length;
  if (requests > 1 && places * requests > MAX_PLACES) {
    throw new DistrEdgeError('PROVIDER_FAILED', 'a program has too many parts for so many images in flight', {
      where: `device ${program.device}, ${requests} images at a time`,
      expected: `at most ${MAX_PLACES} messages and tensors`,
      got: `${places * requests}`,
      hint: 'have fewer images in flight',
    });
  }
  if (!(results <= MAX_RESULT_BYTES)) refuse('the results of a program', MAX_RESULT_BYTES, results);
  return Array.from(
    { length: requests },
    () => new Map(program.receives.map(({ message, bytes }) => [message, new Uint8Array(new ArrayBuffer(bytes))])),
  );
}

/** What is known of a model's runs. */
export interface RunShapes {
  /** Of its inputs, by port, in the step that does most with it. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Whether all steps have these. */
  readonly everyRun: boolean;
}

/** The shapes of each model of a program. */
export function inputShapes({ steps }: DeviceProgram): Map<number, RunShapes> {
  const slots = new Map<number, readonly number[]>();
  const most = new Map<number, number>();
  const texts = new Map<number, Set<string>>();
  const shapes = new Map<number, Record<string, readonly number[]>>();
  for (const { model, flops, inputs, outputs } of steps) {
    const entries = inputs.flatMap((input) => {
      const shape = 'slot' in input ? slots.get(input.slot) : input.shape;
      return shape === undefined ? [] : [[input.port, shape] as const];
    });
    texts.set(model, (texts.get(model) ?? new Set()).add(JSON.stringify(entries)));
    if (flops > (most.get(model) ?? -1)) {
      most.set(model, flops);
      shapes.set(model, Object.fromEntries(entries));
    }
    for (const { slot, shape } of outputs) if (slot !== undefined) slots.set(slot, shape);
  }
  return new Map([...shapes].map(([model, own]) => [model, { shapes: own, everyRun: texts.get(model)?.size === 1 }]));
}

/** Readies a program's steps on its engine for every open request; `models` are the engine's handles. */
export async function fixSteps(
  engine: Engine,
  program: DeviceProgram,
  models: readonly number[],
  landings: readonly Landing[],
): Promise<StepSet[]> {
  const sets: StepSet[] = [];
  for (const [index, landing] of landings.entries()) {
    // Engines may keep the slots of all calls in one place.
    const slotOf = (slot: number): number => slot + index * program.slots;
    const calls = program.steps.map(
      (step): FixedCall => ({
        model: models[step.model] as number,
        inputs: [step.inputs.map((input) => engineInput(input, landing, slotOf))],
        outputs: step.outputs.map(({ port, slot, fetch, dtype, shape }) => ({
          name: port,
          fetch,
          dtype,
          shape,
          ...(slot === undefined ? {} : { slot: slotOf(slot) }),
        })),
        release: step.release.map(slotOf),
      }),
    );
    sets.push(new StepSet(program.steps, await engine.fix(calls)));
  }
  return sets;
}

/** The steps of one open request. Which request that is changes; the memory does not. */
export class StepSet {
  /** By step: messages whose bytes are still being sent. The step may not run again before that is 0. */
  readonly unsent: Uint32Array;
  readonly #steps: readonly DeviceStep[];
  readonly #calls: FixedCalls;
  readonly #leaving: ({ readonly outputs: readonly Tensor[]; readonly messages: readonly Leaving[] } | undefined)[];

  constructor(steps: readonly DeviceStep[], calls: FixedCalls) {
    this.#steps = steps;
    this.#calls = calls;
    this.unsent = new Uint32Array(steps.length);
    this.#leaving = steps.map(() => undefined);
  }

  run(index: number): Promise<{ readonly start: number; readonly end: number }> {
    return this.#calls.run(index, 0);
  }

  /** What leaves after a step; its outputs are mostly the same memory every time. */
  leaving(index: number): readonly Leaving[] {
    const outputs = this.#calls.outputs(index);
    const known = this.#leaving[index];
    if (known?.outputs === outputs) return known.messages;
    const messages = leavingOf(this.#steps[index] as DeviceStep, outputs);
    this.#leaving[index] = { outputs, messages };
    return messages;
  }
}

function leavingOf(step: DeviceStep, outputs: readonly Tensor[]): Leaving[] {
  const fetched = step.outputs.filter(({ fetch }) => fetch);
  return step.sends.map(({ message, to, bytes, pieces }) => {
    const parts = pieces.map(({ output, offset }) => {
      const at = fetched.indexOf(step.outputs[output] as DeviceStep['outputs'][number]);
      return { offset, data: (outputs[at] as Tensor).data };
    });
    return { message, to, pieces: layOut(parts, bytes) };
  });
}

function engineInput(
  input: DeviceStep['inputs'][number],
  landing: Landing,
  slotOf: (slot: number) => number,
): EngineInput {
  if ('slot' in input) return { name: input.port, slot: slotOf(input.slot) };
  const payload = landing.get(input.message) as Uint8Array;
  const { dtype, shape, port, offset } = input;
  return { name: port, tensor: { dtype, shape, data: payload.subarray(offset, offset + byteLength(dtype, shape)) } };
}
