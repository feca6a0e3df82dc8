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

/** The convolution whose channels make a tensor's, and the ops from it to the tensor, in order; undefined where there is none. */
export function channelChain(analysis: Analysis, end: string): readonly [PlacedNode, ...PlacedNode[]] | undefined {
  const chain: PlacedNode[] = [];
  let name = end;
  for (;;) {
    const placed = analysis.producer.get(name);
    const axis = analysis.axes.get(name);
    if (placed?.kind !== 'rows' || axis === undefined || axis === CHANNEL_AXIS) return undefined;
    if (placed.node.outputs.some((other) => other !== '' && other !== name)) return undefined;
    const rule = channelsOf(placed.view);
    if (rule === undefined) return undefined;
    chain.push(placed);
    if (rule.follows === undefined) return chain.reverse() as unknown as readonly [PlacedNode, ...PlacedNode[]];
    name = placed.node.inputs[rule.follows] ?? '';
  }
}
