/**
 * Strategies to begin with, so that the replay memory holds sensible ones from the first update on: every provider alone,
 * then, adding the provider that helps most, the best two, three, … with shares equal or in proportion to their rates.
 */
import type { SplitEnvironment } from './environment.js';
import type { Strategy } from './exploration.js';

/** Adding providers stops where the plan has become this much slower. */
const HOPELESS = 1.5;

export interface Tried {
  readonly strategy: Strategy;
  readonly ms: number;
}

/** At most |D|² strategies with their latencies, in the order in which they were tried. */
export function initialStrategies(environment: SplitEnvironment): Tried[] {
  const { costs } = environment.task;
  const rates = costs.map(
    ({ opMs }) =>
      1 /
      Math.max(
        1e-9,
        opMs.reduce((sum, table) => sum + (table.at(-1) ?? 0), 0),
      ),
  );
  const tried: Tried[] = [];
  const attempt = (devices: readonly number[], equal: boolean): number => {
    const shares = rates.map((rate, d) => (devices.includes(d) ? (equal ? 1 : rate) : 0));
    const action = environment.actionOf(shares);
    const strategy = environment.ends.map(() => action);
    const ms = environment.episode(strategy);
    tried.push({ strategy, ms });
    return ms;
  };
  const used: number[] = [];
  let before = Number.POSITIVE_INFINITY;
  while (used.length < costs.length) {
    let best = Number.POSITIVE_INFINITY;
    let added = -1;
    for (let d = 0; d < costs.length; d++) {
      if (used.includes(d)) continue;
      const ms = Math.min(
        attempt([...used, d], false),
        used.length === 0 ? Number.POSITIVE_INFINITY : attempt([...used, d], true),
      );
      if (ms < best || added < 0) {
        best = ms;
        added = d;
      }
    }
    if (best > HOPELESS * before) break;
    before = best;
    used.push(added);
  }
  return tried;
}
