/** `distredge run`: one image, or a stream of them, through providers at given addresses; finished here, unsplit, should one of them be lost. */
import { DistrEdgeError, type Plan, type Tensor, type VolumeRule } from '@distredge/core';
import { assertLoopback, fallsBack, formatAddress, MAX_IN_FLIGHT, parseAddress } from '@distredge/runtime';
import type { NormalizationName } from '@distredge/zoo';
import { type Command, Option } from 'commander';
import { interrupted } from '../lifecycle.js';
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
import { amount, describeError, ms, print, printJson, shown, styled, table } from '../output.js';
import { readPlan } from '../planning.js';
import { compileAs, type Division, inputsFor, prepare, runUnsplit, type Tensors } from '../split.js';
import { summarise } from '../summary.js';
import { deviceNames, rowTable, timeline, traffic } from '../timeline.js';
import { writeOutputs } from '../write-outputs.js';
import { runVideo } from './run-video.js';

interface Options {
  readonly image?: string;
  readonly video?: string;
  readonly inFlight?: number;
  readonly alternate?: true;
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
    .addOption(
      new Option(
        '--video <dir>',
        'a stream of photos: those of a folder in order of their names, or - for JPEG, PNG or PPM pictures one after another on standard input',
      ).conflicts('image'),
    )
    .option(
      '--in-flight <n>',
      'images of a stream that are under way at once (default: one more than providers, with --alternate two for each; 1 is the least delay)',
      wholeNumber('--in-flight', 1, MAX_IN_FLIGHT),
    )
    .option('--alternate', 'of a stream, give every provider whole images in turn instead of parts of all')
    .option('--normalize <name>', 'how pixels become values: unit (0..1), raw (0..255) or imagenet', normalization)
    .option('--seed <n>', 'seed of the random input', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option('--volumes <rule>', 'blocks, layers or a number of volumes', volumeRule, 'blocks')
    .option('--weights <list>', 'relative share of each provider, as in 2,1,1 (default: equal)', weightList)
    .addOption(planOption(['volumes', 'weights']))
    .option('--deadline <ms>', 'longest time for the image', wholeNumber('--deadline', 1, 2 ** 31 - 1), 60_000)
    .option('--no-fallback', 'fail when a provider is lost instead of finishing here')
    .option('--output <dir>', 'write every output as an .npy file into this folder')
    .option('--json', 'print one JSON object (with --video one for each image, and one at the end)')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge provider --listen 127.0.0.1:7411 &\n  $ distredge provider --listen 127.0.0.1:7412 &\n  $ distredge run model.onnx --image photo.jpg --devices 127.0.0.1:7411,127.0.0.1:7412\n  $ distredge run model.onnx --plan plan.json --devices 127.0.0.1:7411,127.0.0.1:7412\n  $ distredge run model.onnx --video frames/ --devices 127.0.0.1:7411,127.0.0.1:7412\n  $ ffmpeg -i film.mp4 -f image2pipe -c:v ppm - | distredge run model.onnx --video - --devices 127.0.0.1:7411\n',
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
  if (options.video !== undefined) {
    const { video, alternate = false, plan } = options;
    const { inFlight = Math.min(MAX_IN_FLIGHT, alternate ? 2 * addresses.length : addresses.length + 1) } = options;
    await runVideo(model, addresses, division, { ...options, video, inFlight, alternate, plan });
    return;
  }
  for (const [given, name] of [
    [options.inFlight, '--in-flight'],
    [options.alternate, '--alternate'],
  ] as const) {
    if (given === undefined) continue;
    throw new DistrEdgeError('USAGE', `${name} is for streams of images`, {
      expected: `${name} together with --video`,
    });
  }
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
    if (!options.fallback || !fallsBack(error)) throw error;
    // Ctrl-C ends providers in the same terminal, too.
    if (await interrupted()) throw error;
    fallback = error;
    process.stderr.write(
      `${describeError(error)}\n${styled('yellow', 'warning', process.stderr)}: finishing the image on this machine, unsplit (--no-fallback fails instead)\n`,
    );
    outputs = await runUnsplit(model, inputs);
  }
  const summary = model.graph.outputs.map((name) => summarise(name, outputs[name] as Tensor));
  if (options.output !== undefined) await writeOutputs(options.output, model.graph, outputs);
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
