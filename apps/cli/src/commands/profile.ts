/** `distredge profile`: measures what this machine takes for the ops of a model over rows. */
import { cpus, hostname, totalmem } from 'node:os';
import { analyse, type Profile, workloadOf } from '@distredge/core';
import {
  createOrtEngine,
  ENGINE_NAME,
  measureLoopback,
  measureProfile,
  modelHash,
  profileFolder,
  readCachedProfile,
  writeCachedProfile,
} from '@distredge/runtime';
import type { Command } from 'commander';
import { writeArtifact } from '../json-file.js';
import { onEnd } from '../lifecycle.js';
import { MODEL_ARGUMENT, readModel } from '../model-file.js';
import { modelOptions, wholeNumber, withShapes } from '../options.js';
import { ms, Progress, plain, print, printJson, styled, table } from '../output.js';

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
    .option('--budget <seconds>', 'how long to measure', wholeNumber('--budget', 1, 3600), 8)
    .option('--link', 'also measure a link between two processes of this machine')
    .option('--no-cache', 'measure again, and do not keep the profile')
    .option('--json', 'print the profile as one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge profile model.onnx\n  $ distredge profile model.onnx --threads 4 --out laptop.json\n  $ distredge profile zoo:vgg16 --no-cache --json\n',
    )
    .action(profile);
}

/** Memory that models and rows may take, in 10⁶ bytes: what the machine, or this process's share of it, has. */
function memoryMb(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  const bytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.floor(bytes / 1e6);
}

async function profile(path: string, options: Options): Promise<void> {
  const { graph, name } = await readModel(path, modelOptions(options));
  const analysis = analyse(graph);
  const device = { id: hostname(), engine: ENGINE_NAME, threads: options.threads, cpu: cpus()[0]?.model ?? 'unknown' };
  const key = { device, model: { name, hash: modelHash(analysis) } };
  const kept = options.cache ? await readCachedProfile(key) : undefined;
  const found = kept !== undefined && (options.link === undefined || kept.link !== undefined) ? kept : undefined;
  const result = found ?? (await measured());
  if (found === undefined && options.cache) await keep(result);
  if (options.out !== undefined) await writeArtifact(options.out, result);
  if (options.json) printJson(result);
  else show(result, found !== undefined, options.out);

  async function measured(): Promise<Profile> {
    const stop = new AbortController();
    const engine = createOrtEngine({ threads: options.threads });
    onEnd(async () => {
      stop.abort();
      await engine.close();
    });
    const progress = new Progress();
    try {
      const profile = await measureProfile(analysis, workloadOf(analysis, name), {
        engine,
        threads: options.threads,
        device,
        memoryMb: memoryMb(),
        budgetMs: options.budget * 1000,
        signal: stop.signal,
        onProgress: (done, note) => progress.update(`${bar(done)} ${note}`),
      });
      if (options.link === undefined) return profile;
      progress.update('measuring a link');
      const { mbps, latencyMs } = await measureLoopback();
      return { ...profile, link: { mbps, latency_ms: latencyMs } };
    } finally {
      progress.done();
      await engine.close();
    }
  }
}

/** That a profile cannot be kept is worth a word, but no error. */
async function keep(result: Profile): Promise<void> {
  try {
    await writeCachedProfile(result);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`${plain(`the profile is not kept: ${reason}`)}\n`);
  }
}

const BAR = 24;

function bar(done: number): string {
  const full = Math.round(Math.min(1, Math.max(0, done)) * BAR);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR - full)}] ${Math.round(100 * done)} %`;
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
