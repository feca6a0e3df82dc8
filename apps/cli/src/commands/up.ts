/** `distredge up`: the controller of a cluster and the requester of its images, until it is told to stop. */
import { createInterface } from 'node:readline';
import { plannerNames } from '@distredge/planner';
import {
  type Controller,
  createTcpTransport,
  createTlsTransport,
  isLoopback,
  MAX_IN_FLIGHT,
  parseAddress,
} from '@distredge/runtime';
import type { NormalizationName } from '@distredge/zoo';
import type { Command } from 'commander';
import { openGate } from '../cluster/gate.js';
import { inOrder } from '../cluster/in-order.js';
import { jsonLine, tellEvent } from '../cluster/lines.js';
import { advertise } from '../cluster/mdns.js';
import {
  DEFAULT_ADDRESS,
  DEFAULT_CLUSTER,
  givenBroker,
  needsIdentity,
  type ReachOptions,
  reachOptions,
} from '../cluster/reach.js';
import { joinAddress, tellable } from '../cluster/secure.js';
import { openController, planOnThread, servedBy } from '../cluster/serve.js';
import { compareOutput, type Difference, isExact } from '../compare.js';
import { MODEL_ARGUMENT, type ModelFile, readModel } from '../model-file.js';
import { modelOptions, normalization, plannerName, seconds, wholeNumber, withShapes } from '../options.js';
import { describeError, ms, plain, print, styled } from '../output.js';
import { inputsFor, runUnsplitAgain, type Tensors, tensorOf } from '../split.js';
import { summarise } from '../summary.js';
import { version } from '../version.js';

interface Options extends ReachOptions {
  readonly listen: string;
  readonly devices: number;
  readonly image: readonly string[];
  readonly random: number;
  readonly inFlight: number;
  readonly normalize?: NormalizationName;
  readonly seed: number;
  readonly deadline: number;
  readonly wait: number;
  readonly budget: number;
  readonly planner: string;
  readonly profileBudget: number;
  readonly verify?: true;
  readonly once?: true;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

export function addUp(program: Command): void {
  withShapes(reachOptions(program.command('up').argument('[model]', MODEL_ARGUMENT)))
    .summary('start a cluster, and serve a model on the devices that join')
    .description(
      'Starts the controller of a cluster. Devices join with distredge join; they are measured, a plan is made and kept up to date while devices come and go, and images are answered by all of them, or on this machine where they fail.',
    )
    .option('--listen <host:port>', 'where devices join; port 0 takes any free one', DEFAULT_ADDRESS)
    .option('--devices <n>', 'devices to wait for before the first image', wholeNumber('--devices', 0, 1024), 1)
    .option('--wait <s>', 'how long to wait for them', seconds('--wait', 86_400), 3600)
    .option(
      '--image <file>',
      'an image to run (repeatable); - reads the names of files from standard input, one a line',
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .option('--random <n>', 'run so many images of random values', wholeNumber('--random', 0, 1_000_000), 0)
    .option(
      '--in-flight <n>',
      'images that are under way at once: more of them an hour, each of them later; every device holds memory for as many',
      wholeNumber('--in-flight', 1, MAX_IN_FLIGHT),
      1,
    )
    .option('--normalize <name>', 'how pixels become values: unit (0..1), raw (0..255) or imagenet', normalization)
    .option('--seed <n>', 'seed of random images', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option('--deadline <ms>', 'longest time for an image', wholeNumber('--deadline', 1, 2 ** 31 - 1), 60_000)
    .option('--budget <s>', 'seconds that the search for a plan may take', seconds('--budget', 3600), 2)
    .option(
      '--planner <name>',
      `who plans where there is time for it: ${plannerNames.join(', ')}; osds goes on from what it has learnt`,
      plannerName,
      'auto',
    )
    .option('--profile-budget <s>', 'seconds that a device measures a new model', seconds('--profile-budget', 3600), 6)
    .option('--verify', 'compare every result with the unsplit model on this machine')
    .option('--once', 'end after the images')
    .option('--json', 'print one JSON object for everything that happens')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge up model.onnx --devices 2 --image photo.jpg\n  $ ls *.jpg | distredge up model.onnx --image - --json\n  $ distredge up zoo:vgg16 --devices 3 --random 20 --verify --once\n  $ distredge up model.onnx --devices 3 --in-flight 4 --image - < names.txt\n  $ distredge up model.onnx --listen 0.0.0.0:7400 --cluster home\n  $ distredge up model.onnx --broker mqtts://user:password@broker.example:8883 --cluster plant-7\n',
    )
    .action(up);
}

async function up(path: string | undefined, options: Options): Promise<void> {
  const json = options.json === true;
  const broker = await givenBroker(options);
  const model = path === undefined ? undefined : await readModel(path, modelOptions(options));
  const log = (line: string): void => {
    if (json) jsonLine('log', { line });
    else print(styled('dim', plain(line)));
  };
  const secured = needsIdentity(options.listen, options) ? await openGate(options.cluster) : undefined;
  const identity = secured?.identity;
  const controller = await openController({
    cluster: identity?.clusterId ?? options.cluster,
    broker: broker === undefined ? { listen: options.listen } : { endpoint: broker },
    identity,
    transport: identity === undefined ? createTcpTransport() : createTlsTransport(identity),
    plan: planOnThread(1000 * options.budget, options.planner),
    ...(model === undefined ? { whole: async () => ({}) } : servedBy(model, modelOptions(options))),
    software: version(),
    profileMs: 1000 * options.profileBudget,
    inFlight: options.inFlight,
    onEvent: (event) => tellEvent(event, json),
    log,
  });
  const listens = broker === undefined ? controller.address : options.listen;
  const address = tellable(listens);
  const more = [
    ...(broker === undefined ? [] : ['--broker URL']),
    ...(options.cluster === DEFAULT_CLUSTER || secured !== undefined ? [] : [`--cluster ${options.cluster}`]),
  ];
  const joinWith = (code?: string): string =>
    [
      'distredge join',
      ...(broker === undefined || secured !== undefined ? [address] : []),
      ...(code === undefined ? [] : ['--code', code]),
      ...more,
    ].join(' ');
  if (json) {
    jsonLine('listening', {
      cluster: options.cluster,
      address,
      broker: broker?.name ?? null,
      secure: secured !== undefined,
      model: model?.name ?? null,
      ...(secured === undefined ? { join: joinWith() } : {}),
    });
  } else {
    print(
      `cluster '${plain(options.cluster)}' at ${plain(broker?.name ?? address)}${model === undefined ? '' : `, serving ${plain(model.name)}`}; Ctrl-C ends it`,
    );
    if (secured === undefined) print(`a device joins with:  ${styled('bold', plain(joinWith()))}`);
  }
  if (secured !== undefined) {
    await secured.admit(
      joinAddress(listens),
      ({ code, expires }) => {
        if (json) jsonLine('code', { code, expires, join: joinWith(code) });
        else
          print(
            `one device joins, until ${new Date(expires).toLocaleTimeString()}, with:  ${styled('bold', plain(joinWith(code)))}`,
          );
      },
      log,
    );
    if (!isLoopback(parseAddress(listens).host)) await advertise(options.cluster, address);
  }
  if (model !== undefined) await serve(controller, model, options);
  if (!options.once) await new Promise(() => undefined);
}

/** Runs the images that were asked for. */
async function serve(controller: Controller, model: ModelFile, options: Options): Promise<void> {
  if (options.image.length === 0 && options.random === 0) return;
  await controller.ready(options.devices, 1000 * options.wait);
  await inOrder(options.inFlight, asked(controller, model, options), (tell) => tell());
}

/** The images that were asked for, each as a task that answers it and tells how it went when it is its turn. */
async function* asked(
  controller: Controller,
  model: ModelFile,
  options: Options,
): AsyncGenerator<() => Promise<() => void>, void, undefined> {
  for (let index = 0; index < options.random; index++) yield () => answer(controller, model, options, undefined, index);
  for (const image of options.image) {
    if (image !== '-') yield () => answer(controller, model, options, image, 0);
    else {
      for await (const line of createInterface({ input: process.stdin })) {
        const name = line.trim();
        if (name === '') continue;
        // One bad file does not end the service.
        yield () =>
          answer(controller, model, options, name, 0).catch((error: unknown) => () => failed(error, name, options));
      }
    }
  }
}

function failed(error: unknown, image: string, { json }: Options): void {
  if (!json) process.stderr.write(`${describeError(error)}\n`);
  else
    jsonLine('failed', {
      image,
      error: error instanceof Error && 'toJSON' in error ? error : { message: String(error) },
    });
}

/** Has one image answered; what comes of it is told when the returned function is called. */
async function answer(
  controller: Controller,
  model: ModelFile,
  options: Options,
  image: string | undefined,
  index: number,
): Promise<() => void> {
  const { seed, normalize, deadline, json } = options;
  const inputs = await inputsFor(model.graph, {
    seed: seed + index,
    ...(image === undefined ? {} : { image }),
    ...(normalize === undefined ? {} : { normalize }),
  });
  const { outputs, ms: totalMs, generation } = await controller.infer(inputs, { deadlineMs: deadline });
  const differences = options.verify ? await compared(model, inputs, outputs) : undefined;
  const exact = differences?.every(isExact);
  const summary = model.graph.outputs.map((name) => summarise(name, tensorOf(outputs, name)));
  const name = image ?? `random ${seed + index}`;
  return () => {
    if (json) {
      const relError = differences === undefined ? null : Math.max(...differences.map((one) => one.relError));
      jsonLine('image', { image: name, totalMs, plan: generation, outputs: summary, exact: exact ?? null, relError });
    } else {
      const how = generation === 0 ? 'on this machine' : `by plan ${generation}`;
      const checked = exact === undefined ? '' : exact ? styled('green', ', exact') : styled('red', ', not exact');
      print(
        `${plain(name)}: ${ms(totalMs)} ${how}${checked}; ${summary.map((one) => `${plain(one.name)} [${one.shape.join(', ')}] top ${one.top1}`).join(', ')}`,
      );
    }
    if (exact === false) process.exitCode = 1;
  };
}

async function compared(model: ModelFile, inputs: Tensors, outputs: Readonly<Tensors>): Promise<Difference[]> {
  const expected = await runUnsplitAgain(model, inputs);
  return model.graph.outputs.map((name) => compareOutput(name, tensorOf(expected, name), tensorOf(outputs, name)));
}
