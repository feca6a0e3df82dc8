/**
 * The testbed's requester, in a namespace of its own: the product's `connect` and `infer` for one plan after another, each
 * image held against what the unsplit model makes of it.
 */
import { analyse, compile, DistrEdgeError, elements, floats, loadGraph, type Tensor, typeOf } from '@distredge/core';
import { type Cluster, connect, createTcpTransport, createWholeModel } from '@distredge/runtime';
import { buildZooModel } from '@distredge/zoo';
import { Station } from './access-point.js';
import { addressOf } from './namespaces.js';
import type { Measured, Order, Streamed } from './orders.js';
import { hurry, serve, settings } from './serve.js';
import { testbedTransport } from './transport.js';

type Tensors = Readonly<Record<string, Tensor>>;

/** A provider that computes on its main thread does not answer meanwhile, and sixteen of them share this machine. */
const SILENCE_MS = 120_000;

interface Loaded {
  readonly name: string;
  readonly analysis: ReturnType<typeof analyse>;
  readonly inputs: Tensors;
  readonly truth: Tensors;
}

const { member, accessPoint } = settings();
const station = accessPoint === undefined ? undefined : await Station.open(accessPoint);
let latencyMs: readonly number[] = [];
let dilation = 0;
let loaded: Loaded | undefined;
/** By slot, what is connected. */
const clusters = new Map<number, Cluster>();
let stream: { slot: number; on: boolean; done: Promise<Streamed> } | undefined;

const transport = testbedTransport(createTcpTransport(), {
  self: member,
  station,
  latencyMs: (from) => dilation * (latencyMs[from] ?? 0),
});

async function load(name: string): Promise<Loaded> {
  if (loaded?.name === name) return loaded;
  loaded = undefined;
  const model = buildZooModel(name);
  const graph = loadGraph(model.bytes, model);
  const inputs = Object.fromEntries(
    graph.inputs.map((input) => {
      const { shape = [] } = typeOf(graph, input);
      const values = Float32Array.from({ length: elements(shape) }, (_, index) => ((index * 7919) % 1000) / 1000);
      return [input, { dtype: 'float32' as const, shape, data: new Uint8Array(values.buffer) }];
    }),
  );
  const whole = await createWholeModel(model.bytes);
  const { outputs } = await whole.run(inputs);
  await whole.close();
  loaded = { name, analysis: analyse(graph), inputs, truth: outputs };
  return loaded;
}

/** The largest difference of any output, as a share of its range. */
function difference(got: Tensors, truth: Tensors): number {
  let largest = 0;
  for (const [name, expected] of Object.entries(truth)) {
    const [a, b] = [floats(got[name] as Tensor), floats(expected)];
    let [low, high, apart] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
    b.forEach((value, index) => {
      low = Math.min(low, value);
      high = Math.max(high, value);
      apart = Math.max(apart, Math.abs(value - (a[index] ?? Number.NaN)));
    });
    const share = apart / (high > low ? high - low : 1);
    largest = Number.isNaN(share) ? Number.POSITIVE_INFINITY : Math.max(largest, share);
  }
  return largest;
}

async function prepare({
  slot,
  model,
  plan,
  addresses,
  requestMs,
}: Extract<Order, { kind: 'prepare' }>): Promise<unknown> {
  const { analysis, inputs, truth } = await load(model);
  const program = compile(analysis.graph, plan, analysis);
  const cluster = await connect(program, {
    transport,
    addresses,
    requestMs,
    silenceMs: SILENCE_MS,
    deadlineMs: 60_000,
  });
  clusters.set(slot, cluster);
  return { difference: difference(await cluster.infer(inputs), truth) };
}

function prepared(slot: number): { cluster: Cluster; inputs: Tensors; truth: Tensors } {
  const cluster = clusters.get(slot);
  if (cluster !== undefined && loaded !== undefined) return { cluster, inputs: loaded.inputs, truth: loaded.truth };
  throw new DistrEdgeError('INTERNAL', 'nothing is prepared', { where: `slot ${slot}` });
}

/** Images one after another, each on the plan that is wanted when it begins. */
async function streamImages(wanted: { slot: number; on: boolean }): Promise<Streamed> {
  const images: Streamed['images'][number][] = [];
  const since = performance.now();
  let largest = 0;
  while (wanted.on) {
    const { slot } = wanted;
    const { cluster, inputs, truth } = prepared(slot);
    const began = performance.now() - since;
    const outputs = await cluster.infer(inputs);
    images.push({ began, ended: performance.now() - since, slot });
    largest = Math.max(largest, difference(outputs, truth));
  }
  return { images, difference: largest };
}

async function measure(images: number): Promise<Measured> {
  const { cluster, inputs, truth } = prepared(0);
  const ms: number[] = [];
  // One that does not count: the first through shaped links finds everything cold.
  let largest = difference(await cluster.infer(inputs), truth);
  for (let image = 0; image < images; image++) {
    const began = performance.now();
    const outputs = await cluster.infer(inputs);
    ms.push(performance.now() - began);
    largest = Math.max(largest, difference(outputs, truth));
  }
  const { steps, messages } = await cluster.trace();
  return { ms, difference: largest, steps: steps.map(({ step, start, end }) => ({ step, start, end })), messages };
}

serve(addressOf(member), async (order) => {
  switch (order.kind) {
    case 'pace':
      latencyMs = order.latencyMs;
      return undefined;
    case 'dilate':
      dilation = order.dilation;
      hurry(dilation > 0);
      return undefined;
    case 'prepare':
      return prepare(order);
    case 'measure':
      return measure(order.images);
    case 'stream':
      if (stream === undefined) {
        const wanted = { slot: order.slot, on: true, done: undefined as unknown as Promise<Streamed> };
        wanted.done = streamImages(wanted);
        // It is told when it is asked for.
        wanted.done.catch(() => undefined);
        stream = wanted;
      } else stream.slot = order.slot;
      return undefined;
    case 'halt': {
      const halted = stream;
      stream = undefined;
      if (halted !== undefined) halted.on = false;
      return halted?.done;
    }
    case 'release':
      for (const cluster of clusters.values()) await cluster.close();
      clusters.clear();
      return undefined;
    default:
      throw new DistrEdgeError('INTERNAL', 'an order for a device came to the requester', { got: order.kind });
  }
});
