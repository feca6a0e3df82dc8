import { describe, expect, it } from 'vitest';
import { RandomSource } from './random.js';
import { Replay, type Transition } from './replay.js';

const transition = (value: number): Transition => ({
  state: [value, value + 0.25],
  action: [value + 0.5],
  reward: -value,
  nextState: [value + 1, value + 1.25],
  done: value % 2 === 1,
});

/** The first numbers of many sampled rows, each once, in order. */
function remembered(replay: Replay): number[] {
  const rows = replay.sample(300, new RandomSource(1));
  const firsts = Array.from({ length: 300 }, (_, i) => rows[i * replay.width] as number);
  return [...new Set(firsts)].sort((a, b) => a - b);
}

describe('replay memory', () => {
  it('gives rows of state, action, reward, whether it goes on, next state', () => {
    const replay = new Replay(2, 1, 4);
    replay.add(transition(3));
    expect([...replay.sample(2, new RandomSource(0))]).toEqual([
      3, 3.25, 3.5, -3, 0, 4, 4.25, 3, 3.25, 3.5, -3, 0, 4, 4.25,
    ]);
    expect(replay.width).toBe(7);
  });

  it('forgets the oldest, and draws from all the others', () => {
    const replay = new Replay(2, 1, 4);
    for (let value = 0; value < 3; value++) replay.add(transition(value));
    expect(remembered(replay)).toEqual([0, 1, 2]);
    for (let value = 3; value < 10; value++) replay.add(transition(value));
    expect(replay.size).toBe(4);
    expect(remembered(replay)).toEqual([6, 7, 8, 9]);
  });

  it('refuses what does not fit, and stays as it is', () => {
    const replay = new Replay(2, 1, 1);
    replay.add(transition(1));
    const usage = expect.objectContaining({ code: 'USAGE' });
    expect(() => replay.add({ ...transition(2), state: [1] })).toThrow(usage);
    expect(() => replay.add({ ...transition(2), action: [1, 2] })).toThrow(usage);
    expect(() => replay.add({ ...transition(2), reward: Number.NaN })).toThrow(usage);
    expect(() => replay.add({ ...transition(2), nextState: [1e300, 0] })).toThrow(usage);
    expect(remembered(replay)).toEqual([1]);
  });
});
