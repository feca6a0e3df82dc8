/** A small program, an engine that computes nothing, and raw ends of links: what tests of clusters are made of. Only tests import it. */
import { readFileSync } from 'node:fs';
import {
  analyse,
  byteLength,
  compile,
  type DeviceStep,
  DistrEdgeError,
  deviceProgram,
  floatTensor,
  loadGraph,
  type Program,
  planByRule,
  type Tensor,
} from '@distredge/core';
import type { Engine, EngineCall, EngineModel, FixedCall, FixedCalls } from './engine/engine.js';
import { FixedByRun } from './engine/fixed.js';
import { onnxModel } from './engine/fixtures.js';
import { type Frame, type FrameHeader, FrameKind, type Link, type Transport } from './link/link.js';
import { BLOB_CHUNK_BYTES, type Control, PROTOCOL_VERSION, parseControl, sendControl } from './protocol.js';
import type { Clock } from './straggler.js';
import { blobsOf, sha256 } from './weights/blob.js';

export const INPUT: Tensor = floatTensor(new Float32Array(4 * 16 * 8), [1, 4, 16, 8]);
export const OUTPUT = 'y';
export const TOKEN = '0123456789abcdef0123456789abcdef';

/** Two convolutions in a volume each, so that devices exchange rows; their weights travel as blobs. */
export function smallProgram(devices: number): Program {
  const bytes = onnxModel({
    nodes: [
      { op: 'Conv', inputs: ['x', 'w1'], outputs: ['m'] },
      { op: 'Conv', inputs: ['m', 'w2'], outputs: [OUTPUT] },
    ],
    inputs: [{ name: 'x', type: 'float32', shape: INPUT.shape }],
    outputs: [{ name: OUTPUT, type: 'float32', shape: [1, 4, 12, 4] }],
    weights: [
      { name: 'w1', shape: [32, 4, 3, 3], location: 'w1', offset: 0 },
      { name: 'w2', shape: [4, 32, 3, 3], location: 'w2', offset: 0 },
    ],
  });
  const graph = loadGraph(bytes, { external: (location) => new Uint8Array(4608).fill(location === 'w1' ? 1 : 2) });
  const analysis = analyse(graph);
  const weights = new Array<number>(devices).fill(1);
  return compile(graph, planByRule(analysis, { volumes: 'layers', weights }), analysis);
}

/** What a fake engine does instead of its work, at its n-th call (from 0) since it was made. */
export type Mischief = (call: number, what: 'load' | 'run') => Promise<void> | void;

/** An engine that fills whatever it is asked for with the device's number plus one; `steps` are the device's own, in order. */
export class FakeEngine implements Engine {
  readonly blocks = true;
  readonly name = 'fake';
  readonly loaded: { readonly model: Uint8Array; readonly weights: ReadonlyMap<string, Uint8Array> }[] = [];
  closed = false;
  /** Calls so far. */
  runs = 0;
  readonly #steps: readonly DeviceStep[];
  readonly #fill: number;
  readonly #mischief: Mischief;
  #loads = 0;

  constructor(steps: readonly DeviceStep[], fill: number, mischief: Mischief = () => undefined) {
    this.#steps = steps;
    this.#fill = fill;
    this.#mischief = mischief;
  }

  async load({ model, weights }: EngineModel): Promise<number> {
    await this.#mischief(this.#loads, 'load');
    const copies = [...weights].map(([name, data]): [string, Uint8Array] => [
      name,
      'path' in data ? new Uint8Array(readFileSync(data.path)) : Uint8Array.from(data),
    ]);
    this.loaded.push({ model: Uint8Array.from(model), weights: new Map(copies) });
    this.#loads += 1;
    return this.#loads - 1;
  }

  async run(call: EngineCall) {
    const at = this.runs;
    this.runs += 1;
    await this.#mischief(at, 'run');
    // Calls of several images may take turns; a fixed call says which step it is.
    const { step: own = at % this.#steps.length } = call as EngineCall & { readonly step?: number };
    const step = this.#steps[own] as DeviceStep;
    const outputs = step.outputs
      .filter(({ port }) => call.outputs.some(({ name, fetch }) => name === port && fetch))
      .map(({ dtype, shape }): Tensor => {
        const values = new Float32Array(byteLength(dtype, shape) / 4).fill(this.#fill);
        return { dtype, shape, data: new Uint8Array(values.buffer) };
      });
    return { outputs, start: 1, end: 2 };
  }

  async fix(calls: readonly FixedCall[]): Promise<FixedCalls> {
    return new FixedByRun(
      this,
      calls.map((call, step) => ({ ...call, step })),
    );
  }

  async unload(): Promise<void> {}
  async clearSlots(): Promise<void> {}
  async close(): Promise<void> {
    this.closed = true;
  }
}

export function engineOf(program: Program, device: number, mischief?: Mischief): FakeEngine {
  return new FakeEngine(deviceProgram(program, device).program.steps, device + 1, mischief);
}

export const engineFailure = (): never => {
  throw new DistrEdgeError('ENGINE_FAILED', 'the engine is tired', { where: 'model 0' });
};

/** One raw end of a link, that says and hears anything. */
export class RawEnd {
  readonly heard: Control[] = [];
  readonly rows: Frame[] = [];
  pings = 0;
  pongs = 0;
  closed: { readonly error: Error | undefined } | undefined;
  link!: Link;

  handlers(link: Link) {
    this.link = link;
    return {
      allocate: (header: FrameHeader) => new Uint8Array(header.length),
      frame: (frame: Frame): void => {
        if (frame.kind === FrameKind.control) this.heard.push(parseControl(frame));
        else if (frame.kind === FrameKind.ping) this.pings += 1;
        else if (frame.kind === FrameKind.pong) this.pongs += 1;
        else if (frame.kind === FrameKind.data) this.rows.push(frame);
      },
      closed: (error: Error | undefined): void => {
        this.closed = { error };
      },
    };
  }

  async say(message: Control): Promise<void> {
    await sendControl(this.link, message);
  }

  async send(kind: FrameKind, request: number, channel: number, bytes: number | Uint8Array): Promise<void> {
    const payload = typeof bytes === 'number' ? new Uint8Array(bytes) : bytes;
    await this.link.send({ kind, request, channel }, [payload]);
  }

  /** The error that the other end told before it closed. */
  async refusal(): Promise<string> {
    await until(() => this.closed !== undefined);
    const failed = this.heard.find(({ type }) => type === 'failed');
    return failed?.type === 'failed' ? `${failed.error.code}: ${failed.error.message}` : 'closed';
  }

  async hears(type: Control['type']): Promise<Control> {
    await until(() => this.closed !== undefined || this.heard.some((message) => message.type === type));
    const found = this.heard.find((message) => message.type === type);
    if (found === undefined) throw new Error(`closed before '${type}': ${JSON.stringify(this.heard)}`);
    return found;
  }
}

/** A raw end that has dialled. */
export async function dialRaw(transport: Transport, address: string): Promise<RawEnd> {
  const end = new RawEnd();
  await transport.dial(address, (link) => end.handlers(link));
  return end;
}

export const HELLO: Control = { type: 'hello', version: PROTOCOL_VERSION };

/** The message that prepares a device's part of a program; `change` may spoil it. */
export function prepareMessage(program: Program, device: number, peers: readonly string[], change = {}): Control {
  const part = deviceProgram(program, device).program;
  const hashes = blobBytes(program, device).map(sha256);
  return { type: 'prepare', token: TOKEN, peers, requestMs: 60_000, hashes, program: { ...part, ...change } };
}

/** The models and weights of a device, in the order in which they are named. */
export function blobBytes(program: Program, device: number): Uint8Array[] {
  const { program: part, models } = deviceProgram(program, device);
  return blobsOf(part.models).map(({ model, location }) => {
    const built = program.models[models[model] as number];
    const bytes = location === undefined ? built?.bytes : built?.weights.get(location);
    if (bytes === undefined) throw new Error('no such model');
    return bytes;
  });
}

/** Sends what a device lacks of its models and weights, as a requester does; returns how many bytes that were. */
export async function sendBlobs(end: RawEnd, program: Program, device: number): Promise<number> {
  const wanted = await end.hears('wanted');
  const all = blobBytes(program, device);
  let sent = 0;
  for (const { blob, from } of wanted.type === 'wanted' ? wanted.blobs : []) {
    const bytes = all[blob] as Uint8Array;
    for (let at = from; at < bytes.length; at += BLOB_CHUNK_BYTES)
      await end.send(FrameKind.blob, 0, blob, bytes.subarray(at, at + BLOB_CHUNK_BYTES));
    sent += bytes.length - from;
  }
  return sent;
}

export async function until(condition: () => boolean, ms = 20_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A clock that goes when it is told to. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #due = new Map<number, { readonly at: number; readonly call: () => void }>();
  #number = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const number = this.#number++;
    this.#due.set(number, { at: this.#now + ms, call });
    return () => this.#due.delete(number);
  }

  /** How many calls are still to come. */
  get waiting(): number {
    return this.#due.size;
  }

  /** Lets so much time pass, and calls whatever is due meanwhile at its time. */
  go(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#due].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (next === undefined) break;
      this.#due.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].call();
    }
    this.#now = end;
  }
}
