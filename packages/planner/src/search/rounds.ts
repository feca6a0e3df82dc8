/** The rounds of a search: after each, fewer plans go on. */

export interface Round {
  readonly survivors: number;
  readonly share: number;
  readonly hot: number;
}

/** Starts that go on, share of the rest of the budget for them together, and temperature, round by round. */
export const ROUNDS: readonly Round[] = [
  { survivors: 24, share: 0.2, hot: 0.003 },
  { survivors: 10, share: 0.2, hot: 0.003 },
  { survivors: 5, share: 0.2, hot: 0.002 },
  { survivors: 2, share: 0.2, hot: 0.001 },
  { survivors: 1, share: 0.2, hot: 0.0006 },
];
/** The same for classical plans, which are judged faster and lie in fewer, deeper basins. */
export const CLASSICAL_ROUNDS: readonly Round[] = [
  { survivors: 32, share: 0.2, hot: 0.01 },
  { survivors: 12, share: 0.2, hot: 0.008 },
  { survivors: 6, share: 0.2, hot: 0.006 },
  { survivors: 3, share: 0.2, hot: 0.004 },
  { survivors: 1, share: 0.2, hot: 0.002 },
];
/** Where the search goes on: the best plans once more, from a temperature at which they can still change. */
export const MORE_ROUNDS: readonly Round[] = [
  { survivors: 3, share: 0.5, hot: 0.003 },
  { survivors: 1, share: 0.5, hot: 0.001 },
];
