/** Streams of different images through random plans of random networks: every result equals the unsplit one, in order. */
import { isDeepStrictEqual } from 'node:util';
import { analyse, byteLength, compile, loadGraph, type Plan, type Program, type Tensor } from '@distredge/core';
import {
  type Cluster,
  connect,
  createMemoryTransport,
  createOrtWorkerEngine,
  type Engine,
  engineName,
  startProvider,
} from '@distredge/runtime';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seeded } from '../../bench/_seeded.js';
import { check, TIMEOUT_MS } from '../property/check.js';
import type { RandomModel } from '../property/model-writer.js';
import { buildGraph, graphRecipe } from '../property/random-graph.js';
import { buildPlan, planRecipe } from '../property/random-plan.js';
import { expectEqual, runSplit, runWhole } from '../property/run-split.js';
import { unsteadyEngine, unsteadyTransport } from './turmoil.js';

type Tensors = Readonly<Record<string, Tensor>>;

const IMAGES = 7;

const cases = fc.record({
  graph: graphRecipe(6),
  plan: planRecipe,
  inFlight: fc.integer({ min: 1, max: 4 }),
  seed: fc.nat({ max: 999_999 }),
});

/** Inputs like these, with other values. */
function imageLike(inputs: Tensors, random: () => number): Tensors {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { dtype, shape }]): [string, Tensor] => {
      const bytes = byteLength(dtype, shape);
      const data =
        dtype === 'float32'
          ? new Uint8Array(Float32Array.from({ length: bytes / 4 }, () => random() * 2 - 1).buffer)
          : Uint8Array.from({ length: bytes }, () => Math.floor(random() * 256));
      return [name, { dtype, shape, data }];
    }),
  );
}

/** Runs something on a cluster of as many providers as the plan has devices, all in this process. */
async function onCluster<T>(
  program: Program,
  inFlight: number,
  random: () => number,
  createEngine: () => Engine,
  run: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const transport = unsteadyTransport(createMemoryTransport(), random);
  const providers = await Promise.all(
    Array.from({ length: program.plan.devices }, (_, device) =>
      startProvider({
        transport,
        listen: `device${device}:1`,
        createEngine,
        engineName: engineName(),
      }),
    ),
  );
  try {
    const addresses = providers.map(({ address }) => address);
    const cluster = await connect(program, { transport, addresses, inFlight });
    try {
      return await run(cluster);
    } finally {
      await cluster.close();
    }
  } finally {
    await Promise.all(providers.map((provider) => provider.close()));
  }
}

/** The unsplit model's results; undefined for the few models that onnxruntime refuses. */
async function wholeResults(model: RandomModel, images: readonly Tensors[]): Promise<Tensors[] | undefined> {
  const results: Tensors[] = [];
  for (const image of images) {
    const result = await runWhole(model, image).catch(() => undefined);
    if (result === undefined) return undefined;
    results.push(result);
  }
  return results;
}

function bytesOf(outputs: Tensors): [string, number[]][] {
  return Object.entries(outputs).map(([name, { data }]) => [name, [...data]]);
}

/** Streams a case's images through its plan and holds every result against the unsplit model's. */
async function compare(
  { graph, plan: recipe, inFlight, seed }: typeof cases extends fc.Arbitrary<infer T> ? T : never,
  engineFor: (random: () => number) => Engine,
): Promise<void> {
  const model = buildGraph(graph);
  const random = seeded(seed);
  const images = Array.from({ length: IMAGES }, () => imageLike(model.inputs, random));
  const wanted = await wholeResults(model, images);
  fc.pre(wanted !== undefined);
  let plan: Plan | undefined;
  try {
    const analysis = analyse(loadGraph(model.bytes));
    plan = buildPlan(analysis, recipe);
    const program = compile(analysis.graph, plan, analysis);
    const createEngine = (): Engine => engineFor(random);
    await onCluster(program, inFlight, random, createEngine, async (cluster) => {
      let index = 0;
      for await (const result of cluster.stream(images)) {
        expect(result.index).toBe(index);
        const inputs = images[index] as Tensors;
        try {
          await expectEqual(result.outputs, wanted?.[index] as Tensors, { ...model, inputs });
        } catch (error) {
          // Where dividing alone makes a difference in the last bit, and the whole span is no more, that is not the stream's.
          if (!isDeepStrictEqual(bytesOf(result.outputs), bytesOf(await runSplit(program, inputs)))) throw error;
        }
        index += 1;
      }
      expect(index).toBe(IMAGES);
    });
  } catch (error) {
    const facts = error instanceof Error ? error.message : String(error);
    throw new Error(`${facts}\n${inFlight} in flight\n${model.text}\n${JSON.stringify(plan)}`, { cause: error });
  }
}

test(
  'every image of a stream equals the unsplit one, whatever the plan, the number in flight and the timing',
  () => check(60, cases, (item) => compare(item, unsteadyEngine)),
  TIMEOUT_MS,
);

test(
  'so it does on engines with threads of their own, which keep all slots in one place',
  () => check(8, cases, (item) => compare(item, () => createOrtWorkerEngine())),
  TIMEOUT_MS,
);
