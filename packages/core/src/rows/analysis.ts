/**
 * What of a graph can be cut by rows. Walks the graph once, asks every op how its rows relate to its inputs', and sorts the
 * nodes into the kinds that the compiler knows:
 *
 * - `rows`: output rows come from a window of input rows; any device can make any range of them.
 * - `global`: reduces over all rows; every part gives a partial result, readers combine them.
 * - `island`: cannot be divided, but divided work follows it; runs whole on one device.
 * - `free`: reads only constants and combined results; so small that every reader computes it for itself.
 * - `head`: undividable work after which nothing is divided any more; runs on one device at the end.
 */
import { DistrEdgeError } from '../errors.js';
import { type Graph, type Node, reads, typeOf } from '../graph/graph.js';
import { OpView, type RowRule, whole } from '../ops/op.js';
import { familyOf } from '../ops/registry.js';

export type NodeKind = 'rows' | 'global' | 'island' | 'free' | 'head';

export interface PlacedNode {
  readonly node: Node;
  readonly view: OpView;
  readonly kind: NodeKind;
  readonly rule: RowRule | undefined;
  /** Floating-point operations of the whole op. */
  readonly flops: number;
}

export interface Analysis {
  readonly graph: Graph;
  /** The row axis of every value that has one. */
  readonly axes: ReadonlyMap<string, number>;
  /** All nodes, in order. */
  readonly nodes: readonly PlacedNode[];
  /** Nodes of kind `rows`, `global` and `island`, in order: what volumes are cut from. */
  readonly sequence: readonly PlacedNode[];
  /** Nodes of kind `head`, in order. */
  readonly head: readonly PlacedNode[];
  readonly producer: ReadonlyMap<string, PlacedNode>;
  readonly flops: number;
}

/** An op that is worth dividing has at least this share of the model's work behind an undividable one. */
const WORTH_DIVIDING = 0.02;
const MAX_COMBINATIONS = 256;

/** Rows of a value: its size along its row axis. */
export function rowsOf(analysis: Pick<Analysis, 'graph' | 'axes'>, name: string): number {
  const axis = analysis.axes.get(name);
  const size = axis === undefined ? undefined : typeOf(analysis.graph, name).shape?.[axis];
  if (size === undefined)
    throw new DistrEdgeError('INTERNAL', 'rows asked of a value without rows', { where: `value '${name}'` });
  return size;
}

/** Finds the row axes of the inputs under which most of the work can be divided, and what follows from them. */
export function analyse(graph: Graph): Analysis {
  const choices = graph.inputs.map((name) => axisCandidates(typeOf(graph, name).shape ?? []));
  let combinations: (number | undefined)[][] = [[]];
  for (const candidates of choices) {
    combinations = combinations.flatMap((head) => candidates.map((axis) => [...head, axis]));
    if (combinations.length > MAX_COMBINATIONS) combinations = combinations.slice(0, MAX_COMBINATIONS);
  }
  let best: Analysis | undefined;
  let bestScore = -1;
  for (const axes of combinations) {
    const given = new Map(
      graph.inputs.flatMap((name, index): [string, number][] => {
        const axis = axes[index];
        return axis === undefined ? [] : [[name, axis]];
      }),
    );
    const analysis = withAxes(graph, given);
    const score = worth(analysis);
    if (score > bestScore) [best, bestScore] = [analysis, score];
  }
  return best as Analysis;
}

/** Axes that may be the height, likeliest first: NCHW, then NHWC, then the others that are longer than 1. */
function axisCandidates(shape: readonly number[]): (number | undefined)[] {
  if (shape.length < 3) return [undefined];
  const preferred =
    shape.length === 3 ? [2, 1] : [2, 1, ...shape.keys()].filter((axis) => axis > 0 && axis < shape.length);
  const axes = [...new Set(preferred)].filter((axis) => (shape[axis] ?? 1) > 1);
  return axes.length === 0 ? [undefined] : axes;
}

/** Work that can be divided, with a small preference for dividing convolutions along their first spatial axis. */
function worth({ nodes, axes }: Analysis): number {
  let score = 0;
  for (const { node, kind, flops, view } of nodes) {
    if (kind !== 'rows' && kind !== 'global') continue;
    const axis = axes.get(node.outputs[0] ?? '');
    const rank = view.outputs[0]?.shape?.length ?? 0;
    const longest =
      rank === 5 && axis !== undefined && (view.outShape[axis] ?? 0) >= Math.max(...view.outShape.slice(2));
    score += (flops + 1) * (longest ? 1.02 : axis === 2 ? 1.01 : 1);
  }
  return score;
}

function withAxes(graph: Graph, given: ReadonlyMap<string, number>): Analysis {
  const total = graph.nodes.map((node) => flopsOf(viewOf(graph, node)));
  const flops = total.reduce((sum, value) => sum + value, 0);
  let headIslands: ReadonlySet<Node> = new Set();
  for (;;) {
    const { axes, rules } = walk(graph, given, headIslands);
    const behind = workBehind(graph, rules, total);
    const cheap = [...behind]
      .filter(([node, work]) => (work === 0 || work < WORTH_DIVIDING * flops) && !headIslands.has(node))
      .map(([node]) => node);
    // Everything behind the first undividable op that is not worth dividing again belongs to the head.
    if (cheap.length > 0) {
      headIslands = new Set([...headIslands, ...cheap]);
      continue;
    }
    const analysis = place(graph, axes, rules, total, flops);
    // Where nothing makes rows (a lone global pooling) no volume could end: there is nothing to divide.
    const makesRows = analysis.sequence.some(({ node }) => node.outputs.some((name) => axes.has(name)));
    if (makesRows) return analysis;
    // What cannot be divided anyway keeps its reason.
    const reasons = new Map([...rules].filter(([, rule]) => rule.kind === 'whole'));
    return place(graph, new Map(), reasons, total, flops);
  }
}

function viewOf(graph: Graph, node: Node): OpView {
  return new OpView(node, graph.opset, graph.types, graph.constants, true);
}

function flopsOf(view: OpView): number {
  try {
    return familyOf(view.node)?.flops?.(view) ?? 0;
  } catch (error) {
    if (error instanceof DistrEdgeError && error.code === 'SHAPE_UNKNOWN') return 0;
    throw error;
  }
}

function walk(
  graph: Graph,
  given: ReadonlyMap<string, number>,
  headIslands: ReadonlySet<Node>,
): { axes: Map<string, number>; rules: Map<Node, RowRule> } {
  const axes = new Map(given);
  const rules = new Map<Node, RowRule>();
  /** Values of a size that only the run tells, and all that is computed from them: such a value cannot be sent. */
  const unsized = new Set<string>();
  for (const node of graph.nodes) {
    const inputAxes = node.inputs.map((name) => axes.get(name));
    const behindUnsized = reads(node).some((name) => unsized.has(name));
    if (behindUnsized) for (const name of node.outputs) unsized.add(name);
    if (!reads(node).some((name) => axes.has(name))) continue;
    const rule = behindUnsized
      ? whole('it reads a value whose size only the run tells')
      : ruleOf(graph, node, inputAxes);
    rules.set(node, rule);
    if (behindUnsized) continue;
    if (rule.kind === 'whole' && node.outputs.some((name) => name !== '' && !isSized(graph, name))) {
      for (const name of node.outputs) unsized.add(name);
      continue;
    }
    if (rule.kind === 'local') {
      node.outputs.forEach((name, index) => {
        const axis = rule.axes[index];
        if (name !== '' && axis !== undefined) axes.set(name, axis);
      });
    } else if (rule.kind === 'whole' && !headIslands.has(node)) {
      for (const name of node.outputs) {
        const axis = islandAxis(graph, node, inputAxes, name);
        if (axis !== undefined) axes.set(name, axis);
      }
    }
  }
  return { axes, rules };
}

function isSized(graph: Graph, name: string): boolean {
  const { dtype, shape } = typeOf(graph, name);
  return dtype !== undefined && shape !== undefined;
}

function ruleOf(graph: Graph, node: Node, inputAxes: readonly (number | undefined)[]): RowRule {
  const family = familyOf(node);
  if (family === undefined)
    return whole(`the op ${node.domain === '' ? '' : `${node.domain}:`}${node.op} is not known`);
  if (node.captures.length > 0) return whole('it contains a subgraph');
  const view = viewOf(graph, node);
  const open = [...view.inputs, ...view.outputs].some((type) => type !== undefined && type.shape === undefined);
  if (open) return whole('the shape of an operand cannot be told before it runs');
  if (view.outputs.some(({ dtype }) => dtype === undefined)) return whole('its result has a type that cannot be sent');
  const rule = family.rows(view, inputAxes);
  if (
    rule.kind === 'global' &&
    node.inputs.some((name, index) => index !== rule.input && name !== '' && !graph.constants.has(name))
  ) {
    return whole('it reduces over all rows with operands that are computed');
  }
  return rule;
}

/** Rows of an undividable op's output, as good as can be told: the same axis as its input's where the ranks agree. */
function islandAxis(
  graph: Graph,
  node: Node,
  inputAxes: readonly (number | undefined)[],
  output: string,
): number | undefined {
  const { shape, dtype } = typeOf(graph, output);
  if (shape === undefined || dtype === undefined) return undefined;
  const axis = inputAxes.find((candidate, index) => {
    const rank = typeOf(graph, node.inputs[index] ?? '').shape?.length;
    return candidate !== undefined && rank === shape.length;
  });
  return axis !== undefined && (shape[axis] ?? 1) > 1 ? axis : undefined;
}

/** For every undividable op with divided work behind it: how much work that is, in floating-point operations. */
function workBehind(graph: Graph, rules: ReadonlyMap<Node, RowRule>, flops: readonly number[]): Map<Node, number> {
  const result = new Map<Node, number>();
  graph.nodes.forEach((start, index) => {
    if (rules.get(start)?.kind !== 'whole') return;
    const reached = new Set(start.outputs);
    let work = 0;
    for (let next = index + 1; next < graph.nodes.length; next++) {
      const node = graph.nodes[next] as Node;
      if (!reads(node).some((name) => reached.has(name))) continue;
      for (const name of node.outputs) reached.add(name);
      const kind = rules.get(node)?.kind;
      if (kind === 'local' || kind === 'global') work += flops[next] ?? 0;
    }
    result.set(start, work);
  });
  return result;
}

function place(
  graph: Graph,
  axes: ReadonlyMap<string, number>,
  rules: ReadonlyMap<Node, RowRule>,
  flops: readonly number[],
  total: number,
): Analysis {
  const feedsRows = new Set<string>();
  const nodes: PlacedNode[] = [];
  for (let index = graph.nodes.length - 1; index >= 0; index--) {
    const node = graph.nodes[index] as Node;
    const rule = rules.get(node);
    const ahead = node.outputs.some((name) => feedsRows.has(name));
    const divided = rule !== undefined && rule.kind !== 'whole';
    const kind: NodeKind =
      rule?.kind === 'local'
        ? 'rows'
        : rule?.kind === 'global'
          ? 'global'
          : !ahead
            ? 'head'
            : rule === undefined
              ? 'free'
              : 'island';
    if (divided || ahead) for (const name of reads(node)) feedsRows.add(name);
    nodes.push({ node, view: viewOf(graph, node), kind, rule, flops: flops[index] ?? 0 });
  }
  nodes.reverse();
  return {
    graph,
    axes,
    nodes,
    sequence: nodes.filter(({ kind }) => kind === 'rows' || kind === 'global' || kind === 'island'),
    head: nodes.filter(({ kind }) => kind === 'head'),
    producer: new Map(
      nodes.flatMap((placed) => placed.node.outputs.map((name): [string, PlacedNode] => [name, placed])),
    ),
    flops: total,
  };
}
