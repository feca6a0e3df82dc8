/** `distredge plan`: from a model and a description of the devices to a plan, with what it promises. */
import { simulator, toPlan } from '@distredge/core';
import { plannerNames } from '@distredge/planner';
import type { Command } from 'commander';
import { writeArtifact } from '../json-file.js';
import { MODEL_ARGUMENT } from '../model-file.js';
import { modelOptions, plannerName, seconds, usage, wholeNumber, withShapes } from '../options.js';
import { ms, Progress, plain, print, printJson, shown, styled, table } from '../output.js';
import { devicesUsed, verdict } from '../plan-facts.js';
import { PlannerThreads } from '../planner-threads.js';
import { clusterOption, readTask } from '../planning.js';
import { rowTable } from '../timeline.js';

interface Options {
  readonly cluster: string;
  readonly planner: string;
  readonly budget: number;
  readonly objective: 'latency' | 'throughput';
  readonly classical?: true;
  readonly seed: number;
  readonly out?: string;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

/** Seconds that a search may take where nothing else is said. */
export const DEFAULT_BUDGET_S = 9;

function objective(text: string): Options['objective'] {
  if (text !== 'latency' && text !== 'throughput') throw usage('--objective', 'latency or throughput', text);
  return text;
}

export function addPlan(program: Command): void {
  withShapes(clusterOption(program.command('plan').argument('<model>', MODEL_ARGUMENT)))
    .summary('find out which device should compute which rows')
    .description(
      'Plans how to divide a model over the devices of a cluster file, and says what that promises: the predicted latency of one image, a lower bound that no plan can beat, and the best single device. It may well say that one device is best.',
    )
    .option('--planner <name>', `who plans: ${plannerNames.join(', ')}`, plannerName, 'auto')
    .option('--budget <s>', 'seconds that a search may take', seconds('--budget', 3600), DEFAULT_BUDGET_S)
    .option(
      '--objective <name>',
      'latency of one image, or throughput of a stream of them (auto only)',
      objective,
      'latency',
    )
    .option('--classical', 'auto only: at most one part for each device and volume, in order, the head on one device')
    .option('--seed <n>', 'seed of the search', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option('--out <file>', 'write the plan into this file')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge plan zoo:vgg16 --cluster cluster.json\n  $ distredge plan model.onnx --cluster cluster.json --budget 20 --out plan.json\n  $ distredge plan zoo:yolov2 --cluster cluster.json --planner coedge --json\n',
    )
    .action(plan);
}

async function plan(path: string, options: Options): Promise<void> {
  const classical = options.classical === true;
  if (classical && options.planner !== 'auto')
    throw usage('--classical', '--planner auto', `with --planner ${options.planner}`);
  if (options.objective === 'throughput' && options.planner !== 'auto')
    throw usage('--objective throughput', '--planner auto', `with --planner ${options.planner}`);
  const { model, clusterName, task } = await readTask(path, options.cluster, modelOptions(options));
  const worker = new PlannerThreads();
  const progress = new Progress();
  const settings = { budgetMs: 1000 * options.budget, seed: options.seed };
  const planned = await worker
    .plan(
      { planner: options.planner, classical, objective: options.objective, task, options: settings },
      ({ done, bestMs, note }) =>
        progress.update(`${options.planner}: ${Math.round(100 * done)} %, best ${ms(bestMs)} ${note}`),
    )
    .finally(() => progress.done());
  const alone = await worker
    .plan({ planner: 'best-device', classical: false, task, options: {} })
    .then(({ plan: best, latencyMs }) => ({ device: nameOf(devicesUsed(best)[0]), latencyMs }))
    // None has the memory for it.
    .catch(() => undefined);
  const bound = await shown('finding a lower bound', () => worker.bound(task));
  const reasons = await shown('finding out why', () => worker.explain(task, planned.plan, { seed: options.seed }));
  await worker.close();
  function nameOf(device = 0): string {
    return task.costs[device]?.id ?? `${device}`;
  }

  const artifact = toPlan(task.workload, planned.plan, task.costs.length);
  if (options.out !== undefined) await writeArtifact(options.out, artifact);
  const judge = simulator(task);
  const run = judge.run(planned.plan);
  const { periodMs } = judge.loads(planned.plan);
  const used = devicesUsed(planned.plan, run).map(nameOf);
  const { latencyMs, planMs, evaluations } = planned;
  const sentence = verdict({ latencyMs, used, devices: task.costs.length, alone });
  if (options.json) {
    printJson({
      model: model.name,
      cluster: clusterName,
      planner: options.planner,
      objective: options.objective,
      latencyMs,
      ips: 1000 / latencyMs,
      periodMs,
      lowerBoundMs: bound.ms,
      lowerBoundReason: bound.reason,
      gap: latencyMs / bound.ms,
      bestDevice: alone ?? null,
      planMs,
      evaluations,
      devices: task.costs.map(({ id }) => id),
      devicesUsed: used,
      summary: sentence,
      reasons,
      out: options.out ?? null,
      plan: artifact,
    });
    return;
  }
  print(styled('bold', plain(`${model.name} on ${clusterName}, planned by ${options.planner}`)));
  print(`predicted     ${ms(latencyMs)} for one image, ${(1000 / latencyMs).toFixed(2)} images/s one after another`);
  if (options.objective === 'throughput')
    print(
      `in a stream   one image every ${ms(periodMs)}, ${(1000 / periodMs).toFixed(2)} images/s with several in flight`,
    );
  print(
    `lower bound   ${ms(bound.ms)}: no plan can be faster (${bound.reason}); this one takes ${(latencyMs / bound.ms).toFixed(2)}× that`,
  );
  print(`planning      ${(planMs / 1000).toFixed(2)} s, ${evaluations} plans simulated`);
  const columns = task.costs.map(({ id }) => (used.includes(id) ? id : ''));
  print(`\n${table(rowTable(artifact, columns))}`);
  if (artifact.head !== undefined) print(`head: ${plain(headLine(artifact.head, nameOf))}`);
  print(
    `\n${styled(alone !== undefined && latencyMs > alone.latencyMs * 1.001 ? 'yellow' : 'green', plain(sentence))}`,
  );
  // The first ones are said above already.
  for (const { about, text } of reasons) if (['busiest', 'unused', 'gains'].includes(about)) print(plain(text));
  if (options.out !== undefined) print(`written to ${plain(options.out)}`);
}

type Head = NonNullable<ReturnType<typeof toPlan>['head']>;

function headLine(head: Head, nameOf: (device: number) => string): string {
  if (typeof head === 'number') return nameOf(head);
  return head
    .filter(({ from, to }) => to > from)
    .map(({ device, from, to }) => `${nameOf(device)} output channels ${from}–${to - 1}`)
    .join(', ');
}
