/**
 * A program's calls, fixed before the first image: which buffers they read and write never changes, so that a run builds no
 * objects and allocates no memory. `memoryFor` plans the buffers; `FixedByRun` gives any engine fixed calls by copying.
 */
import { byteLength, DistrEdgeError, type Tensor } from '@distredge/core';
import type { Engine, EngineInput, FixedCall, FixedCalls } from './engine.js';
import { free } from './free.js';

/** The most memory that the outputs of a program's calls may take, in bytes: more is a mistake, or an attack. */
const MAX_BYTES = 2 ** 34;

/**
 * Memory for the outputs of calls that run in this order, again and again: by call, one buffer for each output. What is
 * fetched has memory of its own, for it may still be leaving; slots that are released make room for later ones.
 */
export function memoryFor(calls: readonly FixedCall[]): Uint8Array[][] {
  const total = calls.reduce(
    (sum, { outputs }) => outputs.reduce((bytes, { dtype, shape }) => bytes + byteLength(dtype, shape), sum),
    0,
  );
  if (!(total <= MAX_BYTES)) {
    throw new DistrEdgeError('ENGINE_FAILED', 'the results of a program do not fit into memory', {
      where: `${calls.length} calls`,
      expected: `at most ${MAX_BYTES} bytes`,
      got: `${total} bytes`,
    });
  }
  const spare: ArrayBuffer[] = [];
  const held = new Map<number, ArrayBuffer>();
  return calls.map((call) => {
    const outputs = call.outputs.map(({ slot, fetch, dtype, shape }) => {
      const bytes = byteLength(dtype, shape);
      const buffer = fetch || slot === undefined ? new ArrayBuffer(bytes) : takeFrom(spare, bytes);
      if (slot !== undefined && !fetch) held.set(slot, buffer);
      return new Uint8Array(buffer, 0, bytes);
    });
    for (const slot of call.release ?? []) {
      const buffer = held.get(slot);
      held.delete(slot);
      if (buffer !== undefined) spare.push(buffer);
    }
    return outputs;
  });
}

/** The smallest spare buffer that is large enough and not much too large, or a new one. */
function takeFrom(spare: ArrayBuffer[], bytes: number): ArrayBuffer {
  let best = -1;
  spare.forEach(({ byteLength: size }, index) => {
    const fits = size >= bytes && size <= 2 * bytes;
    if (fits && (best < 0 || size < (spare[best] as ArrayBuffer).byteLength)) best = index;
  });
  return best < 0 ? new ArrayBuffer(bytes) : (spare.splice(best, 1)[0] as ArrayBuffer);
}

/** Fixed calls over an engine whose tensors move elsewhere: inputs are copied for every run, outputs are new each time. */
export class FixedByRun implements FixedCalls {
  readonly #engine: Pick<Engine, 'run'>;
  readonly #calls: readonly FixedCall[];
  readonly #outputs: (readonly Tensor[])[];

  constructor(engine: Pick<Engine, 'run'>, calls: readonly FixedCall[]) {
    this.#engine = engine;
    this.#calls = calls;
    this.#outputs = calls.map(() => []);
  }

  outputs(call: number): readonly Tensor[] {
    return this.#outputs[call] as readonly Tensor[];
  }

  async run(index: number, set: number): Promise<{ start: number; end: number }> {
    const call = this.#calls[index] as FixedCall;
    for (const { data } of this.outputs(index)) free(data);
    this.#outputs[index] = [];
    const inputs = (call.inputs[set] as readonly EngineInput[]).map((input) =>
      'slot' in input
        ? input
        : { name: input.name, tensor: { ...input.tensor, data: Uint8Array.from(input.tensor.data) } },
    );
    const { outputs, start, end } = await this.#engine.run({ ...call, inputs });
    checkSizes(call, outputs);
    this.#outputs[index] = outputs;
    return { start, end };
  }
}

/** What leaves this device has the size that its receivers were told. */
function checkSizes({ outputs }: FixedCall, got: readonly Tensor[]): void {
  const fetched = outputs.filter(({ fetch }) => fetch);
  fetched.forEach(({ name, dtype, shape }, index) => {
    const tensor = got[index];
    const right = tensor?.dtype === dtype && tensor.data.byteLength === byteLength(dtype, shape);
    if (right) return;
    throw new DistrEdgeError('PROTOCOL', 'a model makes something else than its program says', {
      where: `output '${name}'`,
      expected: `${dtype} [${shape.join(', ')}]`,
      got: tensor === undefined ? 'nothing' : `${tensor.dtype} [${tensor.shape.join(', ')}]`,
    });
  });
}
