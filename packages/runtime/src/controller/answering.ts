/**
 * Answers images: each on the plan in force, on the next one where that fails, and whole on this machine as the last resort, or
 * where it is late and that is expected to be sooner.
 */
import { DistrEdgeError, type Tensor } from '@distredge/core';
import { fallsBack } from '../falls-back.js';
import { within } from '../protocol.js';
import { Credit, race, SYSTEM_CLOCK } from '../straggler.js';
import { type Images, type StreamOptions, type StreamResult, streamImages } from '../stream.js';
import { WholeTurn } from '../whole-turn.js';
import type { Changes } from './changes.js';
import type { Context } from './context.js';
import type { Inferred } from './contract.js';
import type { Generation, Tensors } from './generation.js';
import type { Generations } from './generations.js';

export interface AnsweringTerms {
  readonly generations: Generations;
  readonly changes: Changes;
  /** Whether a plan is being made, for which it may pay to wait. */
  planning(): boolean;
  /** For how long an image had better wait for the next plan though one is in force, in ms. */
  holdMs(): number;
  /** An image begins on a plan; what is returned is called when it has ended. */
  begun(generation: Generation): () => void;
  /** An image was done on a plan. */
  observe(generation: Generation, ms: number): void;
}

const IMAGE_MS = 60_000;
/** How long an image that lost its plan waits for the next one, at most: after that it is run whole. */
const NEXT_PLAN_MS = 5000;
/** Plans that one image is tried on before it is run whole. */
const TRIES = 2;

export class Answering {
  readonly #context: Context;
  readonly #terms: AnsweringTerms;
  /** For images that are late. */
  readonly #whole = new WholeTurn(SYSTEM_CLOCK);
  readonly #credit = new Credit();

  constructor(context: Context, terms: AnsweringTerms) {
    this.#context = context;
    this.#terms = terms;
  }

  /** As `Controller.infer`. */
  async infer(inputs: Tensors, { deadlineMs = IMAGE_MS }: { readonly deadlineMs?: number } = {}): Promise<Inferred> {
    const started = performance.now();
    const left = (): number => deadlineMs - (performance.now() - started);
    const answer = this.#answer(inputs, left);
    answer.catch(() => undefined);
    const { cluster } = this.#context.options;
    const { outputs, generation } = await within(answer, deadlineMs, 'the image was not done', () => cluster);
    return { outputs, generation, ms: performance.now() - started };
  }

  /** As `Controller.stream`. */
  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined> {
    const infer = async (inputs: Tensors): Promise<Record<string, Tensor>> =>
      (await this.infer(inputs)).outputs as Record<string, Tensor>;
    return streamImages([{ inFlight: this.#context.options.inFlight ?? 1, infer }], images, options);
  }

  async #answer(inputs: Tensors, left: () => number): Promise<{ outputs: Tensors; generation: number }> {
    const { generations } = this.#terms;
    const context = this.#context;
    if (context.closed) throw new DistrEdgeError('CANCELLED', 'the controller is closed');
    await this.#hold();
    let failure: DistrEdgeError | undefined;
    for (let tries = 0; tries < TRIES; tries++) {
      const generation = generations.current ?? (await this.#next(Math.min(NEXT_PLAN_MS, left() / 2)));
      if (generation === undefined) break;
      if (failure !== undefined) context.tell({ type: 'fallback', to: 'plan', error: failure });
      try {
        return await this.#race(generation, inputs);
      } catch (error) {
        if (!fallsBack(error) || context.closed) throw error;
        failure = error;
      }
    }
    failure ??= new DistrEdgeError('PROVIDER_LOST', 'no device of the cluster is ready', {
      where: context.options.cluster,
    });
    context.tell({ type: 'fallback', to: 'whole', error: failure });
    return { outputs: await context.options.whole(inputs), generation: 0 };
  }

  /** Runs an image on a plan. */
  async #on(generation: Generation, inputs: Tensors): Promise<{ outputs: Tensors; generation: number }> {
    const { generations, begun, observe } = this.#terms;
    const ended = begun(generation);
    try {
      const { outputs, ms } = await generation.infer(inputs);
      this.#credit.earn();
      observe(generation, ms);
      return { outputs, generation: generation.facts.number };
    } catch (error) {
      if (fallsBack(error) && !this.#context.closed) generations.giveUp(generation, error);
      throw error;
    } finally {
      ended();
    }
  }

  /** Runs an image on a plan, and whole, too, if it is late and that is expected to be sooner. */
  #race(generation: Generation, inputs: Tensors): Promise<{ outputs: Tensors; generation: number }> {
    const { options, closed } = this.#context;
    const first = this.#on(generation, inputs);
    if (options.overtake === false || closed) return first;
    const { pace, facts } = generation;
    // Another plan that is in force by now.
    const next = (): Generation | undefined => {
      const { current } = this.#terms.generations;
      return current === generation ? undefined : current;
    };
    return race({
      slowed: (call) => generation.onSuperseded(call),
      first,
      pace,
      clock: SYSTEM_CLOCK,
      elsewhereMs: () => {
        const other = next();
        if (other !== undefined) return other.pace.expected ?? other.facts.predicted.latencyMs;
        // While none was run whole: as if devices shared work without any loss.
        const guess = (pace.expected ?? 0) * generation.devices.length;
        const allowed = this.#credit.allows(pace.expected ?? 0) && !this.#context.closed;
        return allowed ? this.#whole.expectedMs(guess) : undefined;
      },
      begunAgain: (ms) => {
        this.#credit.spend();
        const ids = facts.cluster.owing.map((index) => facts.ids[index] ?? '');
        this.#context.tell({
          type: 'late',
          generation: facts.number,
          ids,
          ms,
          expectedMs: pace.expected ?? 0,
          to: next() === undefined ? 'whole' : 'plan',
        });
      },
      again: async (over) => {
        const other = next();
        if (other !== undefined) return this.#on(other, inputs);
        return { outputs: await this.#whole.overtake(() => options.whole(inputs), over), generation: 0 };
      },
      done: (by, ms) => {
        this.#context.tell({ type: 'raced', generation: facts.number, by, ms });
        // What nobody waits for any more would only take the links' time.
        if (by === 'second' && generation.retired && generation.inFlight === 1) void generation.close();
      },
    });
  }

  /** Waits, not for long, while the plan in force is about to be replaced by a better one. */
  async #hold(): Promise<void> {
    const { generations, changes, holdMs } = this.#terms;
    const { current } = generations;
    const end = performance.now() + holdMs();
    while (generations.current === current && holdMs() > 0 && !this.#context.closed) {
      if (!(await changes.next(end - performance.now()))) return;
    }
  }

  /** The next plan, if one is being made over devices that are there; waits no longer than given. */
  async #next(ms: number): Promise<Generation | undefined> {
    const { generations, changes, planning } = this.#terms;
    const end = performance.now() + ms;
    while (generations.current === undefined && planning() && generations.count > 0 && !this.#context.closed) {
      if (!(await changes.next(end - performance.now()))) return undefined;
    }
    return generations.current;
  }
}
