import { describe, expect, it } from 'vitest';
import { Actor } from '../rl/actor.js';
import { AGENT_VECTORS, type AgentState, type AgentVector, actorOf, agentWidths } from '../rl/agent-state.js';
import { initialParameters } from '../rl/mlp.js';
import { RandomSource } from '../rl/random.js';
import { decodeTrained, encodeTrained, type TrainedAgent } from './trained.js';
import { transferAgent } from './transfer.js';

/** An agent for so many providers whose actor does something. */
function agentFor(devices: number): AgentState {
  const sizes = { stateSize: devices + 4, actionSize: devices - 1, actorHidden: [6, 5], criticHidden: [5, 4] };
  const random = new RandomSource(9);
  const widths = agentWidths(sizes);
  const vectors = AGENT_VECTORS.map((name): [AgentVector, Float32Array] => {
    const parameters = initialParameters(name.startsWith('actor') ? widths.actor : widths.critic, random);
    return [
      name,
      name.endsWith('Squares') ? parameters.map(Math.abs) : parameters.map((value) => value + 0.1 * random.normal()),
    ];
  });
  return { ...sizes, updates: 7, vectors: Object.fromEntries(vectors) as Record<AgentVector, Float32Array> };
}

const act = (agent: AgentState, state: readonly number[]): number[] => [...Actor.of(actorOf(agent)).act(state)];
const LAYER = [1, 0.5, 0.3, 0.2];

describe('an agent for other providers', () => {
  it('is the same for the same ones', () => {
    const agent = agentFor(3);
    expect(transferAgent(agent, ['a', 'b', 'c'], ['a', 'b', 'c'])).toBe(agent);
  });

  it('does what the old one does: rows of one that is gone fall to the next, a new one begins without', () => {
    const agent = agentFor(4);
    const old = act(agent, [0.1, 0.2, 0, 0.4, ...LAYER]);
    const without = transferAgent(agent, ['a', 'b', 'c', 'd'], ['a', 'b', 'd']) as AgentState;
    expect(without).toMatchObject({ stateSize: 7, actionSize: 2, updates: 0 });
    expect(act(without, [0.1, 0.2, 0.4, ...LAYER])).toEqual([old[0], old[1]]);
    const within = transferAgent(agent, ['a', 'b', 'c', 'd'], ['a', 'new', 'b', 'c', 'd']) as AgentState;
    expect(act(within, [0.1, 0.9, 0.2, 0, 0.4, ...LAYER])).toEqual([old[0], old[0], old[1], old[2]]);
    const around = transferAgent(agent, ['a', 'b', 'c', 'd'], ['x', 'a', 'b', 'c', 'd', 'y']) as AgentState;
    const [top, first, second, third, bottom] = act(around, [3, 0.1, 0.2, 0, 0.4, 3, ...LAYER]);
    expect([first, second, third]).toEqual(old);
    expect(top).toBeLessThan(-0.95);
    expect(bottom).toBeGreaterThan(0.95);
  });

  it('keeps what the critic says where nothing it reads is gone', () => {
    const agent = agentFor(3);
    const adapted = transferAgent(agent, ['a', 'b', 'c'], ['a', 'b', 'c', 'd']) as AgentState;
    const value = ({ criticHidden, stateSize, actionSize, vectors }: AgentState, input: readonly number[]): number =>
      Math.atanh(
        Actor.of({
          stateSize: stateSize + actionSize,
          actionSize: 1,
          hidden: criticHidden,
          parameters: vectors.critic,
        }).act(input)[0] as number,
      );
    const before = value(agent, [0.1, 0.2, 0.3, ...LAYER, -0.4, 0.6]);
    expect(value(adapted, [0.1, 0.2, 0.3, 0.8, ...LAYER, -0.4, 0.6, 0.9])).toBeCloseTo(before, 6);
  });

  it('cannot be made where fewer than two stay, or their order changes', () => {
    const agent = agentFor(3);
    expect(transferAgent(agent, ['a', 'b', 'c'], ['a', 'x', 'y'])).toBeUndefined();
    expect(transferAgent(agent, ['a', 'b', 'c'], ['c', 'b'])).toBeUndefined();
    expect(transferAgent(agent, ['a', 'b', 'c'], ['a'])).toBeUndefined();
  });
});

describe('a trained agent', () => {
  const trained: TrainedAgent = {
    model: 'nét “16”',
    devices: ['a', 'b', 'ç'],
    ends: [3, 7],
    scale: { height: 224, channels: 512, window: 3, stride: 2 },
    agent: agentFor(3),
  };

  it('is saved and read back', () => {
    expect(decodeTrained(encodeTrained(trained))).toEqual(trained);
  });

  it('is not read from anything else', () => {
    const bytes = encodeTrained(trained);
    const broken: Uint8Array[] = [
      new Uint8Array(),
      new Uint8Array(40),
      bytes.slice(0, 30),
      bytes.slice(0, -4),
      bytes.with(4, 9),
      bytes.with(13, 0x7b),
      bytes.with(bytes.length - 9, 1),
      encodeTrained({ ...trained, devices: ['a', 'b'] }),
      encodeTrained({ ...trained, ends: [] }),
      encodeTrained({ ...trained, ends: [1.5] }),
      encodeTrained({ ...trained, scale: { ...trained.scale, height: 0 } }),
    ];
    for (const wrong of broken) {
      expect(() => decodeTrained(wrong)).toThrow(expect.objectContaining({ code: 'AGENT_INVALID' }));
    }
  });
});
