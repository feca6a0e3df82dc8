/** `distredge run --video`: a stream of photos through providers, several under way at once; it outlives lost providers. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DistrEdgeError, type Program, type Tensor } from '@distredge/core';
import {
  connectResilient,
  createTcpTransport,
  type ResilientCluster,
  type Share,
  type StreamResult,
  type Turn,
} from '@distredge/runtime';
import type { NormalizationName } from '@distredge/zoo';
import { fileError } from '../image/file-error.js';
import { frames } from '../image/frames.js';
import { decodeImage, loadImage } from '../image/load.js';
import { type ImageSlot, imageSlot, tensorForImage } from '../image/tensor-for.js';
import { onEnd } from '../lifecycle.js';
import type { ModelFile } from '../model-file.js';
import { ms, Progress, plain, print, printJson, styled } from '../output.js';
import { compileAs, type Division, inputsFor, prepare, runUnsplitAgain, type Tensors } from '../split.js';
import { summarise } from '../summary.js';
import { writeOutputs } from '../write-outputs.js';

interface VideoOptions {
  /** A folder, or `-` for standard input. */
  readonly video: string;
  readonly inFlight: number;
  readonly alternate: boolean;
  readonly plan: string | undefined;
  readonly seed: number;
  readonly normalize?: NormalizationName;
  readonly deadline: number;
  readonly fallback: boolean;
  readonly output?: string;
  readonly json?: true;
}

/** A photo of the stream. */
interface Picture {
  readonly name: string;
  load(size: ImageSlot): ReturnType<typeof loadImage>;
}

const PHOTO = /\.(jpe?g|png|webp)$/i;

export async function runVideo(
  model: ModelFile,
  addresses: readonly string[],
  division: Division,
  options: VideoOptions,
): Promise<void> {
  const { graph } = model;
  const slot = photoInput(model);
  const fixed = await inputsFor(graph, { seed: options.seed });
  const names: string[] = [];
  async function* images(): AsyncGenerator<Tensors> {
    for await (const picture of pictures(options.video)) {
      names.push(picture.name);
      yield { ...fixed, [slot.name]: tensorForImage(await picture.load(slot), slot, options.normalize) };
    }
  }
  const turns: Record<Turn['type'], number> = {
    lost: 0,
    switched: 0,
    whole: 0,
    late: 0,
    raced: 0,
    returned: 0,
  };
  const progress = new Progress();
  const report = (turn: Turn): void => {
    turns[turn.type] += 1;
    progress.done();
    if ((turn.type === 'switched' && turns.lost === 0) || turn.type === 'raced') return;
    process.stderr.write(`${styled('yellow', 'note', process.stderr)}: ${tell(turn, addresses)}\n`);
  };
  const shares = sharesFor(model, division, addresses.length, options);
  // What is wrong with a model or a plan is told as that, not as a loss.
  const first = shares(addresses.map((_, device) => device));
  const cluster: Pick<ResilientCluster, 'stream'> =
    options.fallback || options.alternate
      ? await connectLasting(model, addresses, options, shares, report)
      : await prepare((first[0] as Share).program, addresses, options.deadline, options.inFlight);
  const started = performance.now();
  let count = 0;
  let firstMs = started;
  try {
    for await (const result of cluster.stream(images(), { inFlight: options.inFlight })) {
      count += 1;
      if (count === 1) firstMs = performance.now();
      await tellResult(model, result, names[result.index] ?? '', options);
      names[result.index] = '';
      progress.update(`${count} images, ${rate(count, performance.now() - started)} a second`);
    }
  } finally {
    progress.done();
  }
  if (count === 0) throw noPictures(options.video);
  const took = performance.now() - started;
  // Without the first image, whose delay is no part of the rate.
  const ips = count > 1 ? (1000 * (count - 1)) / (performance.now() - firstMs) : 1000 / took;
  if (options.json) {
    printJson({
      model: model.name,
      devices: addresses,
      images: count,
      inFlight: options.inFlight,
      totalMs: took,
      ips,
      lost: turns.lost,
      whole: turns.whole,
      late: turns.late,
      ok: true,
    });
    return;
  }
  print(
    `${count} images in ${ms(took)}, ${options.inFlight} under way at once: ${ips.toFixed(2)} images a second${turns.whole > 0 ? `; ${turns.whole} of them here, unsplit` : ''}`,
  );
}

/** A cluster that goes on when providers are lost. */
async function connectLasting(
  model: ModelFile,
  addresses: readonly string[],
  options: VideoOptions,
  shares: (devices: readonly number[]) => readonly Share[],
  report: (turn: Turn) => void,
): Promise<ResilientCluster> {
  const cluster = await connectResilient({
    transport: createTcpTransport(),
    addresses,
    // Of whole images a provider needs one to compute, and one to go on with.
    inFlight: options.alternate ? Math.min(2, options.inFlight) : options.inFlight,
    requestMs: options.deadline,
    silenceMs: 3000,
    programsFor: shares,
    whole: (inputs) => {
      if (options.fallback) return runUnsplitAgain(model, inputs);
      throw new DistrEdgeError('PROVIDER_LOST', 'no provider is left', { where: addresses.join(', ') });
    },
    report,
  });
  onEnd(() => cluster.close());
  return cluster;
}

/** What each set of providers runs: the given division on all of them, the rule on what is left of them. */
function sharesFor(
  model: ModelFile,
  division: Division,
  count: number,
  { alternate, plan }: VideoOptions,
): (devices: readonly number[]) => readonly Share[] {
  const known = new Map<string, Program>();
  const compiled = (key: string, as: Division): Program => {
    const program = known.get(key) ?? compileAs(model.graph, as, plan);
    known.set(key, program);
    return program;
  };
  const weightOf = (device: number): number => ('weights' in division ? (division.weights[device] ?? 1) : 1);
  return (devices) => {
    const able = devices.filter((device) => weightOf(device) > 0);
    if (alternate) {
      const whole = compiled('one', { volumes: 1, weights: [1] });
      return able.map((device) => ({ program: whole, devices: [device], weight: weightOf(device) }));
    }
    if (devices.length === count) return [{ program: compiled('all', division), devices }];
    if (able.length === 0) return [];
    const volumes = 'volumes' in division && !('devices' in division) ? division.volumes : 'blocks';
    return [{ program: compiled(able.join(), { volumes, weights: able.map(weightOf) }), devices: able }];
  };
}

/** The input that takes photos. */
function photoInput({ graph }: ModelFile): ImageSlot & { readonly name: string } {
  for (const name of graph.inputs) {
    const { dtype, shape } = graph.types.get(name) ?? {};
    if (dtype === undefined || shape === undefined) continue;
    if (graph.inputs.length === 1 || shape.length === 4) return { ...imageSlot({ name, dtype, shape }), name };
  }
  throw new DistrEdgeError('IMAGE_INVALID', 'no input of this model takes a photo', { hint: 'leave out --video' });
}

async function* pictures(from: string): AsyncGenerator<Picture> {
  if (from === '-') {
    let index = 0;
    for await (const bytes of frames(process.stdin, 'standard input')) {
      const name = `${index}`;
      index += 1;
      yield { name, load: (size) => decodeImage(bytes, `standard input, picture ${name}`, { size }) };
    }
    return;
  }
  const entries = await readdir(from).catch((error: unknown) => {
    throw fileError(error, from, 'read');
  });
  // By their characters' numbers: the same on every machine.
  for (const name of entries.filter((entry) => PHOTO.test(entry)).sort()) {
    yield { name, load: (size) => loadImage(join(from, name), { size }) };
  }
}

function noPictures(from: string): DistrEdgeError {
  return new DistrEdgeError('FILE', 'there is no picture in the stream', {
    where: from === '-' ? 'standard input' : from,
    expected: from === '-' ? 'JPEG, PNG or PPM pictures' : 'files that end in .jpg, .jpeg, .png or .webp',
  });
}

async function tellResult(
  { graph }: ModelFile,
  { index, outputs, ms: took }: StreamResult,
  name: string,
  { json, output }: VideoOptions,
): Promise<void> {
  if (output !== undefined) await writeOutputs(join(output, `${index}`.padStart(6, '0')), graph, outputs);
  if (!json) return;
  const summary = graph.outputs.map((item) => summarise(item, outputs[item] as Tensor));
  print(JSON.stringify({ index, name, ms: took, outputs: summary }));
}

function tell(turn: Turn, addresses: readonly string[]): string {
  const those = (devices: readonly number[]): string =>
    devices.length === 0 ? 'nobody known' : devices.map((device) => addresses[device]).join(', ');
  switch (turn.type) {
    case 'lost':
      return `lost ${those(turn.devices)}: ${plain(turn.error.message)}`;
    case 'switched':
      return `going on with ${those(turn.devices)}`;
    case 'whole':
      return `computing an image on this machine, unsplit: ${plain(turn.error.message)}`;
    case 'late':
      return `an image is late (${ms(turn.ms)}, where ${ms(turn.expectedMs)} is usual) for want of ${those(turn.devices)}: begun again ${turn.on.length === 0 ? 'on this machine, unsplit' : `on ${those(turn.on)}`}`;
    case 'raced':
      return `an image that was late was done ${turn.by === 'first' ? 'where it was' : 'elsewhere'} first`;
    case 'returned':
      return `${addresses[turn.device]} is back`;
  }
}

function rate(count: number, took: number): string {
  return ((1000 * count) / took).toFixed(1);
}
