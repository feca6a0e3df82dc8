/**
 * A first plan without a planner: row shares by fixed weights over volumes chosen by a simple rule.
 *
 * - `blocks` (default): a volume grows op by op while the halo rows that its parts compute twice stay below a share of its
 *   work; it then ends at the op, in the second half of what it could have been, after which the fewest bytes are alive. It
 *   does not go on to an end that has too few rows for all devices, where they would not share its work.
 * - `layers`: a volume ends after every op that multiplies or has a window, with the pointwise ops that follow it.
 * - a number N: N volumes of about the same work.
 *
 * A head whose first fully connected layer is large is cut by output channels, by the same weights.
 */
import { reads, typeOf } from '../graph/graph.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { firstFullyConnected, leavesOf } from '../rows/dependence.js';
import { flopsOf, partNeeds } from '../rows/needs.js';
import { isEmpty, type Range, share } from '../rows/range.js';
import { byteLength } from '../tensor.js';
import { PLAN_VERSION, type PlanPart, planError, type RowPlan } from './plan.js';

export type VolumeRule = 'blocks' | 'layers' | number;

export interface RuleOptions {
  readonly volumes?: VolumeRule;
  /** Relative share of the rows for each device; its length is the number of devices. */
  readonly weights: readonly number[];
}

/** Share of a volume's work that `blocks` lets its parts compute twice. */
const HALO_LIMIT = 0.1;
/** A fully connected layer with at least this many bytes of weights is cut by output channels. */
const LARGE_HEAD_BYTES = 16e6;

/** Cuts `rows` by weights into parts in device order; devices with weight 0 get none. */
export function weightedParts(weights: readonly number[], rows: number): PlanPart[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let before = 0;
  return weights.map((weight, device) => {
    const from = Math.floor((before / total) * rows + 0.5);
    before += weight;
    return { device, from, to: Math.floor((before / total) * rows + 0.5) };
  });
}

/** Makes the plan. Throws `PLAN_INVALID` for weights or a number of volumes that make no sense. */
export function planByRule(analysis: Analysis, { volumes = 'blocks', weights }: RuleOptions): RowPlan {
  checkWeights(weights);
  const { sequence } = analysis;
  const ends = candidateEnds(analysis);
  const chosen =
    ends.length === 0
      ? []
      : volumes === 'blocks'
        ? blockEnds(analysis, ends, weights)
        : volumes === 'layers'
          ? layerEnds(analysis, ends)
          : equalEnds(analysis, ends, volumes);
  return {
    version: PLAN_VERSION,
    devices: weights.length,
    volumes: chosen.map((index) => {
      const end = rowOutput(analysis, sequence[index] as PlacedNode) ?? '';
      return { end, parts: weightedParts(weights, rowsOf(analysis, end)) };
    }),
    ...headBy(analysis, weights),
  };
}

/** Throws `PLAN_INVALID` for relative shares that make no sense. */
function checkWeights(weights: readonly number[]): void {
  const sound = weights.length > 0 && weights.every((weight) => Number.isFinite(weight) && weight >= 0);
  if (!sound || weights.every((weight) => weight === 0)) {
    throw planError('the shares make no sense', 'weights', {
      expected: 'a number ≥ 0 for each device, not all 0',
      got: `[${weights.join(', ')}]`,
    });
  }
}

/** The first output of an op that can be cut by rows. */
export function rowOutput({ axes }: Analysis, { node }: PlacedNode): string | undefined {
  return node.outputs.find((name) => axes.has(name));
}

/** Whether an op makes every row from the same row of its inputs, and multiplies nothing. */
export function isPointwise({ rule, view, flops }: PlacedNode): boolean {
  if (rule?.kind !== 'local') return false;
  const probe = { from: 0, to: 1 };
  const elements = (view.outputs[0]?.shape ?? []).reduce((product, dim) => product * dim, 1);
  return (
    flops <= elements * Math.max(2, view.inputs.length) &&
    rule.need(probe).every((range) => range === undefined || range.to === 1)
  );
}

/** Positions in the sequence where a volume may end: not between an op and the pointwise op that alone reads it. */
function candidateEnds(analysis: Analysis): number[] {
  const { sequence } = analysis;
  const ends = sequence.flatMap((placed, index): number[] => {
    const output = rowOutput(analysis, placed);
    if (output === undefined) return [];
    const next = sequence[index + 1];
    const followed =
      next !== undefined &&
      isPointwise(next) &&
      next.node.inputs.filter((name) => analysis.axes.has(name)).every((name) => name === output);
    return followed ? [] : [index];
  });
  const last = sequence.findLastIndex((placed) => rowOutput(analysis, placed) !== undefined);
  return last >= 0 && ends.at(-1) !== last ? [...ends, last] : ends;
}

/** Bytes of the values alive after each position. */
function aliveBytes(analysis: Analysis): number[] {
  const { sequence, graph, axes, head } = analysis;
  const lastRead = new Map<string, number>();
  sequence.forEach(({ node }, index) => {
    for (const name of reads(node)) if (axes.has(name)) lastRead.set(name, index);
  });
  for (const { node } of head) for (const name of reads(node)) if (axes.has(name)) lastRead.set(name, sequence.length);
  let bytes = 0;
  const ending = sequence.map(() => 0);
  return sequence.map(({ node }, index) => {
    for (const name of node.outputs) {
      const last = lastRead.get(name);
      const { dtype, shape } = typeOf(graph, name);
      if (last === undefined || dtype === undefined || shape === undefined || !axes.has(name)) continue;
      const size = byteLength(dtype, shape);
      bytes += size;
      if (last < ending.length) ending[last] = (ending[last] ?? 0) + size;
    }
    bytes -= ending[index] ?? 0;
    return bytes;
  });
}

function blockEnds(analysis: Analysis, ends: readonly number[], weights: readonly number[]): number[] {
  const alive = aliveBytes(analysis);
  const forced = forcedEnds(analysis);
  const devices = weights.filter((weight) => weight > 0).length;
  const rowsAt = (index: number): number =>
    rowsOf(analysis, rowOutput(analysis, analysis.sequence[index] as PlacedNode) ?? '');
  const chosen: number[] = [];
  let start = 0;
  let at = 0;
  while (at < ends.length) {
    let reach = at;
    while (reach + 1 < ends.length) {
      const end = ends[reach + 1] as number;
      const crosses = forced.some((boundary) => boundary > start && boundary <= end);
      const tooFew = rowsAt(end) < devices && rowsAt(ends[reach] as number) >= devices;
      if (crosses || tooFew || haloShare(analysis, start, end, weights) > HALO_LIMIT) break;
      reach += 1;
    }
    let best = reach;
    if (reach + 1 < ends.length) {
      const middle = at + Math.ceil((reach - at) / 2);
      for (let candidate = reach; candidate >= middle; candidate--) {
        if ((alive[ends[candidate] as number] ?? 0) < (alive[ends[best] as number] ?? 0)) best = candidate;
      }
    }
    chosen.push(ends[best] as number);
    start = (ends[best] as number) + 1;
    at = best + 1;
  }
  return chosen;
}

/** Positions before which an exchange is needed whatever the plan: the first readers of combined results, and islands. */
function forcedEnds(analysis: Analysis): number[] {
  const pending = new Set<string>();
  return analysis.sequence.flatMap(({ node, kind }, index) => {
    const waits =
      kind === 'island' || reads(node).some((name) => [...leavesOf(analysis, name)].some((leaf) => pending.has(leaf)));
    if (waits) pending.clear();
    if (kind === 'global' || kind === 'island') for (const name of node.outputs) pending.add(name);
    return waits ? [index] : [];
  });
}

/** Work that the parts of a volume do beyond the volume's own, as a share of it. */
function haloShare(analysis: Analysis, start: number, end: number, weights: readonly number[]): number {
  const nodes = analysis.sequence.slice(start, end + 1);
  const made = new Set(nodes.flatMap(({ node }) => node.outputs));
  const readLater = new Set([...analysis.sequence.slice(end + 1), ...analysis.head].flatMap(({ node }) => reads(node)));
  for (const name of analysis.graph.outputs) readLater.add(name);
  const alive = [...made].filter((name) => analysis.axes.has(name) && readLater.has(name));
  const work = nodes.reduce((sum, { flops, kind }) => (kind === 'rows' ? sum + flops : sum), 0);
  const total = weightedParts(weights, 1 << 20).reduce((sum, part) => {
    const wanted = new Map<string, Range>();
    for (const name of alive) {
      const range = share(part, 1 << 20, rowsOf(analysis, name));
      if (!isEmpty(range)) wanted.set(name, range);
    }
    return sum + flopsOf(analysis, partNeeds(analysis, nodes, wanted));
  }, 0);
  return work === 0 ? 0 : total / work - 1;
}

function layerEnds({ sequence }: Analysis, ends: readonly number[]): number[] {
  return ends.filter((end, index) => {
    if (index === ends.length - 1) return true;
    const from = index === 0 ? 0 : (ends[index - 1] as number) + 1;
    return sequence.slice(from, end + 1).some((placed) => !isPointwise(placed));
  });
}

function equalEnds({ sequence, flops }: Analysis, ends: readonly number[], count: number): number[] {
  if (!Number.isInteger(count) || count < 1) {
    throw planError('the number of volumes makes no sense', 'volumes', {
      expected: 'blocks, layers or a whole number ≥ 1',
      got: `${count}`,
    });
  }
  const chosen: number[] = [];
  let work = 0;
  let next = 0;
  sequence.forEach((placed, index) => {
    work += placed.flops;
    if (ends[next] !== index) return;
    next += 1;
    const last = next === ends.length;
    if (last || work >= (flops * (chosen.length + 1)) / count) {
      if (last || chosen.length < count - 1) chosen.push(index);
    }
  });
  return chosen;
}

function headBy(analysis: Analysis, weights: readonly number[]): { head?: PlanPart[] } {
  const cut = firstFullyConnected(analysis);
  if (cut === undefined) return {};
  const { graph } = analysis;
  const { node } = cut.placed;
  const bytes = node.inputs.reduce((sum, name) => sum + (graph.constants.get(name)?.data.byteLength ?? 0), 0);
  const channels = typeOf(graph, node.outputs[0] ?? '').shape?.at(-1) ?? 0;
  if (bytes < LARGE_HEAD_BYTES) return {};
  return { head: weightedParts(weights, channels).filter(({ from, to }) => to > from) };
}
