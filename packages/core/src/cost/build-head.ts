/**
 * The head of a `Workload`: the fully connected tail and whatever follows a global pooling at the end, op by op. As in the
 * divided part, what an engine computes on the side of the op before is not an op.
 */
import { reads, typeOf } from '../graph/graph.js';
import { channelRule } from '../ops/matmul.js';
import type { Analysis, PlacedNode } from '../rows/analysis.js';
import { firstFullyConnected, leavesOf } from '../rows/dependence.js';
import { byteLength, elements } from '../tensor.js';
import { besideOf, productsOf } from './groups.js';
import { weightBytesOf } from './weights.js';
import type { WorkHead, WorkHeadOp } from './workload.js';

/** Outputs of the model that have no rows come from the head, and so there is one wherever there are such. */
export function headOf(
  analysis: Analysis,
  tail: readonly PlacedNode[],
  tensorOf: ReadonlyMap<string, number>,
): WorkHead | undefined {
  const { graph, axes } = analysis;
  const given = new Set([...graph.inputs, ...graph.constants.keys()]);
  const results = graph.outputs.filter((name) => !axes.has(name) && !given.has(name));
  if (tail.length === 0 && results.length === 0) return undefined;
  const made = new Set(tail.flatMap(({ node }) => node.outputs));
  const outside = [...tail.flatMap(({ node }) => reads(node)), ...results].filter((name) => !made.has(name));
  const sources = outside.flatMap((name) => (axes.has(name) ? [name] : [...leavesOf(analysis, name)]));
  const tensors = sources.flatMap((name) => tensorOf.get(name) ?? []);
  const cut = tail.find((placed) => placed === firstFullyConnected(analysis)?.placed);
  const ancestors = cut === undefined ? new Set(tail) : ancestorsOf(tail, cut);
  const ops = opsOf(analysis, tail);
  const those = (chosen: (host: PlacedNode) => boolean): WorkHeadOp[] =>
    ops.flatMap(({ host, op }) => (chosen(host) ? [op] : []));
  return {
    reads: [...new Set(tensors)].sort((a, b) => a - b),
    before: those((host) => host !== cut && ancestors.has(host)),
    cut: those((host) => host === cut)[0],
    after: those((host) => host !== cut && !ancestors.has(host)),
    resultBytes: results.reduce((sum, name) => sum + bytesOf(analysis, name), 0),
  };
}

function ancestorsOf(tail: readonly PlacedNode[], target: PlacedNode): Set<PlacedNode> {
  const needed = new Set(reads(target.node));
  const found = new Set<PlacedNode>();
  for (const placed of [...tail].reverse()) {
    if (placed === target || !placed.node.outputs.some((name) => needed.has(name))) continue;
    found.add(placed);
    for (const name of reads(placed.node)) needed.add(name);
  }
  return found;
}

interface Hosted {
  readonly host: PlacedNode;
  readonly op: WorkHeadOp;
}

function opsOf(analysis: Analysis, tail: readonly PlacedNode[]): Hosted[] {
  const { constants } = analysis.graph;
  const groupOf = new Map<string, PlacedNode[]>();
  const groups: PlacedNode[][] = [];
  for (const placed of tail) {
    const operands = reads(placed.node).filter((name) => !constants.has(name));
    const [group, ...others] = new Set(operands.map((name) => groupOf.get(name)));
    const beside = besideOf(placed);
    // A view alone is no op; what is computed element by element is free behind arithmetic, and layouts go together.
    if (beside === 'view' && others.length === 0) {
      for (const name of placed.node.outputs) if (group !== undefined) groupOf.set(name, group);
      continue;
    }
    let own = others.length === 0 ? group : undefined;
    if (own !== undefined && !follows(own[0] as PlacedNode, beside)) own = undefined;
    if (own === undefined) {
      own = [];
      groups.push(own);
    }
    own.push(placed);
    for (const name of placed.node.outputs) groupOf.set(name, own);
  }
  return groups.map((nodes) => ({ host: nodes[0] as PlacedNode, op: opOf(analysis, nodes) }));
}

function follows(host: PlacedNode, beside: 'elementwise' | 'layout' | 'view' | undefined): boolean {
  if (beside === 'elementwise') return besideOf(host) === 'elementwise' || productsOf(host) !== undefined;
  return beside === 'layout' && besideOf(host) === 'layout';
}

function opOf(analysis: Analysis, nodes: readonly PlacedNode[]): WorkHeadOp {
  const host = nodes[0] as PlacedNode;
  const { node, view } = host;
  const shape = view.outputs[0]?.shape ?? [];
  const products = productsOf(host);
  const fullyConnected = products !== undefined && channelRule(view) !== undefined;
  const channelAxis = products?.channelAxis ?? 1;
  const channels = shape[channelAxis] ?? 1;
  const rows = channelAxis === 1 && shape.length > 2 ? (shape[2] ?? 1) : 1;
  const operands = new Set(reads(node).filter((name) => !analysis.graph.constants.has(name)));
  const moved = [...operands, ...node.outputs].reduce((sum, name) => sum + bytesOf(analysis, name), 0);
  return {
    name: node.name,
    type: node.op,
    rows,
    width: elements(shape) / Math.max(1, rows * channels),
    channels,
    multiplyAdds: products?.each ?? 0,
    fullyConnected,
    weightBytes: weightBytesOf(analysis, nodes),
    movedBytes: moved,
  };
}

/** Bytes of a value; 0 where only the run tells. */
function bytesOf({ graph }: Analysis, name: string): number {
  const { dtype, shape } = typeOf(graph, name);
  return dtype === undefined || shape === undefined ? 0 : byteLength(dtype, shape);
}
