/**
 * Stages become **steps**: one per stage and part, each knowing which rows of which values it needs from elsewhere, which
 * it makes and which of those it owns. Values are of three kinds, told apart only by how they are stacked: tensors cut
 * along their row axis; partial results of a `global` op, stacked along a new first axis, one row per part; and values that
 * exist once, as a single row.
 */
import { DistrEdgeError } from '../errors.js';
import { type Graph, reads, typeOf } from '../graph/graph.js';
import type { GlobalRule } from '../ops/op.js';
import type { RowPlan } from '../plan/plan.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { leavesOf } from '../rows/dependence.js';
import { flopsOf, type PartNeeds, partNeeds } from '../rows/needs.js';
import { isEmpty, type Range } from '../rows/range.js';
import type { DataType } from '../tensor.js';
import { ownShare, type Stage, type StagePart, stagesOf } from './stages.js';

/** A value that crosses between steps. */
export interface ValueSpec {
  readonly name: string;
  readonly dtype: DataType;
  /** Full shape. */
  readonly shape: readonly number[];
  /** The axis it is cut along; undefined for values that exist once (one "row"). */
  readonly axis: number | undefined;
  readonly rows: number;
}

/** Rows of one value that a step makes, and the share of them that it owns (sends to whoever lacks them). */
export interface Product {
  readonly value: string;
  readonly held: Range;
  readonly owned: Range;
}

export interface StepDraft {
  readonly stage: number;
  readonly part: StagePart;
  readonly needs: ReadonlyMap<string, Range>;
  readonly products: readonly Product[];
  readonly work: PartNeeds;
  /** Global ops of which this step makes a partial result, with the rows of the input it covers. */
  readonly partials: readonly {
    readonly placed: PlacedNode;
    readonly rule: GlobalRule;
    readonly rows: Range;
    readonly value: string;
  }[];
  /** Graph outputs without rows that this step gives (the head). */
  readonly results: readonly string[];
  readonly flops: number;
}

export interface Lowered {
  readonly stages: readonly Stage[];
  readonly steps: readonly StepDraft[];
  readonly values: ReadonlyMap<string, ValueSpec>;
  /** For the stacked partials of each global op: the rows that each one covers. */
  readonly covered: ReadonlyMap<string, readonly Range[]>;
}

const ONE: Range = { from: 0, to: 1 };

/** The name of the stacked partial results of a global op. */
export function partialsName(placed: PlacedNode): string {
  return `${placed.node.outputs.find((name) => name !== '') ?? ''}~partials`;
}

/** Lowers a plan to steps. */
export function lower(analysis: Analysis, plan: RowPlan): Lowered {
  const stages = stagesOf(analysis, plan);
  const values = new Map<string, ValueSpec>();
  const covered = new Map<string, Range[]>();
  for (const name of analysis.axes.keys()) values.set(name, rowValue(analysis, name));
  for (const name of analysis.graph.inputs) if (!values.has(name)) values.set(name, singleValue(analysis.graph, name));
  const alive = aliveAfter(analysis, stages);
  const steps = stages.flatMap((stage, index) => {
    for (const { placed, rule, value } of globalsOf(stage)) {
      const input = placed.node.inputs[rule.input] ?? '';
      const shares = stage.parts
        .map((part) => ownShare(analysis, stage, part, input))
        .filter((range) => !isEmpty(range));
      covered.set(value, shares);
      const { dtype = 'float32', shape } = rule.partial;
      values.set(value, { name: value, dtype, shape: [shares.length, ...shape], axis: 0, rows: shares.length });
    }
    for (const { node, kind } of stage.nodes) {
      if (kind !== 'island') continue;
      for (const name of node.outputs)
        if (name !== '' && !values.has(name)) values.set(name, singleValue(analysis.graph, name));
    }
    const context: Context = { analysis, stages, stage, index, alive: alive[index] as ReadonlySet<string>, values };
    const rank = new Map<string, number>();
    return stage.parts.map((part) => stepOf(context, part, rank));
  });
  for (const name of analysis.graph.outputs) if (!values.has(name)) values.set(name, singleValue(analysis.graph, name));
  return { stages, steps, values, covered };
}

interface Context {
  readonly analysis: Analysis;
  readonly stages: readonly Stage[];
  readonly stage: Stage;
  readonly index: number;
  readonly alive: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, ValueSpec>;
}

function rowValue(analysis: Analysis, name: string): ValueSpec {
  const { dtype = 'float32', shape = [] } = typeOf(analysis.graph, name);
  return { name, dtype, shape, axis: analysis.axes.get(name), rows: rowsOf(analysis, name) };
}

/** A value that exists once. Where its shape is not known before it runs, it cannot be sent. */
function singleValue(graph: Graph, name: string): ValueSpec {
  const { dtype, shape } = typeOf(graph, name);
  if (dtype === undefined || shape === undefined) {
    throw new DistrEdgeError('SHAPE_UNKNOWN', 'a value that must be sent has no known shape', {
      where: `value '${name}'`,
      hint: 'run this model on one device, or export it with fixed shapes',
    });
  }
  return { name, dtype, shape, axis: undefined, rows: 1 };
}

/** For each stage, the values with rows that exist when it ends and that a later stage or the requester reads. */
function aliveAfter(analysis: Analysis, stages: readonly Stage[]): ReadonlySet<string>[] {
  const { graph, axes } = analysis;
  const wanted = new Set(graph.outputs.filter((name) => axes.has(name)));
  const result: ReadonlySet<string>[] = [];
  for (const stage of [...stages].reverse()) {
    result.push(new Set(wanted));
    for (const { node } of [...stage.nodes, ...(stage.cut === undefined ? [] : [stage.cut.placed])]) {
      for (const name of reads(node)) if (axes.has(name)) wanted.add(name);
    }
  }
  return result.reverse();
}

function globalsOf(stage: Stage): { placed: PlacedNode; rule: GlobalRule; value: string }[] {
  return stage.nodes.flatMap((placed) =>
    placed.kind === 'global' && placed.rule?.kind === 'global'
      ? [{ placed, rule: placed.rule, value: partialsName(placed) }]
      : [],
  );
}

function stepOf(context: Context, part: StagePart, rank: Map<string, number>): StepDraft {
  const { analysis, stage, index, alive } = context;
  const base = { stage: index, part };
  switch (stage.kind) {
    case 'rows':
      return rowsStep(context, part, rank);
    case 'gather': {
      const before = new Set(
        context.stages.slice(0, index).flatMap(({ nodes }) => nodes.flatMap(({ node }) => node.outputs)),
      );
      const names = [...alive].filter((name) => before.has(name));
      const whole = new Map(names.map((name): [string, Range] => [name, { from: 0, to: rowsOf(analysis, name) }]));
      const products = [...whole].map(([value, range]): Product => ({ value, held: range, owned: range }));
      return {
        ...base,
        needs: whole,
        products,
        work: { held: whole, external: whole, computed: [] },
        partials: [],
        results: [],
        flops: 0,
      };
    }
    case 'island': {
      const work = partNeeds(analysis, stage.nodes, new Map(), new Set(stage.nodes));
      const needs = withLeaves(
        context,
        work.external,
        stage.nodes.flatMap(({ node }) => reads(node)),
      );
      const products = stage.nodes
        .flatMap(({ node }) => node.outputs.filter((name) => name !== ''))
        .map((value): Product => {
          const range = { from: 0, to: context.values.get(value)?.rows ?? 1 };
          return { value, held: range, owned: range };
        });
      return { ...base, needs, products, work, partials: [], results: [], flops: flopsOf(analysis, work) };
    }
    case 'channels': {
      const { placed } = stage.cut as NonNullable<Stage['cut']>;
      const value = placed.node.outputs[0] ?? '';
      const work = partNeeds(analysis, stage.nodes, rowReads(analysis, [placed]), new Set(stage.nodes));
      const needs = withLeaves(
        context,
        work.external,
        [...stage.nodes, placed].flatMap(({ node }) => reads(node)),
      );
      const channels = part.range.to - part.range.from;
      const flops = flopsOf(analysis, work) + (placed.flops * channels) / stage.height;
      (context.values as Map<string, ValueSpec>).set(value, channelValue(analysis.graph, value));
      return {
        ...base,
        needs,
        products: [{ value, held: part.range, owned: part.range }],
        work,
        partials: [],
        results: [],
        flops,
      };
    }
    case 'head': {
      const cutAt = context.stages.find(({ kind }) => kind === 'channels')?.cut?.placed.node.outputs[0];
      // What the cut layer or an island made goes to the requester from there.
      const made = (name: string): boolean => name === cutAt || analysis.producer.get(name)?.kind === 'island';
      const results = analysis.graph.outputs.filter((name) => !analysis.axes.has(name) && !made(name));
      const nodes = neededNodes(stage.nodes, results, cutAt);
      const work = partNeeds(analysis, nodes, new Map(), new Set(nodes));
      const needs = withLeaves(context, work.external, [...nodes.flatMap(({ node }) => reads(node)), ...results]);
      if (cutAt !== undefined)
        (needs as Map<string, Range>).set(cutAt, { from: 0, to: context.values.get(cutAt)?.rows ?? 1 });
      const products = results.map((value): Product => ({ value, held: ONE, owned: ONE }));
      return { ...base, needs, products, work, partials: [], results, flops: flopsOf(analysis, work) };
    }
  }
}

function rowsStep(context: Context, part: StagePart, rank: Map<string, number>): StepDraft {
  const { analysis, stage, index, alive } = context;
  const wanted = new Map<string, Range>();
  const want = (name: string): Range => {
    const range = ownShare(analysis, stage, part, name);
    if (!isEmpty(range)) wanted.set(name, range);
    return range;
  };
  const made = stage.nodes
    .flatMap(({ node }) => node.outputs)
    .filter((name) => analysis.axes.has(name) && alive.has(name));
  for (const name of made) want(name);
  const partials = globalsOf(stage).flatMap(({ placed, rule, value }) => {
    const rows = want(placed.node.inputs[rule.input] ?? '');
    return isEmpty(rows) ? [] : [{ placed, rule, rows, value }];
  });
  const work = partNeeds(analysis, stage.nodes, wanted);
  const needs = withLeaves(
    context,
    work.external,
    work.computed.flatMap(({ placed }) => reads(placed.node)),
  );
  const products = made.flatMap((value): Product[] => {
    const held = work.held.get(value);
    return held === undefined ? [] : [{ value, held, owned: ownShare(analysis, stage, part, value) }];
  });
  for (const { value } of partials) {
    const at = rank.get(value) ?? 0;
    rank.set(value, at + 1);
    products.push({ value, held: { from: at, to: at + 1 }, owned: { from: at, to: at + 1 } });
  }
  const reduced = partials.reduce((sum, { placed, rule, rows }) => {
    return sum + (placed.flops * (rows.to - rows.from)) / rowsOf(analysis, placed.node.inputs[rule.input] ?? '');
  }, 0);
  return { stage: index, part, needs, products, work, partials, results: [], flops: flopsOf(analysis, work) + reduced };
}

/** What a step needs from elsewhere: rows, and all of every combined or single value that its nodes read. */
export function withLeaves(
  { analysis, values }: Pick<Context, 'analysis' | 'values'>,
  external: ReadonlyMap<string, Range>,
  names: readonly string[],
): Map<string, Range> {
  const needs = new Map(external);
  for (const name of names) {
    for (const leaf of leavesOf(analysis, name)) {
      const placed = analysis.producer.get(leaf);
      const value = placed?.kind === 'global' ? partialsName(placed) : leaf;
      const spec = values.get(value);
      if (spec !== undefined) needs.set(value, { from: 0, to: spec.rows });
    }
  }
  return needs;
}

function rowReads(analysis: Analysis, nodes: readonly PlacedNode[]): Map<string, Range> {
  const names = nodes.flatMap(({ node }) => reads(node)).filter((name) => analysis.axes.has(name));
  return new Map(names.map((name): [string, Range] => [name, { from: 0, to: rowsOf(analysis, name) }]));
}

function channelValue(graph: Graph, name: string): ValueSpec {
  const single = singleValue(graph, name);
  const axis = single.shape.length - 1;
  return { ...single, axis, rows: single.shape[axis] ?? 1 };
}

/** The head's nodes that its results need, not looking behind a value that is already there. */
function neededNodes(
  nodes: readonly PlacedNode[],
  results: readonly string[],
  ready: string | undefined,
): PlacedNode[] {
  const needed = new Set(results);
  const found: PlacedNode[] = [];
  for (const placed of [...nodes].reverse()) {
    if (!placed.node.outputs.some((name) => needed.has(name) && name !== ready)) continue;
    found.push(placed);
    for (const name of reads(placed.node)) needed.add(name);
  }
  return found.reverse();
}
