/**
 * Images a second of a stream over local providers against one core; `npm run bench -- stream [MODEL] [--workers N]`.
 *
 * Three ways to keep N providers busy, each with a core of its own: whole images in turn, a pipeline of stages (volumes), and
 * rows of every image with several images under way. They and one core alone take turns, some images each, so that all see
 * the same machine. Where other programs run meanwhile, Linux tells for how long threads ran and were kept from running:
 * rates are given as they were, without that waiting, and as what the busiest core computed would allow.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import {
  type Analysis,
  analyse,
  byteLength,
  compile,
  isGather,
  loadGraph,
  type Plan,
  type Program,
  planByRule,
  type Tensor,
  typeOf,
} from '@distredge/core';
import {
  type Cluster,
  connect,
  createTcpTransport,
  createWholeModel,
  type Lane,
  streamImages,
} from '@distredge/runtime';
import { buildZooModel } from '@distredge/zoo';

const MAIN = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));
const SHARED = '../shared/models/architectures/vgg16.onnx.gz';
/** As the command line starts providers. */
const ENVIRONMENT = {
  ...process.env,
  MALLOC_MMAP_THRESHOLD_: `${32 * 2 ** 20}`,
  MALLOC_TRIM_THRESHOLD_: `${64 * 2 ** 20}`,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    workers: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '12' },
    images: { type: 'string', default: '6' },
  },
});
const [workers, rounds, images] = [Number(values.workers), Number(values.rounds), Number(values.images)];
const path = positionals[0] ?? (existsSync(SHARED) ? SHARED : 'zoo:vgg16');

async function providerOn(core: number): Promise<{ child: ChildProcess; address: string }> {
  const args = ['-c', `${core}`, process.execPath, MAIN, 'provider', '--listen', '127.0.0.1:0', '--child'];
  const child = spawn('taskset', args, { env: ENVIRONMENT, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const address = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`provider: ${code}`)));
    child.once('message', (message) => resolve((message as { address: string }).address));
  });
  return { child, address };
}

/** A model's bytes; a zoo network's weights are left in place. */
function readModel(): { bytes: Uint8Array; analysis: Analysis } {
  if (path.startsWith('zoo:')) {
    const built = buildZooModel(path.slice(4));
    return { bytes: built.bytes, analysis: analyse(loadGraph(built.bytes, built)) };
  }
  const raw = readFileSync(path);
  const bytes = path.endsWith('.gz') ? gunzipSync(raw) : raw;
  return { bytes, analysis: analyse(loadGraph(bytes)) };
}

/** The volumes of the rule by layers, given whole to one device after another so that their work is as equal as cuts allow. */
function stagePlan(analysis: Analysis): Plan {
  const base = planByRule(analysis, { volumes: 'layers', weights: [1] });
  const { steps } = compile(analysis.graph, base, analysis);
  const work = new Array<number>(base.volumes.length + 1).fill(0);
  for (const { volume, flops } of steps) work[volume] = (work[volume] ?? 0) + flops;
  const total = work.reduce((sum, flops) => sum + flops, 0);
  let before = 0;
  const places = work.map((flops) => {
    const middle = before + flops / 2;
    before += flops;
    return Math.min(workers - 1, Math.floor((middle / total) * workers));
  });
  const volumes = base.volumes.map((volume, index) =>
    isGather(volume)
      ? volume
      : { ...volume, parts: volume.parts.map((part) => ({ ...part, device: places[index] ?? 0 })) },
  );
  // Volumes of one device are one: nothing is handed over between them.
  const joined = volumes.filter((_, index) => places[index] !== places[index + 1] || index === volumes.length - 1);
  return { version: 1, devices: workers, volumes: joined, head: places.at(-1) ?? 0 };
}

function inputsOf({ graph }: Analysis): Record<string, Tensor> {
  return Object.fromEntries(
    graph.inputs.map((name) => {
      const { dtype = 'float32', shape = [] } = typeOf(graph, name);
      const data = new Uint8Array(byteLength(dtype, shape));
      if (dtype === 'float32')
        for (let at = 0; at < data.length / 4; at++)
          new DataView(data.buffer).setFloat32(4 * at, ((at * 7919) % 1000) / 1000, true);
      return [name, { dtype, shape, data }];
    }),
  );
}

/** What Linux tells of a process's threads, by thread, in ms: how long it ran, and how long it was kept from running. */
function threadTimes(pid: number): Map<string, readonly [ran: number, waited: number]> {
  try {
    const threads = readdirSync(`/proc/${pid}/task`).map((id): [string, [number, number]] => {
      const [ran = 0, waited = 0] = readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ').map(Number);
      return [id, [ran / 1e6, waited / 1e6]];
    });
    return new Map(threads);
  } catch {
    return new Map();
  }
}

/** How long all threads ran since then, and how long the one that waited longest did. */
function timesSince(pid: number, before: ReturnType<typeof threadTimes>): { ran: number; waited: number } {
  let [ran, waited] = [0, 0];
  for (const [id, [now, kept]] of threadTimes(pid)) {
    const [ranThen, waitedThen] = before.get(id) ?? [0, 0];
    ran += now - ranThen;
    waited = Math.max(waited, kept - waitedThen);
  }
  return { ran, waited };
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] ?? Number.NaN;

interface Contestant {
  readonly label: string;
  readonly pids: readonly number[];
  run(): Promise<void>;
  /** Per round, ms an image: as it was, without waiting for a core, and what the busiest core computed for it. */
  readonly times: (readonly [asItWas: number, undisturbed: number, core: number])[];
}

async function main(): Promise<void> {
  console.log(
    `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}; load ${(loadavg()[0] ?? 0).toFixed(1)}`,
  );
  const { bytes, analysis } = readModel();
  const inputs = inputsOf(analysis);
  const whole = await createWholeModel(bytes);
  const providers = await Promise.all(Array.from({ length: workers }, (_, core) => providerOn(core % cpus().length)));
  const addresses = providers.map(({ address }) => address);
  const clusters: Cluster[] = [];
  const join = async (program: Program, at: readonly string[], inFlight: number): Promise<Cluster> => {
    const cluster = await connect(program, { transport: createTcpTransport(), addresses: at, inFlight });
    clusters.push(cluster);
    return cluster;
  };
  const compiled = (plan: Plan): Program => compile(analysis.graph, plan, analysis);
  const single = compiled(planByRule(analysis, { volumes: 1, weights: [1] }));
  const turns = await Promise.all(addresses.map((address) => join(single, [address], 2)));
  const stages = await join(compiled(stagePlan(analysis)), addresses, workers + 1);
  const rows = await join(
    compiled(planByRule(analysis, { volumes: 'blocks', weights: addresses.map(() => 1) })),
    addresses,
    2,
  );

  const streamed = (label: string, lanes: readonly Lane[]): Contestant => ({
    label,
    pids: providers.map(({ child }) => child.pid ?? 0),
    run: async () => {
      const list = new Array<typeof inputs>(images * workers).fill(inputs);
      for await (const _ of streamImages(lanes, list)) void _;
    },
    times: [],
  });
  const one: Contestant = {
    label: 'one core, unsplit',
    pids: [process.pid],
    run: async () => {
      for (let index = 0; index < images; index++) await whole.run(inputs);
    },
    times: [],
  };
  const contestants = [
    streamed('whole images in turn', turns),
    streamed('stages', [stages]),
    streamed('rows, 2 under way', [rows]),
  ];
  try {
    for (let round = -1; round < rounds; round++) {
      for (const contestant of [one, ...contestants]) {
        const before = contestant.pids.map(threadTimes);
        const started = performance.now();
        await contestant.run();
        const took = performance.now() - started;
        if (round < 0) continue;
        const since = contestant.pids.map((pid, index) => timesSince(pid, before[index] ?? new Map()));
        const count = contestant === one ? images : images * workers;
        const waited = since.reduce((sum, item) => sum + item.waited, 0) / since.length;
        contestant.times.push([
          took / count,
          (took - waited) / count,
          Math.max(...since.map(({ ran }) => ran)) / count,
        ]);
      }
    }
  } finally {
    for (const cluster of clusters) await cluster.close();
    await whole.close();
    for (const { child } of providers) child.disconnect();
  }
  console.log(
    `${path.split('/').at(-1)}, ${workers} providers, ${rounds} rounds of ${images} images a core, taking turns (medians)`,
  );
  console.log('                       as it was           without waiting     by the busiest core');
  console.log('                       images/s   × one    images/s   × one    images/s   × one');
  const medians = ({ times }: Contestant): number[] =>
    [0, 1, 2].map((at) => median(times.map((time) => time[at] ?? 0)));
  const base = medians(one);
  for (const contestant of [one, ...contestants]) {
    const cells = medians(contestant).map(
      (ms, at) => `${(1000 / ms).toFixed(2).padStart(9)}${`${((base[at] ?? 0) / ms).toFixed(2)}×`.padStart(8)}`,
    );
    console.log(`${contestant.label.padEnd(22)}${cells.join('   ')}`);
  }
  console.log(`load ${(loadavg()[0] ?? 0).toFixed(1)} at the end`);
}

await main();
process.exit();
