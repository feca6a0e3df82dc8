/**
 * The exchange: in which order steps run, and exactly which rows go from whom to whom. A device *has* the rows that it
 * computed, was sent, or owns; what it has is never sent to it again. A step's rows leave when it ends, one message per
 * receiver and receiving stage.
 */
import { DistrEdgeError } from '../errors.js';
import { isGather, planError, type RowPlan } from '../plan/plan.js';
import type { Analysis } from '../rows/analysis.js';
import { hull, intersect, isEmpty, type Range, subtract } from '../rows/range.js';
import type { Lowered, StepDraft } from './steps.js';

/** The requester's place among the members of a cluster; devices are 0 and up. */
export const REQUESTER = -1;
/** The requester's "step": the graph's inputs are there from the start. */
const GIVEN = -1;

/** Rows of one value that travel or are kept together. */
export interface Piece {
  readonly value: string;
  readonly range: Range;
}

export interface DraftMessage {
  /** Index of the step after which it leaves; -1 for the image's own rows, sent by the requester. */
  readonly after: number;
  readonly from: number;
  readonly to: number;
  /** Stage that reads it first; Infinity for results. */
  readonly stage: number;
  readonly pieces: Piece[];
}

/** A run of rows that a step reads, from one piece it has. */
export interface Segment {
  readonly range: Range;
  readonly source:
    | { readonly kind: 'step'; readonly step: number }
    | { readonly kind: 'message'; readonly message: number; readonly piece: number };
}

export interface Exchange {
  /** Steps in an order in which they can run; all indices below refer to it. */
  readonly steps: readonly StepDraft[];
  readonly messages: readonly DraftMessage[];
  /** For each step, what it reads of every value it needs, from top to bottom. */
  readonly reads: readonly ReadonlyMap<string, readonly Segment[]>[];
  /** For each step, what of its products later steps of the same device read. */
  readonly keeps: readonly ReadonlyMap<string, Range>[];
}

interface Holding extends Segment {}

/** Orders the steps and resolves every need. Throws `PLAN_INVALID` where a schedule runs a part before its inputs exist. */
export function exchange(analysis: Analysis, plan: RowPlan, lowered: Lowered): Exchange {
  let { steps } = lowered;
  for (;;) {
    const flow = resolve(analysis, plan, lowered, steps);
    // Rows that nobody reads (those a strided op steps over) are not worth a step.
    const sends = new Set(flow.messages.map(({ after }) => after));
    const useful = flow.steps.filter((_, index) => sends.has(index) || (flow.keeps[index]?.size ?? 0) > 0);
    if (useful.length === flow.steps.length) return flow;
    const kept = new Set(useful);
    steps = steps.filter((step) => kept.has(step));
  }
}

function resolve(analysis: Analysis, plan: RowPlan, lowered: Lowered, steps: readonly StepDraft[]): Exchange {
  const state = new State(analysis, lowered);
  const waiting = prioritised(plan, lowered, steps);
  const strict =
    plan.schedule !== undefined && new Set(lowered.stages.map(({ volume }) => volume)).size === lowered.stages.length;
  while (waiting.length > 0) {
    const at = waiting.findIndex((step) => state.ready(step));
    const step = waiting[at];
    if (step === undefined || (strict && at > 0)) {
      const late = waiting[0] as StepDraft;
      const volume = lowered.stages[late.stage]?.volume ?? 0;
      throw planError(
        'the schedule runs a part before its own inputs exist',
        `schedule, part [${volume}, ${late.part.index}]`,
      );
    }
    waiting.splice(at, 1);
    state.commit(step);
  }
  state.deliver(analysis.graph.outputs);
  return state.result(plan);
}

/** The steps in the plan's schedule, by default from top to bottom; stages of one volume one after another, head last. */
function prioritised(plan: RowPlan, { stages }: Lowered, steps: readonly StepDraft[]): StepDraft[] {
  const place = new Map<string, number>();
  if (plan.schedule !== undefined) {
    for (const [index, [volume, part]] of plan.schedule.entries()) place.set(`${volume} ${part}`, index);
  } else {
    let next = 0;
    plan.volumes.forEach((volume, index) => {
      const parts = isGather(volume) ? [{ from: 0 }] : volume.parts;
      const downwards = [...parts.entries()].sort(([a, { from }], [b, other]) => from - other.from || a - b);
      for (const [part] of downwards) place.set(`${index} ${part}`, next++);
    });
  }
  const key = (step: StepDraft): number =>
    place.get(`${stages[step.stage]?.volume} ${step.part.index}`) ?? Number.POSITIVE_INFINITY;
  const byStage = plan.schedule === undefined;
  return steps
    .map((step, index) => ({ step, index, key: key(step) }))
    .sort((a, b) => {
      if (byStage) return a.step.stage - b.step.stage || compare(a.key, b.key) || a.index - b.index;
      return compare(a.key, b.key) || a.step.stage - b.step.stage || a.index - b.index;
    })
    .map(({ step }) => step);
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

class State {
  readonly #lowered: Lowered;
  readonly #steps: StepDraft[] = [];
  readonly #messages: DraftMessage[] = [];
  readonly #reads: Map<string, Segment[]>[] = [];
  readonly #keeps: Map<string, Range>[] = [];
  /** device → value → rows it has. */
  readonly #has = new Map<number, Map<string, Holding[]>>();
  /** value → who sends which rows. */
  readonly #owners = new Map<string, { range: Range; step: number }[]>();
  readonly #groups = new Map<string, number>();

  constructor(analysis: Analysis, lowered: Lowered) {
    this.#lowered = lowered;
    for (const name of analysis.graph.inputs) {
      const rows = lowered.values.get(name)?.rows ?? 1;
      this.#owners.set(name, [{ range: { from: 0, to: rows }, step: GIVEN }]);
    }
  }

  #holdings(device: number, value: string): Holding[] {
    const values = this.#has.get(device) ?? new Map<string, Holding[]>();
    this.#has.set(device, values);
    const list = values.get(value) ?? [];
    values.set(value, list);
    return list;
  }

  #missing(step: StepDraft, value: string, range: Range): Range[] {
    return subtract(
      range,
      this.#holdings(step.part.device, value).map((holding) => holding.range),
    );
  }

  /** Whether everything the step needs exists somewhere. */
  ready(step: StepDraft): boolean {
    return [...step.needs].every(([value, range]) => {
      const owned = (this.#owners.get(value) ?? []).map((owner) => owner.range);
      return this.#missing(step, value, range).every((rest) => subtract(rest, owned).length === 0);
    });
  }

  /** Fixes the step as the next one: asks for what its device lacks, and notes what it makes. */
  commit(step: StepDraft): void {
    const index = this.#steps.push(step) - 1;
    const { device } = step.part;
    const segments = new Map<string, Segment[]>();
    for (const [value, range] of step.needs) {
      for (const rest of this.#missing(step, value, range)) {
        for (const owner of this.#owners.get(value) ?? []) {
          const rows = intersect(rest, owner.range);
          if (!isEmpty(rows)) this.#send(owner.step, device, step.stage, index, { value, range: rows });
        }
      }
      segments.set(value, this.#cover(device, value, range));
    }
    this.#reads.push(segments);
    this.#keeps.push(new Map());
    const gathers = this.#lowered.stages[step.stage]?.kind === 'gather';
    for (const { value, held, owned } of step.products) {
      this.#holdings(device, value).push({ range: held, source: { kind: 'step', step: index } });
      const owners = gathers ? [] : (this.#owners.get(value) ?? []);
      if (!isEmpty(owned)) owners.push({ range: owned, step: index });
      this.#owners.set(value, owners);
    }
  }

  /** Adds a piece to the message from a step to a device for a stage; the image's rows go one message per reading step. */
  #send(after: number, to: number, stage: number, reader: number, piece: Piece): void {
    const key = after === GIVEN ? `given ${reader}` : `${after} ${to} ${stage}`;
    let message = this.#groups.get(key);
    if (message === undefined) {
      const from = after === GIVEN ? REQUESTER : (this.#steps[after]?.part.device ?? 0);
      message = this.#messages.push({ after, from, to, stage, pieces: [] }) - 1;
      this.#groups.set(key, message);
    }
    const { pieces } = this.#messages[message] as DraftMessage;
    pieces.push(piece);
    if (to === REQUESTER) return;
    this.#holdings(to, piece.value).push({
      range: piece.range,
      source: { kind: 'message', message, piece: pieces.length - 1 },
    });
  }

  /** The fewest runs of what a device has that cover a range, its own results first. */
  #cover(device: number, value: string, range: Range): Segment[] {
    const holdings = this.#holdings(device, value);
    const segments: Segment[] = [];
    let from = range.from;
    while (from < range.to) {
      const candidates = holdings.filter((holding) => holding.range.from <= from && holding.range.to > from);
      const best = candidates.reduce<Holding | undefined>(
        (a, b) => (a === undefined || b.range.to > a.range.to ? b : a),
        undefined,
      );
      if (best === undefined)
        throw new DistrEdgeError('INTERNAL', 'rows are read that nobody sends', {
          where: `value '${value}', row ${from}`,
        });
      const to = Math.min(range.to, best.range.to);
      segments.push({ range: { from, to }, source: best.source });
      if (best.source.kind === 'step') {
        const keeps = this.#keeps[best.source.step] as Map<string, Range>;
        keeps.set(value, hull(keeps.get(value), { from, to }));
      }
      from = to;
    }
    return segments;
  }

  /** Sends the graph's outputs to the requester from whoever owns them. */
  deliver(outputs: readonly string[]): void {
    for (const value of new Set(outputs)) {
      for (const { range, step } of this.#owners.get(value) ?? []) {
        if (step !== GIVEN) this.#send(step, REQUESTER, Number.POSITIVE_INFINITY, step, { value, range });
      }
    }
  }

  /** Messages of one step leave in order: nearer stage first, then receivers in the plan's order, the requester last. */
  result(plan: RowPlan): Exchange {
    const order = new Map((plan.order ?? []).map((device, index): [number, number] => [device, index]));
    const turn = (device: number): number =>
      device === REQUESTER ? Number.POSITIVE_INFINITY : (order.get(device) ?? order.size + device);
    const sorted = this.#messages
      .map((message, index) => ({ message, index }))
      .sort(
        (a, b) =>
          a.message.after - b.message.after ||
          compare(a.message.stage, b.message.stage) ||
          compare(turn(a.message.to), turn(b.message.to)) ||
          a.index - b.index,
      );
    // The image's own rows leave in the order of the parts that read them, as they were asked for.
    const given = sorted.filter(({ message }) => message.after === GIVEN).sort((a, b) => a.index - b.index);
    const final = [...given, ...sorted.filter(({ message }) => message.after !== GIVEN)];
    const renamed = new Map(final.map(({ index }, place): [number, number] => [index, place]));
    const reads = this.#reads.map(
      (values) =>
        new Map(
          [...values].map(([value, segments]): [string, Segment[]] => [
            value,
            segments.map(({ range, source }): Segment => {
              if (source.kind === 'step') return { range, source };
              return { range, source: { ...source, message: renamed.get(source.message) as number } };
            }),
          ]),
        ),
    );
    return { steps: this.#steps, messages: final.map(({ message }) => message), reads, keeps: this.#keeps };
  }
}
