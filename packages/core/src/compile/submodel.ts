/**
 * Writes the sub-model of one step. The model itself joins own rows and received ones (Concat along the row axis) and cuts
 * out the rows to keep and to send (Slice), so that the runtime never copies a large tensor. Heights of its inputs and
 * outputs are left open: steps that differ in nothing but the number of rows share one model.
 */
import { DistrEdgeError } from '../errors.js';
import type { LocalRule } from '../ops/op.js';
import { familyOf } from '../ops/registry.js';
import type { Analysis, PlacedNode } from '../rows/analysis.js';
import { equal, type Range } from '../rows/range.js';
import { type BuiltModel, type Port, SubModelBuilder } from './builder.js';
import type { Exchange, Piece, Segment } from './exchange.js';
import type { Stage } from './stages.js';
import { type Lowered, partialsName, type StepDraft, type ValueSpec } from './steps.js';

/** A tensor that a step's model takes: the rows of a piece that it has. */
export interface StepInput {
  readonly port: string;
  readonly source: Segment['source'];
  readonly value: string;
  /** Rows of the whole piece; the model cuts out what it needs. */
  readonly range: Range;
}

export interface StepOutput {
  readonly port: string;
  readonly value: string;
  readonly range: Range;
}

export interface WrittenStep {
  readonly model: BuiltModel;
  readonly inputs: readonly StepInput[];
  readonly outputs: readonly StepOutput[];
}

/** Keeping a little more than is read later is cheaper than cutting it out. */
const KEEP_WHOLE = 0.75;

/** Shape of some rows of a value. */
export function pieceShape(value: ValueSpec, range: Range): number[] {
  return value.shape.map((dim, axis) => (axis === value.axis ? range.to - range.from : dim));
}

/** What of a product is really kept: all that is held where most of it is read later. */
export function keptRange(held: Range, read: Range): Range {
  return read.to - read.from >= KEEP_WHOLE * (held.to - held.from) ? held : read;
}

export function writeStep(analysis: Analysis, lowered: Lowered, exchange: Exchange, index: number): WrittenStep {
  return new StepWriter(analysis, lowered, exchange, index).write();
}

class StepWriter {
  readonly #analysis: Analysis;
  readonly #lowered: Lowered;
  readonly #exchange: Exchange;
  readonly #index: number;
  readonly #step: StepDraft;
  readonly #stage: Stage;
  readonly #build: SubModelBuilder;
  /** What exists in the model of each value with rows: under which name, and which rows. */
  readonly #held = new Map<string, { name: string; range: Range }>();
  /** Values without rows that exist in the model. */
  readonly #whole = new Set<string>();
  readonly #cuts = new Map<string, string>();
  readonly #inputs: (StepInput & { readonly spec: Port })[] = [];

  constructor(analysis: Analysis, lowered: Lowered, exchange: Exchange, index: number) {
    this.#analysis = analysis;
    this.#lowered = lowered;
    this.#exchange = exchange;
    this.#index = index;
    this.#step = exchange.steps[index] as StepDraft;
    this.#stage = lowered.stages[this.#step.stage] as Stage;
    this.#build = new SubModelBuilder(analysis.graph);
  }

  write(): WrittenStep {
    for (const [value, segments] of this.#exchange.reads[this.#index] ?? []) this.#bring(value, segments);
    const { cut } = this.#stage;
    if (this.#stage.kind === 'channels' && cut !== undefined) this.#channels(cut.placed, cut.rule);
    for (const { placed, out } of this.#step.work.computed) {
      if (out === undefined) this.#wholeNode(placed);
      else this.#rowsNode(placed, out);
    }
    for (const { placed, rule, rows, value } of this.#step.partials) {
      const input = this.#rows(placed.node.inputs[rule.input] ?? '', rows);
      const part = this.#build.fresh();
      rule.reduce(this.#build, input, rows, part);
      const at = this.#step.products.find((product) => product.value === value)?.held ?? { from: 0, to: 1 };
      const name = this.#build.reshape(part, [1, ...rule.partial.shape]);
      this.#held.set(value, { name, range: at });
    }
    for (const name of this.#step.results) this.#result(name);
    const outputs = this.#outputs();
    const model = this.#build.build(
      this.#inputs.map(({ spec }) => spec),
      outputs.map(({ port, value, range }) => this.#port(port, value, range)),
    );
    const inputs = this.#inputs.map(({ port, source, value, range }) => ({ port, source, value, range }));
    return { model, inputs, outputs };
  }

  #spec(value: string): ValueSpec {
    return this.#lowered.values.get(value) as ValueSpec;
  }

  /** A model input or output; its height is left open. */
  #port(name: string, value: string, range: Range): Port {
    const spec = this.#spec(value);
    const open = this.#analysis.axes.has(value);
    const shape = pieceShape(spec, range).map((dim, axis) => (open && axis === spec.axis ? -1 : dim));
    return { name, dtype: spec.dtype, shape };
  }

  /** Makes the rows that a step reads of a value out of the pieces it has. */
  #bring(value: string, segments: readonly Segment[]): void {
    const { axis } = this.#spec(value);
    const names = segments.map(({ range, source }) => {
      const piece = this.#pieceOf(value, source);
      const port = `in${this.#inputs.length}`;
      this.#inputs.push({ port, source, value, range: piece.range, spec: this.#port(port, value, piece.range) });
      if (axis === undefined || equal(range, piece.range)) return port;
      return this.#cut(port, axis, piece.range, range);
    });
    const [first] = segments;
    const last = segments.at(-1);
    const [only] = names;
    if (first === undefined || last === undefined || only === undefined) return;
    const name = axis === undefined ? only : this.#build.concat(names, axis);
    this.#held.set(value, { name, range: { from: first.range.from, to: last.range.to } });
    if (!this.#analysis.axes.has(value)) this.#single(value, name);
  }

  #pieceOf(value: string, source: Segment['source']): Piece {
    if (source.kind === 'message') return this.#exchange.messages[source.message]?.pieces[source.piece] as Piece;
    const from = this.#exchange.steps[source.step] as StepDraft;
    const held = from.products.find((product) => product.value === value)?.held as Range;
    const read = this.#exchange.keeps[source.step]?.get(value) as Range;
    return { value, range: this.#analysis.axes.has(value) ? keptRange(held, read) : held };
  }

  /** Rows of a range out of a held one; the end is counted from the end, so that it does not depend on the height. */
  #cut(name: string, axis: number, held: Range, range: Range, output?: string): string {
    const to = range.to === held.to ? undefined : range.to - held.to;
    return this.#build.slice(name, axis, range.from - held.from, to, output);
  }

  /** A value that exists once: the combined result of partial ones, or what an island, a cut layer or the caller gave. */
  #single(value: string, name: string): void {
    for (const placed of this.#analysis.sequence) {
      if (placed.kind !== 'global' || partialsName(placed) !== value || placed.rule?.kind !== 'global') continue;
      const outputs = placed.node.outputs;
      placed.rule.combine(this.#build, name, this.#lowered.covered.get(value) ?? [], outputs);
      for (const output of outputs) this.#whole.add(output);
      return;
    }
    if (name !== value) this.#build.node('Identity', [name], {}, value);
    this.#whole.add(value);
  }

  /** The name of exactly these rows of a value. */
  #rows(value: string, range: Range): string {
    const held = this.#held.get(value);
    if (held === undefined)
      throw new DistrEdgeError('INTERNAL', 'a part reads rows that it does not hold', { where: `value '${value}'` });
    if (equal(held.range, range)) return held.name;
    const key = `${value} ${range.from} ${range.to}`;
    let name = this.#cuts.get(key);
    if (name === undefined) {
      name = this.#cut(held.name, this.#spec(value).axis ?? 0, held.range, range);
      this.#cuts.set(key, name);
    }
    return name;
  }

  /** The name of a whole value: a constant, one that exists once, all rows of one, or one that is computed on the spot. */
  #all(value: string): string {
    if (value === '') return '';
    const { graph, producer, axes } = this.#analysis;
    if (graph.constants.has(value)) return this.#build.weight(value);
    if (this.#whole.has(value)) return value;
    if (axes.has(value)) return this.#rows(value, { from: 0, to: this.#spec(value).rows });
    const placed = producer.get(value);
    if (placed === undefined || placed.kind === 'global') {
      throw new DistrEdgeError('INTERNAL', 'a part reads a value that it does not have', { where: `value '${value}'` });
    }
    this.#wholeNode(placed);
    return value;
  }

  #wholeNode({ node, view }: PlacedNode): void {
    if (node.outputs.every((name) => name === '' || this.#whole.has(name))) return;
    for (const capture of node.captures) this.#named(capture);
    const inputs = node.inputs.map((name) => this.#all(name));
    const family = familyOf(node);
    if (family?.emitWhole === undefined) this.#build.copy(node, inputs, node.outputs);
    else family.emitWhole(view, this.#build, inputs);
    for (const output of node.outputs) {
      if (output === '') continue;
      this.#whole.add(output);
      const spec = this.#lowered.values.get(output);
      if (spec !== undefined) this.#held.set(output, { name: output, range: { from: 0, to: spec.rows } });
    }
  }

  /** Subgraphs read values by name: the whole value must stand under its own. */
  #named(value: string): void {
    const name = this.#all(value);
    if (name === value || this.#whole.has(value)) return;
    this.#build.node('Identity', [name], {}, value);
    this.#whole.add(value);
  }

  #rowsNode({ node, view, rule }: PlacedNode, out: Range): void {
    const local = rule as LocalRule;
    const needs = local.need(out);
    local.emit({
      out,
      build: this.#build,
      input: (index) => this.#operand(node.inputs[index] ?? '', needs[index], () => cutAxis(local, view, index)),
      output: (index) => node.outputs[index] ?? '',
    });
    for (const name of node.outputs) if (name !== '') this.#held.set(name, { name, range: out });
  }

  #operand(value: string, range: Range | undefined, axis: () => number): string {
    if (range === undefined) return this.#all(value);
    if (this.#analysis.axes.has(value)) return this.#rows(value, range);
    if (this.#analysis.graph.constants.has(value)) return this.#build.weight(value, { axis: axis(), range });
    return this.#build.slice(this.#all(value), axis(), range.from, range.to);
  }

  /** The fully connected layer of the head, on this part's output channels. */
  #channels(placed: PlacedNode, rule: LocalRule): void {
    const { node } = placed;
    const out = this.#step.part.range;
    for (const { placed: before } of this.#step.work.computed) this.#wholeNode(before);
    const needs = rule.need(out);
    const value = node.outputs[0] ?? '';
    rule.emit({
      out,
      build: this.#build,
      input: (index) => this.#operand(node.inputs[index] ?? '', needs[index], () => rule.cutAxes?.[index] ?? 0),
      output: () => value,
    });
    this.#held.set(value, { name: value, range: out });
  }

  /** A graph output without rows. */
  #result(name: string): void {
    const from = this.#all(name);
    this.#held.set(name, { name: from, range: { from: 0, to: 1 } });
  }

  /** Whether a name is the result of a node of this model, and so can be an output as it stands. */
  #madeHere(name: string): boolean {
    return !this.#analysis.graph.constants.has(name) && !this.#inputs.some(({ port }) => port === name);
  }

  /** Everything that is sent or kept, each different run of rows once. */
  #outputs(): StepOutput[] {
    const wanted = new Map<string, Piece>();
    const add = (piece: Piece): void => {
      wanted.set(`${piece.value} ${piece.range.from} ${piece.range.to}`, piece);
    };
    for (const [value, read] of this.#exchange.keeps[this.#index] ?? []) {
      const held = this.#step.products.find((product) => product.value === value)?.held as Range;
      add({ value, range: this.#analysis.axes.has(value) ? keptRange(held, read) : held });
    }
    for (const message of this.#exchange.messages) {
      if (message.after === this.#index) for (const piece of message.pieces) add(piece);
    }
    return [...wanted.values()].map(({ value, range }, index) => {
      const port = `out${index}`;
      const held = this.#held.get(value);
      if (held === undefined)
        throw new DistrEdgeError('INTERNAL', 'a part gives rows that it does not make', { where: `value '${value}'` });
      if (!equal(held.range, range)) this.#cut(held.name, this.#spec(value).axis ?? 0, held.range, range, port);
      else if (this.#madeHere(held.name)) return { port: held.name, value, range };
      else this.#build.node('Identity', [held.name], {}, port);
      return { port, value, range };
    });
  }
}

function cutAxis(rule: LocalRule, view: PlacedNode['view'], index: number): number {
  const given = rule.cutAxes?.[index];
  if (given !== undefined) return given;
  return (rule.axes[0] ?? 0) - view.outShape.length + view.shape(index).length;
}
