#!/usr/bin/env node
/** The `distredge` command: composition only. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. */
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import { Command, CommanderError } from 'commander';
import { addBench } from './commands/bench.js';
import { addDemo } from './commands/demo.js';
import { addDevices } from './commands/devices.js';
import { addDoctor } from './commands/doctor.js';
import { addExplain } from './commands/explain.js';
import { addInspect } from './commands/inspect.js';
import { addJoin } from './commands/join.js';
import { addPlan } from './commands/plan.js';
import { addProfile } from './commands/profile.js';
import { addProvider } from './commands/provider.js';
import { addRun } from './commands/run.js';
import { addSimulate } from './commands/simulate.js';
import { addUp } from './commands/up.js';
import { addVerify } from './commands/verify.js';
import { addZoo } from './commands/zoo.js';
import { endAll, handleSignals, interrupted } from './lifecycle.js';
import { describeError, printJson } from './output.js';
import { version } from './version.js';

const COMMANDS = [
  addDemo,
  addInspect,
  addProfile,
  addPlan,
  addSimulate,
  addExplain,
  addVerify,
  addBench,
  addProvider,
  addRun,
  addUp,
  addJoin,
  addDevices,
  addDoctor,
  addZoo,
];

function commandLine(): Command {
  const program = new Command('distredge')
    .description('Runs the inference of any ONNX CNN on several devices at once, exactly.')
    .version(version())
    // So that `bench planners` gets its own options, not those that `bench MODEL` calls the same.
    .enablePositionalOptions()
    // Wrong usage is told by `report`, like every other error.
    .configureOutput({ outputError: () => undefined })
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge demo\n  $ distredge inspect model.onnx\n  $ distredge verify model.onnx --workers 3\n  $ distredge bench model.onnx --workers 2\n  $ distredge plan model.onnx --cluster cluster.json\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C.\n',
    );
  for (const add of COMMANDS) add(program);
  const all = [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)];
  for (const command of all) command.exitOverride();
  return program;
}

/** What commander says about wrong usage, in the form of every other error; undefined for help and version. */
function usageError(error: CommanderError, program: Command): DistrEdgeError | undefined {
  if (error.exitCode === 0 || error.code.startsWith('commander.help')) return undefined;
  const [message = '', ...more] = error.message.replace(/^error: /, '').split('\n');
  const command = program.commands.map((item) => item.name()).find((name) => process.argv[2] === name);
  const help =
    command === undefined
      ? 'distredge --help shows the commands'
      : `distredge ${command} --help shows its arguments, options and examples`;
  return new DistrEdgeError('USAGE', message, { hint: [...more, help].join(' ') });
}

/** Errors that only the command line itself can be the reason of. */
const USAGE: ReadonlySet<ErrorCode> = new Set(['USAGE', 'ADDRESS_INVALID', 'ADDRESS_NOT_LOOPBACK']);

function report(error: unknown): void {
  if (process.argv.includes('--json')) {
    const facts =
      error instanceof DistrEdgeError
        ? error.toJSON()
        : { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
    printJson({ ok: false, error: facts });
  }
  process.stderr.write(`${describeError(error)}\n`);
  if (process.env['DISTREDGE_DEBUG'] !== undefined) console.error(error);
  process.exitCode = error instanceof DistrEdgeError && USAGE.has(error.code) ? 2 : 1;
}

async function main(): Promise<void> {
  const program = commandLine();
  try {
    await program.parseAsync();
  } catch (error) {
    if (await interrupted()) return;
    const told = error instanceof CommanderError ? usageError(error, program) : error;
    if (told === undefined) process.exitCode = (error as CommanderError).exitCode === 0 ? 0 : 2;
    else report(told);
  }
  await endAll();
  // Whatever might still hold the process (an engine's thread pool, a half-open socket) must not.
  process.stdout.write('', (error) => {
    if (error) unheard(error);
    process.exit();
  });
}

let deaf = false;

/** Standard output failed. That nobody reads any more (`distredge inspect … | head`) is no error. */
function unheard(error: NodeJS.ErrnoException): void {
  if (deaf || error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') return;
  deaf = true;
  report(new DistrEdgeError('FILE', 'the output cannot be written', { got: error.message, hint: 'is the disk full?' }));
}

handleSignals((signal) => {
  if (process.argv.includes('--json'))
    printJson({ ok: false, error: { code: 'CANCELLED', message: `ended by ${signal}` } });
});
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Nobody reads any more (`distredge inspect … | head`): no error, but no reason to go on either.
  if (error.code !== 'EPIPE')
    report(new DistrEdgeError('FILE', 'the output cannot be written', { got: error.message }));
  void endAll().finally(() => process.exit());
});
process.stderr.on('error', () => undefined);
process.on('uncaughtException', (error) => {
  report(error);
  void endAll().finally(() => process.exit());
});
await main();
