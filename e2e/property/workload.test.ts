/**
 * What planners are told of a model is what the compiler does: rows that tables of a workload say are needed, and plans that
 * go back and forth between indices and the artifact.
 */
import {
  type Analysis,
  analyse,
  asRowPlan,
  compile,
  DEVICE_TYPES,
  fromPlan,
  isGather,
  loadGraph,
  parsePlan,
  type Range,
  type RowPlan,
  referenceSimulator,
  taskOf,
  toPlan,
  type Workload,
  type WorkPlan,
  workloadOf,
} from '@distredge/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { groupsOf } from '../../packages/core/src/cost/groups.js';
import { partNeeds } from '../../packages/core/src/rows/needs.js';
import { hull, isEmpty, share } from '../../packages/core/src/rows/range.js';
import { check, TIMEOUT_MS } from './check.js';
import { buildGraph, graphRecipe } from './random-graph.js';
import { buildPlan, planRecipe } from './random-plan.js';

/** Rows that ops `start` to `end` read of tensors made before, where rows are wanted of tensors; by their names. */
function walked(
  workload: Workload,
  start: number,
  end: number,
  wanted: ReadonlyMap<number, Range>,
): Map<string, Range> {
  const held = new Map(wanted);
  for (let index = end; index >= start; index--) {
    const op = workload.ops[index] as Workload['ops'][number];
    const out = op.outputs.reduce<Range | undefined>((all, tensor) => {
      const range = held.get(tensor);
      return range === undefined ? all : hull(all, range);
    }, undefined);
    if (out === undefined || isEmpty(out)) continue;
    for (const { tensor, from, to } of op.reads) {
      held.set(tensor, hull(held.get(tensor), { from: from[out.from] as number, to: to[out.to - 1] as number }));
    }
  }
  const made = new Set(workload.ops.slice(start, end + 1).flatMap(({ outputs }) => outputs));
  return new Map(
    [...held].flatMap(([tensor, range]) =>
      made.has(tensor) ? [] : [[workload.tensors[tensor]?.name ?? '', range] as [string, Range]],
    ),
  );
}

test('the rows that a run of ops needs are those that its nodes need', { timeout: TIMEOUT_MS }, async () => {
  const cases = fc.record({
    graph: graphRecipe(),
    at: fc.nat({ max: 99 }),
    count: fc.integer({ min: 1, max: 6 }),
    from: fc.nat({ max: 99 }),
    size: fc.integer({ min: 1, max: 99 }),
  });
  await check(400, cases, ({ graph, at, count, from, size }) => {
    const model = buildGraph(graph);
    const analysis = analyse(loadGraph(model.bytes));
    const workload = workloadOf(analysis, 'random');
    const { groups } = groupsOf(analysis);
    expect(workload.ops).toHaveLength(groups.length);
    if (groups.length === 0) return;
    const start = at % groups.length;
    const limit = workload.forced.find((op) => op > start) ?? groups.length;
    const end = Math.min(start + count, limit) - 1;
    const { whole, outputs, rows } = workload.ops[end] as Workload['ops'][number];
    const global = groups.slice(start, end + 1).some(({ host }) => host.kind !== 'rows');
    if (whole || global || rows === 0) return;
    const range = { from: from % rows, to: Math.min(rows, (from % rows) + size) };
    const names = (tensor: number): string => workload.tensors[tensor]?.name ?? '';
    const nodes = groups.slice(start, end + 1).flatMap((group) => group.nodes);
    const ordered = analysis.nodes.filter((placed) => nodes.includes(placed));
    const { external } = partNeeds(analysis, ordered, new Map(outputs.map((tensor) => [names(tensor), range])));
    const needs = walked(workload, start, end, new Map(outputs.map((tensor) => [tensor, range])));
    for (const [name, exact] of external) {
      const tensor = workload.tensors.findIndex((item) => item.name === name);
      // A value may have another name: that of a view of it.
      if (tensor < 0) continue;
      const table = needs.get(name);
      if (table === undefined || table.from !== exact.from || table.to !== exact.to) {
        throw new Error(
          `ops ${start} to ${end}, rows ${range.from} to ${range.to}: of ${name} ${exact.from} to ${exact.to}, but ${table?.from} to ${table?.to} by the tables\n${model.text}`,
        );
      }
    }
  });
});

/** Simulates on a small cluster; throws where the plan does not fit. */
function simulated(workload: Workload, plan: WorkPlan, devices: number): number {
  const link = { mbps: 100, latency_ms: 1 };
  const types = Object.keys(DEVICE_TYPES);
  const cluster = {
    version: 1 as const,
    medium: 'switched' as const,
    requester: link,
    devices: Array.from({ length: devices }, (_, index) => ({
      id: `d${index}`,
      type: types[index % types.length] as string,
      ...link,
    })),
  };
  return referenceSimulator(taskOf(workload, cluster)).latency(plan);
}

/** For each device, the share of the last volume's rows. */
function lastShares(plan: RowPlan | WorkPlan): string {
  const last = plan.volumes.findLast((volume) => !isGather(volume));
  if (last === undefined || isGather(last)) return '';
  return last.parts
    .filter(({ from, to }) => to > from)
    .map(({ device }) => device)
    .join(' ');
}

test('random plans run by indices, and what becomes of them compiles', { timeout: TIMEOUT_MS }, async () => {
  const cases = fc.record({ graph: graphRecipe(), plan: planRecipe });
  await check(300, cases, ({ graph, plan: recipe }) => {
    const model = buildGraph(graph);
    const analysis: Analysis = analyse(loadGraph(model.bytes));
    const workload = workloadOf(analysis, 'random');
    // A global pooling at the end is of the head here, but divided by the compiler, which may thus schedule it otherwise.
    const pooled = groupsOf(analysis).tail.some(({ kind }) => kind === 'global');
    // Only plans cut by rows are simulated.
    const volumes = recipe.volumes.map((volume) => ({ ...volume, channels: false }));
    const schedule = pooled ? undefined : recipe.schedule;
    const plan = asRowPlan(buildPlan(analysis, { ...recipe, volumes, schedule }));
    if (plan.volumes.every(isGather)) return;
    try {
      const work = fromPlan(workload, plan, plan.devices);
      expect(simulated(workload, work, plan.devices)).toBeGreaterThan(0);
      const back = parsePlan(JSON.parse(JSON.stringify(toPlan(workload, work, plan.devices))));
      compile(analysis.graph, back, analysis);
      const again = fromPlan(workload, back, plan.devices);
      expect(simulated(workload, again, plan.devices)).toBeGreaterThan(0);
      if (workload.forced.length === 0) expect(lastShares(again)).toBe(lastShares(work));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${message}\n${model.text}\n${JSON.stringify(plan)}`, { cause: error });
    }
  });
});

test('parts of one height are the same fractions at another', () => {
  // 3 of 8 rows at 5 rows: 1.875, rounded half up.
  expect(share({ from: 0, to: 3 }, 8, 5)).toEqual({ from: 0, to: 2 });
});
