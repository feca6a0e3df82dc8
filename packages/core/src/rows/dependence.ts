/** What undivided values depend on, and which layer of the head can be divided all the same. */
import { reads } from '../graph/graph.js';
import { channelRule } from '../ops/matmul.js';
import type { LocalRule } from '../ops/op.js';
import { channelsOf } from '../ops/registry.js';
import type { Analysis, PlacedNode } from './analysis.js';

/** The combined results of global ops (and single results of islands) that a value is computed from through `free` nodes. */
export function leavesOf(analysis: Analysis, name: string, into: Set<string> = new Set()): Set<string> {
  const placed = analysis.producer.get(name);
  if (name === '' || into.has(name) || analysis.axes.has(name) || analysis.graph.constants.has(name)) return into;
  if (placed === undefined || placed.kind === 'global' || placed.kind === 'island') into.add(name);
  else for (const input of reads(placed.node)) leavesOf(analysis, input, into);
  return into;
}

/** The first op of the head whose output channels can be computed apart, and how. */
export function firstFullyConnected(analysis: Analysis): { placed: PlacedNode; rule: LocalRule } | undefined {
  for (const placed of analysis.head) {
    const rule = channelRule(placed.view);
    if (rule !== undefined) return { placed, rule };
  }
  return undefined;
}

/** Where images have their channels. */
export const CHANNEL_AXIS = 1;

/** Whether an op is divided by rows and reads tensors with rows and constants only, so that any device can compute it. */
export function isPlain({ axes, graph }: Analysis, { node, kind }: PlacedNode): boolean {
  return kind === 'rows' && reads(node).every((name) => axes.has(name) || graph.constants.has(name));
}

/**
 * Whether a volume of these ops, which ends at the tensor `end`, can be cut by output channels, and around what: the
 * convolution that makes the channels and the ops from it to `end` that keep them apart, in order. All others lie before it.
 */
export function channelChain(
  analysis: Analysis,
  nodes: readonly PlacedNode[],
  end: string,
): readonly [PlacedNode, ...PlacedNode[]] | undefined {
  const own = nodes.filter(({ kind }) => kind !== 'free');
  const chain = chainTo(analysis, end);
  if (chain === undefined || !chain.every((placed) => own.includes(placed))) return undefined;
  const made = new Set(chain.flatMap(({ node }) => node.outputs));
  const fits = own.every(
    (placed) =>
      isPlain(analysis, placed) && (chain.includes(placed) || !reads(placed.node).some((name) => made.has(name))),
  );
  return fits ? chain : undefined;
}

function chainTo(analysis: Analysis, end: string): readonly [PlacedNode, ...PlacedNode[]] | undefined {
  let behind: PlacedNode[] = [];
  let name = end;
  for (;;) {
    const placed = analysis.producer.get(name);
    const axis = analysis.axes.get(name);
    if (placed?.kind !== 'rows' || axis === undefined || axis === CHANNEL_AXIS) return undefined;
    if (placed.node.outputs.some((other) => other !== '' && other !== name)) return undefined;
    const rule = channelsOf(placed.view);
    if (rule === undefined) return undefined;
    if (rule.follows === undefined) return [placed, ...behind];
    behind = [placed, ...behind];
    name = placed.node.inputs[rule.follows] ?? '';
  }
}
