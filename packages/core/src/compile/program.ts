/**
 * The **program**: a plan compiled for a model. One list of compute steps in an order in which they can run, the messages
 * between them, and the sub-models they run; each device gets its own part of it. The simulator and the runtime walk the
 * same program.
 */
import type { Graph } from '../graph/graph.js';
import { asRowPlan, isChannels, type Plan, type RowPlan } from '../plan/plan.js';
import { type Analysis, analyse } from '../rows/analysis.js';
import type { Range } from '../rows/range.js';
import { byteLength, type DataType } from '../tensor.js';
import type { BuiltModel } from './builder.js';
import { expandChannels } from './channels.js';
import { type Exchange, exchange, REQUESTER } from './exchange.js';
import { type Lowered, lower, type ValueSpec } from './steps.js';
import { keptRange, pieceShape, type WrittenStep, writeStep } from './submodel.js';

/** Rows of one value inside a message or a slot. */
export interface ProgramPiece {
  readonly value: string;
  readonly range: Range;
  readonly dtype: DataType;
  /** Shape of these rows. */
  readonly shape: readonly number[];
  /** Where its bytes begin in the message; a multiple of 8. */
  readonly offset: number;
}

export interface ProgramMessage {
  /** Step after which it leaves; -1: at once. */
  readonly after: number;
  /** Device index; -1 is the requester. */
  readonly from: number;
  readonly to: number;
  readonly pieces: readonly ProgramPiece[];
  readonly bytes: number;
}

export interface ProgramInput {
  readonly port: string;
  /** An output of an earlier step of the same device, by step and port, or a piece of a message. */
  readonly source:
    | { readonly step: number; readonly port: string }
    | { readonly message: number; readonly piece: number };
}

export interface ProgramOutput {
  readonly port: string;
  readonly value: string;
  readonly range: Range;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  /** Whether a later step of the same device reads it. */
  readonly kept: boolean;
}

export interface ProgramStep {
  readonly device: number;
  /** Index in the plan's volumes; their number for the head. */
  readonly volume: number;
  readonly stage: number;
  /** Index in the volume's parts. */
  readonly part: number;
  /** Rows of the volume's end tensor (channels for a cut head). */
  readonly range: Range;
  readonly model: number;
  readonly inputs: readonly ProgramInput[];
  readonly outputs: readonly ProgramOutput[];
  /** Messages that leave when it ends, in order. */
  readonly sends: readonly number[];
  readonly flops: number;
}

export interface Program {
  /** The model's graph; where the plan cuts by channels, one that is divided so, with the same inputs and outputs. */
  readonly graph: Graph;
  /** Cut by rows only: volumes that were cut by channels are one for each part. */
  readonly plan: RowPlan;
  readonly analysis: Analysis;
  readonly lowered: Lowered;
  readonly models: readonly BuiltModel[];
  readonly steps: readonly ProgramStep[];
  readonly messages: readonly ProgramMessage[];
  readonly values: ReadonlyMap<string, ValueSpec>;
  /** For every node that stands for some channels, or a device's copy, of one of the model: that node's name. */
  readonly origins: ReadonlyMap<string, string>;
}

/** Compiles a plan for a model. Throws `PLAN_INVALID` where it does not fit. */
export function compile(graph: Graph, plan: Plan, analysis: Analysis = analyse(graph)): Program {
  if (!plan.volumes.some(isChannels)) return compileRows(graph, asRowPlan(plan), analysis, new Map());
  const expanded = expandChannels(analysis, plan);
  return compileRows(expanded.graph, expanded.plan, analyse(expanded.graph), expanded.origins);
}

function compileRows(graph: Graph, plan: RowPlan, analysis: Analysis, origins: Program['origins']): Program {
  const lowered = lower(analysis, plan);
  const flow = exchange(analysis, plan, lowered);
  const messages = flow.messages.map((message): ProgramMessage => {
    let bytes = 0;
    const pieces = message.pieces.map(({ value, range }): ProgramPiece => {
      const spec = lowered.values.get(value) as ValueSpec;
      const shape = pieceShape(spec, range);
      const offset = bytes;
      bytes += Math.ceil(byteLength(spec.dtype, shape) / 8) * 8;
      return { value, range, dtype: spec.dtype, shape, offset };
    });
    return { after: message.after, from: message.from, to: message.to, pieces, bytes };
  });
  const models: BuiltModel[] = [];
  const known = new Map<string, number>();
  const written = flow.steps.map((_, index) => writeStep(analysis, lowered, flow, index));
  const steps = flow.steps.map((step, index): ProgramStep => {
    const { model, inputs, outputs } = written[index] as WrittenStep;
    const key = keyOf(model);
    const at = known.get(key) ?? models.push(model) - 1;
    known.set(key, at);
    const stage = lowered.stages[step.stage];
    return {
      device: step.part.device,
      volume: stage?.volume ?? 0,
      stage: step.stage,
      part: step.part.index,
      range: step.part.range,
      model: at,
      inputs: inputs.map(({ port, source, value, range }): ProgramInput => {
        if (source.kind === 'message') return { port, source: { message: source.message, piece: source.piece } };
        const kept = written[source.step]?.outputs.find(
          (output) => output.value === value && output.range.from === range.from && output.range.to === range.to,
        );
        return { port, source: { step: source.step, port: kept?.port ?? '' } };
      }),
      outputs: outputs.map(({ port, value, range }): ProgramOutput => {
        const spec = lowered.values.get(value) as ValueSpec;
        return {
          port,
          value,
          range,
          dtype: spec.dtype,
          shape: pieceShape(spec, range),
          kept: isKept(analysis, flow, index, value, range),
        };
      }),
      sends: messages.flatMap((message, at) => (message.after === index ? [at] : [])),
      flops: step.flops,
    };
  });
  return { graph, plan, analysis, lowered, models, steps, messages, values: lowered.values, origins };
}

function isKept(analysis: Analysis, flow: Exchange, index: number, value: string, range: Range): boolean {
  const read = flow.keeps[index]?.get(value);
  const held = flow.steps[index]?.products.find((product) => product.value === value)?.held;
  if (read === undefined || held === undefined) return false;
  const kept = analysis.axes.has(value) ? keptRange(held, read) : held;
  return kept.from === range.from && kept.to === range.to;
}

/** Models of the same bytes are one model. */
function keyOf({ bytes }: BuiltModel): string {
  let key = '';
  for (let at = 0; at < bytes.length; at += 8192) key += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return key;
}

export { REQUESTER };

/** Share of the unsplit model's work that lies in ops which more than one device computes rows (or channels) of. */
export function splitFlopShare({ analysis, lowered, origins }: Program): number {
  const devices = new Map<string, Set<number>>();
  const originOf = (name: string): string => origins.get(name) ?? name;
  const note = (node: string, device: number): void => {
    const name = originOf(node);
    const set = devices.get(name) ?? new Set();
    devices.set(name, set.add(device));
  };
  for (const step of lowered.steps) {
    const stage = lowered.stages[step.stage];
    if (stage?.kind === 'channels' && stage.cut !== undefined) note(stage.cut.placed.node.name, step.part.device);
    if (stage?.kind !== 'rows') continue;
    for (const { placed } of step.work.computed) note(placed.node.name, step.part.device);
    for (const { placed } of step.partials) note(placed.node.name, step.part.device);
  }
  const split = analysis.nodes.filter(({ node }) => (devices.get(originOf(node.name))?.size ?? 0) > 1);
  return analysis.flops === 0 ? 0 : split.reduce((sum, { flops }) => sum + flops, 0) / analysis.flops;
}
