/**
 * Simulated annealing over plans: a random move is taken when it makes the plan better, or worse by an amount that becomes
 * ever less likely as the temperature falls.
 */
import type { Evaluator } from './evaluator.js';
import { isClassical, MOVES, type Move, type MoveContext } from './moves.js';
import type { PlanState } from './plan-state.js';
import { firstReady } from './schedule.js';

export interface Annealed {
  readonly state: PlanState;
  readonly cost: number;
}

export interface AnnealOptions {
  /** Share of the evaluator's budget at which to stop. */
  readonly until: number;
  /** Temperatures as shares of the cost at the start. */
  readonly hot: number;
  readonly cold: number;
}

/** Moves between two attempts to freeze the order in which parts become ready. */
const READY_EVERY = 200;

/** How often each move was tried and taken, for measurements. */
export type MoveCounts = Map<string, [tried: number, better: number]>;

export function anneal(
  start: Annealed,
  evaluator: Evaluator,
  context: MoveContext,
  { until, hot, cold }: AnnealOptions,
  counts?: MoveCounts,
  tune: Record<string, number> = {},
): Annealed {
  const { form, random } = context;
  const moves = MOVES.map((move) => ({ ...move, weight: Number(tune[move.name.replaceAll(' ', '-')] ?? move.weight) })).filter((move) => move.general !== true || !form.classical);
  const total = moves.reduce((sum, move) => sum + move.weight, 0);
  const began = evaluator.done;
  let now = start;
  let best = start;
  let misses = 0;
  for (let step = 1; evaluator.done < until; step++) {
    const t = (evaluator.done - began) / (until - began);
    const temperature = now.cost * hot * (cold / hot) ** Math.min(1, Math.max(0, t));
    const move = choose(moves, total, random.next());
    let state: PlanState | undefined;
    if (step % READY_EVERY === 0 && !form.classical) {
      state = { ...now.state, volumes: firstReady(now.state.volumes, evaluator.run(now.state)) };
    } else state = move.apply(now.state, context);
    if (state === undefined || (form.classical && !isClassical(state))) {
      // Where hardly any move applies there is little to search, and no evaluation looks at the clock.
      if (++misses % 64 === 0) evaluator.look();
      if (misses > 5000) break;
      continue;
    }
    misses = 0;
    const cost = evaluator.cost(state);
    const count = counts?.get(move.name) ?? [0, 0];
    count[0]++;
    if (cost < now.cost) count[1]++;
    counts?.set(move.name, count);
    if (cost <= now.cost || random.next() < Math.exp((now.cost - cost) / temperature)) {
      now = { state, cost };
      if (cost < best.cost) best = now;
    }
  }
  return best;
}

function choose(moves: readonly Move[], total: number, u: number): Move {
  let left = u * total;
  for (const move of moves) {
    left -= move.weight;
    if (left < 0) return move;
  }
  return moves.at(-1) as Move;
}
