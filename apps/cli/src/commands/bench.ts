/** `distredge bench`: split over N cores against one core and against onnxruntime's own N threads, taking turns. */
import type { Program, VolumeRule } from '@distredge/core';
import type { Command } from 'commander';
import { median } from '../median.js';
import { MODEL_ARGUMENT, type ModelFile, readModel } from '../model-file.js';
import { modelOptions, planOption, sharesOf, volumeRule, weightList, wholeNumber, withShapes } from '../options.js';
import { ms, Progress, print, printJson, styled, table } from '../output.js';
import { planHere, type Tried } from '../plan-here.js';
import { readPlan } from '../planning.js';
import {
  compileAs,
  compileByRule,
  type Division,
  inputsFor,
  localCount,
  localProviders,
  MAX_WORKERS,
  openUnsplit,
  prepare,
  splitFacts,
  type Tensors,
} from '../split.js';
import { exchangeGaps } from '../timeline.js';
import { addBenchPlanners } from './bench-planners.js';

interface Options {
  readonly workers: number;
  readonly rounds: number;
  readonly seed: number;
  readonly volumes: VolumeRule | 'planned';
  readonly weights?: number[];
  readonly plan?: string;
  readonly winograd: boolean;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

export function addBench(program: Command): void {
  const command = program.command('bench');
  addBenchPlanners(command);
  withShapes(command.argument('<model>', MODEL_ARGUMENT))
    .summary('time a split run against one core and against threads')
    .description(
      'Times, taking turns (each time one run to warm up and one that counts): the unsplit model in onnxruntime on one core, the split model on N provider processes of one core each, the whole model on one such provider, and the unsplit model with N onnxruntime threads.',
    )
    .option('--workers <n>', 'provider processes', wholeNumber('--workers', 1, MAX_WORKERS), 2)
    .option('--rounds <n>', 'timed rounds', wholeNumber('--rounds', 1, 10_000), 15)
    .option('--seed <n>', 'seed of the random input', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option(
      '--volumes <rule>',
      'planned (from a measured profile, and tried against blocks), blocks, layers or a number of volumes',
      (text) => (text === 'planned' ? text : volumeRule(text)),
      'planned',
    )
    .option('--weights <list>', 'relative share of each provider (default: equal)', weightList)
    .addOption(planOption(['workers', 'volumes', 'weights']))
    .option('--no-winograd', 'have providers compute every convolution directly')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge bench model.onnx --workers 2\n  $ distredge bench model.onnx.gz --workers 2 --rounds 30 --json\n  $ distredge bench zoo:vgg16\n  $ distredge bench model.onnx --plan plan.json\n  $ distredge bench planners --scenarios scenarios.json\n',
    )
    .action(bench);
}

/** Idle threads of the engine spin for a while after a run; let them sleep before the next thing is timed. */
const REST_MS = 30;

/** Runs of each before the first round: V8 has then compiled what carries rows, as it has in a service. */
const WARM_UP = 20;
const WARM_UP_MS = 3000;

/** How to divide the model; undefined where that is to be planned. */
async function divisionOf({ plan, volumes, weights, workers }: Options): Promise<Division | undefined> {
  if (plan !== undefined) return readPlan(plan);
  if (volumes !== 'planned') return { volumes, weights: sharesOf(weights, workers) };
  // Shares that are given are not to be planned.
  return weights === undefined ? undefined : { volumes: 'blocks', weights: sharesOf(weights, workers) };
}

/** A plan, tried on providers of its own: what they have loaded for others stays in their memory. */
async function planOn(
  workers: number,
  extra: readonly string[],
  { graph, name }: ModelFile,
  inputs: Tensors,
): Promise<Tried> {
  const providers = await localProviders(workers, extra);
  try {
    return await planHere(graph, name, inputs, providers.addresses);
  } finally {
    await providers.end();
  }
}

async function bench(path: string, options: Options): Promise<void> {
  const division = await divisionOf(options);
  const workers =
    division !== undefined && 'devices' in division ? localCount(division, options.plan) : options.workers;
  const model = await readModel(path, modelOptions(options));
  const inputs = await inputsFor(model.graph, options);
  const given = division === undefined ? undefined : compileAs(model.graph, division, options.plan);
  const extra = options.winograd ? [] : ['--no-winograd'];
  const { program, by }: { program: Program; by: 'planner' | 'rule' | 'given' } =
    given === undefined ? await planOn(workers, extra, model, inputs) : { program: given, by: 'given' };
  const providers = await localProviders(workers, extra);
  const cluster = await prepare(program, providers.addresses);
  const [lone] = (await localProviders(1, extra)).addresses;
  const alone = await prepare(compileByRule(model.graph, 1, [1]), [lone ?? '']);
  const single = await openUnsplit(model);
  const threads = await openUnsplit(model, workers);
  const contestants = {
    single: () => single.run(inputs),
    split: () => cluster.infer(inputs),
    oneProvider: () => alone.infer(inputs),
    ortThreads: () => threads.run(inputs),
  };
  const times: Record<keyof typeof contestants, number[]> = {
    single: [],
    split: [],
    oneProvider: [],
    ortThreads: [],
  };
  const gaps: ReturnType<typeof exchangeGaps> = [];
  const progress = new Progress();
  try {
    for (const [name, run] of Object.entries(contestants)) {
      progress.update(`warming up: ${name}`);
      const until = performance.now() + WARM_UP_MS;
      for (let done = 0; done < WARM_UP && performance.now() < until; done++) await run();
    }
    for (let round = 0; round < options.rounds; round++) {
      progress.update(`round ${round + 1} of ${options.rounds}`);
      for (const [name, run] of Object.entries(contestants) as [keyof typeof contestants, () => Promise<unknown>][]) {
        await new Promise((resolve) => setTimeout(resolve, REST_MS));
        // The others' weights are in the caches: a run that does not count brings back one's own.
        await run();
        const started = performance.now();
        await run();
        times[name].push(performance.now() - started);
        if (name === 'split') gaps.push(...exchangeGaps(program, await cluster.trace()));
      }
    }
  } finally {
    progress.done();
  }
  const trace = await cluster.trace();
  await single.close();
  await threads.close();
  const facts = splitFacts(program);
  const [one, split, many] = [median(times.single), median(times.split), median(times.ortThreads)];
  const whole = median(times.oneProvider);
  const report = {
    model: model.name,
    workers,
    rounds: options.rounds,
    pinned: providers.pinned,
    single: { medianMs: one },
    split: {
      medianMs: split,
      volumes: facts.volumes,
      plannedBy: by,
      splitFlopShare: facts.splitFlopShare,
      residentBytes: trace.residentBytes,
    },
    oneProvider: { medianMs: whole },
    ortThreads: { medianMs: many },
    exchange:
      gaps.length === 0
        ? null
        : {
            medianMs: median(gaps.map((gap) => gap.ms)),
            medianBytes: median(gaps.map((gap) => gap.bytes)),
            count: gaps.length,
          },
    speedup: one / split,
    threadsSpeedup: one / many,
    /** What dividing alone brings: the same engine on one device, which computes convolutions the same way. */
    divisionSpeedup: whole / split,
  };
  if (options.json) {
    printJson(report);
    return;
  }
  print(
    `${model.name}: median of ${options.rounds} rounds${providers.pinned ? ', each provider on its own core' : ''}`,
  );
  print(
    table([
      ['', 'time', 'speed-up'],
      ['one core, onnxruntime', ms(one), '1.00×'],
      ['one provider, the whole model', ms(whole), `${(one / whole).toFixed(2)}×`],
      [`${workers} providers, ${facts.volumes} volumes`, ms(split), `${(one / split).toFixed(2)}×`],
      [`onnxruntime, ${workers} threads`, ms(many), `${(one / many).toFixed(2)}×`],
    ]),
  );
  print(
    split < Math.min(one, whole)
      ? styled('green', `split is ${(one / split).toFixed(2)}× as fast as onnxruntime on one core`)
      : styled('yellow', 'split is slower than one core here: use one device for this model'),
  );
}
