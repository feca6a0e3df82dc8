/** `distredge bench planners`: every planner on every scenario of a file, in simulation, and what that says together. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  analyse,
  DistrEdgeError,
  loadGraph,
  type PlanningTask,
  parsePlan,
  type Scenario,
  taskOf,
  toPlan,
  type Workload,
  workloadOf,
} from '@distredge/core';
import { baselineNames, plannerNames } from '@distredge/planner';
import { buildZooModel } from '@distredge/zoo';
import type { Command } from 'commander';
import { fileError } from '../image/file-error.js';
import { writeArtifact } from '../json-file.js';
import { seconds, usage, wholeNumber } from '../options.js';
import { ms, Progress, plain, print, printJson, styled, table } from '../output.js';
import { devicesUsed } from '../plan-facts.js';
import {
  type FailedRow,
  isFailed,
  type PlannerRow,
  type PlannerSummary,
  type Ratios,
  summarise,
} from '../planner-summary.js';
import { PlannerThreads } from '../planner-threads.js';
import { readScenarios } from '../planning.js';
import { DEFAULT_BUDGET_S } from './plan.js';

interface Options {
  readonly scenarios: string;
  readonly planners?: readonly string[];
  readonly classical?: true;
  readonly filter?: string;
  readonly budget: number;
  readonly seed: number;
  readonly plans?: string;
  readonly json?: true;
}

type Row = PlannerRow | FailedRow;

/** Whose plans the others' are held against. */
const REFERENCE = 'auto';

function plannerList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !plannerNames.includes(name));
  if (wrong !== undefined) throw usage('--planners', `a list of ${plannerNames.join(', ')}`, text);
  return [...new Set(names)];
}

export function addBenchPlanners(bench: Command): void {
  bench
    .command('planners')
    .summary('compare planners on the scenarios of a file, in simulation')
    .description(
      'Runs every planner on every scenario of a file (a network of the zoo and a cluster each) and compares the latencies that their plans are predicted to have.',
    )
    .requiredOption('--scenarios <file>', 'a scenario file')
    .option(
      '--planners <list>',
      `some of ${plannerNames.join(', ')} (default: all but osds; with --classical all)`,
      plannerList,
    )
    .option(
      '--classical',
      'auto searches only plans as the published planners make: at most one part for each device and volume, in order, the head on one device',
    )
    .option('--filter <text>', 'only scenarios whose name holds this')
    .option('--budget <s>', 'seconds that each search may take', seconds('--budget', 3600), DEFAULT_BUDGET_S)
    .option('--seed <n>', 'seed of the searches', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option('--plans <dir>', 'write every plan into a file of this folder')
    .option('--json', 'print one JSON object with rows and summary')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge bench planners --scenarios scenarios.json\n  $ distredge bench planners --scenarios scenarios.json --planners auto,coedge,aofl --filter vgg16 --budget 2 --json\n  $ distredge bench planners --scenarios scenarios.json --classical --filter vgg16\n',
    )
    .action(benchPlanners);
}

async function benchPlanners(options: Options): Promise<void> {
  const { filter = '', classical = false } = options;
  const { planners = plannerNames.filter((name) => classical || name !== 'osds') } = options;
  if (classical && !planners.includes(REFERENCE))
    throw usage('--classical', `${REFERENCE} among the planners`, `with --planners ${planners.join(',')}`);
  const all = await readScenarios(options.scenarios);
  const scenarios = all.filter(({ id }) => id.includes(filter));
  if (scenarios.length === 0)
    throw usage('--filter', `part of a name, as in ${all[0]?.id ?? 'nothing: the file has no scenario'}`, filter);
  if (options.plans !== undefined) await makeFolder(options.plans);
  const worker = new PlannerThreads();
  const progress = new Progress();
  const workloads = new Map<string, Workload>();
  const rows: Row[] = [];
  for (const [index, scenario] of scenarios.entries()) {
    const place = `${scenario.id} (${index + 1} of ${scenarios.length})`;
    progress.update(`${place}: lower bound`);
    const prepared = await prepareScenario(scenario, worker, workloads);
    for (const planner of planners) {
      const row = await rowOf(scenario, planner, prepared, worker, options, (text) =>
        progress.update(`${place}: ${planner} ${text}`),
      );
      rows.push(row);
    }
  }
  progress.done();
  await worker.close();
  const summary = summarise(rows, REFERENCE, baselineNames);
  if (options.json) printJson({ rows, summary });
  else report(rows, summary);
  if (rows.every(isFailed)) process.exitCode = 1;
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw fileError(error, folder, 'write');
  }
}

type Prepared = { readonly task: PlanningTask; readonly lowerBoundMs: number | null } | { readonly error: unknown };

/** A scenario's task and lower bound; or why there is none, which is the answer for all planners. */
async function prepareScenario(
  scenario: Scenario,
  worker: PlannerThreads,
  workloads: Map<string, Workload>,
): Promise<Prepared> {
  try {
    const workload = workloads.get(scenario.model) ?? zooWorkload(scenario.model);
    workloads.set(scenario.model, workload);
    const task = taskOf(workload, scenario.cluster);
    const bound = await worker.bound(task).catch(() => undefined);
    return { task, lowerBoundMs: bound?.ms ?? null };
  } catch (error) {
    return { error };
  }
}

function zooWorkload(name: string): Workload {
  const model = buildZooModel(name, { weights: 'none' });
  return workloadOf(analyse(loadGraph(model.bytes, model)), name);
}

async function rowOf(
  { id: scenario }: Scenario,
  planner: string,
  prepared: Prepared,
  worker: PlannerThreads,
  { budget, seed, plans, classical }: Options,
  tell: (text: string) => void,
): Promise<Row> {
  try {
    if ('error' in prepared) throw prepared.error;
    const { task, lowerBoundMs } = prepared;
    tell('');
    const request = {
      planner,
      classical: classical === true && planner === REFERENCE,
      task,
      options: { budgetMs: 1000 * budget, seed },
    };
    const planned = await worker.plan(request, ({ done, bestMs }) =>
      tell(`${Math.round(100 * done)} %, best ${ms(bestMs)}`),
    );
    const { plan, latencyMs, planMs } = planned;
    const artifact = parsePlan(JSON.parse(JSON.stringify(toPlan(task.workload, plan, task.costs.length))));
    if (plans !== undefined) {
      const file = `${scenario}--${planner}`.replaceAll(/[^\w.-]/g, '_');
      await writeArtifact(join(plans, `${file}.json`), { scenario, planner, latencyMs, plan: artifact });
    }
    const used = devicesUsed(plan).length;
    return { scenario, planner, latencyMs, ips: 1000 / latencyMs, planMs, devicesUsed: used, lowerBoundMs };
  } catch (error) {
    // A plan that could not be written is no fault of the planner, nor is an end by Ctrl-C.
    if (error instanceof DistrEdgeError && (error.code === 'FILE' || error.code === 'CANCELLED')) throw error;
    const facts = error instanceof DistrEdgeError ? error.toJSON() : { code: 'INTERNAL', message: String(error) };
    return { scenario, planner, error: facts };
  }
}

/** Latencies are to be compared: no fewer digits for larger ones. */
const tenths = (value: number): string => `${value.toFixed(1)} ms`;

function report(rows: readonly Row[], summary: PlannerSummary): void {
  print(
    table([
      ['scenario', 'planner', 'latency', 'images/s', 'devices', 'lower bound', 'planning'],
      ...rows.map((row) =>
        isFailed(row)
          ? [row.scenario, row.planner, '-', '-', '-', '-', row.error['message'] ?? 'failed']
          : [
              row.scenario,
              row.planner,
              tenths(row.latencyMs),
              row.ips.toFixed(2),
              row.devicesUsed,
              row.lowerBoundMs === null ? '-' : tenths(row.lowerBoundMs),
              tenths(row.planMs),
            ],
      ),
    ]),
  );
  const { against, againstBestBaseline, overLowerBound, planMs, reference, failed } = summary;
  const line = (name: string, ratios: Ratios): string[] => [
    name,
    `${ratios.scenarios}`,
    `${ratios.geometricMean.toFixed(3)}×`,
    `${ratios.smallest.ratio.toFixed(3)}×`,
    ratios.smallest.scenario,
    `${ratios.largest.ratio.toFixed(3)}×`,
    ratios.largest.scenario,
  ];
  const lines = [
    ...Object.entries(against).map(([name, ratios]) => line(name, ratios)),
    ...(againstBestBaseline === null
      ? []
      : [line(`best of ${againstBestBaseline.baselines.length} baselines`, againstBestBaseline)]),
  ];
  if (lines.length > 0) {
    print(`\n${styled('bold', `how many times as fast ${reference} is`)}`);
    print(table([['against', 'scenarios', 'mean', 'smallest', 'in', 'largest', 'in'], ...lines]));
  }
  if (overLowerBound !== null)
    print(
      `\n${reference} takes ${overLowerBound.geometricMean.toFixed(3)}× the lower bound (geometric mean; at most ${overLowerBound.largest.ratio.toFixed(3)}×, in ${plain(overLowerBound.largest.scenario)})`,
    );
  if (planMs !== null) print(`${reference} plans in ${ms(planMs.mean)} on average, ${ms(planMs.largest)} at most`);
  if (failed > 0) print(styled('yellow', `${failed} of ${rows.length} plans failed; their reasons are above`));
}
