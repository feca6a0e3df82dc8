/**
 * The testbed's requester, in a namespace of its own: the product's `connect` and `infer` for one plan after another, each
 * image held against what the unsplit model makes of it.
 */
import { analyse, compile, DistrEdgeError, elements, floats, loadGraph, type Tensor, typeOf } from '@distredge/core';
import { type Cluster, connect, createTcpTransport, createWholeModel } from '@distredge/runtime';
import { buildZooModel } from '@distredge/zoo';
import { Station } from './access-point.js';
import { addressOf } from './namespaces.js';
import type { Measured, Order } from './orders.js';
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
let cluster: Cluster | undefined;

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

async function prepare({ model, plan, addresses, requestMs }: Extract<Order, { kind: 'prepare' }>): Promise<unknown> {
  const { analysis, inputs, truth } = await load(model);
  const program = compile(analysis.graph, plan, analysis);
  cluster = await connect(program, { transport, addresses, requestMs, silenceMs: SILENCE_MS, deadlineMs: 60_000 });
  return { difference: difference(await cluster.infer(inputs), truth) };
}

async function measure(images: number): Promise<Measured> {
  if (cluster === undefined || loaded === undefined) throw new DistrEdgeError('INTERNAL', 'nothing is prepared');
  const { inputs, truth } = loaded;
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
    case 'release':
      await cluster?.close();
      cluster = undefined;
      return undefined;
    default:
      throw new DistrEdgeError('INTERNAL', 'an order for a device came to the requester', { got: order.kind });
  }
});
