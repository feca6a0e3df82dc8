/**
 * An engine that takes as long as another device would: it computes the true results and then waits until the time of that
 * device for the step is over. So a fast machine stands in for slow ones, and with a **dilation** (model times multiplied by
 * it) for many, or for faster ones.
 *
 * With `reuse` a step whose received rows are byte for byte those of the last image is not computed again: its results are
 * the same. They are compared, not assumed to be equal.
 */
import { DistrEdgeError } from '@distredge/core';
import type { Engine, EngineCall, EngineInput, EngineModel, EngineResult, FixedCall, FixedCalls } from './engine.js';

export interface PacedOptions {
  /** What each fixed call takes on the device that is stood in for, in ms, in the order of the calls. */
  readonly stepMs: readonly number[];
  /** By how much all times are multiplied; read at every run. 0: nothing waits. Default 1. */
  readonly dilation?: () => number;
  /** Whether a call is spared while everything received is what it was for the image before. Default false. */
  readonly reuse?: boolean;
  /** Told when computing took longer than the device would have: its time is then not kept. In ms, as waited. */
  readonly late?: (call: number, ms: number) => void;
}

/** Timers fire up to this much late, in ms; the rest is slept on the thread itself. */
const TIMER_SLACK_MS = 2;
const SLEEPER: Int32Array<SharedArrayBuffer> = new Int32Array(new SharedArrayBuffer(4));

/**
 * Resolves at this time (`performance.now()`), to some 0.1 ms. The last 2 ms hold up the calling thread without using its
 * core, since timers alone are a millisecond late.
 */
export async function sleepUntil(time: number): Promise<void> {
  const left = time - performance.now();
  if (left <= 0) return;
  if (left > TIMER_SLACK_MS) await new Promise((resolve) => setTimeout(resolve, Math.floor(left - TIMER_SLACK_MS)));
  const rest = time - performance.now();
  if (rest > 0) Atomics.wait(SLEEPER, 0, 0, rest);
}

/**
 * Paces the fixed calls of an engine; calls that are not fixed run as they are. `fix` throws `USAGE` where there is not one
 * time, 0 or more, for each call.
 */
export function createPacedEngine(inner: Engine, options: PacedOptions): Engine {
  return {
    name: `${inner.name}, paced`,
    // While it waits the thread is free.
    blocks: false,
    load: (model: EngineModel) => inner.load(model),
    run: (call: EngineCall): Promise<EngineResult> => inner.run(call),
    unload: (model: number) => inner.unload(model),
    clearSlots: () => inner.clearSlots(),
    close: () => inner.close(),
    async fix(calls: readonly FixedCall[]): Promise<FixedCalls> {
      const { stepMs } = options;
      const right = stepMs.length === calls.length && stepMs.every((ms) => Number.isFinite(ms) && ms >= 0);
      if (!right) {
        throw new DistrEdgeError('USAGE', 'there is not one time for each step to be paced', {
          expected: `${calls.length} times in ms, 0 or more`,
          got: `${stepMs.length}: ${stepMs.slice(0, 4).join(', ')}${stepMs.length > 4 ? ', …' : ''}`,
        });
      }
      return new PacedCalls(await inner.fix(calls), calls, options);
    },
  };
}

class PacedCalls implements FixedCalls {
  readonly #inner: FixedCalls;
  readonly #calls: readonly FixedCall[];
  readonly #options: PacedOptions;
  /** By call, what it was given when it was last computed. */
  readonly #given: (readonly Uint8Array[] | undefined)[];
  /** Calls before this one were spared for this image: what they keep for later ones may be overwritten by now. */
  #spared = 0;

  constructor(inner: FixedCalls, calls: readonly FixedCall[], options: PacedOptions) {
    this.#inner = inner;
    this.#calls = calls;
    this.#options = options;
    this.#given = calls.map(() => undefined);
  }

  outputs(call: number): ReturnType<FixedCalls['outputs']> {
    return this.#inner.outputs(call);
  }

  async run(call: number, set: number): Promise<{ start: number; end: number }> {
    const began = performance.now();
    await this.#compute(call, set);
    const { stepMs, dilation, late } = this.#options;
    const factor = dilation?.() ?? 1;
    const until = began + (stepMs[call] as number) * factor;
    const over = performance.now() - until;
    if (factor > 0 && over > 0) late?.(call, over);
    await sleepUntil(until);
    return { start: performance.timeOrigin + began, end: performance.timeOrigin + performance.now() };
  }

  async #compute(call: number, set: number): Promise<void> {
    if (this.#options.reuse !== true) {
      await this.#inner.run(call, set);
      return;
    }
    // The calls run in order: all before were spared, or none was since something differed.
    if (call === 0) this.#spared = 0;
    if (call === this.#spared && this.#isAsBefore(call, set)) {
      this.#spared = call + 1;
      return;
    }
    // Results kept for later steps share memory: those that were spared are made again.
    const from = this.#spared === call ? 0 : call;
    this.#spared = -1;
    for (let index = from; index <= call; index++) {
      await this.#inner.run(index, set);
      this.#given[index] = this.#received(index, set).map((bytes) => Uint8Array.from(bytes));
    }
  }

  #isAsBefore(call: number, set: number): boolean {
    const before = this.#given[call];
    return (
      before !== undefined &&
      this.#received(call, set).every((bytes, index) => Buffer.compare(bytes, before[index] as Uint8Array) === 0)
    );
  }

  /** The bytes handed over with a call; what lies in slots follows from them. */
  #received(call: number, set: number): Uint8Array[] {
    const inputs = this.#calls[call]?.inputs[set] as readonly EngineInput[];
    return inputs.flatMap((input) => ('tensor' in input ? [input.tensor.data] : []));
  }
}
