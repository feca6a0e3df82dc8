/** `distredge explain`: who computes which rows of which volume, and when; in words or as a picture. */
import { extname } from 'node:path';
import {
  asRowPlan,
  isGather,
  type RowPlan,
  type SimulatedRun,
  simulator,
  type Workload,
  type WorkPlan,
} from '@distredge/core';
import type { Command } from 'commander';
import { writeArtifact } from '../json-file.js';
import { MODEL_ARGUMENT } from '../model-file.js';
import { modelOptions, usage, withShapes } from '../options.js';
import { ms, plain, print, printJson, shown, styled, table } from '../output.js';
import { devicesUsed } from '../plan-facts.js';
import { planPage, planPicture } from '../plan-picture.js';
import { PlannerWorker } from '../planner-worker.js';
import { clusterOption, doesNotFit, readTask, readWorkPlan } from '../planning.js';
import { rowTable } from '../timeline.js';

interface Options {
  readonly cluster: string;
  readonly out?: string;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

function picturePath(text: string): string {
  if (!['.svg', '.html'].includes(extname(text).toLowerCase()))
    throw usage('--out', 'a file that ends in .svg or .html', text);
  return text;
}

export function addExplain(program: Command): void {
  withShapes(
    clusterOption(
      program
        .command('explain')
        .argument('<plan>', 'a plan file, as distredge plan writes it')
        .argument('<model>', MODEL_ARGUMENT),
    ),
  )
    .summary('show who computes what, and when; as a picture, too')
    .description(
      'Shows which device computes which rows of which volume, and when; why, and what more bandwidth or one more device would gain; with --out as a picture: the cuts, and a lane of time for every device and link.',
    )
    .option('--out <file>', 'write a picture: .svg, or .html to look at in a browser', picturePath)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge explain plan.json zoo:vgg16 --cluster cluster.json\n  $ distredge explain plan.json zoo:vgg16 --cluster cluster.json --out plan.html\n',
    )
    .action(explain);
}

async function explain(planPath: string, path: string, options: Options): Promise<void> {
  const { model, clusterName, task } = await readTask(path, options.cluster, modelOptions(options));
  const { work, plan: given } = await readWorkPlan(planPath, task);
  const plan = named(asRowPlan(given), work, task.workload);
  const run = simulator(task).run(work);
  if (!Number.isFinite(run.latencyMs)) throw doesNotFit(planPath, task, run);
  const devices = task.costs.map(({ id }) => id);
  const used = devicesUsed(work, run);
  const title = `${model.name} on ${clusterName}`;
  const facts = `predicted ${ms(run.latencyMs)} for one image; ${count(work.volumes.length, 'volume')}; ${used.length} of ${count(devices.length, 'device')} with work`;
  if (options.out !== undefined) {
    const picture = { title, subtitle: facts, workload: task.workload, plan: work, run, devices };
    const draw = extname(options.out).toLowerCase() === '.svg' ? planPicture : planPage;
    await writeArtifact(options.out, draw(picture));
  }
  const worker = new PlannerWorker();
  const reasons = await shown('finding out why', () => worker.explain(task, work));
  await worker.close();
  const volumes = plan.volumes.map((volume, index) =>
    isGather(volume)
      ? { gather: devices[volume.gather] }
      : {
          end: volume.end,
          rows: Math.max(...volume.parts.map(({ to }) => to)),
          parts: volume.parts.map((part, at) => ({
            ...part,
            device: devices[part.device],
            ...(timesOf(run, index, at) ?? {}),
          })),
        },
  );
  const head = run.events.flatMap((event) =>
    event.kind === 'compute' && event.volume === work.volumes.length
      ? [{ device: devices[event.device], ...headChannels(work, event.part), startMs: event.start, endMs: event.end }]
      : [],
  );
  if (options.json) {
    printJson({
      model: model.name,
      cluster: clusterName,
      latencyMs: run.latencyMs,
      devicesUsed: used.map((device) => devices[device]),
      volumes,
      head,
      reasons,
      out: options.out ?? null,
    });
    return;
  }
  print(styled('bold', plain(title)));
  print(`${facts}\n`);
  print(
    table(
      rowTable(
        plan,
        devices.map((id, device) => (used.includes(device) ? id : '')),
      ),
    ),
  );
  for (const { device, startMs, endMs } of head)
    print(plain(`head on ${device}, ${startMs.toFixed(1)}–${endMs.toFixed(1)} ms`));
  const idle = devices.filter((_, device) => !used.includes(device));
  if (idle.length > 0) print(styled('dim', plain(`without work: ${idle.join(', ')}`)));
  print();
  for (const { text } of reasons) print(plain(text));
  if (options.out !== undefined) print(`picture written to ${plain(options.out)}`);
}

/** The plan as it is simulated: also with the volumes that an exchange inside one of its own makes of it. */
function named(plan: RowPlan, work: WorkPlan, { ops, tensors }: Workload): RowPlan {
  const volumes = work.volumes.map((volume) =>
    isGather(volume)
      ? volume
      : { end: tensors[ops[volume.end]?.outputs[0] ?? -1]?.name ?? `op ${volume.end}`, parts: volume.parts },
  );
  return { ...plan, volumes };
}

function count(many: number, what: string): string {
  return `${many} ${what}${many === 1 ? '' : 's'}`;
}

function timesOf(
  { events }: SimulatedRun,
  volume: number,
  part: number,
): { startMs: number; endMs: number } | undefined {
  const found = events.find((event) => event.kind === 'compute' && event.volume === volume && event.part === part);
  return found?.kind === 'compute' ? { startMs: found.start, endMs: found.end } : undefined;
}

function headChannels({ head }: WorkPlan, part: number): { from?: number; to?: number } {
  const entry = typeof head === 'object' ? head[part] : undefined;
  return entry === undefined ? {} : { from: entry.from, to: entry.to };
}
