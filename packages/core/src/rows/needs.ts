/**
 * Row algebra of one part: from the rows wanted of some values, back through a run of nodes, to the rows that must be held
 * of every value on the way (union over readers, as one contiguous range) and to what must come from outside.
 */
import { reads } from '../graph/graph.js';
import { type Analysis, type PlacedNode, rowsOf } from './analysis.js';
import { hull, length, type Range } from './range.js';

export interface PartNeeds {
  /** Rows held of every value with rows that the part makes or reads. */
  readonly held: ReadonlyMap<string, Range>;
  /** Those of them that are made outside the run of nodes, and so must be brought. */
  readonly external: ReadonlyMap<string, Range>;
  /** The nodes of the run that the part computes at all, in order, each with the output rows it makes (undefined: no rows). */
  readonly computed: readonly { readonly placed: PlacedNode; readonly out: Range | undefined }[];
}

/**
 * @param nodes a run of nodes of the sequence, in order
 * @param wanted rows wanted of values (of the run or from outside it)
 * @param always nodes of the run that are computed whatever is wanted, on all rows of their inputs
 */
export function partNeeds(
  analysis: Analysis,
  nodes: readonly PlacedNode[],
  wanted: ReadonlyMap<string, Range>,
  always: ReadonlySet<PlacedNode> = new Set(),
): PartNeeds {
  const held = new Map(wanted);
  const made = new Set(nodes.flatMap(({ node }) => node.outputs));
  const computed: { placed: PlacedNode; out: Range | undefined }[] = [];
  const want = (name: string, range: Range): void => {
    held.set(name, hull(held.get(name), range));
  };
  for (const placed of [...nodes].reverse()) {
    const { node, rule } = placed;
    if (always.has(placed)) {
      for (const name of reads(node)) if (analysis.axes.has(name)) want(name, { from: 0, to: rowsOf(analysis, name) });
      computed.push({ placed, out: undefined });
      continue;
    }
    if (rule?.kind !== 'local') continue;
    const out = node.outputs.reduce<Range | undefined>((all, name) => {
      const range = held.get(name);
      return range === undefined ? all : hull(all, range);
    }, undefined);
    if (out === undefined || length(out) === 0) continue;
    for (const name of node.outputs) if (name !== '') held.set(name, out);
    rule.need(out).forEach((range, index) => {
      const name = node.inputs[index] ?? '';
      if (!analysis.axes.has(name)) return;
      want(name, range ?? { from: 0, to: rowsOf(analysis, name) });
    });
    computed.push({ placed, out });
  }
  const external = new Map([...held].filter(([name]) => !made.has(name)));
  return { held, external, computed: computed.reverse() };
}

/** Work of a part in floating-point operations: each op's in proportion to the rows made, halo rows included. */
export function flopsOf(analysis: Analysis, { computed }: Pick<PartNeeds, 'computed'>): number {
  return computed.reduce((sum, { placed, out }) => {
    if (out === undefined) return sum + placed.flops;
    const name = placed.node.outputs.find((output) => analysis.axes.has(output));
    return sum + (name === undefined ? 0 : (placed.flops * length(out)) / rowsOf(analysis, name));
  }, 0);
}
