/** What rows of a benchmark of planners say together: how many times as fast one planner's plans are as the others'. */

export interface PlannerRow {
  readonly scenario: string;
  readonly planner: string;
  readonly latencyMs: number;
  /** Images per second, one after another. */
  readonly ips: number;
  readonly planMs: number;
  readonly devicesUsed: number;
  /** No plan can be faster; null where that could not be found. */
  readonly lowerBoundMs: number | null;
}

export interface FailedRow {
  readonly scenario: string;
  readonly planner: string;
  readonly error: Record<string, string>;
}

/** Ratios over scenarios: above 1 where the reference is faster. */
export interface Ratios {
  readonly scenarios: number;
  readonly geometricMean: number;
  readonly smallest: { readonly ratio: number; readonly scenario: string };
  readonly largest: { readonly ratio: number; readonly scenario: string };
}

export interface PlannerSummary {
  /** Whose plans the others' are held against. */
  readonly reference: string;
  readonly scenarios: number;
  readonly failed: number;
  /** Latency of each planner over that of the reference. */
  readonly against: Readonly<Record<string, Ratios>>;
  /** Latency of the best of the baselines, in each scenario, over that of the reference; null where none was run. */
  readonly againstBestBaseline: (Ratios & { readonly baselines: readonly string[] }) | null;
  /** Latency of the reference over the lower bound. */
  readonly overLowerBound: Ratios | null;
  /** Planning times of the reference, ms. */
  readonly planMs: { readonly mean: number; readonly largest: number } | null;
}

interface Ratio {
  readonly scenario: string;
  readonly ratio: number;
}

/** Geometric mean, smallest and largest; null of nothing. */
export function ratiosOf(items: readonly Ratio[]): Ratios | null {
  const [first] = items;
  if (first === undefined) return null;
  const logs = items.reduce((sum, { ratio }) => sum + Math.log(ratio), 0);
  return {
    scenarios: items.length,
    geometricMean: Math.exp(logs / items.length),
    smallest: items.reduce((least, item) => (item.ratio < least.ratio ? item : least), first),
    largest: items.reduce((most, item) => (item.ratio > most.ratio ? item : most), first),
  };
}

export function isFailed(row: PlannerRow | FailedRow): row is FailedRow {
  return 'error' in row;
}

/** Holds every planner, and the best of `baselines`, against `reference`; scenarios in which either failed do not count. */
export function summarise(
  rows: readonly (PlannerRow | FailedRow)[],
  reference: string,
  baselines: readonly string[],
): PlannerSummary {
  const good = rows.filter((row): row is PlannerRow => !isFailed(row));
  const own = new Map(good.filter(({ planner }) => planner === reference).map((row) => [row.scenario, row]));
  const over = (others: readonly PlannerRow[]): Ratio[] =>
    others.flatMap(({ scenario, latencyMs }) => {
      const row = own.get(scenario);
      return row === undefined ? [] : [{ scenario, ratio: latencyMs / row.latencyMs }];
    });
  const against: Record<string, Ratios> = {};
  for (const planner of new Set(good.map((row) => row.planner))) {
    const ratios = planner === reference ? null : ratiosOf(over(good.filter((row) => row.planner === planner)));
    if (ratios !== null) against[planner] = ratios;
  }
  const best = new Map<string, PlannerRow>();
  for (const row of good) {
    const known = best.get(row.scenario);
    if (baselines.includes(row.planner) && (known === undefined || row.latencyMs < known.latencyMs))
      best.set(row.scenario, row);
  }
  const overBest = ratiosOf(over([...best.values()]));
  const ran = baselines.filter((name) => good.some(({ planner }) => planner === name));
  const planned = [...own.values()];
  const bounded = planned.flatMap(({ scenario, latencyMs, lowerBoundMs }) =>
    lowerBoundMs === null ? [] : [{ scenario, ratio: latencyMs / lowerBoundMs }],
  );
  return {
    reference,
    scenarios: new Set(rows.map(({ scenario }) => scenario)).size,
    failed: rows.filter(isFailed).length,
    against,
    againstBestBaseline: overBest === null ? null : { ...overBest, baselines: ran },
    overLowerBound: ratiosOf(bounded),
    planMs:
      planned.length === 0
        ? null
        : {
            mean: planned.reduce((sum, { planMs }) => sum + planMs, 0) / planned.length,
            largest: Math.max(...planned.map(({ planMs }) => planMs)),
          },
  };
}
