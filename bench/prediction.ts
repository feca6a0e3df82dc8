/**
 * What the simulator says of a run by measured profiles, beside the run itself; `npm run bench -- prediction [MODEL…]`.
 *
 * Two providers of this machine, each on a core of its own. Both are profiled at the same time, so that each has the other for
 * a neighbour, as in the run. What an exchange costs is measured between the same providers, with a network that is nobody's.
 * A machine has better and worse minutes, and what shares it, its memory above all, moves a profile as much as a run: so profiles
 * and runs take turns, pass after pass, and the middle prediction is held against the middle of all runs before and after which both
 * cores were at their pace (`_core-watch.ts`).
 *
 * Where it can be, all of that happens in a network of its own whose sockets keep to no pace: of a machine that is set to one (bbr),
 * kernels hold back the end of a long message for milliseconds now and then, which no rate and no latency tells.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  type Analysis,
  analyse,
  compile,
  elements,
  fromPlan,
  type Graph,
  loadGraph,
  type NetworkLink,
  type Plan,
  type PlanningTask,
  parseProfile,
  planByRule,
  profileCosts,
  type SimulatedRun,
  simulator,
  type Tensor,
  typeOf,
  type VolumeRule,
  workloadOf,
} from '@distredge/core';
import {
  allocatorEnvironment,
  type Cluster,
  connect,
  createTcpTransport,
  measureExchange,
  measureLoopback,
} from '@distredge/runtime';
import { buildZooModel } from '@distredge/zoo';
import { CoreWatch } from './_core-watch.js';
import { median, quantile } from './_workloads.js';

const MAIN = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));
const SHARED = '../shared/models/';
/** Each with the network of the zoo that stands in for a missing file. */
const MODELS: readonly (readonly [file: string, zoo: string])[] = [
  [`${SHARED}architectures/vgg16.onnx.gz`, 'zoo:vgg16'],
  [`${SHARED}architectures/resnet18.onnx.gz`, 'zoo:resnet50'],
  [`${SHARED}architectures/unet.onnx.gz`, 'zoo:openpose'],
  [`${SHARED}trained/mlsd_512x512_large.onnx`, 'zoo:yolov2'],
];
const PLANS: readonly (readonly [label: string, volumes: VolumeRule, weights: readonly [number, number]])[] = [
  ['blocks, 1:1', 'blocks', [1, 1]],
  ['blocks, 2:1', 'blocks', [2, 1]],
  ['layers, 1:1', 'layers', [1, 1]],
];
const PASSES = 7;
/** How long the plans of a model are run in each pass, in ms. */
const RUN_MS = Number(process.env['RUN_S'] ?? 8) * 1000;
/** With fewer calm runs than this, all count, and the line says so. */
const ENOUGH = 5;
/** After so long a provider that has nothing to do sleeps, and its core can be looked at, ms. */
const ASLEEP_MS = 4;
/** Set in the process that runs in a network of its own. */
const APART = 'PREDICTION_APART';
/** Makes ready a network that a process has for itself. */
const NETWORK = 'ip link set lo up && echo reno > /proc/sys/net/ipv4/tcp_congestion_control';
/** As the command line starts providers. */
const ENVIRONMENT = { ...process.env, ...allocatorEnvironment(process.env) };

/** The command line on one core. */
function onCore(core: number, args: readonly string[], output: 'ignore' | 'pipe'): ChildProcess {
  const [program = '', ...given] = ['taskset', '-c', `${core}`, process.execPath, MAIN, ...args];
  return spawn(program, given, {
    env: ENVIRONMENT,
    stdio: ['ignore', output, 'inherit', ...(output === 'ignore' ? ['ipc' as const] : [])],
  });
}

function profileOn(core: number, model: string): Promise<unknown> {
  const child = onCore(core, ['profile', model, '--no-cache', '--json'], 'pipe');
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`profile: ${code}`))));
  });
}

async function providerOn(core: number): Promise<{ child: ChildProcess; address: string }> {
  const child = onCore(core, ['provider', '--listen', '127.0.0.1:0', '--child', '--busy-wait', '2'], 'ignore');
  const address = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`provider: ${code}`)));
    child.once('message', (message) => resolve((message as { address: string }).address));
  });
  return { child, address };
}

function readGraph(path: string): Graph {
  if (path.startsWith('zoo:')) {
    const built = buildZooModel(path.slice(4));
    return loadGraph(built.bytes, built);
  }
  const bytes = readFileSync(path);
  return loadGraph(path.endsWith('.gz') ? gunzipSync(bytes) : bytes);
}

function inputsOf(graph: Graph): Record<string, Tensor> {
  return Object.fromEntries(
    graph.inputs.map((name) => {
      const { shape = [] } = typeOf(graph, name);
      const values = Float32Array.from({ length: elements(shape) }, (_, index) => ((index * 7919) % 1000) / 1000);
      return [name, { dtype: 'float32', shape, data: new Uint8Array(values.buffer) }];
    }),
  );
}

/** What is known of a plan so far. */
interface Entry {
  readonly label: string;
  readonly plan: Plan;
  readonly cluster: Cluster;
  /** By each profile. */
  readonly predicted: SimulatedRun[];
  /** How long each run took, ms, and whether the cores were at their pace. */
  readonly runs: { readonly ms: number; readonly calm: boolean }[];
  /** How long each step of the program computed, ms. */
  readonly steps: Map<number, number[]>;
}

async function prepare(analysis: Analysis, addresses: readonly string[]): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const [label, volumes, weights] of PLANS) {
    const plan = planByRule(analysis, { volumes, weights });
    const program = compile(analysis.graph, plan, analysis);
    const cluster = await connect(program, { transport: createTcpTransport(), addresses });
    entries.push({ label, plan, cluster, predicted: [], runs: [], steps: new Map() });
  }
  return entries;
}

async function atPace(cores: readonly CoreWatch[]): Promise<boolean> {
  await setTimeout(ASLEEP_MS);
  return (await Promise.all(cores.map((core) => core.isAtPace()))).every((kept) => kept);
}

/** Predicts all plans, then runs them in turn. */
async function pass(
  entries: readonly Entry[],
  task: PlanningTask,
  inputs: Record<string, Tensor>,
  cores: readonly CoreWatch[],
): Promise<void> {
  const predict = simulator(task);
  for (const { plan, predicted } of entries) predicted.push(predict.run(fromPlan(task.workload, plan)));
  const until = performance.now() + RUN_MS;
  for (let round = -1; round < 1 || performance.now() < until; round++) {
    for (const { cluster, runs, steps } of entries) {
      // The others' weights are in the caches: a run that does not count brings back one's own.
      await cluster.infer(inputs);
      const before = await atPace(cores);
      const started = performance.now();
      await cluster.infer(inputs);
      const ms = performance.now() - started;
      const calm = (await atPace(cores)) && before;
      if (round < 0) continue;
      runs.push({ ms, calm });
      if (!calm) continue;
      for (const { step, start, end } of (await cluster.trace()).steps) {
        steps.set(step, [...(steps.get(step) ?? []), end - start]);
      }
    }
  }
}

/** Times of the runs that count. */
function counted({ runs }: Entry): { readonly times: readonly number[]; readonly enough: boolean } {
  const calm = runs.filter((run) => run.calm);
  const enough = calm.length >= ENOUGH;
  return { times: (enough ? calm : runs).map(({ ms }) => ms), enough };
}

/** All computing of the calm runs, predicted over measured. */
function computing({ predicted, steps }: Entry): number {
  const said = predicted.map(({ events }) =>
    events.reduce((sum, event) => (event.kind === 'compute' ? sum + event.end - event.start : sum), 0),
  );
  return median(said) / [...steps.values()].reduce((sum, times) => sum + median(times), 0);
}

const percent = (share: number): string => `${share >= 0 ? '+' : ''}${(100 * share).toFixed(1)} %`;
const span = (from = Number.NaN, to = Number.NaN): string => `(${from.toFixed(1)}-${to.toFixed(1)})`;

/** Runs this benchmark again in a network of its own; undefined where that cannot be had. */
function apart(): Promise<number> | undefined {
  if (process.env[APART] !== undefined) return undefined;
  const inNetwork = ['--net', 'sh', '-c', `${NETWORK} && exec "$0" "$@"`];
  if (spawnSync('unshare', [...inNetwork, 'true'], { stdio: 'ignore' }).status !== 0) return undefined;
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', [...inNetwork, ...again], { env: { ...process.env, [APART]: '1' }, stdio: 'inherit' });
  return new Promise((resolve) => {
    child.once('close', (code) => resolve(code ?? 1));
  });
}

function congestionControl(): string {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim();
  } catch {
    return 'not known';
  }
}

async function main(): Promise<void> {
  const given = process.argv.slice(2);
  const models = given.length > 0 ? given : MODELS.map(([file, zoo]) => (existsSync(file) ? file : zoo));
  console.log(
    `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}; load ${(loadavg()[0] ?? 0).toFixed(1)}; congestion control ${congestionControl()}`,
  );
  const [asleep, awake] = [await measureLoopback(), await measureLoopback({ busy: true })];
  const link = ({ mbps, latencyMs }: typeof awake): NetworkLink => ({ mbps, latencyMs });
  const best = awake.latencyMs < asleep.latencyMs ? awake : asleep;
  console.log(
    `link: ${best.mbps.toFixed(0)} Mbit/s, ${best.latencyMs.toFixed(3)} ms; requester ${asleep.latencyMs.toFixed(3)} ms\n`,
  );
  console.log(
    'model               plan         volumes  predicted  (of profiles)     median    (quartiles)      error  computing        runs',
  );
  const errors: number[] = [];
  const exchanges: number[] = [];
  let disturbed = 0;
  for (const path of models) {
    const graph = readGraph(path);
    const analysis = analyse(graph);
    const workload = workloadOf(analysis, path);
    const providers = await Promise.all([0, 1].map(providerOn));
    const cores = [0, 1].map((core) => new CoreWatch(core));
    const addresses = providers.map(({ address }) => address);
    const entries = await prepare(analysis, addresses);
    try {
      for (let done = 0; done < PASSES; done++) {
        const profiles = (await Promise.all([0, 1].map((core) => profileOn(core, path)))).map(parseProfile);
        const exchange = await measureExchange({ transport: createTcpTransport(), addresses, mbps: best.mbps });
        exchanges.push(exchange.latencyMs);
        const task: PlanningTask = {
          workload,
          costs: profiles.map((profile, index) => profileCosts(workload, profile, `core ${index}`)),
          network: { medium: 'switched', requester: link(asleep), devices: [link(exchange), link(exchange)] },
        };
        await pass(entries, task, inputsOf(graph), cores);
      }
    } finally {
      for (const { cluster } of entries) await cluster.close();
      for (const { child } of providers) child.disconnect();
      for (const core of cores) core.close();
    }
    for (const entry of entries) {
      const latencies = entry.predicted.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
      const { times, enough } = counted(entry);
      const error = median(latencies) / median(times) - 1;
      if (!enough) disturbed += 1;
      errors.push(error);
      const cells = [
        (path.split('/').at(-1) ?? path)
          .replace(/\.onnx(\.gz)?$/, '')
          .slice(0, 19)
          .padEnd(20),
        entry.label.padEnd(13),
        `${entry.plan.volumes.length}`.padStart(7),
        `${median(latencies).toFixed(1)} ms`.padStart(11),
        span(latencies[0], latencies.at(-1)).padStart(15),
        `${median(times).toFixed(1)} ms`.padStart(11),
        span(quantile(times, 0.25), quantile(times, 0.75)).padStart(15),
        percent(error).padStart(11),
        percent(computing(entry) - 1).padStart(11),
        `${times.length} of ${entry.runs.length}${enough ? '' : '*'}`.padStart(12),
      ];
      console.log(cells.join(''));
    }
  }
  const middle = errors.length === 0 ? 'not known' : `${(100 * median(errors.map(Math.abs))).toFixed(1)} %`;
  console.log(`\nmedian error ${middle}, of ${errors.length} plans`);
  console.log(`an exchange takes ${exchanges.map((took) => took.toFixed(2)).join(', ')} ms beyond its bytes`);
  if (disturbed > 0)
    console.log(`* all runs count for ${disturbed} plans: before and after too few were both cores at their pace`);
  console.log(`load ${(loadavg()[0] ?? 0).toFixed(1)} at the end`);
}

const code = await apart();
if (code === undefined) await main();
process.exit(code ?? 0);
