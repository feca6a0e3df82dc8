/** `distredge provider`: computes parts for requesters until it is told to stop. */
import {
  assertLoopback,
  createOrtWorkerEngine,
  createTcpTransport,
  ENGINE_NAME,
  startProvider,
} from '@distredge/runtime';
import type { Command } from 'commander';
import { endAll, onEnd } from '../lifecycle.js';
import { wholeNumber } from '../options.js';
import { print } from '../output.js';

interface Options {
  readonly listen: string;
  readonly threads: number;
  readonly child?: true;
}

export function addProvider(program: Command): void {
  program
    .command('provider')
    .summary('compute parts of models for requesters')
    .description('Listens for requesters and computes the parts of models that they send, until Ctrl-C.')
    .option('--listen <host:port>', 'address to listen on; port 0 takes any free one', '127.0.0.1:7411')
    .option('--threads <n>', 'threads for one op', wholeNumber('--threads', 1, 256), 1)
    .option('--child', 'end when the parent process does (used by the commands that start providers themselves)')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge provider\n  $ distredge provider --listen 127.0.0.1:7412 --threads 2\n',
    )
    .action(provide);
}

async function provide({ listen, threads, child }: Options): Promise<void> {
  assertLoopback(listen);
  const provider = await startProvider({
    transport: createTcpTransport(),
    listen,
    createEngine: () => createOrtWorkerEngine({ threads }),
    engineName: ENGINE_NAME,
    log: (line) => {
      if (!child) print(line);
    },
  });
  onEnd(() => provider.close());
  if (child) {
    const leave = (): void => {
      void endAll().finally(() => process.exit(0));
    };
    process.once('disconnect', leave);
    process.send?.({ address: provider.address });
  } else print(`provider on ${provider.address} (${ENGINE_NAME}); Ctrl-C ends it`);
  await new Promise(() => undefined);
}
