/** What the testbed found: rows as they come, and what they say together. */
import { baselineNames } from '@distredge/planner';
import { mean, quantile } from '../_workloads.js';
import type { DynamicMeasured } from './dynamic.js';
import type { PlanMeasured } from './session.js';

/** The largest difference to the unsplit model that counts as the same answer, as a share of the range of results. */
export const EXACT = 1e-4;

/** One plan of one scenario. */
export interface Row extends Partial<PlanMeasured> {
  readonly scenario: string;
  /** All that came to this plan. */
  readonly planners: readonly string[];
  /** Why there is no measurement. */
  readonly error?: Readonly<Record<string, string>>;
}

type Measured = Row & PlanMeasured;

export interface Summary {
  /** Distinct plans measured. */
  readonly plans: number;
  readonly failed: number;
  readonly inexact: number;
  readonly medianError: number | null;
  readonly p90Error: number | null;
  /** Scenarios with two plans and more, and those in which the plan that was predicted to be the fastest was. */
  readonly contests: number;
  readonly winnersPredicted: number;
  /** By how many times `auto` is as fast as another, measured: geometric mean and smallest over scenarios. */
  readonly autoOverBestBaseline: Ratio | null;
  readonly autoOverBestDevice: Ratio | null;
}

interface Ratio {
  readonly scenarios: number;
  readonly geometricMean: number;
  readonly smallest: number;
  readonly smallestIn: string;
}

const isMeasured = (row: Row): row is Measured => row.measuredMs !== undefined;
const errorOf = ({ measuredMs, predictedMs }: PlanMeasured): number => measuredMs / predictedMs - 1;

export function summarise(rows: readonly Row[]): Summary {
  const measured = rows.filter(isMeasured);
  const errors = measured.map((row) => Math.abs(errorOf(row)));
  const scenarios = [...new Set(measured.map(({ scenario }) => scenario))].map((scenario) =>
    measured.filter((row) => row.scenario === scenario),
  );
  const contests = scenarios.filter(({ length }) => length > 1);
  const fastest = (of: readonly Measured[], by: 'predictedMs' | 'measuredMs'): Measured =>
    of.reduce((best, row) => (row[by] < best[by] ? row : best));
  const some = (value: number): number | null => (Number.isNaN(value) ? null : value);
  return {
    plans: measured.length,
    failed: rows.length - measured.length,
    inexact: measured.filter(({ difference }) => !(difference <= EXACT)).length,
    medianError: some(quantile(errors, 0.5)),
    p90Error: some(quantile(errors, 0.9)),
    contests: contests.length,
    winnersPredicted: contests.filter((of) => fastest(of, 'predictedMs') === fastest(of, 'measuredMs')).length,
    autoOverBestBaseline: autoAgainst(scenarios, baselineNames),
    autoOverBestDevice: autoAgainst(scenarios, ['best-device']),
  };
}

function autoAgainst(scenarios: readonly (readonly Measured[])[], others: readonly string[]): Ratio | null {
  const ratios = scenarios.flatMap((rows) => {
    const auto = rows.find(({ planners }) => planners.includes('auto'));
    const against = rows.filter(({ planners }) => planners.some((name) => others.includes(name)));
    if (auto === undefined || against.length === 0) return [];
    const best = Math.min(...against.map(({ measuredMs }) => measuredMs));
    return [{ scenario: auto.scenario, ratio: best / auto.measuredMs }];
  });
  if (ratios.length === 0) return null;
  const smallest = ratios.reduce((least, one) => (one.ratio < least.ratio ? one : least));
  return {
    scenarios: ratios.length,
    geometricMean: Math.exp(mean(ratios.map(({ ratio }) => Math.log(ratio)))),
    smallest: smallest.ratio,
    smallestIn: smallest.scenario,
  };
}

export const HEADER: string = `${'scenario'.padEnd(26)}${'predicted'.padStart(11)}${'measured'.padStart(11)}${'error'.padStart(9)}${'dilation'.padStart(10)}${'difference'.padStart(12)}${'late'.padStart(6)}  planners`;

/** One line for a row. Times in ms of the model. */
export function lineOf(row: Row): string {
  const { scenario, planners, error } = row;
  if (!isMeasured(row)) {
    const why = [error?.['message'], error?.['where'], error?.['got']].filter((text) => text !== undefined).join('; ');
    return `${scenario.padEnd(26)}${'-'.padStart(11)}  ${planners.join(', ')}: ${why}`;
  }
  const { predictedMs, measuredMs, dilation, difference, late } = row;
  return (
    `${scenario.padEnd(26)}${predictedMs.toFixed(1).padStart(11)}${measuredMs.toFixed(1).padStart(11)}` +
    `${percent(errorOf(row)).padStart(9)}${`${dilation}×`.padStart(10)}${difference.toExponential(0).padStart(12)}` +
    `${`${late.times}`.padStart(6)}  ${planners.join(', ')}`
  );
}

/** What a changing network came to. Images per second are means over seconds of the model. */
export function dynamicLine(row: DynamicMeasured): string {
  const { scenario, seconds, images, plans, switches, dilation, measuredIps, predictedIps, clairvoyantIps } = row;
  const rate = (values: readonly number[]): string => mean(values).toFixed(3);
  return (
    `${scenario}: ${(100 * row.ofClairvoyant).toFixed(1)} % of clairvoyant over ${seconds} s, ${images} images: ` +
    `${rate(measuredIps)} images/s measured, ${rate(predictedIps)} predicted, clairvoyant ${rate(clairvoyantIps)}; ` +
    `${plans} plans, ${switches} switches, ${dilation}× dilated; largest difference ${row.difference.toExponential(0)}`
  );
}

const percent = (share: number): string => `${share >= 0 ? '+' : ''}${(100 * share).toFixed(1)} %`;

export function linesOf(summary: Summary): string[] {
  const { plans, failed, inexact, medianError, p90Error, contests, winnersPredicted } = summary;
  const share = (value: number | null): string => (value === null ? 'not known' : `${(100 * value).toFixed(1)} %`);
  const ratio = (name: string, value: Ratio | null): string[] =>
    value === null
      ? []
      : [
          `auto is ${value.geometricMean.toFixed(3)}× as fast as the ${name} (geometric mean of ${value.scenarios}; smallest ${value.smallest.toFixed(3)}×, in ${value.smallestIn})`,
        ];
  return [
    `${plans} plans measured${failed > 0 ? `, ${failed} failed` : ''}; ${inexact === 0 ? `all within ${EXACT} of the unsplit model's results` : `${inexact} NOT within ${EXACT} of the unsplit model's results`}`,
    `error of the prediction: median ${share(medianError)}, 90th percentile ${share(p90Error)}`,
    `the plan predicted to be the fastest was: ${winnersPredicted} of ${contests} scenarios with several plans`,
    ...ratio('best measured baseline', summary.autoOverBestBaseline),
    ...ratio('best single device', summary.autoOverBestDevice),
    'late: steps that took longer to compute than the device would have taken',
  ];
}
