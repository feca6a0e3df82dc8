/** `distredge doctor`: looks why a machine and a cluster cannot talk, and says what to do. */
import type { Command } from 'commander';
import { type Check, checksFor } from '../cluster/checks.js';
import { DEFAULT_ADDRESS, type MemberOptions, memberOptions } from '../cluster/reach.js';
import { plain, print, printJson, shown, styled } from '../output.js';

interface Options extends MemberOptions {
  readonly json?: true;
}

export function addDoctor(program: Command): void {
  memberOptions(program.command('doctor').argument('[address]', 'where the controller listens', DEFAULT_ADDRESS))
    .summary('find out why a device and a cluster cannot talk')
    .description(
      'Looks at this machine, the way to a controller, the controller itself, and every device of its cluster: network interfaces, ports and firewalls, certificates, clocks, versions. Says what to do about what it finds.',
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  $ distredge doctor\n  $ distredge doctor 192.168.1.20:7400\n')
    .action(doctor);
}

const MARKS: Record<Check['result'], [string, 'green' | 'yellow' | 'red']> = {
  good: ['good', 'green'],
  doubtful: ['look', 'yellow'],
  bad: ['bad ', 'red'],
};

async function doctor(address: string, options: Options): Promise<void> {
  const checks = await shown('looking', () => checksFor(address, options));
  const ill = checks.some(({ result }) => result === 'bad');
  if (ill) process.exitCode = 1;
  if (options.json) {
    printJson({ address, checks, ok: !ill });
    return;
  }
  for (const { what, result, found, advice } of checks) {
    const [mark, style] = MARKS[result];
    print(`${styled(style, mark)}  ${what}: ${plain(found)}`);
    if (advice !== undefined) print(`      to do: ${plain(advice)}`);
  }
}
