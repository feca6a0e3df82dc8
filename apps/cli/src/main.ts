#!/usr/bin/env node
/** The `distredge` command: composition only. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
import { readFileSync } from 'node:fs';
import { DistrEdgeError } from '@distredge/core';
import { Command, CommanderError } from 'commander';
import { addBench } from './commands/bench.js';
import { addDemo } from './commands/demo.js';
import { addInspect } from './commands/inspect.js';
import { addProvider } from './commands/provider.js';
import { addRun } from './commands/run.js';
import { addVerify } from './commands/verify.js';
import { endAll, handleSignals } from './lifecycle.js';
import { describeError } from './output.js';

function version(): string {
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function commandLine(): Command {
  const program = new Command('distredge')
    .description('Runs the inference of any ONNX CNN on several devices at once, exactly.')
    .version(version())
    .showHelpAfterError('(distredge --help shows the commands, distredge COMMAND --help one of them)')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge demo\n  $ distredge inspect model.onnx\n  $ distredge verify model.onnx --workers 3\n  $ distredge bench model.onnx --workers 2\n',
    );
  for (const add of [addDemo, addInspect, addVerify, addBench, addProvider, addRun]) add(program);
  for (const command of [program, ...program.commands]) command.exitOverride();
  return program;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return error instanceof DistrEdgeError && error.code === 'USAGE' ? 2 : 1;
}

function report(error: unknown): void {
  if (error instanceof CommanderError) return;
  if (process.argv.includes('--json')) {
    const facts =
      error instanceof DistrEdgeError
        ? error.toJSON()
        : { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
    process.stdout.write(`${JSON.stringify({ ok: false, error: facts })}\n`);
  }
  process.stderr.write(`${describeError(error)}\n`);
  if (process.env['DISTREDGE_DEBUG'] !== undefined) console.error(error);
}

handleSignals();
// A closed pipe (`distredge inspect … | head`) is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') void endAll().finally(() => process.exit(0));
});
try {
  await commandLine().parseAsync();
} catch (error) {
  report(error);
  process.exitCode = exitCodeOf(error);
} finally {
  await endAll();
}
// Whatever might still hold the process (an engine's thread pool, a half-open socket) must not.
process.stdout.write('', () => process.exit());
