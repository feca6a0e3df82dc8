/** `distredge profile`: measures what this machine takes for the ops of a model over rows. */
import { analyse, type Profile } from '@distredge/core';
import { profileFolder } from '@distredge/runtime';
import type { Command } from 'commander';
import { writeArtifact } from '../json-file.js';
import { MODEL_ARGUMENT, readModel } from '../model-file.js';
import { modelOptions, wholeNumber, withShapes } from '../options.js';
import { ms, plain, print, printJson, styled, table } from '../output.js';
import { profileHere } from '../profile-here.js';

interface Options {
  readonly out?: string;
  readonly threads: number;
  readonly budget: number;
  readonly cache: boolean;
  readonly link?: true;
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

export function addProfile(program: Command): void {
  withShapes(program.command('profile').argument('<model>', MODEL_ARGUMENT))
    .summary('measure what this machine takes for the ops of a model')
    .description(
      'Measures how long this machine takes for every op of a model, over the number of rows: what a planner needs of a device. Keep the machine otherwise idle. Measured profiles are kept and used again.',
    )
    .option('--out <file>', 'also write the profile to a file')
    .option('--threads <n>', 'threads for one op, as the provider will use', wholeNumber('--threads', 1, 256), 1)
    .option('--budget <seconds>', 'how long to measure', wholeNumber('--budget', 1, 3600), 6)
    .option('--link', 'also measure a link between two processes of this machine')
    .option('--no-cache', 'measure again, and do not keep the profile')
    .option('--json', 'print the profile as one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge profile model.onnx\n  $ distredge profile model.onnx --threads 4 --out laptop.json\n  $ distredge profile zoo:vgg16 --no-cache --json\n',
    )
    .action(profile);
}

async function profile(path: string, options: Options): Promise<void> {
  const { graph, name } = await readModel(path, modelOptions(options));
  const { threads, budget, cache, link = false } = options;
  const { profile: result, kept } = await profileHere(analyse(graph), name, {
    threads,
    budgetMs: 1000 * budget,
    cache,
    link,
  });
  if (options.out !== undefined) await writeArtifact(options.out, result);
  if (options.json) printJson(result);
  else show(result, kept, options.out);
}

function show(result: Profile, kept: boolean, out: string | undefined): void {
  const { device, model, ops, head, link } = result;
  const at = (rows: readonly number[], times: readonly number[], share: number): string => {
    const count = share * (rows.at(-1) ?? 0);
    return ms(times[rows.findIndex((value) => value >= count)] ?? 0);
  };
  print(styled('bold', plain(`${model.name} on ${device.id}`)));
  print(plain(`${device.cpu}, ${device.engine}, ${device.threads} thread${device.threads === 1 ? '' : 's'}`));
  if (kept) print(styled('dim', `measured before, kept in ${plain(profileFolder())} (--no-cache measures again)`));
  print();
  print(
    table([
      ['#', 'op ends at', 'rows', 'points', 'one row', 'half', 'all'],
      ...ops.map(({ end, rows, ms: times }, index) => [
        index,
        end.length > 40 ? `…${end.slice(-39)}` : end,
        rows.at(-1) ?? 0,
        rows.length,
        at(rows, times, 0),
        at(rows, times, 0.5),
        at(rows, times, 1),
      ]),
    ]),
  );
  print();
  const total = ops.reduce((sum, { ms: times }) => sum + (times.at(-1) ?? 0), 0);
  print(`all ops: ${ms(total)} in one part, which is ${(100 * result.fusion).toFixed(0)} % of each op alone`);
  if (head !== undefined) {
    const { before_ms, cut, after_ms } = head;
    print(`head: ${ms(before_ms + (cut?.ms.at(-1) ?? 0) + after_ms)}`);
  }
  print(`every part: ${result.part_ms.toFixed(3)} ms to be started`);
  if (link !== undefined)
    print(`a link on this machine: ${link.mbps.toFixed(0)} Mbit/s, ${link.latency_ms.toFixed(3)} ms`);
  if (out !== undefined) print(`written to ${plain(out)}`);
}
