/**
 * Plans with layers cut by output channels where that is better: towards its end a classifier has few
 * rows and large filters. Cut by rows, seven rows make parts of four and three, and every device reads all of the filters;
 * cut by channels, the parts are equal and each device reads its share. What a device then lacks of the next layer's input
 * are the others' channels, which are few bytes where rows are few.
 */
import { reads, typeOf } from '../graph/graph.js';
import { channelsOf } from '../ops/registry.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { channelChain, isPlain } from '../rows/dependence.js';
import { share } from '../rows/range.js';
import { byteLength } from '../tensor.js';
import { isGather, type Plan, type PlanPart, type PlanVolume, type RowPlan } from './plan.js';
import { isPointwise, planByRule, rowOutput, weightedParts } from './rule.js';

/** Which layers are cut by channels. */
export interface ChannelLimits {
  /** Bytes of filters at least; fewer stay in a core's own cache. */
  readonly filters: number;
  /** Bytes of filters of layers one behind another, at least; cutting fewer saves less than its exchanges cost. */
  readonly together: number;
  /** Rows of the output for each device, at most; with more, cutting by rows is as balanced and exchanges less. */
  readonly rows: number;
}

const LIMITS: ChannelLimits = { filters: 2 ** 18, together: 2 ** 23, rows: 4 };
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
 * A plan with its layers of few rows and large filters cut by output channels; the same where it has none. The volumes between
 * them keep their parts, cut short where one reaches into such a layer. A schedule is kept only if nothing changes.
 * @param weights relative share of the channels for each device
 * @param given limits other than the usual ones
 */
export function withChannels(
  analysis: Analysis,
  plan: RowPlan,
  weights: readonly number[],
  given: Partial<ChannelLimits> = {},
): Plan {
  const limits = { ...LIMITS, ...given };
  const { sequence, graph, flops } = analysis;
  const runs = channelRuns(analysis, weights, limits);
  if (runs.length === 0) return plan;
  const position = new Map(
    sequence.flatMap(({ node }, index) => node.outputs.map((name): [string, number] => [name, index])),
  );
  const largest = weights.indexOf(Math.max(...weights));
  const volumes: Plan['volumes'][number][] = [];
  /** The first position that is in no volume yet, and the first run that is not. */
  let start = 0;
  let next = 0;
  /** Rows up to a position, where any are left that can end a volume. */
  const addRows = (to: number, given: PlanVolume): void => {
    const at = sequence.findLastIndex((placed, index) => index <= to && rowOutput(analysis, placed) !== undefined);
    if (at < start) return;
    const end = rowOutput(analysis, sequence[at] as PlacedNode) ?? '';
    const rows = rowsOf(analysis, end);
    const work = sequence.slice(start, to + 1).reduce((sum, placed) => sum + placed.flops, 0);
    const height = Math.max(...given.parts.map((part) => part.to));
    const parts = given.parts.map((part) => ({ device: part.device, ...share(part, height, rows) }));
    volumes.push({ end, parts: work < SLIGHT * flops ? [{ device: largest, from: 0, to: rows }] : parts });
    start = at + 1;
  };
  const last = plan.volumes.findLastIndex((volume) => !isGather(volume));
  plan.volumes.forEach((volume, index) => {
    if (isGather(volume)) {
      volumes.push(volume);
      return;
    }
    const end = index === last ? sequence.length - 1 : (position.get(volume.end) ?? -1);
    for (; (runs[next]?.from ?? Number.POSITIVE_INFINITY) <= end; next++) {
      const run = runs[next] as Run;
      if (run.from > start) addRows(run.from - 1, volume);
      volumes.push({ end: run.end, channels: blocksOf(weights, typeOf(graph, run.end).shape?.[1] ?? 0) });
      start = run.to + 1;
    }
    if (end >= start) addRows(end, volume);
  });
  const { schedule: _, ...rest } = plan;
  return { ...rest, volumes };
}

/** Plans by the rule `blocks`, with channels. Throws `PLAN_INVALID` for weights that make no sense. */
export function planWithChannels(analysis: Analysis, weights: readonly number[]): Plan {
  return withChannels(analysis, planByRule(analysis, { volumes: 'blocks', weights }), weights);
}

/** Channels by weights, in whole blocks where they are a multiple of them. */
function blocksOf(weights: readonly number[], channels: number): PlanPart[] {
  const block = channels % CHANNEL_BLOCK === 0 ? CHANNEL_BLOCK : 1;
  return weightedParts(weights, channels / block)
    .map(({ device, from, to }) => ({ device, from: from * block, to: to * block }))
    .filter(({ from, to }) => to > from);
}

/** The convolutions to cut by channels, each with the ops around it that belong to its volume. */
function channelRuns(analysis: Analysis, weights: readonly number[], limits: ChannelLimits): Run[] {
  const { sequence } = analysis;
  const devices = weights.filter((weight) => weight > 0).length;
  if (devices < 2) return [];
  const runs: Run[] = [];
  let next = 0;
  while (next < sequence.length) {
    const at = next++;
    const bytes = filtersToCut(analysis, sequence[at] as PlacedNode, limits.rows * devices);
    if (bytes < limits.filters || bytes === 0) continue;
    let to = at;
    while (keepsChannels(analysis, sequence, to)) to += 1;
    const end = rowOutput(analysis, sequence[to] as PlacedNode) ?? '';
    if (channelChain(analysis, sequence.slice(at, to + 1), end) === undefined) continue;
    const shared = sharedFrom(analysis, runs.at(-1), at);
    // Before it, a volume of rows must be able to end.
    if (shared === undefined && at > 0 && rowOutput(analysis, sequence[at - 1] as PlacedNode) === undefined) continue;
    runs.push({ from: shared ?? at, to, end, bytes, follows: shared !== undefined });
    next = to + 1;
  }
  return worthwhile(runs, limits);
}

/** Those of which enough stand one behind another. */
function worthwhile(runs: readonly Run[], { together }: ChannelLimits): Run[] {
  const chains: Run[][] = [];
  for (const run of runs) {
    if (run.follows) chains.at(-1)?.push(run);
    else chains.push([run]);
  }
  return chains.filter((chain) => chain.reduce((sum, { bytes }) => sum + bytes, 0) >= together).flat();
}

/** Bytes of a convolution's filters, where cutting it by channels may be better than by rows; else 0. */
function filtersToCut(analysis: Analysis, placed: PlacedNode, rows: number): number {
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
  return filters > moved && rowsOf(analysis, output) <= rows ? filters : 0;
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
