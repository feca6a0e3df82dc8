/**
 * From an analysed model to its `Workload`. Every work op is a group of nodes (groups.ts); which rows of what it reads comes
 * from the row rules of its nodes, one output row at a time.
 *
 * A global op in mid-network (squeeze-excite, a normalisation over the image) makes a tensor of partial results with as
 * many rows as it reads, of which readers need all. Really there is one partial result per part; the tensor's rows are as
 * heavy as if four parts had made one each.
 */
import { typeOf } from '../graph/graph.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { partNeeds } from '../rows/needs.js';
import type { Range } from '../rows/range.js';
import { byteLength, elements } from '../tensor.js';
import { headOf } from './build-head.js';
import { groupsOf, leavesRead, productsOf, type WorkGroup } from './groups.js';
import { weightBytesOf } from './weights.js';
import type { WorkEnd, Workload, WorkOp, WorkRead, WorkShape, WorkTensor } from './workload.js';

/** Parts that are taken to share a global op. */
const USUAL_PARTS = 4;

/** What planners know of a model; `model` is its name. Throws what the ops' own rules throw, and nothing else. */
export function workloadOf(analysis: Analysis, model: string): Workload {
  const { graph, axes } = analysis;
  const { groups, tail, readers } = groupsOf(analysis);
  const tensors: WorkTensor[] = [];
  const tensorOf = new Map<string, number>();
  const add = (tensor: WorkTensor, names: readonly string[]): number => {
    for (const name of names) tensorOf.set(name, tensors.length);
    return tensors.push(tensor) - 1;
  };
  for (const name of graph.inputs) {
    add(axes.has(name) ? rowTensor(analysis, name) : singleTensor(analysis, name, 1), [name]);
  }
  const read = (name: string): boolean => readers.has(name) || graph.outputs.includes(name);
  const ops = groups.map((group): WorkOp => {
    const { node } = group.host;
    const outputs = outputsOf(analysis, group, read, readers).map(({ tensor, names }) => add(tensor, names));
    const rows = tensors[outputs[0] ?? -1]?.rows ?? 0;
    return {
      name: node.name,
      type: node.op,
      outputs,
      reads: readsOf(
        analysis,
        group,
        rows,
        outputs.map((tensor) => (tensors[tensor] as WorkTensor).name),
        tensorOf,
        tensors,
      ),
      rows,
      ...shapeOf(analysis, group.host),
      weightBytes: weightBytesOf(analysis, group.nodes),
      whole: group.host.kind === 'island',
    };
  });
  const outputs = graph.outputs.flatMap((name) => (axes.has(name) ? [tensorOf.get(name) ?? -1] : []));
  return {
    model,
    tensors,
    inputs: graph.inputs.length,
    ops,
    forced: forcedOf(analysis, groups, tensorOf),
    outputs: [...new Set(outputs)].filter((tensor) => tensor >= graph.inputs.length),
    head: headOf(analysis, tail, tensorOf),
    ends: endsOf(analysis, groups),
  };
}

/**
 * Where volumes of a `Plan` may end: at any tensor with rows. Inside a group that means at its end, unless the model makes
 * something else in between: then before the group.
 */
function endsOf(analysis: Analysis, groups: readonly WorkGroup[]): Map<string, WorkEnd> {
  const groupOf = new Map(
    groups.flatMap(({ nodes }, index) => nodes.map((placed): [PlacedNode, number] => [placed, index])),
  );
  const last = new Set(groups.map(({ nodes }) => nodes.at(-1)));
  const ends = new Map<string, WorkEnd>();
  let ended = 0;
  analysis.sequence.forEach((placed, place) => {
    if (last.has(placed)) ended += 1;
    const op = groupOf.get(placed) === ended ? ended : ended - 1;
    for (const name of placed.node.outputs) {
      if (name !== '' && analysis.axes.has(name)) ends.set(name, { op, place, rows: rowsOf(analysis, name) });
    }
  });
  return ends;
}

function rowTensor(analysis: Analysis, name: string): WorkTensor {
  const rows = rowsOf(analysis, name);
  return { name, rows, bytesPerRow: bytesOf(analysis, name) / Math.max(1, rows) };
}

/** A value that exists once, as this many rows. */
function singleTensor(analysis: Analysis, name: string, rows: number): WorkTensor {
  return { name, rows, bytesPerRow: bytesOf(analysis, name) / Math.max(1, rows) };
}

/** Bytes of a value; 0 where only the run tells. */
function bytesOf({ graph }: Analysis, name: string): number {
  const { dtype, shape } = typeOf(graph, name);
  return dtype === undefined || shape === undefined ? 0 : byteLength(dtype, shape);
}

interface Made {
  readonly tensor: WorkTensor;
  /** All values that are this tensor. */
  readonly names: readonly string[];
}

/** The tensors of a group that something outside reads, the one at its end first. */
function outputsOf(
  analysis: Analysis,
  { host, nodes, views }: WorkGroup,
  read: (name: string) => boolean,
  readers: ReadonlyMap<string, readonly PlacedNode[]>,
): Made[] {
  if (host.kind === 'global' && host.rule?.kind === 'global') {
    const rows = rowsOf(analysis, host.node.inputs[host.rule.input] ?? '');
    const { dtype = 'float32', shape } = host.rule.partial;
    const bytesPerRow = Math.ceil((USUAL_PARTS * byteLength(dtype, shape)) / Math.max(1, rows));
    const names = host.node.outputs.filter((name) => name !== '');
    return [{ tensor: { name: names[0] ?? host.node.name, rows, bytesPerRow }, names }];
  }
  if (host.kind === 'island') {
    const names = host.node.outputs.filter((name) => name !== '' && read(name));
    const first = names.find((name) => analysis.axes.has(name));
    const rows = first === undefined ? 1 : rowsOf(analysis, first);
    const ordered = [...names].sort((a, b) => Number(b === first) - Number(a === first));
    return ordered.map((name) => ({ tensor: singleTensor(analysis, name, rows), names: [name] }));
  }
  const inside = new Set(nodes);
  const outside = (name: string): boolean =>
    analysis.graph.outputs.includes(name) || (readers.get(name) ?? []).some((reader) => !inside.has(reader));
  // A view is the tensor it shows.
  const made: string[][] = [];
  for (const placed of nodes) {
    const names = placed.node.outputs.filter((name) => analysis.axes.has(name));
    const shown = views.has(placed) ? made.find((same) => same.includes(placed.node.inputs[0] ?? '')) : undefined;
    if (shown === undefined) made.push(...names.map((name) => [name]));
    else shown.push(...names);
  }
  return made
    .filter((names) => names.some(outside))
    .reverse()
    .map((names) => ({ tensor: rowTensor(analysis, names.at(-1) as string), names }));
}

/** What an op reads of every tensor, row by row of its output. */
function readsOf(
  analysis: Analysis,
  group: WorkGroup,
  rows: number,
  made: readonly string[],
  tensorOf: ReadonlyMap<string, number>,
  tensors: readonly WorkTensor[],
): WorkRead[] {
  const { host, nodes } = group;
  const found = new Map<number, WorkRead>();
  const want = (tensor: number, row: number, { from, to }: Range): void => {
    let entry = found.get(tensor);
    if (entry === undefined) {
      entry = { tensor, from: new Int32Array(rows).fill(tensors[tensor]?.rows ?? 0), to: new Int32Array(rows) };
      found.set(tensor, entry);
    }
    entry.from[row] = Math.min(entry.from[row] as number, from);
    entry.to[row] = Math.max(entry.to[row] as number, to);
  };
  const all = (tensor: number): void => {
    const range = { from: 0, to: tensors[tensor]?.rows ?? 0 };
    for (let row = 0; row < rows; row++) want(tensor, row, range);
  };
  if (host.kind === 'island') {
    for (const name of host.node.inputs) if (analysis.axes.has(name)) all(tensorOf.get(name) ?? 0);
  } else if (host.kind === 'global' && host.rule?.kind === 'global') {
    const tensor = tensorOf.get(host.node.inputs[host.rule.input] ?? '') ?? 0;
    for (let row = 0; row < rows; row++) want(tensor, row, { from: row, to: row + 1 });
  } else {
    for (let row = 0; row < rows; row++) {
      const range = { from: row, to: row + 1 };
      const { external } = partNeeds(analysis, nodes, new Map(made.map((name) => [name, range])));
      for (const [name, needed] of external) want(tensorOf.get(name) ?? 0, row, needed);
    }
  }
  for (const placed of nodes) {
    for (const leaf of leavesRead(analysis, placed)) all(tensorOf.get(leaf) ?? 0);
  }
  return [...found.values()].map(monotone);
}

/** The same windows, wider where they would go back from one row to the next. */
function monotone({ tensor, from, to }: WorkRead): WorkRead {
  for (let row = 1; row < to.length; row++) to[row] = Math.max(to[row] as number, to[row - 1] as number);
  for (let row = from.length - 2; row >= 0; row--) {
    from[row] = Math.min(from[row] as number, from[row + 1] as number);
  }
  return { tensor, from, to };
}

function shapeOf(analysis: Analysis, host: PlacedNode): WorkShape {
  const [name = ''] = host.node.outputs;
  const shape = typeOf(analysis.graph, name).shape ?? [];
  const products = productsOf(host);
  const axis = analysis.axes.get(name);
  const channelAxis = products?.channelAxis ?? (axis === 1 ? shape.length - 1 : 1);
  const channels = channelAxis === axis ? 1 : (shape[channelAxis] ?? 1);
  const rows = axis === undefined ? 1 : (shape[axis] ?? 1);
  return {
    multiplyAdds: products?.each ?? 0,
    width: elements(shape) / Math.max(1, rows * channels),
    channels,
  };
}

/** Ops before which rows must be exchanged: first readers of combined results, and islands, before and after. */
function forcedOf(analysis: Analysis, groups: readonly WorkGroup[], tensorOf: ReadonlyMap<string, number>): number[] {
  const pending = new Set<number | undefined>();
  let behindIsland = false;
  return groups.flatMap(({ host, nodes }, index) => {
    const island = host.kind === 'island';
    const waits =
      island ||
      behindIsland ||
      nodes.some((placed) => [...leavesRead(analysis, placed)].some((leaf) => pending.has(tensorOf.get(leaf))));
    if (waits) pending.clear();
    if (host.kind === 'global') for (const name of host.node.outputs) pending.add(tensorOf.get(name));
    behindIsland = island;
    return waits && index > 0 ? [index] : [];
  });
}
