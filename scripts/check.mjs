// npm run check: all checks that need no network, every one of them even when an earlier one fails. One line per step, and a summary.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { program, root, tool, workspaces } from './lib.mjs';

const types = ['tsconfig.json', 'tsconfig.test.json', 'bench'].filter((path) => existsSync(join(root, path)));

/** [name, what does it: an exit code] */
const steps = [
  ['format and lint', () => tool('biome', ['check', '--error-on-warnings', '.'])],
  ['types', () => tool('tsc', ['-b', ...types])],
  ['layers', () => program(process.execPath, ['scripts/check-layers.mjs']).status],
  ['dead code', () => tool('knip', ['--no-progress'])],
  // What npm would publish, of the build that the step "types" made.
  ...workspaces().map((path) => [`package ${path}`, () => tool('publint', ['run', path, '--strict', '--pack', 'npm'])]),
];

const failed = [];
for (const [name, run] of steps) {
  console.log(`check: ${name} ...`);
  const start = performance.now();
  const code = run();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`check: ${name}: ${code === 0 ? 'ok' : `FAILED (exit code ${code})`}, ${seconds} s`);
  if (code !== 0) failed.push(name);
}
console.log(
  failed.length
    ? `check: ${failed.length} of ${steps.length} steps FAILED: ${failed.join(', ')}`
    : 'check: all steps ok',
);
process.exit(failed.length ? 1 : 0);
