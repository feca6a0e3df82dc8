/**
 * The requester: prepares a program on its providers, hands each image's rows out, and puts the results together. It
 * computes nothing. Whatever goes wrong with a provider ends the cluster with an error that names it; the caller's image is
 * never left waiting.
 */
import { randomBytes } from 'node:crypto';
import {
  byteLength,
  DistrEdgeError,
  deviceProgram,
  type Program,
  pasteRows,
  REQUESTER,
  sliceRows,
  type Tensor,
} from '@distredge/core';
import type { Frame, FrameHeader, Transport } from './link/link.js';
import { blobsOf } from './loader.js';
import { Member } from './member.js';
import { layOut, now, within } from './protocol.js';

export interface ConnectOptions {
  readonly transport: Transport;
  /** Address of each device of the plan. */
  readonly addresses: readonly string[];
  /** Dialling and each answer during set-up. Default 10000 ms. */
  readonly deadlineMs?: number;
  /** Loading all models, on the slowest device. Default 300000 ms. */
  readonly prepareMs?: number;
  /** One image, from first row sent to last row received. Default 60000 ms. */
  readonly requestMs?: number;
  /** A provider that does not answer for so long is lost. Default 5000 ms. */
  readonly silenceMs?: number;
  /** Told about progress while weights travel: bytes sent so far of all. */
  readonly progress?: (sent: number, total: number) => void;
}

/** When things happened for one image, in ms since it was handed in. Times of providers are by their own clocks. */
export interface RunTrace {
  readonly totalMs: number;
  readonly steps: readonly {
    readonly step: number;
    readonly waitFrom: number;
    readonly start: number;
    readonly end: number;
  }[];
  readonly messages: readonly { readonly message: number; readonly arrived: number }[];
  /** Resident set of each provider in bytes, by device; undefined for devices without work. */
  readonly residentBytes: readonly (number | undefined)[];
}

export interface Cluster {
  readonly program: Program;
  /** Computes one image. Requests are served one at a time, in order of calls. */
  infer(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>>;
  /** The timeline of the last image. */
  trace(): Promise<RunTrace>;
  close(): Promise<void>;
}

/** What is open for the image under way. */
interface Pending {
  readonly request: number;
  readonly outputs: Record<string, Tensor>;
  readonly missing: Set<number>;
  readonly arrivals: { message: number; arrived: number }[];
  resolve(): void;
  reject(error: Error): void;
}

/** Connects to the providers, loads every device's part, and waits until all are ready. */
export async function connect(program: Program, options: ConnectOptions): Promise<Cluster> {
  const { plan } = program;
  if (options.addresses.length !== plan.devices) {
    throw new DistrEdgeError('USAGE', 'there is not one address for each device of the plan', {
      expected: `${plan.devices} addresses`,
      got: `${options.addresses.length}`,
    });
  }
  const cluster = new Requester(program, options);
  try {
    await cluster.open();
    return cluster;
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

class Requester implements Cluster {
  readonly program: Program;
  readonly #options: ConnectOptions;
  readonly #members = new Map<number, Member>();
  #request = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #pending: Pending | undefined;
  #failure: Error | undefined;
  #closed = false;
  #started = 0;
  #totalMs = 0;
  #arrivals: { message: number; arrived: number }[] = [];
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(program: Program, options: ConnectOptions) {
    this.program = program;
    this.#options = options;
  }

  async open(): Promise<void> {
    const { program } = this;
    const { addresses, deadlineMs = 10_000, prepareMs = 300_000, requestMs = 60_000, silenceMs = 5000 } = this.#options;
    const token = randomBytes(16).toString('hex');
    const devices = [...new Set(program.steps.map(({ device }) => device))].sort((a, b) => a - b);
    let sent = 0;
    const parts = devices.map((device) => ({ device, ...deviceProgram(program, device) }));
    const total = parts.reduce(
      (sum, { program: part }) => sum + blobsOf(part.models).reduce((bytes, blob) => bytes + blob.bytes, 0),
      0,
    );
    const progress = (bytes: number): void => {
      sent += bytes;
      this.#options.progress?.(sent, total);
    };
    for (const { device } of parts) this.#members.set(device, new Member(device, addresses[device] ?? '', this));
    // From the first word on: a provider may freeze while it takes or loads its weights, too.
    const beatMs = Math.min(1000, silenceMs / 2);
    this.#heartbeat = setInterval(() => {
      for (const member of this.#members.values()) member.beat(Math.ceil(silenceMs / beatMs));
    }, beatMs);
    this.#heartbeat.unref();
    await Promise.all(
      parts.map(async ({ device, program: part, models }) => {
        const member = this.#members.get(device) as Member;
        await member.greet(this.#options.transport, deadlineMs);
        await member.prepare(
          {
            token,
            peers: [...addresses],
            requestMs,
            part,
            models: models.map((model) => program.models[model] as Program['models'][number]),
          },
          progress,
        );
      }),
    );
    await Promise.all([...this.#members.values()].map((member) => member.ready(prepareMs)));
  }

  infer(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    const result = this.#queue.then(() => this.#infer(inputs));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #infer(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) throw new DistrEdgeError('CANCELLED', 'the cluster is closed');
    const { graph, messages, values } = this.program;
    for (const name of graph.inputs) checkInput(name, inputs[name], this.program);
    this.#request += 1;
    const request = this.#request;
    const outputs = Object.fromEntries(
      graph.outputs.map((name): [string, Tensor] => [name, emptyOutput(name, inputs, this.program)]),
    );
    const landing = messages.flatMap(({ to }, index) => (to === REQUESTER ? [index] : []));
    const started = now();
    const done = new Promise<void>((resolve, reject) => {
      this.#pending = { request, outputs, missing: new Set(landing), arrivals: [], resolve, reject };
    });
    const sends = [...this.#members.values()].map((member) => member.begin(request));
    messages.forEach((message, index) => {
      if (message.from !== REQUESTER) return;
      const parts = message.pieces.map(({ value, range, offset }) => {
        const input = inputs[value] as Tensor;
        const axis = values.get(value)?.axis;
        return { offset, data: axis === undefined ? input.data : sliceRows(input, axis, range).data };
      });
      sends.push((this.#members.get(message.to) as Member).data(request, index, layOut(parts, message.bytes)));
    });
    const all = Promise.all([done, ...sends]);
    try {
      const { requestMs = 60_000 } = this.#options;
      if (landing.length > 0) await within(all, requestMs, 'the image was not done', () => this.#missingFrom());
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
      throw this.#failure ?? error;
    } finally {
      all.catch(() => undefined);
      this.#arrivals = this.#pending?.arrivals ?? [];
      this.#pending = undefined;
    }
    this.#started = started;
    this.#totalMs = now() - started;
    return outputs;
  }

  /** For messages: the devices whose results are not here yet. */
  #missingFrom(): string {
    const devices = [...(this.#pending?.missing ?? [])].map((message) => this.program.messages[message]?.from);
    return `waiting for ${[...new Set(devices)].map((device) => `device ${device}`).join(', ')}`;
  }

  /** The buffer for a result; throws `PROTOCOL` for any that is not awaited. */
  allocate(device: number, header: FrameHeader): Uint8Array {
    const message = this.program.messages[header.channel];
    const pending = this.#pending;
    const awaited = pending?.request === header.request && pending.missing.has(header.channel);
    if (!awaited || message === undefined || message.from !== device || message.bytes !== header.length) {
      throw new DistrEdgeError('PROTOCOL', 'a provider sent rows that nobody asked for', {
        where: `device ${device}, message ${header.channel} of request ${header.request}`,
        got: `${header.length} bytes`,
      });
    }
    return new Uint8Array(header.length);
  }

  receive(frame: Frame): void {
    const pending = this.#pending;
    const message = this.program.messages[frame.channel];
    if (pending === undefined || message === undefined) return;
    for (const { value, range, dtype, shape, offset } of message.pieces) {
      const data = frame.payload.subarray(offset, offset + byteLength(dtype, shape));
      const axis = this.program.values.get(value)?.axis;
      const target = pending.outputs[value] as Tensor;
      if (axis === undefined) target.data.set(data);
      else pasteRows(target, axis, range.from, { dtype, shape, data });
    }
    pending.arrivals.push({ message: frame.channel, arrived: now() });
    pending.missing.delete(frame.channel);
    if (pending.missing.size === 0) pending.resolve();
  }

  async trace(): Promise<RunTrace> {
    const members = [...this.#members.values()];
    const traces = await Promise.all(members.map((member) => member.trace(this.#options.deadlineMs ?? 10_000)));
    const residentBytes: (number | undefined)[] = new Array<undefined>(this.program.plan.devices).fill(undefined);
    members.forEach((member, index) => {
      residentBytes[member.device] = traces[index]?.residentBytes;
    });
    const since = (time: number): number => time - this.#started;
    return {
      totalMs: this.#totalMs,
      steps: traces.flatMap(({ steps }) =>
        steps.map(({ step, start, end, waitFrom }) => ({
          step,
          waitFrom: since(waitFrom),
          start: since(start),
          end: since(end),
        })),
      ),
      messages: [...traces.flatMap(({ messages }) => messages), ...this.#arrivals].map(({ message, arrived }) => ({
        message,
        arrived: since(arrived),
      })),
      residentBytes,
    };
  }

  /** Ends the cluster: the image under way fails with this error, later ones too. The first error counts. */
  fail(error: Error): void {
    if (this.#failure !== undefined || this.#closed) return;
    this.#failure = error;
    clearInterval(this.#heartbeat);
    this.#pending?.reject(error);
    for (const member of this.#members.values()) member.close(error);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#heartbeat);
    this.#pending?.reject(new DistrEdgeError('CANCELLED', 'the cluster was closed'));
    for (const member of this.#members.values()) member.close();
  }
}

function checkInput(name: string, tensor: Tensor | undefined, { graph }: Program): void {
  const type = graph.types.get(name);
  const wanted = `${type?.dtype} [${type?.shape?.join(', ')}]`;
  if (tensor === undefined)
    throw new DistrEdgeError('SHAPE_MISMATCH', 'an input is missing', { where: `input '${name}'`, expected: wanted });
  const fits =
    tensor.dtype === type?.dtype &&
    tensor.shape.join() === type.shape?.join() &&
    tensor.data.byteLength === byteLength(tensor.dtype, tensor.shape);
  if (!fits) {
    throw new DistrEdgeError('SHAPE_MISMATCH', 'an input has another type or shape than the model was prepared for', {
      where: `input '${name}'`,
      expected: wanted,
      got: `${tensor.dtype} [${tensor.shape.join(', ')}]`,
    });
  }
}

/** An output's tensor, to be filled; an output that is an input is that input. */
function emptyOutput(name: string, inputs: Readonly<Record<string, Tensor>>, { values }: Program): Tensor {
  const given = inputs[name];
  if (given !== undefined) return given;
  const { dtype = 'float32', shape = [] } = values.get(name) ?? {};
  return { dtype, shape, data: new Uint8Array(byteLength(dtype, shape)) };
}
