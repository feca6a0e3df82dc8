import { describe, expect, it } from 'vitest';
import { type AgentOptions, DdpgAgent } from './agent.js';
import { actorOf } from './agent-state.js';
import { initialParameters } from './mlp.js';
import { RandomSource } from './random.js';
import type { GraphRunner, GraphTensor } from './runner.js';

const OPTIONS: AgentOptions = { stateSize: 2, actionSize: 1, actorHidden: [4], criticHidden: [3], learningStarts: 3 };
const STEP = { state: [0.5, -0.5], action: [0.1], reward: 1, nextState: [0, 0], done: false };

/** An engine that computes nothing: it gives the vectors back, adds up the updates it was asked for, and says what loss it is told to. */
function idleRunner(loss = 0.5): GraphRunner & { readonly counts: number[]; released: boolean } {
  const runner = {
    counts: [] as number[],
    released: false,
    load: async () => ({
      run: async (inputs: Readonly<Record<string, GraphTensor>>) => {
        const count = inputs['batch']?.dims[0] as number;
        runner.counts.push(count);
        const outputs = Object.entries(inputs).map(([name, { data }]) => [`${name}'`, data.map((value) => value + 1)]);
        const stack = (value: number): Float32Array => new Float32Array(count).fill(value);
        return { ...Object.fromEntries(outputs), criticLoss: stack(loss), value: stack(2) };
      },
      release: async () => {
        runner.released = true;
      },
    }),
  };
  return runner;
}

describe('an agent', () => {
  it('makes updates once it remembers enough, as many as its steps make due, some at a time', async () => {
    const runner = idleRunner();
    const agent = await DdpgAgent.create(runner, { ...OPTIONS, updatesPerStep: 0.5 });
    for (let step = 0; step < 3; step++) agent.remember(STEP);
    expect(await agent.learn()).toBeUndefined();
    agent.remember(STEP);
    expect(await agent.learn()).toEqual({ updates: 1, criticLoss: 0.5, value: 2 });
    expect(await agent.learn()).toBeUndefined();
    for (let step = 0; step < 80; step++) agent.remember(STEP);
    expect(await agent.learn()).toEqual({ updates: 40, criticLoss: 0.5, value: 2 });
    expect(runner.counts).toEqual([1, 16, 16, 8]);
    expect(agent.updates).toBe(41);
    await agent.close();
    expect(runner.released).toBe(true);
  });

  it('acts within [−1, 1] however loud the noise, and not the same twice', async () => {
    const agent = await DdpgAgent.create(idleRunner(), OPTIONS);
    const actions = Array.from({ length: 50 }, () => agent.explore([1, 1], 3)[0] as number);
    expect(Math.max(...actions)).toBe(1);
    expect(Math.min(...actions)).toBe(-1);
    expect(agent.explore([1, 1], 0)).toEqual(agent.act([1, 1]));
    expect(() => agent.act([1])).toThrow(expect.objectContaining({ code: 'USAGE', got: '1' }));
  });

  it('lets go of no snapshot when it learns on', async () => {
    const agent = await DdpgAgent.create(idleRunner(), OPTIONS);
    agent.remember(STEP);
    const before = agent.state();
    const first = before.vectors.actor[0] as number;
    await agent.train(1);
    expect(before.vectors.actor[0]).toBe(first);
    expect(agent.state().vectors.actor[0]).toBeCloseTo(first + 1, 5);
  });

  it('keeps what it had when the training diverges', async () => {
    const agent = await DdpgAgent.create(idleRunner(Number.NaN), OPTIONS);
    agent.remember(STEP);
    const before = agent.state();
    await expect(agent.train(1)).rejects.toMatchObject({ code: 'INTERNAL', message: 'the training has diverged' });
    expect(agent.state()).toEqual(before);
  });

  it('does one thing at a time', async () => {
    const agent = await DdpgAgent.create(idleRunner(), OPTIONS);
    await expect(agent.train(1)).rejects.toMatchObject({ code: 'USAGE' });
    agent.remember(STEP);
    const first = agent.train(1);
    await expect(agent.train(1)).rejects.toMatchObject({ code: 'USAGE' });
    await first;
    await agent.train(1);
    await expect(agent.train(0.5)).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('goes on only from what has its sizes, and takes over the layers', async () => {
    const from = (await DdpgAgent.create(idleRunner(), OPTIONS)).state();
    const next = await DdpgAgent.create(idleRunner(), { stateSize: 2, actionSize: 1, from });
    expect(next.state()).toEqual(from);
    const other = await DdpgAgent.create(idleRunner(), { ...OPTIONS, actorHidden: [9], from: actorOf(from) });
    expect(other.state().actorHidden).toEqual([4]);
    const usage = { code: 'USAGE', where: 'from' };
    await expect(DdpgAgent.create(idleRunner(), { ...OPTIONS, stateSize: 3, from })).rejects.toMatchObject(usage);
    await expect(DdpgAgent.create(idleRunner(), { ...OPTIONS, actionSize: 2, from })).rejects.toMatchObject(usage);
  });

  it.each([
    ['stateSize', { stateSize: 0 }],
    ['hidden layers', { actorHidden: [4, 2.5] }],
    ['batchSize', { batchSize: Number.NaN }],
    ['discount', { discount: 1.1 }],
    ['tau', { tau: -0.1 }],
    ['actorLearningRate', { actorLearningRate: Number.POSITIVE_INFINITY }],
  ])('is not made with an impossible %s', async (where, options) => {
    const made = DdpgAgent.create(idleRunner(), { ...OPTIONS, ...options });
    await expect(made).rejects.toMatchObject({ code: 'USAGE', where });
  });
});

describe('initial parameters', () => {
  it('lie within ±1/√(inputs), and within ±0.003 in the last layer', () => {
    const parameters = initialParameters([16, 50, 3], new RandomSource(1));
    const [first, last] = [parameters.subarray(0, 850), parameters.subarray(850)];
    const largest = (values: Float32Array): number => Math.max(...values.map(Math.abs));
    expect(last).toHaveLength(153);
    expect(largest(first)).toBeGreaterThan(0.24);
    expect(largest(first)).toBeLessThanOrEqual(0.25);
    expect(largest(last)).toBeGreaterThan(0.0028);
    expect(largest(last)).toBeLessThanOrEqual(0.0030001);
  });
});
