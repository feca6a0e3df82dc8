/** `distredge verify`: a split run over separate processes against the unsplit model. */
import type { VolumeRule } from '@distredge/core';
import type { NormalizationName } from '@distredge/zoo';
import type { Command } from 'commander';
import { isExact, TOLERANCE } from '../compare.js';
import { MODEL_ARGUMENT, readModel } from '../model-file.js';
import {
  modelOptions,
  normalization,
  planOption,
  sharesOf,
  volumeRule,
  weightList,
  wholeNumber,
  withShapes,
} from '../options.js';
import { plain, print, printJson, shown, styled, table } from '../output.js';
import { readPlan } from '../planning.js';
import {
  compareRuns,
  compileAs,
  type Division,
  inputsFor,
  localCount,
  localProviders,
  MAX_WORKERS,
  prepare,
  runUnsplit,
  splitFacts,
} from '../split.js';

interface Options {
  readonly workers: number;
  readonly image?: string;
  readonly seed: number;
  readonly normalize?: NormalizationName;
  readonly volumes: VolumeRule;
  readonly weights?: number[];
  readonly plan?: string;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

export function addVerify(program: Command): void {
  withShapes(program.command('verify').argument('<model>', MODEL_ARGUMENT))
    .summary('check a split run against the unsplit model')
    .description(
      'Runs a model split over separate local provider processes and compares every output with plain onnxruntime.',
    )
    .option('--workers <n>', 'provider processes', wholeNumber('--workers', 1, MAX_WORKERS), 2)
    .option('--image <file>', 'a photo as input (default: seeded random values)')
    .option('--normalize <name>', 'how pixels become values: unit (0..1), raw (0..255) or imagenet', normalization)
    .option('--seed <n>', 'seed of the random input', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option('--volumes <rule>', 'blocks, layers or a number of volumes', volumeRule, 'blocks')
    .option('--weights <list>', 'relative share of each provider, as in 2,1,1 (default: equal)', weightList)
    .addOption(planOption(['workers', 'volumes', 'weights']))
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      "\nExamples:\n  $ distredge verify model.onnx --workers 3\n  $ distredge verify model.onnx.gz --workers 2 --image photo.jpg --json\n  $ distredge verify model.onnx --workers 5 --volumes layers --shape x=1,3,480,640\n  $ distredge verify zoo:resnet50\n  $ distredge verify zoo:resnet50 --plan plan.json\n\nExit code 0: every output is within 1e-4 of the output's range and has the same top-1; 1: it is not, or the run failed.\n",
    )
    .action(verify);
}

async function verify(path: string, options: Options): Promise<void> {
  const division: Division =
    options.plan === undefined
      ? { volumes: options.volumes, weights: sharesOf(options.weights, options.workers) }
      : await readPlan(options.plan);
  const workers = 'devices' in division ? localCount(division, options.plan) : options.workers;
  const model = await readModel(path, modelOptions(options));
  const program = compileAs(model.graph, division, options.plan);
  const inputs = await inputsFor(model.graph, options);
  const expected = await runUnsplit(model, inputs);
  const providers = await localProviders(workers);
  const cluster = await prepare(program, providers.addresses);
  const got = await shown('running the divided model', () => cluster.infer(inputs));
  const outputs = await compareRuns(model, inputs, expected, got, async (graph) => {
    const again = await prepare(compileAs(graph, division), providers.addresses);
    return again.infer(inputs);
  });
  const ok = outputs.every(isExact);
  const { volumes, ...facts } = splitFacts(program);
  const report = { model: model.name, workers, volumes, ...facts, outputs, ok };
  if (options.json) printJson(report);
  else {
    print(
      `${plain(model.name)}: ${workers} providers, ${volumes} volumes, ${(100 * facts.splitFlopShare).toFixed(1)} % of the work divided, ${facts.collectives} collectives`,
    );
    print(
      table([
        ['output', 'shape', 'max error', 'relative', 'same top-1'],
        ...outputs.map(({ name, shape, maxAbsError, relError, top1Equal }) => [
          name,
          shape.join('×'),
          maxAbsError.toExponential(1),
          relError.toExponential(1),
          top1Equal ? 'yes' : 'no',
        ]),
      ]),
    );
    for (const { name, comparedAt, flipped = 0 } of outputs) {
      if (comparedAt === undefined) continue;
      print(
        styled(
          'dim',
          `${plain(name)} lies behind a comparison or rounding: judged by what enters it; ${(100 * flipped).toFixed(3)} % of it flipped`,
        ),
      );
    }
    for (const { op, reason } of facts.wholeOps.slice(0, 8)) print(styled('dim', plain(`whole: ${op}: ${reason}`)));
    if (facts.wholeOps.length > 8) print(styled('dim', `whole: ${facts.wholeOps.length - 8} more (--json lists them)`));
    print(
      ok
        ? styled('green', 'exact')
        : styled('red', `not exact: an output differs by more than ${TOLERANCE} of its range`),
    );
  }
  if (!ok) process.exitCode = 1;
}
