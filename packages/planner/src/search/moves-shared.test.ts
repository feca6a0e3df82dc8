import { describe, expect, it } from 'vitest';
import { randomTask } from '../baselines/fixtures.js';
import type { MoveContext } from './context.js';
import { Geometry } from './geometry.js';
import { stretch } from './moves-shared.js';
import { Random } from './random.js';

const geometry = new Geometry(randomTask(1));

/** How many of 1000 moves in the fifth of twelve volumes change that one alone. */
function alone(wide: number): number {
  const context: MoveContext = { geometry, random: new Random(1), form: { classical: false }, devices: [0], wide };
  let count = 0;
  for (let draw = 0; draw < 1000; draw++) {
    const [first, last] = stretch(4, 12, context);
    expect(first).toBeGreaterThanOrEqual(0);
    expect(first).toBeLessThanOrEqual(4);
    expect(last).toBeGreaterThanOrEqual(4);
    expect(last).toBeLessThan(12);
    if (first === last) count++;
  }
  return count;
}

describe('the volumes that a move changes', () => {
  it('are often one, and mostly several where moves are to be wide', () => {
    expect(alone(0)).toBeGreaterThan(400);
    expect(alone(0.5)).toBeLessThan(alone(0));
    expect(alone(1)).toBeLessThan(200);
  });
});
