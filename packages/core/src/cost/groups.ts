/**
 * Which nodes of a graph make one work op. A group is a **host**, the node that does the work, with the nodes behind it that
 * an engine computes on the side: an activation, batch norm or bias behind a convolution, a matrix product or an addition;
 * a change of name or shape behind anything; and moves of bytes in one pass. A group is never interrupted by a reader of its
 * values, so that its last node ends it in the order of the model too.
 */
import { reads } from '../graph/graph.js';
import type { Products } from '../ops/op.js';
import { familyOf } from '../ops/registry.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { leavesOf } from '../rows/dependence.js';
import { equal } from '../rows/range.js';

/** What a host lets follow it: `arithmetic` anything element by element, `layout` other moves of bytes, `other` views only. */
type Takes = 'arithmetic' | 'layout' | 'other';

export interface WorkGroup {
  readonly host: PlacedNode;
  /** In order, the host first. */
  readonly nodes: readonly PlacedNode[];
  /** Nodes of the group that only show their operand under another name or shape, row by row. */
  readonly views: ReadonlySet<PlacedNode>;
}

export interface Groups {
  /** In the order of their last nodes. */
  readonly groups: readonly WorkGroup[];
  /** The head, with the global ops that only it reads. */
  readonly tail: readonly PlacedNode[];
  /** The nodes that read each value, of those on which the outputs depend. */
  readonly readers: ReadonlyMap<string, readonly PlacedNode[]>;
}

interface Open {
  readonly host: PlacedNode;
  readonly nodes: PlacedNode[];
  readonly views: Set<PlacedNode>;
  readonly takes: Takes;
  /** Global ops and islands whose results the group reads. */
  readonly leaves: ReadonlySet<string>;
  /** Something else has read a value of the group. */
  closed: boolean;
}

/** The multiply-adds of a node; undefined where there are none, or where its shapes are not known. */
export function productsOf({ view }: PlacedNode): Products | undefined {
  return isShaped(view) ? familyOf(view.node)?.products?.(view) : undefined;
}

/** What an engine computes on the side of the op before; undefined for ops that take a pass of their own. */
export function besideOf({ view }: PlacedNode): 'elementwise' | 'view' | 'layout' | undefined {
  return isShaped(view) ? familyOf(view.node)?.beside?.(view) : undefined;
}

function isShaped({ inputs, outputs }: PlacedNode['view']): boolean {
  return [...inputs, ...outputs].every((type) => type === undefined || type.shape !== undefined);
}

/** Sorts the nodes on which the outputs depend into groups and the head. */
export function groupsOf(analysis: Analysis): Groups {
  const { graph, nodes, axes } = analysis;
  const live = liveNodes(analysis);
  const readers = new Map<string, PlacedNode[]>();
  for (const placed of live) {
    for (const name of new Set(reads(placed.node))) {
      const known = readers.get(name);
      if (known === undefined) readers.set(name, [placed]);
      else known.push(placed);
    }
  }
  const combined = new Set(live.flatMap((placed) => (placed.kind === 'head' ? [] : [...leavesRead(analysis, placed)])));
  const inTail = ({ kind, node }: PlacedNode): boolean =>
    kind === 'head' || (kind === 'global' && !node.outputs.some((name) => combined.has(name)));
  const outputs = new Set(graph.outputs);
  const groupOf = new Map<string, Open>();
  const groups: Open[] = [];
  for (const placed of live) {
    if (inTail(placed) || placed.kind === 'free') continue;
    const read = [...new Set(reads(placed.node).filter((name) => axes.has(name)))];
    const before = [...new Set(read.map((name) => groupOf.get(name)))];
    const leaves = leavesRead(analysis, placed);
    const [only] = before;
    const readOnce = (name: string): boolean => readers.get(name)?.length === 1 && !outputs.has(name);
    let group = before.length === 1 ? only : undefined;
    if (group !== undefined && !joins(analysis, group, placed, read, leaves, readOnce)) group = undefined;
    for (const other of before) if (other !== undefined && other !== group) other.closed = true;
    if (group === undefined) {
      group = { host: placed, nodes: [], views: new Set(), takes: takesOf(placed), leaves, closed: false };
      groups.push(group);
    } else if (besideOf(placed) === 'view' && keepsRows(analysis, placed, read)) group.views.add(placed);
    group.nodes.push(placed);
    for (const name of placed.node.outputs) groupOf.set(name, group);
  }
  const place = new Map(nodes.map((placed, index): [PlacedNode, number] => [placed, index]));
  const end = ({ nodes: members }: Open): number => place.get(members.at(-1) as PlacedNode) ?? 0;
  return { groups: groups.sort((a, b) => end(a) - end(b)), tail: live.filter(inTail), readers };
}

/** The nodes on which an output of the model depends, in order. */
function liveNodes({ graph, nodes }: Analysis): PlacedNode[] {
  const needed = new Set(graph.outputs);
  const live: PlacedNode[] = [];
  for (const placed of [...nodes].reverse()) {
    if (!placed.node.outputs.some((name) => needed.has(name))) continue;
    live.push(placed);
    for (const name of reads(placed.node)) needed.add(name);
  }
  return live.reverse();
}

/** The combined results that a node reads, through free nodes too. */
export function leavesRead(analysis: Analysis, { node, kind }: PlacedNode): Set<string> {
  const leaves = new Set<string>();
  if (kind === 'free') return leaves;
  for (const name of reads(node)) leavesOf(analysis, name, leaves);
  return leaves;
}

function takesOf(placed: PlacedNode): Takes {
  if (placed.kind !== 'rows') return 'other';
  const beside = besideOf(placed);
  if (beside === 'elementwise' || productsOf(placed) !== undefined) return 'arithmetic';
  return beside === undefined ? 'other' : 'layout';
}

function joins(
  analysis: Analysis,
  group: Open,
  placed: PlacedNode,
  read: readonly string[],
  leaves: ReadonlySet<string>,
  readOnce: (name: string) => boolean,
): boolean {
  if (group.closed || placed.kind !== 'rows' || group.host.kind !== 'rows') return false;
  if ([...leaves].some((leaf) => !group.leaves.has(leaf))) return false;
  const beside = besideOf(placed);
  if (beside === undefined) return false;
  if (beside !== 'layout' && keepsRows(analysis, placed, read)) {
    return beside === 'view' || group.takes === 'arithmetic';
  }
  const unseen = group.nodes.every(({ node }) => node.outputs.every((name) => name === '' || readOnce(name)));
  return beside !== 'elementwise' && group.takes === 'layout' && unseen;
}

/** Whether every output row comes from the same row of every operand, and there are as many of them. */
function keepsRows(analysis: Analysis, { node, rule }: PlacedNode, read: readonly string[]): boolean {
  if (rule?.kind !== 'local') return false;
  const rows = rowsOf(analysis, node.outputs.find((name) => analysis.axes.has(name)) ?? '');
  if (rows < 1 || read.some((name) => rowsOf(analysis, name) !== rows)) return false;
  return [
    { from: 0, to: rows },
    { from: rows - 1, to: rows },
  ].every((out) =>
    rule.need(out).every((range, index) => {
      const name = node.inputs[index] ?? '';
      return !analysis.axes.has(name) || (range !== undefined && equal(range, out));
    }),
  );
}
