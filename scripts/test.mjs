// npm test: builds, runs Vitest, and prints `N passed, N failed` alone on the last line, counted from Vitest's JSON report.
// Exits with Vitest's code, and with an error when no test ran or Vitest left no report. Arguments go to Vitest.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, tool } from './lib.mjs';

const report = join(root, '.tmp', 'vitest.json');

function finish(code, { passed = 0, failed = 0, skipped = 0 } = {}) {
  if (skipped > 0) console.log(`${skipped} skipped: they say above what they need`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(code);
}

/** What the report counts; a file that failed without a failing test in it (it did not load, or a hook broke) counts as one failure. */
function count(results) {
  const broken = results.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  );
  for (const file of broken) console.error(`failed as a whole: ${file.name}: ${file.message}`);
  return {
    passed: results.numPassedTests,
    failed: results.numFailedTests + broken.length,
    skipped: results.numPendingTests + results.numTodoTests,
  };
}

if (tool('tsc', ['-b']) !== 0) {
  console.error('the build failed: no test was run');
  finish(1);
}

mkdirSync(join(root, '.tmp'), { recursive: true });
rmSync(report, { force: true });
const code = tool('vitest', [
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
]);

let results;
try {
  results = JSON.parse(readFileSync(report, 'utf8'));
} catch (error) {
  console.error(`Vitest left no report (exit code ${code}): ${error.message}`);
  finish(code || 1);
}
const counts = count(results);
if (counts.passed + counts.failed === 0) {
  console.error('no test ran');
  finish(code || 1, counts);
}
if (code !== 0 && counts.failed === 0)
  console.error(`Vitest failed outside of any test (exit code ${code}): see above`);
finish(code || (counts.failed ? 1 : 0), counts);
