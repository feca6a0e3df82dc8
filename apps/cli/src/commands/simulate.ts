/** `distredge simulate`: what a plan promises on a cluster, device by device and link by link. */
import { simulator } from '@distredge/core';
import type { Command } from 'commander';
import { MODEL_ARGUMENT } from '../model-file.js';
import { modelOptions, withShapes } from '../options.js';
import { amount, ms, plain, print, printJson, styled, table } from '../output.js';
import { clusterOption, doesNotFit, readTask, readWorkPlan } from '../planning.js';

interface Options {
  readonly cluster: string;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

export function addSimulate(program: Command): void {
  withShapes(
    clusterOption(
      program
        .command('simulate')
        .argument('<plan>', 'a plan file, as distredge plan writes it')
        .argument('<model>', MODEL_ARGUMENT),
    ),
  )
    .summary('predict how long a plan takes, and what keeps each device and link busy')
    .description(
      'Simulates one image under a plan: its latency, and for how long every device computes, sends and receives.',
    )
    .option('--json', 'print one JSON object, with every event')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge simulate plan.json zoo:vgg16 --cluster cluster.json\n  $ distredge simulate plan.json model.onnx --cluster cluster.json --json\n',
    )
    .action(simulate);
}

async function simulate(planPath: string, path: string, options: Options): Promise<void> {
  const { model, clusterName, task } = await readTask(path, options.cluster, modelOptions(options));
  const { work } = await readWorkPlan(planPath, task);
  const simulation = simulator(task);
  const run = simulation.run(work);
  if (!Number.isFinite(run.latencyMs)) throw doesNotFit(planPath, task, run);
  const loads = simulation.loads(work);
  const { latencyMs } = run;
  const devices = task.costs.map(({ id, memoryBytes }, device) => ({
    id,
    computeMs: loads.computeMs[device] ?? 0,
    sendMs: loads.uplinkMs[device] ?? 0,
    receiveMs: loads.downlinkMs[device] ?? 0,
    memoryBytes: run.memoryBytes[device] ?? 0,
    memoryLimitBytes: Number.isFinite(memoryBytes) ? memoryBytes : null,
  }));
  const last = task.costs.length;
  const requester = { sendMs: loads.uplinkMs[last] ?? 0, receiveMs: loads.downlinkMs[last] ?? 0 };
  const bytes = run.events.reduce((sum, event) => sum + (event.kind === 'message' ? event.bytes : 0), 0);
  if (options.json) {
    printJson({
      model: model.name,
      cluster: clusterName,
      latencyMs,
      ips: 1000 / latencyMs,
      periodMs: loads.periodMs,
      sentBytes: bytes,
      devices,
      requester,
      mediumMs: task.network.medium === 'shared' ? loads.mediumMs : null,
      events: run.events,
    });
    return;
  }
  print(styled('bold', plain(`${model.name} on ${clusterName}`)));
  print(`predicted     ${ms(latencyMs)} for one image, ${(1000 / latencyMs).toFixed(2)} images/s one after another`);
  print(
    `sent          ${amount(bytes, 'B')} in all${task.network.medium === 'shared' ? `; the air is busy for ${ms(loads.mediumMs)}` : ''}\n`,
  );
  print(
    table([
      ['', 'computes', 'sends', 'receives', 'busy', 'memory'],
      ...devices.map(({ id, computeMs, sendMs, receiveMs, memoryBytes }) => [
        id,
        ms(computeMs),
        ms(sendMs),
        ms(receiveMs),
        `${((100 * computeMs) / latencyMs).toFixed(0)} %`,
        amount(memoryBytes, 'B'),
      ]),
      ['requester', '-', ms(requester.sendMs), ms(requester.receiveMs), '-', '-'],
    ]),
  );
}
