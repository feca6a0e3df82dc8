/**
 * Runs properties with a fixed seed, so that every run checks the same cases. Other cases: DISTREDGE_PROPERTY_SEED=7
 * DISTREDGE_PROPERTY_RUNS=10 (ten times as many) npx vitest run e2e/property. A failure prints the seed and the path of the
 * smallest case found; DISTREDGE_PROPERTY_SEED with DISTREDGE_PROPERTY_PATH runs that case alone.
 */
import fc from 'fast-check';

const seed = Number(process.env['DISTREDGE_PROPERTY_SEED'] ?? 1);
const times = Number(process.env['DISTREDGE_PROPERTY_RUNS'] ?? 1);
const path = process.env['DISTREDGE_PROPERTY_PATH'];

/** Time for a test: what shrinking a failure may take. */
export const TIMEOUT_MS = 600_000 * Math.max(1, times);

/** Checks a property on `runs` random cases. What it throws is reported for the smallest case that fails. */
export async function check<T>(
  runs: number,
  arbitrary: fc.Arbitrary<T>,
  property: (value: T) => Promise<void> | void,
): Promise<void> {
  const single = path === undefined ? {} : { path, endOnFailure: true };
  const details = await fc.check(
    fc.asyncProperty(arbitrary, async (value) => property(value)),
    { numRuns: Math.ceil(runs * times), seed, ...single },
  );
  if (!details.failed) return;
  const { errorInstance, counterexamplePath, numRuns, numShrinks } = details;
  const message = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  throw new Error(
    `case ${numRuns}, made smaller ${numShrinks} times (DISTREDGE_PROPERTY_SEED=${details.seed} DISTREDGE_PROPERTY_PATH=${counterexamplePath}):\n${message}`,
    { cause: errorInstance instanceof Error ? errorInstance.cause : undefined },
  );
}
