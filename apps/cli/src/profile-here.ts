/** Measured profiles of this machine: kept where they were measured once, measured with a progress bar where not. */
import { cpus, hostname, totalmem } from 'node:os';
import { type Analysis, type Profile, workloadOf } from '@distredge/core';
import {
  createOrtEngine,
  engineName,
  measureLoopback,
  measureProfile,
  modelHash,
  readCachedProfile,
  writeCachedProfile,
} from '@distredge/runtime';
import { onEnd } from './lifecycle.js';
import { Progress, plain } from './output.js';

export interface ProfileHereOptions {
  readonly threads?: number;
  /** Default: as `measureProfile` has it. */
  readonly budgetMs?: number;
  /** Whether a profile measured before will do, and this one is kept. Default: yes. */
  readonly cache?: boolean;
  /** Whether to measure a link between two processes of this machine, too. */
  readonly link?: boolean;
}

/** Profiles a model on this machine; `kept` says that it was measured before. */
export async function profileHere(
  analysis: Analysis,
  name: string,
  { threads = 1, budgetMs, cache = true, link = false }: ProfileHereOptions = {},
): Promise<{ profile: Profile; kept: boolean }> {
  const device = { id: hostname(), engine: engineName(), threads, cpu: cpus()[0]?.model ?? 'unknown' };
  const known = cache ? await readCachedProfile({ device, model: { name, hash: modelHash(analysis) } }) : undefined;
  if (known !== undefined && (!link || known.link !== undefined)) return { profile: known, kept: true };
  const stop = new AbortController();
  const engine = createOrtEngine({ threads });
  onEnd(async () => {
    stop.abort();
    await engine.close();
  });
  const progress = new Progress();
  try {
    const measured = await measureProfile(analysis, workloadOf(analysis, name), {
      engine,
      threads,
      device,
      memoryMb: memoryMb(),
      ...(budgetMs === undefined ? {} : { budgetMs }),
      signal: stop.signal,
      onProgress: (done, note) => progress.update(`profiling ${bar(done)} ${note}`),
    });
    if (link) progress.update('measuring a link');
    const profile = link ? { ...measured, link: await linkHere() } : measured;
    if (cache) await keep(profile);
    return { profile, kept: false };
  } finally {
    progress.done();
    await engine.close();
  }
}

async function linkHere(): Promise<NonNullable<Profile['link']>> {
  const { mbps, latencyMs } = await measureLoopback();
  return { mbps, latency_ms: latencyMs };
}

/** Memory that models and rows may take, in 10⁶ bytes: what the machine, or this process's share of it, has. */
function memoryMb(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  const bytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.floor(bytes / 1e6);
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
