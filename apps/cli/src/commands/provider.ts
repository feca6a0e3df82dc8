/** `distredge provider`: computes parts for requesters until it is told to stop. */
import { setPriority } from 'node:os';
import { DistrEdgeError } from '@distredge/core';
import {
  assertLoopback,
  createOrtEngineFor,
  createTcpTransport,
  engineName,
  measureSpeed,
  startProvider,
} from '@distredge/runtime';
import { type Command, Option } from 'commander';
import { endAll, ignoreTerminalSignals, onEnd } from '../lifecycle.js';
import { wholeNumber } from '../options.js';
import { plain, print } from '../output.js';
import { keepHeapSteady } from '../steady-heap.js';

interface Options {
  readonly listen: string;
  readonly threads: number;
  readonly busyWait: number;
  readonly cache?: string;
  readonly winograd: boolean;
  readonly child?: true;
}

export function addProvider(program: Command): void {
  program
    .command('provider')
    .summary('compute parts of models for requesters')
    .description('Listens for requesters and computes the parts of models that they send, until Ctrl-C.')
    .option('--listen <host:port>', 'address to listen on; port 0 takes any free one', '127.0.0.1:7411')
    .option('--threads <n>', 'threads for one op', wholeNumber('--threads', 1, 256), 1)
    .option(
      '--busy-wait <ms>',
      'look for awaited rows this long without sleeping; for a provider with a core of its own',
      wholeNumber('--busy-wait', 0, 1000),
      0,
    )
    .option('--cache <dir>', 'keep weights in this folder, for when the provider is started again')
    .option('--no-winograd', 'compute every convolution directly, also where Winograd’s way is faster')
    .addOption(new Option('--child', 'end with the process that started this one, and tell it the address').hideHelp())
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge provider\n  $ distredge provider --listen 127.0.0.1:7412 --threads 2\n  $ distredge provider --cache /var/cache/distredge\n',
    )
    .action(provide);
}

async function provide({ listen, threads, busyWait, cache, winograd, child }: Options): Promise<void> {
  assertLoopback(listen);
  keepHeapSteady();
  if (child) {
    endWithParent();
    letParentRunFirst();
  }
  const engine = { threads, flopsPerSecond: await measureSpeed({ threads }), ...(winograd ? {} : { winograd }) };
  const provider = await startProvider({
    transport: createTcpTransport(),
    listen,
    createEngine: (program) => createOrtEngineFor(program, engine),
    engineName: engineName(engine),
    busyWaitMs: busyWait,
    cache,
    log: (line) => {
      if (!child) print(plain(line));
    },
  });
  onEnd(() => provider.close());
  // That the parent is gone is told by the end of the channel.
  if (child) process.send?.({ address: provider.address }, undefined, undefined, () => undefined);
  else print(`provider on ${provider.address} (${engineName(engine)}); Ctrl-C ends it`);
  await new Promise(() => undefined);
}

/** A niceness at which a process of the usual one that wakes up runs at once. */
const NICE = 10;

/**
 * The parent is the requester and shares the cores: while it hands out an image, providers that have their rows must not make
 * it wait for the end of their time slice, which took 2.5 ms of every image.
 */
function letParentRunFirst(): void {
  try {
    setPriority(NICE);
  } catch {
    // Where this is forbidden, images take a little longer.
  }
}

/** For how long a job of a parent that is gone may put off the end. */
const PATIENCE_MS = 800;

/** Ends this process when the channel to its parent closes, which the end of the parent does, however it ends. */
function endWithParent(): void {
  if (process.send === undefined) {
    throw new DistrEdgeError('USAGE', '--child is for providers that distredge itself starts', {
      hint: 'leave it out; Ctrl-C ends the provider',
    });
  }
  ignoreTerminalSignals();
  const leave = (): void => {
    // As after a polite kill: soon, whatever is being loaded or computed, and before the parent loses its patience.
    void endAll(PATIENCE_MS).finally(() => process.exit(143));
  };
  process.once('disconnect', leave);
  // The parent may be gone already.
  if (!process.connected) leave();
}
