/** Bytes of weights that nodes bring onto a device. */
import { typeOf } from '../graph/graph.js';
import type { Analysis, PlacedNode } from '../rows/analysis.js';
import { byteLength } from '../tensor.js';
import { productsOf } from './groups.js';

/** Bytes of one bias. */
const BIAS_BYTES = 4;

/**
 * Weights of nodes that are computed together, constants that they share counted once. Of a convolution or a matrix product
 * with constant weights: these, and one bias for each output channel, into which a batch norm behind it is folded. Whole
 * numbers of 32 or 64 bits are shapes and places, not weights.
 */
export function weightBytesOf(analysis: Analysis, nodes: readonly PlacedNode[]): number {
  const [host] = nodes;
  const products = host && productsOf(host);
  const shared = new Set<string>();
  if (host === undefined || products === undefined) {
    for (const placed of nodes) constantsOf(analysis, placed, shared);
    return sumOf(analysis, shared);
  }
  // A bias among its operands is the smaller one.
  const operands = host.node.inputs.map((name) => {
    const read = new Set<string>();
    constantsBehind(analysis, name, read);
    return sumOf(analysis, read);
  });
  const weights = Math.max(0, ...operands);
  const channels = host.view.outShape[products.channelAxis] ?? 0;
  return weights === 0 ? 0 : weights + BIAS_BYTES * channels;
}

function constantsOf(analysis: Analysis, { node }: PlacedNode, into: Set<string>): void {
  for (const name of [...node.inputs, ...node.captures]) constantsBehind(analysis, name, into);
}

/** The constants that a value is or is computed from by nodes that every reader computes for itself. */
function constantsBehind(analysis: Analysis, name: string, into: Set<string>): void {
  if (into.has(name)) return;
  const placed = analysis.producer.get(name);
  if (analysis.graph.constants.has(name)) into.add(name);
  else if (placed?.kind === 'free') {
    into.add(name);
    constantsOf(analysis, placed, into);
  }
}

function sumOf({ graph }: Analysis, names: ReadonlySet<string>): number {
  let bytes = 0;
  for (const name of names) {
    if (!graph.constants.has(name)) continue;
    const { dtype, shape } = typeOf(graph, name);
    if (dtype === undefined || shape === undefined || /^u?int(32|64)$|^bool$/.test(dtype)) continue;
    bytes += byteLength(dtype, shape);
  }
  return bytes;
}
