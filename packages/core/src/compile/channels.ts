/**
 * Volumes that are cut by output channels, written as volumes that are cut by rows: the convolution becomes one for each
 * part, with its share of the filters, and whoever reads all channels joins them first. Each part is then a volume that one
 * device computes whole, so nothing behind this file knows of channels.
 *
 * What lies before the convolution in its volume (the sum and activation of a residual block, say) is cheap and is computed
 * by every device for itself, from rows or channels that it was sent; sending its result would cost another exchange.
 */
import type { Graph, Node, TensorType } from '../graph/graph.js';
import { attributeMap, reads, typeOf } from '../graph/graph.js';
import { channelsOf } from '../ops/registry.js';
import { isChannels, isGather, type Plan, type PlanChannels, planError, type RowPlan } from '../plan/plan.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { CHANNEL_AXIS, channelChain } from '../rows/dependence.js';
import { sliceRows, type Tensor } from '../tensor.js';

export interface Expanded {
  readonly graph: Graph;
  /** Cut by rows only. */
  readonly plan: RowPlan;
  /** For every node that stands for a part or copy of one of the model: that node's name. */
  readonly origins: ReadonlyMap<string, string>;
}

/**
 * The graph and plan without volumes that are cut by channels. Throws `PLAN_INVALID` where such a volume is not made of cheap
 * ops, one convolution, and ops that keep channels apart.
 */
export function expandChannels(analysis: Analysis, plan: Plan): Expanded {
  return new Expander(analysis, plan).run();
}

class Expander {
  readonly #analysis: Analysis;
  readonly #plan: Plan;
  readonly #nodes: Node[] = [];
  readonly #types: Map<string, TensorType>;
  readonly #constants: Map<string, Tensor>;
  readonly #origins = new Map<string, string>();
  readonly #names: Set<string>;
  /** Tensors that exist as runs of channels, in order. */
  readonly #pieces = new Map<string, string[]>();
  /** Those of them that are joined somewhere under their own name. */
  readonly #joined = new Set<string>();
  /** What a device calls its own copy of a tensor. */
  readonly #copies = new Map<string, Map<number, string>>();
  readonly #volumes: RowPlan['volumes'][number][] = [];

  constructor(analysis: Analysis, plan: Plan) {
    const { graph, nodes } = analysis;
    this.#analysis = analysis;
    this.#plan = plan;
    this.#types = new Map(graph.types);
    this.#constants = new Map(graph.constants);
    this.#names = new Set([...graph.types.keys(), ...graph.constants.keys(), ...nodes.map(({ node }) => node.name)]);
  }

  run(): Expanded {
    const { graph, nodes } = this.#analysis;
    const plan = this.#plan;
    const position = new Map(
      nodes.flatMap(({ node }, index) => node.outputs.map((name): [string, number] => [name, index])),
    );
    const last = plan.volumes.findLastIndex((volume) => !isGather(volume));
    /** For each volume and part of the plan, what it becomes. */
    const became: (readonly [number, number] | undefined)[][] = [];
    let next = 0;
    plan.volumes.forEach((volume, index) => {
      if (isGather(volume)) {
        became.push([[this.#volumes.push(volume) - 1, 0]]);
        return;
      }
      const rest = index === last && !isChannels(volume);
      const stop = rest ? nodes.length : (position.get(volume.end) ?? next - 1) + 1;
      const own = nodes.slice(next, Math.max(next, stop)).filter(({ kind }) => kind !== 'head');
      next = Math.max(next, stop);
      if (isChannels(volume)) {
        became.push(this.#cut(volume, own, `volumes.${index}`));
        return;
      }
      for (const placed of own) this.#plain(placed.node);
      const at = this.#volumes.push(volume) - 1;
      became.push(volume.parts.map((_, part) => [at, part]));
    });
    const left = this.#finish(nodes.slice(next), plan.volumes[last]);
    for (const { node, kind } of nodes) if (kind === 'head') this.#nodes.push(node);
    const schedule = plan.schedule?.flatMap(([volume, part]) => {
      const place = became[volume]?.[part];
      return place === undefined ? [] : [place];
    });
    return {
      graph: { ...graph, nodes: this.#nodes, types: this.#types, constants: this.#constants },
      plan: {
        ...plan,
        volumes: this.#volumes,
        ...(schedule === undefined ? {} : { schedule: left === undefined ? schedule : [...schedule, [left, 0]] }),
      },
      origins: this.#origins,
    };
  }

  /** What follows the last volume, where that is cut by channels: on the device with most of them. */
  #finish(nodes: readonly PlacedNode[], last: Plan['volumes'][number] | undefined): number | undefined {
    const { graph, axes, head } = this.#analysis;
    const before = this.#nodes.length;
    for (const { node, kind } of nodes) if (kind !== 'head') this.#plain(node);
    for (const { node } of head) for (const name of reads(node)) this.#join(name);
    for (const name of graph.outputs) this.#join(name);
    const end = this.#nodes
      .slice(before)
      .flatMap(({ outputs }) => outputs)
      .findLast((name) => axes.has(name));
    if (last === undefined || !isChannels(last) || end === undefined) return undefined;
    const { device } = last.channels.reduce((a, b) => (b.to - b.from > a.to - a.from ? b : a));
    const rows = rowsOf(this.#analysis, end);
    return this.#volumes.push({ end, parts: [{ device, from: 0, to: rows }] }) - 1;
  }

  /** A node as it stands, behind what joins the channels that it reads. */
  #plain(node: Node): void {
    for (const name of reads(node)) this.#join(name);
    this.#nodes.push(node);
  }

  /** Joins a tensor's channels under its own name, once. */
  #join(name: string): void {
    const pieces = this.#pieces.get(name);
    if (pieces === undefined || this.#joined.has(name)) return;
    this.#joined.add(name);
    this.#concat(name, pieces, name);
  }

  #concat(of: string, pieces: readonly string[], output: string): void {
    const name = this.#fresh(`${of}~join`);
    const attributes = attributeMap({ axis: CHANNEL_AXIS });
    this.#nodes.push({ name, op: 'Concat', domain: '', inputs: pieces, outputs: [output], captures: [], attributes });
    this.#types.set(output, typeOf(this.#analysis.graph, of));
  }

  #cut(volume: PlanChannels, own: readonly PlacedNode[], where: string): (readonly [number, number] | undefined)[] {
    const { graph } = this.#analysis;
    const chain = channelChain(this.#analysis, own, volume.end);
    if (chain === undefined) {
      throw planError('a volume cannot be cut by output channels', where, {
        expected:
          'cheap ops, a convolution with constant weights that `end` follows, and ops that keep its channels apart',
        got: `'${volume.end}'`,
        hint: 'cut it by rows: `parts` instead of `channels`',
      });
    }
    const all = typeOf(graph, volume.end).shape?.[CHANNEL_AXIS] ?? 0;
    const covered = Math.max(...volume.channels.map(({ to }) => to));
    if (covered !== all) {
      throw planError('the parts do not cover the channels of the volume', where, {
        expected: `channels 0 to ${all}`,
        got: `0 to ${covered}`,
      });
    }
    const before = own.filter((placed) => placed.kind !== 'free' && !chain.includes(placed));
    for (const { node, kind } of own) if (kind === 'free') this.#plain(node);
    const runs = new Map(chain.map(({ node }): [string, string[]] => [outputOf(node), []]));
    const places = new Map<number, number>();
    const order = [...volume.channels.entries()].sort(([, a], [, b]) => a.from - b.from);
    const rows = rowsOf(this.#analysis, volume.end);
    for (const [index, part] of order) {
      if (part.from === part.to) continue;
      const local = new Map<string, string>();
      for (const { node } of before) this.#copy(node, part.device, local);
      for (const placed of chain) this.#slice(placed, part, local, runs);
      const end = local.get(volume.end) ?? volume.end;
      places.set(index, this.#volumes.push({ end, parts: [{ device: part.device, from: 0, to: rows }] }) - 1);
    }
    for (const [name, pieces] of runs) this.#pieces.set(name, pieces);
    return volume.channels.map((_, index) => {
      const at = places.get(index);
      return at === undefined ? undefined : [at, 0];
    });
  }

  /** What a device calls a tensor: its own copy, joining its channels first where it has none. */
  #own(name: string, device: number): string {
    const copies = this.#copies.get(name) ?? new Map<number, string>();
    this.#copies.set(name, copies);
    const known = copies.get(device);
    if (known !== undefined) return known;
    const pieces = this.#pieces.get(name);
    if (pieces === undefined) return name;
    const output = this.#joined.has(name) ? this.#fresh(`${name}~${device}`) : name;
    this.#joined.add(name);
    this.#concat(name, pieces, output);
    copies.set(device, output);
    return output;
  }

  /** A device's own copy of a node; the first one keeps the names. */
  #copy(node: Node, device: number, local: Map<string, string>): void {
    const inputs = node.inputs.map((name) => (name === '' ? '' : (local.get(name) ?? this.#own(name, device))));
    const isFirst = !node.outputs.some((name) => this.#copies.get(name)?.size);
    const outputs = node.outputs.map((name) => {
      if (name === '') return '';
      const output = isFirst ? name : this.#fresh(`${name}~${device}`);
      this.#types.set(output, typeOf(this.#analysis.graph, name));
      const copies = this.#copies.get(name) ?? new Map<number, string>();
      this.#copies.set(name, copies.set(device, output));
      local.set(name, output);
      return output;
    });
    this.#nodes.push({ ...node, name: isFirst ? node.name : this.#named(node, device), inputs, outputs });
  }

  /** A node that makes only some channels. */
  #slice(
    { node, view }: PlacedNode,
    { device, from, to }: { readonly device: number; readonly from: number; readonly to: number },
    local: Map<string, string>,
    runs: ReadonlyMap<string, string[]>,
  ): void {
    const { cuts = [] } = channelsOf(view) ?? {};
    const inputs = node.inputs.map((name, index) => {
      const cut = cuts.find(({ input }) => input === index);
      const tensor = this.#constants.get(name);
      if (cut === undefined || tensor === undefined)
        return name === '' ? '' : (local.get(name) ?? this.#own(name, device));
      const sliced = this.#fresh(`${name}~${from}`);
      const value = sliceRows(tensor, cut.axis, { from, to });
      this.#constants.set(sliced, value);
      this.#types.set(sliced, { dtype: value.dtype, shape: value.shape });
      return sliced;
    });
    const name = outputOf(node);
    const output = this.#fresh(`${name}~${from}`);
    const { dtype, shape } = typeOf(this.#analysis.graph, name);
    this.#types.set(output, { dtype, shape: shape?.map((size, axis) => (axis === CHANNEL_AXIS ? to - from : size)) });
    local.set(name, output);
    runs.get(name)?.push(output);
    const outputs = node.outputs.map((given) => (given === '' ? '' : output));
    this.#nodes.push({ ...node, name: this.#named(node, device), inputs, outputs });
  }

  #named(node: Node, device: number): string {
    const name = this.#fresh(`${node.name}~${device}`);
    this.#origins.set(name, node.name);
    return name;
  }

  /** A name that nothing has. */
  #fresh(base: string): string {
    let name = base;
    for (let again = 1; this.#names.has(name); again++) name = `${base}.${again}`;
    this.#names.add(name);
    return name;
  }
}

function outputOf(node: Node): string {
  return node.outputs.find((name) => name !== '') ?? '';
}
