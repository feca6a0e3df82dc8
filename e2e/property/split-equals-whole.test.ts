/** The one property that rules the core: for any model and any plan, split, run and stitch equals the whole model. */
import { analyse, compile, loadGraph, type Plan, type Program } from '@distredge/core';
import { connect, createMemoryTransport, createOrtEngine, engineName, startProvider } from '@distredge/runtime';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { check, TIMEOUT_MS } from './check.js';
import type { RandomModel } from './model-writer.js';
import { buildGraph, graphRecipe } from './random-graph.js';
import { buildPlan, planRecipe } from './random-plan.js';
import { expectEqual, runSplit, runWhole } from './run-split.js';

const cases = fc.record({ graph: graphRecipe(), plan: planRecipe });

type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;

/** Compiles a case and holds a run of it against the whole model. An error tells the model and the plan. */
async function compare(
  { graph, plan: recipe }: Case,
  run: (program: Program, model: RandomModel) => Promise<Awaited<ReturnType<typeof runSplit>>>,
): Promise<void> {
  const model = buildGraph(graph);
  // onnxruntime's shape inference and its kernels disagree on a few models, which it therefore refuses.
  const wanted = await runWhole(model, model.inputs).catch(() => undefined);
  fc.pre(wanted !== undefined);
  if (wanted === undefined) return;
  let plan: Plan | undefined;
  try {
    const analysis = analyse(loadGraph(model.bytes));
    plan = buildPlan(analysis, recipe);
    const program = compile(analysis.graph, plan, analysis);
    await expectEqual(await run(program, model), wanted, model);
  } catch (error) {
    const facts = error instanceof Error ? `${error.message}${JSON.stringify(error)}` : String(error);
    throw new Error(`${facts}\n${model.text}\n${JSON.stringify(plan)}`, { cause: error });
  }
}

test(
  'a split run equals the whole model, step by step',
  () => check(700, cases, (item) => compare(item, (program, model) => runSplit(program, model.inputs))),
  TIMEOUT_MS,
);

test(
  'a split run equals the whole model, over links between providers, image after image',
  () => check(30, cases, (item) => compare(item, runOnProviders)),
  TIMEOUT_MS,
);

/** Two images at once on as many providers as the plan has devices, all in this process. */
async function runOnProviders(program: Program, model: RandomModel): ReturnType<typeof runSplit> {
  const transport = createMemoryTransport();
  const providers = await Promise.all(
    Array.from({ length: program.plan.devices }, (_, device) =>
      startProvider({
        transport,
        listen: `device${device}:1`,
        createEngine: () => createOrtEngine(),
        engineName: engineName(),
      }),
    ),
  );
  try {
    const cluster = await connect(program, { transport, addresses: providers.map(({ address }) => address) });
    try {
      const [first, second] = await Promise.all([cluster.infer(model.inputs), cluster.infer(model.inputs)]);
      expect(second).toEqual(first);
      return first;
    } finally {
      await cluster.close();
    }
  } finally {
    await Promise.all(providers.map((provider) => provider.close()));
  }
}
