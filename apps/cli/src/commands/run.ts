/** `distredge run`: one image through providers at given addresses; finished here, unsplit, should one of them be lost. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DistrEdgeError, numbers, type Plan, type Tensor, type VolumeRule } from '@distredge/core';
import { assertLoopback, formatAddress, parseAddress } from '@distredge/runtime';
import type { NormalizationName } from '@distredge/zoo';
import type { Command } from 'commander';
import { fileError } from '../image/file-error.js';
import { interrupted } from '../lifecycle.js';
import { MODEL_ARGUMENT, type ModelFile, readModel } from '../model-file.js';
import { npy } from '../npy.js';
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
import { amount, describeError, ms, print, printJson, shown, styled, table } from '../output.js';
import { readPlan } from '../planning.js';
import { compileAs, type Division, inputsFor, prepare, runUnsplit, type Tensors } from '../split.js';
import { deviceNames, rowTable, timeline, traffic } from '../timeline.js';

interface Options {
  readonly image?: string;
  readonly devices: string[];
  readonly volumes: VolumeRule;
  readonly weights?: number[];
  readonly plan?: string;
  readonly seed: number;
  readonly normalize?: NormalizationName;
  readonly deadline: number;
  readonly fallback: boolean;
  readonly output?: string;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

export function addRun(program: Command): void {
  withShapes(program.command('run').argument('<model>', MODEL_ARGUMENT))
    .summary('run a model on providers at given addresses')
    .description(
      'Runs one image through a model split over providers. Should a provider be lost, the image is finished here, unsplit, and that is said.',
    )
    .requiredOption(
      '--devices <list>',
      'addresses of the providers, as in 127.0.0.1:7411,127.0.0.1:7412',
      (text: string) => text.split(','),
    )
    .option('--image <file>', 'a photo as input (default: seeded random values)')
    .option('--normalize <name>', 'how pixels become values: unit (0..1), raw (0..255) or imagenet', normalization)
    .option('--seed <n>', 'seed of the random input', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option('--volumes <rule>', 'blocks, layers or a number of volumes', volumeRule, 'blocks')
    .option('--weights <list>', 'relative share of each provider, as in 2,1,1 (default: equal)', weightList)
    .addOption(planOption(['volumes', 'weights']))
    .option('--deadline <ms>', 'longest time for the image', wholeNumber('--deadline', 1, 2 ** 31 - 1), 60_000)
    .option('--no-fallback', 'fail when a provider is lost instead of finishing here')
    .option('--output <dir>', 'write every output as an .npy file into this folder')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge provider --listen 127.0.0.1:7411 &\n  $ distredge provider --listen 127.0.0.1:7412 &\n  $ distredge run model.onnx --image photo.jpg --devices 127.0.0.1:7411,127.0.0.1:7412\n  $ distredge run model.onnx --plan plan.json --devices 127.0.0.1:7411,127.0.0.1:7412\n',
    )
    .action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const addresses = options.devices.map((address) => {
    assertLoopback(address);
    const parsed = parseAddress(address);
    if (parsed.port > 0) return formatAddress(parsed);
    throw new DistrEdgeError('ADDRESS_INVALID', 'port 0 is no port of a provider', {
      where: address,
      expected: 'the address that the provider printed when it started',
    });
  });
  if (new Set(addresses).size !== addresses.length) {
    throw new DistrEdgeError('USAGE', 'a provider is named twice', {
      where: '--devices',
      got: options.devices.join(','),
      expected: 'one address for each device',
    });
  }
  const division: Division =
    options.plan === undefined
      ? { volumes: options.volumes, weights: sharesOf(options.weights, addresses.length) }
      : await planFor(addresses, options.plan);
  const model = await readModel(path, modelOptions(options));
  const inputs = await inputsFor(model.graph, options);
  const program = compileAs(model.graph, division, options.plan);
  let outputs: Tensors;
  let fallback: DistrEdgeError | undefined;
  let totalMs: number | undefined;
  let picture = '';
  try {
    const cluster = await prepare(program, addresses, options.deadline);
    outputs = await shown('running', () => cluster.infer(inputs));
    const trace = await cluster.trace();
    totalMs = trace.totalMs;
    picture = timeline(program, trace);
  } catch (error) {
    if (!options.fallback || !(error instanceof DistrEdgeError) || !FALLS_BACK.has(error.code)) throw error;
    // Ctrl-C ends providers in the same terminal, too.
    if (await interrupted()) throw error;
    fallback = error;
    process.stderr.write(
      `${describeError(error)}\n${styled('yellow', 'warning', process.stderr)}: finishing the image on this machine, unsplit (--no-fallback fails instead)\n`,
    );
    outputs = await runUnsplit(model, inputs);
  }
  const summary = model.graph.outputs.map((name) => summarise(name, outputs[name] as Tensor));
  if (options.output !== undefined) await writeOutputs(options.output, model, outputs);
  if (options.json) {
    printJson({
      model: model.name,
      devices: addresses,
      totalMs: totalMs ?? null,
      fallback: fallback?.toJSON() ?? null,
      outputs: summary,
      ok: true,
    });
    return;
  }
  if (fallback === undefined) {
    const { between, requester } = traffic(program);
    print(`${table(rowTable(program.plan, deviceNames(program.plan.devices)))}\n\n${picture}\n`);
    print(
      `${ms(totalMs ?? 0)}; ${amount(between, 'B')} between devices, ${amount(requester, 'B')} to and from this one\n`,
    );
  }
  print(
    table([
      ['output', 'shape', 'min', 'max', 'top-1'],
      ...summary.map(({ name, shape, min, max, top1 }) => [
        name,
        shape.join('×'),
        min.toPrecision(6),
        max.toPrecision(6),
        top1,
      ]),
    ]),
  );
}

/** A plan for these providers, in the order of its devices. */
async function planFor(addresses: readonly string[], path: string): Promise<Plan> {
  const plan = await readPlan(path);
  if (plan.devices === addresses.length) return plan;
  throw new DistrEdgeError('USAGE', 'the plan is for another number of devices', {
    where: '--devices',
    expected: `${plan.devices} addresses, in the order of the devices of ${path}`,
    got: `${addresses.length}`,
  });
}

/** Errors after which the image can still be finished here. Wrong input or a wrong plan would be wrong here too. */
const FALLS_BACK: ReadonlySet<string> = new Set([
  'PROVIDER_LOST',
  'PROVIDER_FAILED',
  'LINK_FAILED',
  'LINK_CLOSED',
  'DEADLINE',
  'PROTOCOL',
  'FRAME_INVALID',
  'ENGINE_FAILED',
]);

interface Summary {
  readonly name: string;
  readonly shape: readonly number[];
  readonly min: number;
  readonly max: number;
  /** Index of the largest value in the flattened output. */
  readonly top1: number;
}

function summarise(name: string, tensor: Tensor): Summary {
  const values = numbers(tensor);
  let [min, top1] = [Number.POSITIVE_INFINITY, 0];
  values.forEach((value, index) => {
    if (value < min) min = value;
    if (value > (values[top1] as number)) top1 = index;
  });
  return { name, shape: tensor.shape, min, max: values[top1] ?? Number.NaN, top1 };
}

async function writeOutputs(folder: string, { graph }: ModelFile, outputs: Tensors): Promise<void> {
  const taken = new Set<string>();
  try {
    await mkdir(folder, { recursive: true });
    for (const [index, name] of graph.outputs.entries()) {
      const plainName = name.replaceAll(/[^\w.-]/g, '_').slice(0, 200);
      const file = taken.has(plainName) ? `${plainName}-${index}` : plainName;
      taken.add(file);
      await writeFile(join(folder, `${file}.npy`), npy(name, outputs[name] as Tensor));
    }
  } catch (error) {
    throw error instanceof DistrEdgeError ? error : fileError(error, folder, 'write');
  }
}
