/**
 * The simple rule `blocks`, with layers cut by output channels where that is better: towards its end a classifier has few
 * rows and large filters. Cut by rows, seven rows make parts of four and three, and every device reads all of the filters;
 * cut by channels, the parts are equal and each device reads its share. What a device then lacks of the next layer's input
 * are the others' channels, which are few bytes where rows are few.
 */
import { reads, typeOf } from '../graph/graph.js';
import { channelsOf } from '../ops/registry.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { channelChain } from '../rows/dependence.js';
import { byteLength } from '../tensor.js';
import { PLAN_VERSION, type Plan, type PlanPart } from './plan.js';
import { blockEnds, candidateEnds, checkWeights, headBy, isPointwise, rowOutput, weightedParts } from './rule.js';

/** Filters of fewer bytes stay in a core's own cache. */
const LARGE_FILTERS_BYTES = 2 ** 18;
/** Layers one behind another are cut by channels where their filters have this many bytes: cutting fewer saves less than it costs. */
const WORTHWHILE_BYTES = 2 ** 23;
/** With more rows for each device, cutting by rows is as balanced and exchanges less. */
const FEW_ROWS = 4;
/** Parts of channels are multiples of this where the channels are: what engines compute together. */
const CHANNEL_BLOCK = 16;
/** A volume with a smaller share of the work is not worth an exchange: one device computes it. */
const SLIGHT = 0.001;

/** Positions in the sequence of a volume's first and last op, and its end. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly end: string;
  /** Bytes of filters. */
  readonly bytes: number;
  /** Whether it follows directly on the run before. */
  readonly follows: boolean;
}

/**
 * Plans by the rule `blocks`, cutting layers with few rows and large filters by output channels.
 * Throws `PLAN_INVALID` for weights that make no sense.
 * @param weights relative share for each device
 */
export function planWithChannels(analysis: Analysis, weights: readonly number[]): Plan {
  checkWeights(weights);
  const { sequence, graph, flops } = analysis;
  const runs = new Map(channelRuns(analysis, weights).map((run): [number, Run] => [run.to, run]));
  const inside = (index: number): boolean => [...runs.values()].some(({ from, to }) => index >= from && index < to);
  const cuts = [...runs.values()].flatMap(({ from, to }) => (from === 0 ? [to] : [from - 1, to]));
  const ends = [...new Set([...candidateEnds(analysis).filter((index) => !inside(index)), ...cuts])].sort(
    (a, b) => a - b,
  );
  const boundaries = [...runs.values()].flatMap(({ from, to }) => [from, to + 1]);
  const chosen = ends.length === 0 ? [] : blockEnds(analysis, ends, weights, boundaries);
  const largest = weights.indexOf(Math.max(...weights));
  let start = 0;
  const volumes = chosen.map((index): Plan['volumes'][number] => {
    const from = start;
    start = index + 1;
    const run = runs.get(index);
    if (run !== undefined && run.from === from) {
      const channels = typeOf(graph, run.end).shape?.[1] ?? 0;
      return { end: run.end, channels: blocksOf(weights, channels) };
    }
    const end = rowOutput(analysis, sequence[index] as PlacedNode) ?? '';
    const rows = rowsOf(analysis, end);
    const work = sequence.slice(from, start).reduce((sum, placed) => sum + placed.flops, 0);
    const slight = runs.size > 0 && work < SLIGHT * flops;
    return { end, parts: slight ? [{ device: largest, from: 0, to: rows }] : weightedParts(weights, rows) };
  });
  return { version: PLAN_VERSION, devices: weights.length, volumes, ...headBy(analysis, weights) };
}

/** Channels by weights, in whole blocks where they are a multiple of them. */
function blocksOf(weights: readonly number[], channels: number): PlanPart[] {
  const block = channels % CHANNEL_BLOCK === 0 ? CHANNEL_BLOCK : 1;
  return weightedParts(weights, channels / block)
    .map(({ device, from, to }) => ({ device, from: from * block, to: to * block }))
    .filter(({ from, to }) => to > from);
}

/** The convolutions to cut by channels, each with the ops around it that belong to its volume. */
function channelRuns(analysis: Analysis, weights: readonly number[]): Run[] {
  const { sequence } = analysis;
  const devices = weights.filter((weight) => weight > 0).length;
  if (devices < 2) return [];
  const runs: Run[] = [];
  let next = 0;
  while (next < sequence.length) {
    const at = next++;
    const bytes = filtersToCut(analysis, sequence[at] as PlacedNode, devices);
    if (bytes < LARGE_FILTERS_BYTES) continue;
    let to = at;
    while (keepsChannels(analysis, sequence, to)) to += 1;
    const end = rowOutput(analysis, sequence[to] as PlacedNode) ?? '';
    if (channelChain(analysis, end)?.[0] !== sequence[at]) continue;
    const shared = sharedFrom(analysis, runs.at(-1), at);
    runs.push({ from: shared ?? at, to, end, bytes, follows: shared !== undefined });
    next = to + 1;
  }
  return worthwhile(runs);
}

/** Those of which enough stand one behind another. */
function worthwhile(runs: readonly Run[]): Run[] {
  const chains: Run[][] = [];
  for (const run of runs) {
    if (run.follows) chains.at(-1)?.push(run);
    else chains.push([run]);
  }
  return chains.filter((chain) => chain.reduce((sum, { bytes }) => sum + bytes, 0) >= WORTHWHILE_BYTES).flat();
}

/** Bytes of a convolution's filters, where cutting it by channels may be better than by rows; else 0. */
function filtersToCut(analysis: Analysis, placed: PlacedNode, devices: number): number {
  const { graph, axes } = analysis;
  const output = rowOutput(analysis, placed);
  const rule = channelsOf(placed.view);
  if (output === undefined || rule === undefined || rule.follows !== undefined || !isPlain(analysis, placed)) return 0;
  const bytesOf = (name: string): number => {
    const { dtype, shape } = typeOf(graph, name);
    return dtype === undefined || shape === undefined ? 0 : byteLength(dtype, shape);
  };
  const filters = rule.cuts.reduce((sum, { input }) => sum + bytesOf(placed.node.inputs[input] ?? ''), 0);
  const images = [...placed.node.inputs.filter((name) => axes.has(name)), output];
  const moved = images.reduce((sum, name) => sum + bytesOf(name), 0);
  return filters > moved && rowsOf(analysis, output) <= FEW_ROWS * devices ? filters : 0;
}

/** Whether an op is divided by rows and reads tensors with rows and constants only. */
function isPlain({ axes, graph }: Analysis, { node, kind }: PlacedNode): boolean {
  return kind === 'rows' && reads(node).every((name) => axes.has(name) || graph.constants.has(name));
}

/** Whether the op behind this one keeps its channels apart and is the only one that reads it. */
function keepsChannels(analysis: Analysis, sequence: readonly PlacedNode[], at: number): boolean {
  const output = rowOutput(analysis, sequence[at] as PlacedNode);
  const next = sequence[at + 1];
  if (output === undefined || next === undefined || !isPlain(analysis, next)) return false;
  const rule = channelsOf(next.view);
  if (rule?.follows === undefined || next.node.inputs[rule.follows] !== output) return false;
  const readers = analysis.nodes.filter(({ node }) => reads(node).includes(output));
  return readers.length === 1 && !analysis.graph.outputs.includes(output);
}

/** Where a volume begins that follows directly on the one before, which it can if all between them is cheap. */
function sharedFrom(analysis: Analysis, before: Run | undefined, at: number): number | undefined {
  if (before === undefined) return undefined;
  const between = analysis.sequence.slice(before.to + 1, at);
  return between.every((placed) => isPointwise(placed) && isPlain(analysis, placed)) ? before.to + 1 : undefined;
}
