/** Which step of which image runs next, and when memory may be written over, with steps and sends that the test ends itself. */
import type { DeviceProgram } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { until } from './fixtures.js';
import type { Leaving, StepSet } from './job-steps.js';
import { Pipeline } from './pipeline.js';

/** A device of three steps; the first and the last wait for a message each, and every step sends one. */
const STEPS = [[10], [], [11]];
const program = {
  device: 0,
  receives: [10, 11].map((message) => ({ message, from: -1, bytes: 8 })),
  steps: STEPS.map((waits, step) => ({
    step,
    inputs: waits.map((message) => ({ port: 'p', message, offset: 0, dtype: 'float32', shape: [2] })),
  })),
} as unknown as DeviceProgram;

class Scene {
  /** Steps begun, as `request.step`, and what ends the one under way. */
  readonly begun: string[] = [];
  readonly sent: string[] = [];
  readonly late: (readonly [number, readonly number[]])[] = [];
  readonly errors: unknown[] = [];
  readonly sets: StepSet[];
  readonly pipeline: Pipeline;
  /** Sends are done at once unless they wait here. */
  readonly held: (() => void)[] = [];
  holdSends = false;
  #end: { resolve: (times: { start: number; end: number }) => void; reject: (error: Error) => void } | undefined;

  constructor(sets: number, requestMs = 60_000) {
    this.pipeline = new Pipeline({
      program,
      busyMs: 0,
      requestMs,
      send: (request, { message }) => {
        this.sent.push(`${request}.${message}`);
        return this.holdSends ? new Promise((resolve) => this.held.push(resolve)) : Promise.resolve();
      },
      failed: (error) => this.errors.push(error),
      late: (request, missing) => this.late.push([request, missing]),
    });
    this.sets = Array.from({ length: sets }, (_, set): StepSet => this.#set(set));
    this.pipeline.ready(this.sets);
  }

  #set(set: number): StepSet {
    return {
      unsent: new Uint32Array(STEPS.length),
      run: (index: number) =>
        new Promise((resolve, reject) => {
          if (this.#end !== undefined) throw new Error('two steps at once');
          this.begun.push(`${set}.${index}`);
          this.#end = { resolve, reject };
        }),
      leaving: (index: number): Leaving[] => [{ message: 100 + index, to: -1, pieces: [] }],
    } as unknown as StepSet;
  }

  /** Ends the step under way, and lets all that follows from it happen. */
  async end(error?: Error): Promise<void> {
    await until(() => this.#end !== undefined);
    const end = this.#end;
    this.#end = undefined;
    if (error === undefined) end?.resolve({ start: 1, end: 2 });
    else end?.reject(error);
    await settle();
  }

  get running(): boolean {
    return this.#end !== undefined;
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe('a device', () => {
  it('runs the next step of the oldest image whose rows are there', async () => {
    const scene = new Scene(2);
    const { pipeline } = scene;
    pipeline.open(1);
    await settle();
    expect(scene.running).toBe(false);
    pipeline.arrive(1, 10);
    await scene.end();
    await scene.end();
    // The first image waits for its second message: the second one goes ahead, as far as the first has come.
    pipeline.open(2);
    pipeline.arrive(2, 10);
    await scene.end();
    pipeline.arrive(1, 11);
    // Its second step was next, but a step that is under way is not stopped.
    await scene.end();
    await scene.end();
    expect(pipeline.computed).toBe(1);
    pipeline.arrive(2, 11);
    await scene.end();
    expect(pipeline.computed).toBe(2);
    // Sets: the first image has number 1, the second 0.
    expect(scene.begun).toEqual(['1.0', '1.1', '0.0', '0.1', '1.2', '0.2']);
    expect(scene.sent).toEqual(['1.100', '1.101', '2.100', '2.101', '1.102', '2.102']);
  });

  it('never lets an image overtake an older one at a step', async () => {
    const scene = new Scene(3);
    for (const request of [1, 2, 3]) scene.pipeline.open(request);
    for (const message of [10, 11]) scene.pipeline.arrive(3, message);
    await settle();
    expect(scene.running).toBe(false);
    scene.pipeline.arrive(1, 10);
    await scene.end();
    await scene.end();
    await settle();
    expect(scene.running).toBe(false);
    expect(scene.begun).toEqual(['1.0', '1.1']);
  });

  it('does not write over what is still being sent', async () => {
    const scene = new Scene(1);
    const { pipeline } = scene;
    scene.holdSends = true;
    pipeline.open(1);
    for (const message of [10, 11]) pipeline.arrive(1, message);
    for (let step = 0; step < 3; step++) await scene.end();
    expect(pipeline.computed).toBe(1);
    pipeline.open(2);
    for (const message of [10, 11]) pipeline.arrive(2, message);
    await settle();
    expect(scene.running).toBe(false);
    // The first step's bytes have left; the second one's have not.
    scene.held[0]?.();
    await scene.end();
    await settle();
    expect(scene.begun).toEqual(['0.0', '0.1', '0.2', '0.0']);
    scene.held[1]?.();
    await scene.end();
    scene.held[2]?.();
    await scene.end();
    expect(pipeline.computed).toBe(2);
  });

  it('tells of the last image when its steps ran and its messages came', async () => {
    const scene = new Scene(1);
    scene.pipeline.open(1);
    for (const message of [10, 11]) scene.pipeline.arrive(1, message);
    for (let step = 0; step < 3; step++) await scene.end();
    const { request, steps, messages } = scene.pipeline.trace;
    expect(request).toBe(1);
    expect(steps).toMatchObject([0, 1, 2].map((step) => ({ step, start: 1, end: 2 })));
    expect(messages.map(({ message }) => message)).toEqual([10, 11]);
  });

  it('reports an image that takes too long, with what is missing; not one that is done', async () => {
    const scene = new Scene(2, 50);
    scene.pipeline.open(1);
    for (const message of [10, 11]) scene.pipeline.arrive(1, message);
    for (let step = 0; step < 3; step++) await scene.end();
    scene.pipeline.open(2);
    scene.pipeline.arrive(2, 10);
    await until(() => scene.late.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 80));
    expect(scene.late).toEqual([[2, [11]]]);
    scene.pipeline.stop();
  });

  it('reports a step that fails, and begins no other once it is stopped', async () => {
    const scene = new Scene(2);
    scene.pipeline.open(1);
    scene.pipeline.arrive(1, 10);
    await scene.end(new Error('broken'));
    expect(scene.errors).toMatchObject([{ message: 'broken' }]);
    scene.pipeline.stop();
    scene.pipeline.arrive(1, 11);
    await settle();
    expect(scene.begun).toEqual(['1.0']);
  });
});
