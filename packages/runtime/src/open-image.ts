/** One image under way, as the requester sees it: its inputs cut into messages, and its outputs as they come together. */
import { byteLength, DistrEdgeError, type Program, pasteRows, rowRuns, sliceRows, type Tensor } from '@distredge/core';
import { layOut, now } from './protocol.js';

type Tensors = Readonly<Record<string, Tensor>>;

/** Rows that lie together in runs of fewer bytes are copied into one piece before they are sent. */
const LEAST_RUN_BYTES = 4096;

export class OpenImage {
  readonly request: number;
  readonly started: number = now();
  readonly outputs: Record<string, Tensor>;
  /** Messages with results that are not here yet. */
  readonly missing: Set<number>;
  readonly arrivals: { message: number; arrived: number }[] = [];
  /** Settles when all results are here, or the image cannot be finished. */
  readonly done: Promise<void>;
  resolve!: () => void;
  reject!: (error: Error) => void;
  readonly #program: Program;
  readonly #inputs: Tensors;

  /** `results` are the messages that the requester gets. */
  constructor(request: number, program: Program, inputs: Tensors, results: readonly number[]) {
    this.request = request;
    this.#program = program;
    this.#inputs = inputs;
    this.missing = new Set(results);
    this.outputs = Object.fromEntries(
      program.graph.outputs.map((name): [string, Tensor] => [name, emptyOutput(name, inputs, program)]),
    );
    this.done = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whether anyone waits depends on the caller.
    this.done.catch(() => undefined);
  }

  /** The bytes of one message with rows of the inputs. */
  payload(message: Program['messages'][number]): Uint8Array[] {
    const parts = message.pieces.flatMap(({ value, range, offset }) => {
      const input = this.#inputs[value] as Tensor;
      const axis = this.#program.values.get(value)?.axis;
      if (axis === undefined) return [{ offset, data: input.data }];
      const runs = rowRuns(input, axis, range);
      const bytes = runs[0]?.byteLength ?? 0;
      // To copy takes fresh memory for every image, which costs more than a few pieces do.
      if (bytes < LEAST_RUN_BYTES) return [{ offset, data: sliceRows(input, axis, range).data }];
      return runs.map((data, index) => ({ offset: offset + index * bytes, data }));
    });
    return layOut(parts, message.bytes);
  }

  /** Takes a message's rows over into the outputs. */
  receive(message: number, payload: Uint8Array): void {
    for (const { value, range, dtype, shape, offset } of this.#program.messages[message]?.pieces ?? []) {
      const data = payload.subarray(offset, offset + byteLength(dtype, shape));
      const axis = this.#program.values.get(value)?.axis;
      const target = this.outputs[value] as Tensor;
      if (axis === undefined) target.data.set(data);
      else pasteRows(target, axis, range.from, { dtype, shape, data });
    }
    this.arrivals.push({ message, arrived: now() });
    this.missing.delete(message);
  }

  /** The devices whose results are not here yet. */
  get owing(): number[] {
    return [...new Set([...this.missing].map((message) => this.#program.messages[message]?.from ?? -1))];
  }

  /** For messages: the devices whose results are not here yet. */
  missingFrom(): string {
    return `waiting for ${this.owing.map((device) => `device ${device}`).join(', ')}`;
  }
}

/** Throws `SHAPE_MISMATCH` for inputs that the program was not prepared for. */
export function checkInputs(inputs: Tensors, { graph }: Program): void {
  for (const name of graph.inputs) {
    const tensor = inputs[name];
    const type = graph.types.get(name);
    const wanted = `${type?.dtype} [${type?.shape?.join(', ')}]`;
    if (tensor === undefined)
      throw new DistrEdgeError('SHAPE_MISMATCH', 'an input is missing', { where: `input '${name}'`, expected: wanted });
    const fits =
      tensor.dtype === type?.dtype &&
      tensor.shape.join() === type.shape?.join() &&
      tensor.data.byteLength === byteLength(tensor.dtype, tensor.shape);
    if (fits) continue;
    throw new DistrEdgeError('SHAPE_MISMATCH', 'an input has another type or shape than the model was prepared for', {
      where: `input '${name}'`,
      expected: wanted,
      got: `${tensor.dtype} [${tensor.shape.join(', ')}]`,
    });
  }
}

/** An output's tensor, to be filled; an output that is an input is that input. */
function emptyOutput(name: string, inputs: Tensors, { values }: Program): Tensor {
  const given = inputs[name];
  if (given !== undefined) return given;
  const { dtype = 'float32', shape = [] } = values.get(name) ?? {};
  return { dtype, shape, data: new Uint8Array(byteLength(dtype, shape)) };
}
