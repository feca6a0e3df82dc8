/**
 * Measures a `Profile`: every op of a model alone over a handful of heights, runs of ops as one part, and the head. Heights
 * are chosen as needed: the ends and the middle, then the middle of every stretch that is no straight line. Ops and runs of
 * the same kind and shape are measured once.
 */
import { createHash } from 'node:crypto';
import {
  type Analysis,
  DistrEdgeError,
  modelIdentity,
  type PartModel,
  type PartWriter,
  PROFILE_VERSION,
  type Profile,
  type ProfileTable,
  parseProfile,
  partWriter,
  type Workload,
  type WorkOp,
} from '@distredge/core';
import type { Engine } from '../engine/engine.js';
import { type MeasureClock, type Named, Sampler } from './sampler.js';
import { type MeasuredRun, solve } from './solve.js';

export interface MeasureOptions {
  readonly engine: Engine;
  /** Threads that the engine uses for one op. Default 1. */
  readonly threads?: number;
  /** Told to people, in the profile. */
  readonly device: { readonly id: string; readonly cpu: string };
  /** Memory that models and rows may take, in 10⁶ bytes. */
  readonly memoryMb: number;
  /** How long to measure, in ms; loading and three rounds may take longer. Default `PROFILE_MS`. */
  readonly budgetMs?: number;
  /** Default: the process's own clocks. */
  readonly clock?: MeasureClock;
  readonly signal?: { readonly aborted: boolean };
  /** `done` from 0 to 1; `note` says what is being measured. */
  readonly onProgress?: (done: number, note: string) => void;
}

/** How long a model is measured when nothing else is said, in ms. */
export const PROFILE_MS = 6000;
/** Ops of one run, at most. */
const RUN_OPS = 5;
/** The lower of the two heights at which a run is measured, as a share of the higher. */
const LOW_RUN = 0.3;
/** A stretch counts as straight if its middle is off the line by no more than this share of the time there. */
const STRAIGHT = 0.05;
/** How often a stretch is halved at most: a table has up to 2 ** (HALVINGS + 1) + 1 points. */
const HALVINGS = 3;
/** For how long an empty part is measured, in ms. */
const NOTHING_MS = 50;
/** Ops with less than this share of the work are not looked at more closely than at three heights. */
const WORTH_HALVING = 0.002;

const PROCESS_CLOCK: MeasureClock = {
  now: () => performance.now(),
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

/** What identifies a model to its profiles: everything but the values of its weights. */
export function modelHash({ graph }: Pick<Analysis, 'graph'>): string {
  return createHash('sha256').update(modelIdentity(graph)).digest('hex');
}

/**
 * Measures a model on an engine. Rejects with `ENGINE_FAILED` and the op that the engine cannot run, or with `CANCELLED`.
 */
export function measureProfile(analysis: Analysis, workload: Workload, options: MeasureOptions): Promise<Profile> {
  return new Measurement(analysis, workload, options).run();
}

class Measurement {
  readonly #analysis: Analysis;
  readonly #workload: Workload;
  readonly #options: MeasureOptions;
  readonly #writer: PartWriter;
  readonly #clock: MeasureClock;
  readonly #sampler: Sampler;
  /** Heights measured of each op, increasing. */
  readonly #heights: number[][];
  /** Work of each op, to share out time by. */
  readonly #work: readonly number[];
  readonly #parts = new Map<string, PartModel>();

  constructor(analysis: Analysis, workload: Workload, options: MeasureOptions) {
    this.#analysis = analysis;
    this.#workload = workload;
    this.#options = options;
    this.#writer = partWriter(analysis, workload);
    this.#clock = options.clock ?? PROCESS_CLOCK;
    const byCpu = options.engine.blocks === true && (options.threads ?? 1) === 1 && this.#clock.cpu !== undefined;
    this.#sampler = new Sampler({
      engine: options.engine,
      clock: this.#clock,
      byCpu,
      weightBytes: [...analysis.graph.constants.values()].reduce((sum, { data }) => sum + data.byteLength, 0),
      signal: options.signal,
    });
    this.#heights = workload.ops.map((op) => (op.whole ? [op.rows] : startHeights(op.rows)));
    this.#work = workload.ops.map((op) => (op.multiplyAdds * 2 + 4) * op.width * op.channels * op.rows);
  }

  async run(): Promise<Profile> {
    try {
      return await this.#run();
    } finally {
      await this.#sampler.close();
    }
  }

  async #run(): Promise<Profile> {
    const { budgetMs = PROFILE_MS, device, threads = 1, engine, memoryMb } = this.#options;
    const runs = this.#runs();
    const total = this.#work.reduce((sum, work) => sum + work, 0);
    const begun = this.#clock.now();
    const nothing = this.#writer.nothing();
    await this.#sampler.sample([{ name: 'a part without ops', part: nothing }]);
    await this.#sampler.end(begun + NOTHING_MS);
    const partMs = this.#sampler.msOf(nothing);
    let done = 0;
    for (const run of runs) {
      const { ops } = this.#workload;
      this.#options.onProgress?.(done / Math.max(total, 1), ops[run.first]?.name ?? '');
      done += this.#work.slice(run.first, run.last + 1).reduce((sum, work) => sum + work, 0);
      // The head has the last tenth.
      await this.#measureRun(run, begun + (0.9 * budgetMs * done) / Math.max(total, 1), total);
    }
    this.#options.onProgress?.(0.95, 'the head');
    const head = await this.#measureHead(begun + budgetMs);
    const alone = this.#workload.ops.map((_, op) => this.#table(op));
    const solved = solve(
      this.#workload,
      alone,
      runs.map((run) => this.#measured(run)),
      partMs,
    );
    this.#options.onProgress?.(1, '');
    const edge = (tensor: number | undefined): number => round((solved.edges[tensor ?? -1] ?? 0) * 1e6);
    return parseProfile({
      version: PROFILE_VERSION,
      device: { id: device.id, engine: engine.name, threads, cpu: device.cpu },
      model: { name: this.#workload.model, hash: modelHash(this.#analysis) },
      memory_mb: memoryMb,
      part_ms: round(partMs),
      input_edge_ms_per_mb: edge(0),
      fusion: round(solved.fusion),
      ops: this.#workload.ops.map((op, index) => ({
        end: this.#workload.tensors[op.outputs[0] ?? -1]?.name ?? '',
        rows: [...(solved.ops[index]?.rows ?? [])],
        ms: (solved.ops[index]?.ms ?? []).map(round),
        edge_ms_per_mb: edge(op.outputs[0]),
      })),
      ...(head === undefined ? {} : { head }),
    });
  }

  /** The ops in runs of a few; none goes over a place where rows must be exchanged, nor over an op that cannot be divided. */
  #runs(): { first: number; last: number }[] {
    const { ops, forced } = this.#workload;
    const runs: { first: number; last: number }[] = [];
    ops.forEach((op, index) => {
      const run = runs.at(-1);
      const goesOn =
        run !== undefined &&
        index - run.first < RUN_OPS &&
        !forced.includes(index) &&
        !op.whole &&
        !(ops[run.last]?.whole ?? false);
      if (goesOn) run.last = index;
      else runs.push({ first: index, last: index });
    });
    return runs;
  }

  #part(first: number, last: number, rows: number): PartModel {
    const key = `${first} ${last} ${rows}`;
    const known = this.#parts.get(key) ?? this.#writer.ops(first, last, rows);
    this.#parts.set(key, known);
    return known;
  }

  #named(first: number, last: number, rows: number): Named {
    const { ops } = this.#workload;
    const names = first === last ? `op '${ops[first]?.name}'` : `ops '${ops[first]?.name}' to '${ops[last]?.name}'`;
    return { name: `${names}, ${rows} rows`, part: this.#part(first, last, rows), alone: last > first };
  }

  /** The heights at which a run is measured as one part. */
  #runHeights({ last }: { first: number; last: number }): number[] {
    const { rows } = this.#workload.ops[last] as WorkOp;
    return [...new Set([Math.max(1, Math.round(LOW_RUN * rows)), rows])];
  }

  async #measureRun(run: { first: number; last: number }, untilMs: number, total: number): Promise<void> {
    const ops = Array.from({ length: run.last - run.first + 1 }, (_, index) => run.first + index);
    const alone = ops.flatMap((op) => (this.#heights[op] ?? []).map((rows) => this.#named(op, op, rows)));
    const together =
      run.last > run.first ? this.#runHeights(run).map((rows) => this.#named(run.first, run.last, rows)) : [];
    // The first look at a stretch is short: it only says whether a closer one is needed.
    await this.#sampler.sample([...alone, ...together]);
    const worth = ops.filter((op) => (this.#work[op] ?? 0) >= WORTH_HALVING * total);
    let open = worth.flatMap((op) => stretchesOf(this.#heights[op] ?? []).map((stretch) => ({ op, ...stretch })));
    for (let halving = 1; halving <= HALVINGS && open.length > 0 && this.#clock.now() < untilMs; halving++) {
      const middles = open.map((stretch) => ({ ...stretch, rows: (stretch.from + stretch.to) >> 1 }));
      await this.#sampler.sample(middles.map(({ op, rows }) => this.#named(op, op, rows)));
      const bent = middles.filter((stretch) => this.#isBent(stretch));
      for (const { op, rows } of middles) this.#heights[op] = inserted(this.#heights[op] ?? [], rows);
      open = bent.flatMap(({ op, from, to, rows }) => stretchesOf([from, rows, to]).map((half) => ({ op, ...half })));
    }
    await this.#sampler.end(untilMs);
  }

  /** Whether the middle of a stretch is off the line between its ends by more than the samples are apart. */
  #isBent({ op, from, to, rows }: { op: number; from: number; to: number; rows: number }): boolean {
    const at = (height: number): PartModel => this.#part(op, op, height);
    const [low, ms, high] = [from, rows, to].map((height) => this.#sampler.msOf(at(height))) as [
      number,
      number,
      number,
    ];
    const line = low + ((high - low) * (rows - from)) / (to - from);
    const spread = [from, rows, to].reduce((sum, height) => sum + this.#sampler.spreadOf(at(height)), 0);
    return Math.abs(line - ms) > STRAIGHT * ms + spread;
  }

  /** What an op takes alone at the heights measured so far. */
  #table(op: number): ProfileTable {
    const rows = this.#heights[op] ?? [];
    return { rows: [...rows], ms: rows.map((count) => this.#sampler.msOf(this.#part(op, op, count))) };
  }

  #measured({ first, last }: { first: number; last: number }): MeasuredRun {
    const heights = first === last ? [(this.#workload.ops[last] as WorkOp).rows] : this.#runHeights({ first, last });
    const points = heights.map((rows) => {
      const part = this.#part(first, last, rows);
      const crossing = new Map<number, number>();
      for (const { tensor, bytes } of [...part.inputs, ...part.outputs]) {
        if (tensor !== undefined) crossing.set(tensor, (crossing.get(tensor) ?? 0) + bytes);
      }
      return { rows: part.rows, crossing, ms: this.#sampler.msOf(part) };
    });
    return { first, last, points };
  }

  async #measureHead(untilMs: number): Promise<Profile['head']> {
    const { head } = this.#workload;
    if (head === undefined) return undefined;
    const { cut } = head;
    const rest = this.#writer.headRest(cut !== undefined);
    const ms = (part: PartModel | undefined): number => (part === undefined ? 0 : this.#sampler.msOf(part));
    const name = 'the head';
    const after = rest === undefined ? [] : [{ name, part: rest }];
    if (cut === undefined) {
      await this.#sampler.sample(after);
      await this.#sampler.end(untilMs);
      return { before_ms: 0, after_ms: round(ms(rest)) };
    }
    const channels = startHeights(cut.channels);
    const parts = channels.map((count) => this.#writer.headCut(count));
    const known = parts.flatMap((part) => (part === undefined ? [] : [{ name, part }]));
    if (known.length !== channels.length)
      throw new DistrEdgeError('INTERNAL', 'a head that cannot be cut was to be cut');
    await this.#sampler.sample([...known, ...after]);
    await this.#sampler.end(untilMs);
    const before = Math.min(...parts.map(ms));
    return {
      before_ms: round(before),
      cut: { channels, ms: parts.map((part) => round(ms(part) - before)) },
      after_ms: round(ms(rest)),
    };
  }
}

/** One row, half of them, all. */
function startHeights(rows: number): number[] {
  return [...new Set([1, Math.ceil(rows / 2), rows])];
}

function inserted(heights: readonly number[], rows: number): number[] {
  return [...heights, rows].sort((a, b) => a - b);
}

/** Stretches between measured heights that have a middle. */
function stretchesOf(heights: readonly number[]): { from: number; to: number }[] {
  return heights.slice(1).flatMap((to, index) => {
    const from = heights[index] as number;
    return to - from > 1 ? [{ from, to }] : [];
  });
}

/** To a tenth of a microsecond: more digits say nothing. */
function round(ms: number): number {
  return Math.round(ms * 1e4) / 1e4;
}
