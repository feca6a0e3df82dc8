/**
 * Simulated annealing over plans: a random move is taken when it makes the plan better, or worse by an amount that becomes
 * ever less likely as the temperature falls. From time to time the parts are put in the order in which they became ready.
 */

import type { MoveContext } from './context.js';
import { criticalParts } from './critical.js';
import type { Evaluator } from './evaluator.js';
import { inOrder, MOVES, type Move } from './moves.js';
import type { PlanState } from './plan-state.js';
import { firstReady } from './schedule.js';
import { snapped } from './snap.js';

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
/** Attempts of that kind where a search begins. */
const READY_TIMES = 4;
/** Moves between two looks at what holds the plan up. */
const CRITICAL_EVERY = 32;
/** Moves between two pauses of `annealing`. */
const PAUSE_EVERY = 256;
/** Moves that do not apply, one after another, after which there is nothing to search. */
const MOST_MISSES = 5000;

/** Anneals in one go. */
export function anneal(start: Annealed, evaluator: Evaluator, context: MoveContext, options: AnnealOptions): Annealed {
  const steps = annealing(start, evaluator, context, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** Anneals with pauses; yields the best so far. */
export function* annealing(
  start: Annealed,
  evaluator: Evaluator,
  context: MoveContext,
  { until, hot, cold }: AnnealOptions,
): Generator<Annealed, Annealed> {
  const { form, random } = context;
  const moves = MOVES.filter((move) => move.general !== true || !form.classical);
  const total = moves.reduce((sum, move) => sum + move.weight, 0);
  const began = evaluator.done;
  let now = form.classical ? start : inOrderOfReadiness(start, evaluator);
  let best = now;
  let misses = 0;
  let stale = true;
  let focused: MoveContext = context;
  evaluator.keep(now.state);
  const shared = evaluator.geometry.task.network.medium === 'shared';
  for (let step = 1; evaluator.done < until; step++) {
    if (step % PAUSE_EVERY === 0) yield best;
    if (stale && step % CRITICAL_EVERY === 1) {
      focused = { ...context, critical: criticalParts(evaluator.run(now.state), now.state.volumes.length, shared) };
      stale = false;
    }
    const t = (evaluator.done - began) / (until - began);
    const temperature = now.cost * hot * (cold / hot) ** Math.min(1, Math.max(0, t));
    let state: PlanState | undefined;
    if (step % READY_EVERY === 0 && !form.classical) {
      state = { ...now.state, volumes: firstReady(now.state.volumes, evaluator.run(now.state), context.geometry) };
    } else {
      state = choose(moves, total, random.next()).apply(now.state, focused);
      if (state !== undefined) state = snapped(now.state, form.classical ? inOrder(state) : state, context);
    }
    if (state === undefined) {
      // No evaluation looks at the clock here.
      if (++misses % 64 === 0) evaluator.look();
      if (misses > MOST_MISSES) break;
      continue;
    }
    misses = 0;
    // What is taken is drawn beforehand, so that the simulation of worse plans can stop early.
    const most = now.cost - temperature * Math.log(1 - random.next());
    const cost = evaluator.cost(state, most * (1 + 1e-12));
    if (cost <= most) {
      if (cost !== now.cost) stale = true;
      now = { state, cost };
      evaluator.keep(state);
      if (cost < best.cost) best = now;
    }
  }
  return best;
}

/** The parts in the order in which they are ready, which makes others ready earlier, a few times over: the best of these. */
export function inOrderOfReadiness(start: Annealed, evaluator: Evaluator): Annealed {
  let best = start;
  let { state } = start;
  for (let time = 0; time < READY_TIMES; time++) {
    state = { ...state, volumes: firstReady(state.volumes, evaluator.run(state), evaluator.geometry) };
    const cost = evaluator.cost(state);
    if (cost < best.cost) best = { state, cost };
    else if (time > 0) break;
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
