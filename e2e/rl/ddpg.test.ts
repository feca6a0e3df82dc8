/** The learning agent on a real engine: its updates against a plain reference, and problems whose best policy is known. */
import {
  Actor,
  type AgentOptions,
  actorOf,
  DdpgAgent,
  decodeActor,
  decodeAgent,
  encodeActor,
  encodeAgent,
  type GraphRunner,
  type GraphTensor,
} from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';
import { afterEach, describe, expect, it } from 'vitest';
import { network, networksOf, type Settings, update } from './reference.js';

const open: DdpgAgent[] = [];

async function agentOf(options: AgentOptions, runner: GraphRunner = createOrtGraphRunner()): Promise<DdpgAgent> {
  const agent = await DdpgAgent.create(runner, options);
  open.push(agent);
  return agent;
}

afterEach(async () => {
  for (const agent of open.splice(0)) await agent.close();
});

/** A fixed, uneven sequence of numbers in [−1, 1]. */
function wave(index: number): number {
  return Math.sin(1 + 7.31 * index + 0.37 * index * index);
}

function remember(agent: DdpgAgent, stateSize: number, actionSize: number, count: number): void {
  const numbers = (size: number, from: number): number[] => Array.from({ length: size }, (_, i) => wave(from + i));
  for (let step = 0; step < count; step++) {
    const at = 100 * step;
    agent.remember({
      state: numbers(stateSize, at),
      action: numbers(actionSize, at + 20),
      reward: wave(at + 40),
      nextState: numbers(stateSize, at + 60),
      done: step % 3 === 2,
    });
  }
}

interface Call {
  readonly inputs: Readonly<Record<string, GraphTensor>>;
  readonly outputs: Readonly<Record<string, Float32Array>>;
}

/** The engine, and what it was asked and answered. */
function recording(calls: Call[]): GraphRunner {
  return {
    async load(model) {
      const graph = await createOrtGraphRunner().load(model);
      return {
        async run(inputs) {
          const outputs = await graph.run(inputs);
          calls.push({ inputs, outputs });
          return outputs;
        },
        release: () => graph.release(),
      };
    },
  };
}

const norm = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));

/** The distance of two vectors, relative to the length of the second. */
function distance(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(got.length).toBe(expected.length);
  return norm(Array.from(got, (value, i) => value - (expected[i] as number))) / norm(expected);
}

const SIZES = { stateSize: 4, actionSize: 2, actorHidden: [7, 6, 5], criticHidden: [8, 7, 6, 5] };
const SETTINGS: Settings = {
  stateSize: 4,
  actionSize: 2,
  actorWidths: [4, 7, 6, 5, 2],
  criticWidths: [6, 8, 7, 6, 5, 1],
  actorLearningRate: 2e-3,
  criticLearningRate: 5e-3,
  discount: 0.9,
  tau: 0.05,
};
const { actorLearningRate, criticLearningRate, discount, tau } = SETTINGS;
const OPTIONS = { ...SIZES, actorLearningRate, criticLearningRate, discount, tau, batchSize: 9, seed: 5 };

/** The agent with last layers that matter: as they start, the actor's gradient is too small to compare. */
async function grown(calls: Call[]): Promise<DdpgAgent> {
  const { vectors, ...rest } = (await agentOf(OPTIONS)).state();
  const louder = (values: Float32Array): Float32Array => values.map((value, i) => value + 0.4 * wave(i));
  const changed = {
    ...vectors,
    critic: louder(vectors.critic),
    criticTarget: louder(vectors.criticTarget).map((value) => 0.9 * value),
    actor: louder(vectors.actor),
    actorTarget: louder(vectors.actorTarget).map((value) => 0.9 * value),
  };
  const agent = await agentOf({ ...OPTIONS, from: { ...rest, vectors: changed } }, recording(calls));
  remember(agent, 4, 2, 30);
  return agent;
}

function batchesOf({ inputs }: Call): number[][][] {
  const { data, dims } = inputs['batch'] as GraphTensor;
  const [count, rows, width] = dims as [number, number, number];
  return Array.from({ length: count }, (_, batch) =>
    Array.from({ length: rows }, (_, row) => {
      const at = (batch * rows + row) * width;
      return [...data.subarray(at, at + width)];
    }),
  );
}

describe('an update', () => {
  it('has the gradients that finite differences give', async () => {
    const calls: Call[] = [];
    const agent = await grown(calls);
    const before = networksOf(agent.state());
    await agent.train(1);
    const [call] = calls as [Call];
    const expected = update(SETTINGS, before, batchesOf(call)[0] as number[][]);
    // From zero on, the sums of gradients are the gradients.
    expect(distance(call.outputs["criticGradients'"] as Float32Array, expected.criticGradient)).toBeLessThan(1e-4);
    expect(distance(call.outputs["actorGradients'"] as Float32Array, expected.actorGradient)).toBeLessThan(1e-3);
    const largest = Math.max(...expected.actorGradient.map(Math.abs));
    call.outputs["actorGradients'"]?.forEach((value, i) => {
      expect(Math.abs(value - (expected.actorGradient[i] as number))).toBeLessThan(1e-3 * largest);
    });
  });

  it('changes all networks as the reference does, several in one call and over several calls', async () => {
    const calls: Call[] = [];
    const agent = await grown(calls);
    const before = networksOf(agent.state());
    const report = await agent.train(3);
    await agent.train(2);
    const losses: number[] = [];
    let networks = before;
    for (const batch of calls.flatMap(batchesOf)) {
      const next = update(SETTINGS, networks, batch);
      losses.push(next.criticLoss);
      networks = next;
    }
    expect(losses).toHaveLength(5);
    expect(agent.updates).toBe(5);
    const { vectors } = agent.state();
    for (const name of ['critic', 'criticTarget', 'actor', 'actorTarget'] as const) {
      const moved = networks[name].map((value, i) => value - (before[name][i] as number));
      const got = Array.from(vectors[name], (value, i) => value - (before[name][i] as number));
      expect(norm(moved)).toBeGreaterThan(1e-3);
      expect(distance(got, moved), name).toBeLessThan(5e-3);
    }
    expect(report.criticLoss).toBeCloseTo(losses.slice(0, 3).reduce((sum, loss) => sum + loss, 0) / 3, 5);
  });

  it('works at the sizes that are the default', async () => {
    const agent = await agentOf({ stateSize: 12, actionSize: 3 });
    remember(agent, 12, 3, 70);
    const report = await agent.learn();
    expect(report?.updates).toBe(7);
    expect(report?.criticLoss).toBeGreaterThan(0);
  });
});

describe('acting', () => {
  it('is the network that is trained, in plain TypeScript', async () => {
    const agent = await grown([]);
    await agent.train(4);
    const { vectors } = agent.state();
    const state = [0.3, -0.8, 0.5, 0.1];
    const expected = network(SETTINGS.actorWidths, Float64Array.from(vectors.actor), state).map(Math.tanh);
    agent.act(state).forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i] as number, 5);
    });
  });
});

describe('saving', () => {
  it('keeps the actor and everything that training needs, bit for bit', async () => {
    const agent = await grown([]);
    await agent.train(6);
    const saved = decodeAgent(encodeAgent(agent.state()));
    expect(saved).toEqual(agent.state());
    const actor = Actor.of(decodeActor(encodeActor(actorOf(agent.state()))));
    expect(actor.act([1, 0, -1, 0.5])).toEqual(agent.act([1, 0, -1, 0.5]));

    const [first, second] = [
      await agentOf({ ...OPTIONS, from: saved }),
      await agentOf({ ...OPTIONS, from: agent.state() }),
    ];
    for (const next of [first, second]) {
      remember(next, 4, 2, 30);
      await next.train(5);
    }
    expect(first.updates).toBe(11);
    expect(first.state()).toEqual(second.state());
  });

  it('lets a new agent begin with an actor alone', async () => {
    const agent = await grown([]);
    const from = actorOf(agent.state());
    const next = await agentOf({ stateSize: 4, actionSize: 2, criticHidden: [5], from });
    expect(next.act([1, 0, -1, 0.5])).toEqual(agent.act([1, 0, -1, 0.5]));
    remember(next, 4, 2, 70);
    await next.learn();
    expect(next.act([1, 0, -1, 0.5])).not.toEqual(agent.act([1, 0, -1, 0.5]));
  });
});

describe('learning', () => {
  /**
   * Two steps of control: x' = x + a, each costing x'² + a²/2, from any x in [−1, 1]. By the Riccati recursion the second
   * action is −2x/3, which leaves x²/3 to pay; the first is −8x/11, and the whole costs 4x²/11.
   */
  const cost = (x: number, act: (state: number[]) => number): number => {
    const first = act([x, 0]);
    const second = act([x + first, 1]);
    return (x + first) ** 2 + first ** 2 / 2 + (x + first + second) ** 2 + second ** 2 / 2;
  };
  const starts = Array.from({ length: 21 }, (_, i) => (i - 10) / 10);
  const meanCost = (act: (state: number[]) => number): number =>
    starts.reduce((sum, x) => sum + cost(x, act), 0) / starts.length;

  async function trained(seed: number, episodes: number): Promise<DdpgAgent> {
    const agent = await agentOf({
      stateSize: 2,
      actionSize: 1,
      actorHidden: [32, 32],
      criticHidden: [32, 32],
      actorLearningRate: 1e-3,
      criticLearningRate: 3e-3,
      tau: 0.02,
      seed,
    });
    for (let episode = 0; episode < episodes; episode++) {
      let x = wave(episode);
      for (const time of [0, 1]) {
        const state = [x, time];
        const action = agent.explore(state, 0.3);
        x += action[0] as number;
        const reward = -(x ** 2) - (action[0] as number) ** 2 / 2;
        agent.remember({ state, action, reward, nextState: [x, time + 1], done: time === 1 });
      }
      if (episode % 5 === 4) await agent.learn();
    }
    return agent;
  }

  it('finds the best policy of a linear-quadratic problem', async () => {
    const best = meanCost(([x, time]) => -(x as number) * (time === 0 ? 8 / 11 : 2 / 3));
    const idle = meanCost(() => 0);
    expect(best).toBeCloseTo((4 / 11) * (starts.reduce((sum, x) => sum + x * x, 0) / starts.length), 10);
    for (const seed of [1, 2]) {
      const agent = await trained(seed, 1500);
      const got = meanCost((state) => agent.act(state)[0] as number);
      expect(got - best).toBeGreaterThanOrEqual(-1e-6);
      expect((got - best) / (idle - best)).toBeLessThan(0.02);
    }
  });

  it('gives the same parameters for the same seed, and others for another', async () => {
    const states = [];
    for (const seed of [3, 3, 4]) states.push((await trained(seed, 60)).state());
    expect(states[0]).toEqual(states[1]);
    expect(states[0]?.vectors.actor).not.toEqual(states[2]?.vectors.actor);
  });
});
