/** One model, compiled by the simple rule and prepared on providers: what demo, verify, bench and run have in common. */
import {
  type Analysis,
  analyse,
  byteLength,
  compile,
  DistrEdgeError,
  exposeValues,
  type Graph,
  type PlacedNode,
  type Plan,
  type Program,
  planByRule,
  planWithChannels,
  resolutionOf,
  splitFlopShare,
  type Tensor,
  typeOf,
  type VolumeRule,
  valuesBeforeJumps,
  withOutputs,
} from '@distredge/core';
import {
  type Cluster,
  connect,
  createTcpTransport,
  createWholeModel,
  createWholeRunner,
  runWholeModel,
  type WholeModel,
  type WholeRunner,
} from '@distredge/runtime';
import type { NormalizationName } from '@distredge/zoo';
import { compareBehindJumps, compareOutput, type Difference, isExact } from './compare.js';
import { loadImage } from './image/load.js';
import { seededTensor } from './image/seeded.js';
import { imageSlot, tensorForImage } from './image/tensor-for.js';
import { onEnd } from './lifecycle.js';
import { type LocalProviders, startLocalProviders } from './local-providers.js';
import { inFile, type ModelFile } from './model-file.js';
import { amount, Progress, shown } from './output.js';

export type Tensors = Record<string, Tensor>;

/** Plans by the rule and compiles; `blocks` also cuts by channels. */
export function compileByRule(graph: Graph, volumes: VolumeRule, weights: readonly number[]): Program {
  const analysis = analyse(graph);
  const plan = volumes === 'blocks' ? planWithChannels(analysis, weights) : planByRule(analysis, { volumes, weights });
  return compile(graph, plan, analysis);
}

/** How a model is divided: as a plan says, or by the simple rule. */
export type Division = Plan | { readonly volumes: VolumeRule; readonly weights: readonly number[] };

/** Compiles what a command was given. Throws `PLAN_INVALID` for a plan of another model, naming its file. */
export function compileAs(graph: Graph, division: Division, planPath = 'the plan'): Program {
  if (!('devices' in division)) return compileByRule(graph, division.volumes, division.weights);
  const analysis = analyse(graph);
  try {
    return compile(graph, division, analysis);
  } catch (error) {
    if (!(error instanceof DistrEdgeError) || error.code !== 'PLAN_INVALID') throw error;
    throw inFile(planPath, error, 'is this a plan for another model?');
  }
}

export interface InputOptions {
  readonly image?: string;
  readonly seed: number;
  readonly normalize?: NormalizationName;
}

/** A frame holds no more. */
const MAX_INPUT_BYTES = 2 ** 32 - 1;

/** The inputs of a model: a photo for the first one that takes pictures, seeded random values for the rest. */
export async function inputsFor(graph: Graph, { image, seed, normalize }: InputOptions): Promise<Tensors> {
  const inputs: Tensors = {};
  let photo = image;
  for (const [index, name] of graph.inputs.entries()) {
    const { dtype, shape } = typeOf(graph, name);
    if (dtype === undefined || shape === undefined)
      throw new DistrEdgeError('SHAPE_UNKNOWN', 'an input has no known shape', { where: `input '${name}'` });
    if (byteLength(dtype, shape) > MAX_INPUT_BYTES)
      throw new DistrEdgeError('SHAPE_MISMATCH', 'an input is too large to hold', {
        where: `input '${name}'`,
        expected: `at most ${amount(MAX_INPUT_BYTES, 'B')}`,
        got: `[${shape.join(', ')}], ${amount(byteLength(dtype, shape), 'B')}`,
        hint: 'give a smaller --shape or --size',
      });
    const concrete = { name, dtype, shape };
    if (photo !== undefined && (graph.inputs.length === 1 || shape.length === 4)) {
      const slot = imageSlot(concrete);
      inputs[name] = tensorForImage(await loadImage(photo, { size: slot }), slot, normalize);
      photo = undefined;
    } else inputs[name] = seededTensor(dtype, shape, seed + index);
  }
  if (photo !== undefined) {
    throw new DistrEdgeError('IMAGE_INVALID', 'no input of this model takes a photo', {
      where: photo,
      hint: 'leave out --image to run on random input',
    });
  }
  return inputs;
}

/** Starts providers on this machine, with `extra` arguments, which end with the command. */
export function localProviders(count: number, extra: readonly string[] = []): Promise<LocalProviders> {
  return shown(`starting ${count} providers`, () => startLocalProviders(count, extra));
}

/** Prepares a program on providers, with progress; ends the cluster with the command. */
export async function prepare(
  program: Program,
  addresses: readonly string[],
  requestMs?: number,
  inFlight?: number,
): Promise<Cluster> {
  const progress = new Progress();
  progress.update(`connecting to ${addresses.length} providers`);
  try {
    const cluster = await connect(program, {
      transport: createTcpTransport(),
      addresses,
      ...(requestMs === undefined ? {} : { requestMs }),
      ...(inFlight === undefined ? {} : { inFlight }),
      progress: (sent, total) =>
        progress.update(
          sent < total
            ? `sending weights: ${amount(sent, 'B')} of ${amount(total, 'B')}`
            : `waiting for ${addresses.length} providers to load their models`,
        ),
    });
    onEnd(() => cluster.close());
    return cluster;
  } finally {
    progress.done();
  }
}

/** What onnxruntime is to run unsplit. */
function unsplit({ path, bytes, packed, hasExternalData }: ModelFile): Uint8Array | string {
  if (!hasExternalData) return bytes;
  if (!packed) return path;
  throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'a packed model with weights in other files cannot run unsplit', {
    where: path,
    hint: 'unpack it first: gunzip --keep',
  });
}

/** The unsplit model by plain onnxruntime: what split runs are timed against. It blocks this thread while it runs. */
export function openUnsplit(model: ModelFile, threads = 1): Promise<WholeModel> {
  return shown('loading the unsplit model', async () => {
    try {
      return await createWholeModel(unsplit(model), { threads });
    } catch (error) {
      throw unsplitError(error, model);
    }
  });
}

/** The unsplit model's outputs, computed on one thread: what a split run's are held against. */
export function runUnsplit(model: ModelFile, inputs: Tensors): Promise<Tensors> {
  return shown('running the unsplit model', async () => {
    try {
      return { ...(await runWholeModel(unsplit(model), inputs)).outputs };
    } catch (error) {
      throw unsplitError(error, model);
    }
  });
}

const runners = new WeakMap<ModelFile, WholeRunner>();

/** As `runUnsplit`, for image after image: the model stays loaded between them for a while, and at most until the command ends. */
export function runUnsplitAgain(model: ModelFile, inputs: Tensors): Promise<Tensors> {
  return shown('running the unsplit model', async () => {
    try {
      let runner = runners.get(model);
      if (runner === undefined) {
        const made = createWholeRunner(unsplit(model));
        runners.set(model, made);
        onEnd(() => made.close());
        runner = made;
      }
      return { ...(await runner.run(inputs)).outputs };
    } catch (error) {
      throw unsplitError(error, model);
    }
  });
}

/** Where in its own source onnxruntime found out: of no use to people. */
const SOURCE_PLACE = /^\S+:\d+ onnxruntime::.*?\) (?=[A-Z])|^\S+:\d+ \w+ onnxruntime::.*?\) (?=[A-Z])/s;

/** onnxruntime's refusal of the file itself, for which no way of dividing it is the reason. */
function unsplitError(error: unknown, { path }: ModelFile): unknown {
  if (!(error instanceof DistrEdgeError) || error.code !== 'ENGINE_FAILED') return error;
  return new DistrEdgeError('ENGINE_FAILED', error.message, {
    where: path,
    ...(error.got === undefined ? {} : { got: error.got.replace(SOURCE_PLACE, '') }),
    hint: 'this is the file as it is, not divided: export the model again with ops and an opset that onnxruntime knows',
    cause: error,
  });
}

/**
 * Compares a split run with the unsplit one. Outputs behind comparisons or roundings that are not equal as they stand are
 * judged by what enters those, in one further run of either kind that gives these values too.
 */
export async function compareRuns(
  model: ModelFile,
  inputs: Tensors,
  expected: Tensors,
  got: Tensors,
  again: (graph: Graph) => Promise<Tensors>,
): Promise<Difference[]> {
  const { graph } = model;
  const plain = graph.outputs.map((name) =>
    compareOutput(name, tensorOf(expected, name), tensorOf(got, name), resolutionOf(graph, name)),
  );
  const jumps = valuesBeforeJumps(graph);
  if (model.hasExternalData || plain.every((difference) => isExact(difference) || !jumps.has(difference.name)))
    return plain;
  const probes = [...new Set([...jumps.values()].flat())];
  const [a, b] = [
    await runUnsplit({ ...model, bytes: exposeValues(model.bytes, graph, probes) }, inputs),
    await again(withOutputs(graph, probes)),
  ];
  return plain.map((difference) => {
    const entering = jumps.get(difference.name);
    if (entering === undefined || isExact(difference)) return difference;
    const { name } = difference;
    return compareBehindJumps(
      name,
      tensorOf(expected, name),
      tensorOf(got, name),
      entering.map((probe) => compareOutput(probe, tensorOf(a, probe), tensorOf(b, probe))),
    );
  });
}

/** An output by its name. */
export function tensorOf(tensors: Readonly<Tensors>, name: string): Tensor {
  const tensor = tensors[name];
  if (tensor === undefined) throw new DistrEdgeError('INTERNAL', 'an output is missing', { where: `output '${name}'` });
  return tensor;
}

export interface SplitFacts {
  readonly volumes: number;
  readonly splitFlopShare: number;
  readonly collectives: number;
  readonly wholeOps: readonly { readonly op: string; readonly reason: string }[];
}

/** Why an op runs on one device, for people. */
export function whyWhole({ sequence }: Analysis, { rule }: PlacedNode): string {
  if (rule?.kind === 'whole') return rule.reason;
  return sequence.length === 0 ? 'nothing in this model has rows to divide' : 'comes after the rows are joined';
}

/** What of a program is divided, and what is not and why. */
export function splitFacts(program: Program): SplitFacts {
  const { analysis, lowered } = program;
  const cut = lowered.stages.find(({ kind }) => kind === 'channels')?.cut?.placed;
  const wholeOps = analysis.nodes
    .filter((placed) => (placed.kind === 'island' || placed.kind === 'head') && placed !== cut)
    .map((placed) => ({ op: `${placed.node.op} '${placed.node.name}'`, reason: whyWhole(analysis, placed) }));
  return {
    volumes: program.plan.volumes.length,
    splitFlopShare: splitFlopShare(program),
    collectives: lowered.covered.size,
    wholeOps,
  };
}

/** Provider processes on one machine. */
export const MAX_WORKERS = 64;

/** As many providers as the plan has devices, those without work included. */
export function localCount({ devices }: Plan, path = ''): number {
  if (devices <= MAX_WORKERS) return devices;
  throw new DistrEdgeError('PLAN_INVALID', 'the plan is for more devices than this machine should pretend to be', {
    where: path,
    expected: `at most ${MAX_WORKERS}`,
    got: `${devices}`,
  });
}
