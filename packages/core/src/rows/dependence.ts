/** What undivided values depend on, and which layer of the head can be divided all the same. */
import { reads } from '../graph/graph.js';
import { channelRule } from '../ops/matmul.js';
import type { LocalRule } from '../ops/op.js';
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
