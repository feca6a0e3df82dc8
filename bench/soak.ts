/**
 * A long stream over local providers: memory and open handles of every process over time; `npm run bench -- soak [IMAGES]
 * [--providers N] [--in-flight N]`. Each process's medians of the second and the last tenth are compared: growth of memory by
 * more than 5 %, or of handles by any number, fails.
 *
 * The requester is this process. V8 gives it room for short-lived objects in steps of 16 MB, at any time, and never takes it
 * back; so that growth tells of what is kept, it has all of that room from the beginning.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { analyse, compile, planByRule } from '@distredge/core';
import { connectResilient, createTcpTransport } from '@distredge/runtime';
import { HurtProvider, Work } from './_fault-cluster.js';

const FLAGS = ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16'];
if (!FLAGS.every((flag) => process.execArgv.includes(flag))) {
  const { status } = spawnSync(process.execPath, [...FLAGS, ...process.argv.slice(1)], { stdio: 'inherit' });
  process.exit(status ?? 1);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { providers: { type: 'string', default: '4' }, 'in-flight': { type: 'string', default: '4' } },
});
const images = Number(positionals[0] ?? 20_000);
const inFlight = Number(values['in-flight']);
const SAMPLES = 200;

interface Sample {
  readonly residentMb: number;
  readonly handles: number;
}

/** What Linux tells of a process: its resident set, and how many files and sockets it has open. */
function look(pid: number): Sample {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return { residentMb: (pages * 4096) / 1e6, handles: readdirSync(`/proc/${pid}/fd`).length };
}

/** What JavaScript keeps in its heap after collections, in MB. */
async function kept(): Promise<number> {
  for (let times = 0; times < 2; times++) {
    (globalThis as { gc?: () => void }).gc?.();
    // What was waiting to be let go is now.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed / 1e6;
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] ?? Number.NaN;

const work = await Work.create(1);
const analysis = analyse(work.graph);
const providers = Array.from({ length: Number(values.providers) }, () => new HurtProvider());
await Promise.all(providers.map((provider) => provider.start()));
const program = compile(work.graph, planByRule(analysis, { volumes: 3, weights: providers.map(() => 1) }), analysis);
let [losses, late] = [0, 0];
const cluster = await connectResilient({
  transport: createTcpTransport(),
  addresses: providers.map(({ address }) => address),
  inFlight,
  silenceMs: 10_000,
  programsFor: (devices) => (devices.length === providers.length ? [{ program, devices }] : undefined),
  whole: async (inputs) => ({ ...(await work.whole.run(inputs)).outputs }),
  report: ({ type }) => {
    losses += type === 'lost' ? 1 : 0;
    late += type === 'late' ? 1 : 0;
  },
});
const pids = [process.pid, ...providers.map(({ pid }) => pid)];
const samples = pids.map((): Sample[] => []);
const started = performance.now();
let [done, wrong] = [0, 0];
const held: number[] = [];
function* stream() {
  for (let index = 0; index < images; index++) yield work.images[index % work.images.length]?.inputs ?? {};
}
for await (const { index, outputs } of cluster.stream(stream())) {
  if (index !== done || !work.right(index, outputs)) wrong += 1;
  done += 1;
  if (done === Math.floor(images / 5) || done === images) held.push(await kept());
  if (done % Math.max(1, Math.floor(images / SAMPLES)) !== 0) continue;
  for (const [at, pid] of pids.entries()) samples[at]?.push(look(pid));
}
const took = (performance.now() - started) / 1000;
await cluster.close();
await Promise.all(providers.map((provider) => provider.close()));
await work.whole.close();

console.log(
  `${done} images in ${took.toFixed(0)} s (${(done / took).toFixed(0)} a second), ${providers.length} providers, ${inFlight} under way: ${wrong} wrong, ${losses} losses, ${late} late and begun again`,
);
console.log(
  'process     resident set in MB, by tenths of the stream (medians)                  last/2nd  open handles 2nd, last',
);
let grown = false;
for (const [at, list] of samples.entries()) {
  const tenths = Array.from({ length: 10 }, (_, index) =>
    list.slice(Math.floor((index * list.length) / 10), Math.floor(((index + 1) * list.length) / 10)),
  );
  const memory = tenths.map((part) => median(part.map(({ residentMb }) => residentMb)));
  const handles = [tenths[1], tenths[9]].map((part) => median((part ?? []).map((sample) => sample.handles)));
  const ratio = (memory[9] ?? 0) / (memory[1] ?? 1);
  grown ||= ratio > 1.05 || (handles[1] ?? 0) > (handles[0] ?? 0);
  const name = at === 0 ? 'requester' : `provider ${at - 1}`;
  const cells = memory.map((mb) => mb.toFixed(0).padStart(6)).join('');
  console.log(
    `${name.padEnd(11)}${cells}${ratio.toFixed(3).padStart(12)}${`${handles[0]}`.padStart(12)}${`${handles[1]}`.padStart(8)}`,
  );
}
console.log(
  `requester keeps ${held.map((mb) => mb.toFixed(2)).join(' MB after two tenths, ')} MB at the end in its heap`,
);
process.exit(wrong > 0 || grown ? 1 : 0);
