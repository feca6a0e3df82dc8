/**
 * Sub-models of parts that stand alone: some ops of a workload, or its head, as a part would run them, with everything they
 * read coming in and everything they make going out. For measuring what parts take, without a plan. Rows that ops have made come in as
 * a part of a divided volume has them: its own and another device's, to be joined.
 */
import { groupsOf, type WorkGroup } from '../cost/groups.js';
import type { Workload } from '../cost/workload.js';
import { DistrEdgeError } from '../errors.js';
import { reads, typeOf } from '../graph/graph.js';
import { planByRule } from '../plan/rule.js';
import type { Analysis, PlacedNode } from '../rows/analysis.js';
import { firstFullyConnected } from '../rows/dependence.js';
import { flopsOf, partNeeds } from '../rows/needs.js';
import { isEmpty, type Range } from '../rows/range.js';
import { byteLength, type DataType } from '../tensor.js';
import type { BuiltModel } from './builder.js';
import type { Exchange, Piece, Segment } from './exchange.js';
import { nodesIdentity } from './identity.js';
import { ownShare, type Stage } from './stages.js';
import { type Lowered, lower, type Product, partialsName, type StepDraft, withLeaves } from './steps.js';
import { pieceShape, writeStep } from './submodel.js';

/** A tensor that a part model takes or gives; its shape is that of this part. */
export interface PartPort {
  readonly name: string;
  /** The workload's tensor of which it holds rows; undefined for what is no such tensor. */
  readonly tensor: number | undefined;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** One part as a model. Parts that differ only in their number of rows mostly have the same model bytes. */
export interface PartModel {
  readonly model: BuiltModel;
  readonly inputs: readonly PartPort[];
  readonly outputs: readonly PartPort[];
  /** Rows that it makes of each op's output, by op from the first one on; halo rows included. 0 for an op it leaves out. */
  readonly rows: readonly number[];
  /** What its time depends on: parts with the same text take the same time. */
  readonly identity: string;
}

/** Writes parts of one model. */
export interface PartWriter {
  /**
   * Ops `first` to `last` of the workload, for `rows` rows in the middle of the last one's output and the same fraction of
   * whatever else is read later. Throws `INTERNAL` for ops that do not exist.
   */
  ops(first: number, last: number, rows: number): PartModel;
  /** A part that hands one row of the model's first input through: what being started takes. */
  nothing(): PartModel;
  /** The head up to its first fully connected layer, with this many of that layer's output channels; undefined where there is none to cut. */
  headCut(channels: number): PartModel | undefined;
  /** What follows the cut layer, or the whole head where none is cut; undefined where nothing does. */
  headRest(cut: boolean): PartModel | undefined;
}

/** Readies writing parts of a model. */
export function partWriter(analysis: Analysis, workload: Workload): PartWriter {
  return new Writer(analysis, workload);
}

/** The model of one op; see `PartWriter.ops`. */
export function opModel(analysis: Analysis, workload: Workload, op: number, rows: number): PartModel {
  return partWriter(analysis, workload).ops(op, op, rows);
}

const ONE: Range = { from: 0, to: 1 };

/** Whether a global op's result is among these tensors. */
function partialOf({ node }: PlacedNode, kept: ReadonlySet<string>): boolean {
  return node.outputs.some((name) => kept.has(name));
}

class Writer implements PartWriter {
  readonly #analysis: Analysis;
  readonly #workload: Workload;
  /** The model lowered for one device: the values of every kind, its islands and its head. */
  readonly #base: Lowered;
  /** The nodes of each op of the workload. */
  readonly #groups: readonly WorkGroup[];
  /** The tensor of every value that is one. */
  readonly #tensors: ReadonlyMap<string, number>;
  readonly #readers: ReadonlyMap<string, readonly PlacedNode[]>;

  constructor(analysis: Analysis, workload: Workload) {
    this.#analysis = analysis;
    this.#workload = workload;
    const { groups, readers } = groupsOf(analysis);
    this.#groups = groups;
    // A view of a tensor is that tensor.
    this.#tensors = new Map([
      ...groups.flatMap(({ nodes }, op): [string, number][] => {
        const tensor = workload.ops[op]?.outputs[0];
        return tensor === undefined
          ? []
          : nodes.flatMap(({ node }) => node.outputs.map((name): [string, number] => [name, tensor]));
      }),
      ...workload.tensors.map(({ name }, tensor): [string, number] => [name, tensor]),
    ]);
    this.#readers = readers;
    this.#base = this.#lowered();
  }

  ops(first: number, last: number, rows: number): PartModel {
    const chain = this.#groups.slice(first, last + 1);
    const end = this.#workload.ops[last];
    if (end === undefined || first < 0 || first > last || rows < 1 || rows > end.rows) {
      throw new DistrEdgeError('INTERNAL', 'a part of ops or rows that do not exist', {
        where: `ops ${first} to ${last}, ${rows} rows`,
      });
    }
    const members = new Map(
      chain.flatMap(({ nodes }, index) => nodes.map((node): [PlacedNode, number] => [node, index])),
    );
    const nodes = this.#analysis.nodes.filter((placed) => members.has(placed));
    const from = (end.rows - rows) >> 1;
    const part = { device: 0, range: { from, to: from + rows }, index: 0 };
    const stage: Stage = { kind: 'rows', volume: 0, nodes, height: end.rows, parts: [part] };
    const island = nodes.length === 1 && nodes[0]?.kind === 'island' ? nodes[0] : undefined;
    const step =
      island === undefined
        ? this.#rowsStep(stage, this.#keptOf(members))
        : (this.#base.steps.find(({ work }) => work.computed.some(({ placed }) => placed === island)) as StepDraft);
    const counts = chain.map(() => 0);
    for (const { placed, out } of step.work.computed) {
      const index = members.get(placed) ?? 0;
      const made = out === undefined ? (this.#workload.ops[first + index]?.rows ?? 0) : out.to - out.from;
      counts[index] = Math.max(counts[index] ?? 0, made);
    }
    for (const { placed, rows: reduced } of step.partials) counts[members.get(placed) ?? 0] = reduced.to - reduced.from;
    return this.#write(stage, step, counts);
  }

  nothing(): PartModel {
    const value = this.#analysis.graph.inputs[0] ?? '';
    const range = ONE;
    const part = { device: 0, range, index: 0 };
    const work = { held: new Map(), external: new Map(), computed: [] };
    const products = [{ value, held: range, owned: range }];
    const needs = new Map([[value, range]]);
    const step: StepDraft = { stage: 0, part, needs, products, work, partials: [], results: [], flops: 0 };
    return this.#write({ kind: 'rows', volume: 0, nodes: [], height: 1, parts: [part] }, step, []);
  }

  headCut(channels: number): PartModel | undefined {
    const cut = firstFullyConnected(this.#analysis);
    if (cut === undefined) return undefined;
    const lowered = this.#lowered(channels);
    const step = lowered.steps.find(({ stage }) => lowered.stages[stage]?.kind === 'channels') as StepDraft;
    return this.#write(lowered.stages[step.stage] as Stage, step, [], lowered);
  }

  headRest(cut: boolean): PartModel | undefined {
    const lowered = cut ? this.#lowered(1) : this.#base;
    const step = lowered.steps.find(({ stage }) => lowered.stages[stage]?.kind === 'head');
    if (step === undefined || step.results.length === 0) return undefined;
    return this.#write(lowered.stages[step.stage] as Stage, step, [], lowered);
  }

  /** The model on one device as one volume; with the first `channels` output channels of the head's cut layer apart. */
  #lowered(channels?: number): Lowered {
    const analysis = this.#analysis;
    const { head: _, ...plan } = planByRule(analysis, { volumes: 1, weights: [1] });
    if (channels === undefined) return lower(analysis, { ...plan, head: 0 });
    const cut = firstFullyConnected(analysis);
    const all = typeOf(analysis.graph, cut?.placed.node.outputs[0] ?? '').shape?.at(-1) ?? channels;
    const parts = [
      { device: 0, from: 0, to: channels },
      { device: 0, from: channels, to: all },
    ];
    return lower(analysis, { ...plan, head: parts.filter(({ from, to }) => to > from) });
  }

  /** Of the values that these nodes make, those that others read, and the model's outputs. */
  #keptOf(members: ReadonlyMap<PlacedNode, number>): Set<string> {
    const outputs = new Set(this.#analysis.graph.outputs);
    const kept = new Set<string>();
    for (const { node } of members.keys()) {
      for (const name of node.outputs) {
        const outside = (this.#readers.get(name) ?? []).some((reader) => !members.has(reader));
        if (outside || outputs.has(name)) kept.add(name);
      }
    }
    return kept;
  }

  #rowsStep(stage: Stage, kept: ReadonlySet<string>): StepDraft {
    const analysis = this.#analysis;
    const part = stage.parts[0] as Stage['parts'][number];
    const wanted = new Map<string, Range>();
    for (const name of kept) {
      if (!analysis.axes.has(name)) continue;
      const range = ownShare(analysis, stage, part, name);
      if (!isEmpty(range)) wanted.set(name, range);
    }
    const partials = stage.nodes.flatMap((placed) => {
      const { rule } = placed;
      if (placed.kind !== 'global' || rule?.kind !== 'global' || !partialOf(placed, kept)) return [];
      const input = placed.node.inputs[rule.input] ?? '';
      const rows = ownShare(analysis, stage, part, input);
      wanted.set(input, rows);
      return [{ placed, rule, rows, value: partialsName(placed) }];
    });
    const work = partNeeds(analysis, stage.nodes, wanted);
    const names = work.computed.flatMap(({ placed }) => reads(placed.node));
    const needs = withLeaves({ analysis, values: this.#base.values }, work.external, names);
    const products = [...kept].flatMap((value): Product[] => {
      const owned = wanted.get(value);
      return owned === undefined ? [] : [{ value, held: work.held.get(value) ?? owned, owned }];
    });
    for (const { value } of partials) products.push({ value, held: ONE, owned: ONE });
    return { stage: 0, part, needs, products, work, partials, results: [], flops: flopsOf(analysis, work) };
  }

  /** What a part reads of a value: of what ops made, the last row comes from another device. */
  #piecesOf(value: string, range: Range): Piece[] {
    const { axes, graph } = this.#analysis;
    const made = axes.has(value) && !graph.inputs.includes(value);
    if (!made || range.to - range.from < 2) return [{ value, range }];
    const end = range.to - 1;
    return [
      { value, range: { from: range.from, to: end } },
      { value, range: { from: end, to: range.to } },
    ];
  }

  #write(stage: Stage, step: StepDraft, rows: readonly number[], lowered: Lowered = this.#base): PartModel {
    const alone = { ...step, stage: 0 };
    const needs = [...step.needs].flatMap(([value, range]) => this.#piecesOf(value, range));
    const products = step.products.map(({ value, owned }): Piece => ({ value, range: owned }));
    const flow: Exchange = {
      steps: [alone],
      messages: [
        { after: -1, from: -1, to: 0, stage: 0, pieces: needs },
        { after: 0, from: 0, to: -1, stage: 1, pieces: products },
      ],
      reads: [
        new Map(
          [...step.needs.keys()].map((name): [string, Segment[]] => [
            name,
            needs.flatMap(({ value, range }, piece) =>
              value === name ? [{ range, source: { kind: 'message', message: 0, piece } }] : [],
            ),
          ]),
        ),
      ],
      keeps: [new Map()],
    };
    const { model, inputs, outputs } = writeStep(
      this.#analysis,
      { ...lowered, stages: [stage], steps: [alone] },
      flow,
      0,
    );
    const port = ({ port: name, value, range }: { port: string; value: string; range: Range }): PartPort => {
      const spec = lowered.values.get(value);
      if (spec === undefined)
        throw new DistrEdgeError('INTERNAL', 'a part moves a value that is not known', { where: value });
      const shape = pieceShape(spec, range);
      return { name, tensor: this.#tensors.get(value), dtype: spec.dtype, shape, bytes: byteLength(spec.dtype, shape) };
    };
    const ins = inputs.map(port);
    const outs = outputs.map(port);
    const computed = [...step.work.computed.map(({ placed, out }) => ({ placed, rows: out })), ...step.partials];
    const nodes = computed.map(({ placed }) => placed.node);
    const identity = [
      stage.kind,
      nodesIdentity(this.#analysis.graph, stage.cut === undefined ? nodes : [...nodes, stage.cut.placed.node]),
      computed.map(({ rows: made }) => (made === undefined ? 'all' : made.to - made.from)),
      ins.map(({ shape }) => shape.join('×')),
      outs.map(({ shape }) => shape.join('×')),
    ].join('\n');
    return { model, inputs: ins, outputs: outs, rows, identity };
  }
}
