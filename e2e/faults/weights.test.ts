/** Weights of providers in processes of their own: kept in a folder over restarts, taken up after a kill, never believed. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import {
  analyse,
  compile,
  floats,
  floatTensor,
  loadGraph,
  type Program,
  planByRule,
  protoOf,
  type Tensor,
  type TensorProto,
} from '@distredge/core';
import { type Cluster, type ConnectOptions, connect, createTcpTransport, createWholeModel } from '@distredge/runtime';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endWithTests, folder, startProvider, until } from '../support/cli.js';
import { model, node, value } from '../support/models.js';

endWithTests();
const dir = folder();

const LAYERS = 5;
const CHANNELS = 192;
const SIDE = 12;

/** A layer's own filters: equal weights would travel once. */
function filters(layer: number): TensorProto {
  const count = CHANNELS * CHANNELS * 9;
  const values = Float32Array.from({ length: count }, (_, at) => (((at + layer) * 7919) % 2003) / 20_000 - 0.05);
  return protoOf(`w${layer}`, floatTensor(values, [CHANNELS, CHANNELS, 3, 3]));
}

/** Some megabytes of weights, and little to compute. */
const bytes = model({
  input: [value('x', [1, CHANNELS, SIDE, SIDE])],
  output: [value(`v${LAYERS - 1}`)],
  initializer: Array.from({ length: LAYERS }, (_, at) => filters(at)),
  node: Array.from({ length: LAYERS }, (_, at) => [
    node('Conv', [at === 0 ? 'x' : `v${at - 1}`, `w${at}`], [`c${at}`], { pads: [1, 1, 1, 1] }),
    node('Tanh', [`c${at}`], [`v${at}`]),
  ]).flat(),
});
const graph = loadGraph(bytes);
const analysis = analyse(graph);
const planned = (volumes: number, weights: readonly number[]): Program =>
  compile(graph, planByRule(analysis, { volumes, weights }), analysis);
const inputs = {
  x: floatTensor(
    Float32Array.from({ length: CHANNELS * SIDE * SIDE }, (_, at) => ((at * 37) % 101) / 50 - 1),
    [1, CHANNELS, SIDE, SIDE],
  ),
};
const output = (outputs: Readonly<Record<string, Tensor>>): Float32Array =>
  floats(outputs[`v${LAYERS - 1}`] as Tensor) as Float32Array;

let right: Float32Array;
const open: Cluster[] = [];

beforeAll(async () => {
  const whole = await createWholeModel(bytes);
  right = Float32Array.from(output((await whole.run(inputs)).outputs));
  await whole.close();
});
afterAll(async () => {
  for (const cluster of open) await cluster.close();
});

async function prepared(
  program: Program,
  addresses: readonly string[],
  more: Partial<ConnectOptions> = {},
): Promise<Cluster> {
  const cluster = await connect(program, { transport: createTcpTransport(), addresses, ...more });
  open.push(cluster);
  return cluster;
}

const relays: Server[] = [];
afterAll(() => {
  for (const server of relays) server.close();
});

/** The address of a relay to a provider that passes so many bytes on, and then no more. */
async function relay(target: string, bytes: number): Promise<string> {
  const server = createServer((near) => {
    const far = createConnection(Number(target.split(':')[1]), '127.0.0.1');
    let left = bytes;
    near.on('data', (data) => {
      const part = data.subarray(0, left);
      left -= part.length;
      if (!far.destroyed && part.length > 0) far.write(part);
    });
    far.on('data', (data) => near.write(data));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  relays.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return `127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}`;
}

async function answersRight(cluster: Cluster): Promise<void> {
  const got = output(await cluster.infer(inputs));
  const range = Math.max(...right) - Math.min(...right);
  expect(range).toBeGreaterThan(0.1);
  expect(Math.max(...got.map((item, at) => Math.abs(item - (right[at] ?? Number.NaN))))).toBeLessThanOrEqual(
    1e-4 * range,
  );
}

describe('weights', { timeout: 120_000 }, () => {
  test('of other plans of a model are there already', async () => {
    const providers = await Promise.all([startProvider(), startProvider()]);
    const addresses = providers.map(({ address }) => address);
    const first = await prepared(planned(3, [1, 1]), addresses);
    expect(first.weights.sent).toBe(first.weights.all);
    await answersRight(first);
    for (const [volumes, weights] of [
      [2, [1, 2]],
      [5, [1, 1]],
      [1, [1]],
    ] as const) {
      const next = await prepared(planned(volumes, weights), addresses.slice(0, weights.length));
      expect(next.weights.sent).toBeLessThan(0.01 * next.weights.all);
      await answersRight(next);
      // The plan before it is still in force.
      await answersRight(first);
    }
    for (const provider of providers) provider.signal('SIGINT');
    await until(() => providers.every(({ over }) => over), 'the end of the providers');
  });

  test('are there after a restart, and for other providers of the folder; a damaged one is fetched again', async () => {
    const cache = join(dir.path, 'cache');
    const program = planned(2, [1]);
    const before = await startProvider(['--cache', cache]);
    const first = await prepared(program, [before.address]);
    expect(first.weights.sent).toBe(first.weights.all);
    before.signal('SIGKILL');
    await until(() => before.over, 'the end of a provider');

    const again = await Promise.all([startProvider(['--cache', cache]), startProvider(['--cache', cache])]);
    for (const { address } of again) {
      const cluster = await prepared(program, [address]);
      expect(cluster.weights).toEqual({ all: first.weights.all, wanted: 0, sent: 0 });
      await answersRight(cluster);
    }
    for (const provider of again) provider.signal('SIGKILL');
    await until(() => again.every(({ over }) => over), 'the end of the providers');

    const size = 4 * CHANNELS * CHANNELS * 9;
    const file = readdirSync(cache).find((name) => statSync(join(cache, name)).size === size) as string;
    const spoilt = readFileSync(join(cache, file));
    spoilt[size / 2] = (spoilt[size / 2] ?? 0) ^ 1;
    writeFileSync(join(cache, file), spoilt);
    const last = await startProvider(['--cache', cache]);
    const cluster = await prepared(program, [last.address]);
    expect(cluster.weights.sent).toBe(size);
    await answersRight(cluster);
    await last.prints(/damaged/);
    last.signal('SIGINT');
    await until(() => last.over, 'the end of a provider');
  });

  test('that were on their way when a provider was killed come from where they broke off', async () => {
    const cache = join(dir.path, 'broken-off');
    const program = planned(2, [1]);
    const killed = await startProvider(['--cache', cache]);
    // Half of it arrives, and is on the disk, when the provider dies.
    const passed = 3_500_000;
    const attempt = prepared(program, [await relay(killed.address, passed)]);
    attempt.catch(() => undefined);
    const kept = (): number =>
      readdirSync(cache).reduce(
        (sum, name) => sum + (statSync(join(cache, name), { throwIfNoEntry: false })?.size ?? 0),
        0,
      );
    await until(() => kept() > 2_000_000, 'weights on the disk');
    killed.signal('SIGKILL');
    await expect(attempt).rejects.toMatchObject({ code: 'PROVIDER_LOST' });
    await until(() => killed.over, 'the end of a provider');
    const again = await startProvider(['--cache', cache]);
    const cluster = await prepared(program, [again.address]);
    expect(cluster.weights.sent).toBe(cluster.weights.wanted);
    expect(cluster.weights.sent).toBeGreaterThan(0);
    expect(cluster.weights.sent).toBeLessThan(cluster.weights.all - 2_000_000);
    await answersRight(cluster);
    again.signal('SIGINT');
    await until(() => again.over, 'the end of a provider');
    expect(readdirSync(cache).filter((name) => !/^[0-9a-f]{64}$/.test(name))).toEqual([]);
  });
});
