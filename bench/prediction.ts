/**
 * What the simulator says of a run by measured profiles, beside the run itself; `npm run bench -- prediction [MODEL…]`.
 *
 * Two providers of this machine, each on a core of its own. Both are profiled at the same time, so that each has the other for
 * a neighbour, as in the run. What an exchange costs is measured between the same providers, with a network that is nobody's.
 * Predictions are made before anything is run. Where other programs run meanwhile, a round counts
 * only if they took next to nothing of it: Linux tells how long a process was kept from running.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
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
/** Rounds that count, of each plan. */
const ROUNDS = 25;
/** How long to try to get them, in ms for each model. */
const PATIENCE_MS = Number(process.env['PATIENCE_S'] ?? 60) * 1000;
/** With fewer undisturbed rounds than this, all rounds count, and the line says so. */
const ENOUGH = 5;
/** A round counts if nobody in it was kept from running for more than this share of it. */
const DISTURBED = 0.02;
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

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

interface Contestant {
  readonly label: string;
  readonly plan: Plan;
  readonly predicted: SimulatedRun;
  readonly cluster: Cluster;
  /** All rounds: how long each took, and for how long it was disturbed. */
  readonly rounds: { readonly ms: number; readonly disturbedMs: number }[];
  /** Per step of the program, how long it computed. */
  readonly steps: Map<number, number[]>;
}

/** For how long processes were kept from running so far, in ms; 0 where the system does not tell. */
function keptWaitingMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    try {
      return sum + Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
    } catch {
      return sum;
    }
  }, 0);
}

function quietRounds({ rounds }: Contestant): number[] {
  return rounds.filter(({ ms, disturbedMs }) => disturbedMs <= DISTURBED * ms).map(({ ms }) => ms);
}

async function prepare(analysis: Analysis, task: PlanningTask, addresses: readonly string[]): Promise<Contestant[]> {
  const predict = simulator(task);
  const contestants: Contestant[] = [];
  for (const [label, volumes, weights] of PLANS) {
    const plan = planByRule(analysis, { volumes, weights });
    const predicted = predict.run(fromPlan(task.workload, plan));
    const program = compile(analysis.graph, plan, analysis);
    const cluster = await connect(program, { transport: createTcpTransport(), addresses });
    contestants.push({ label, plan, predicted, cluster, rounds: [], steps: new Map() });
  }
  return contestants;
}

async function runAll(
  contestants: readonly Contestant[],
  inputs: Record<string, Tensor>,
  pids: readonly number[],
): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  const enough = (contestant: Contestant): boolean => quietRounds(contestant).length >= ROUNDS;
  for (let round = -1; performance.now() < until && !contestants.every(enough); round++) {
    for (const contestant of contestants) {
      const { cluster, rounds, steps } = contestant;
      // The others' weights are in the caches: a run that does not count brings back one's own.
      await cluster.infer(inputs);
      const before = keptWaitingMs(pids);
      const started = performance.now();
      await cluster.infer(inputs);
      const ms = performance.now() - started;
      if (round < 0) continue;
      rounds.push({ ms, disturbedMs: keptWaitingMs(pids) - before });
      for (const { step, start, end } of (await cluster.trace()).steps) {
        steps.set(step, [...(steps.get(step) ?? []), end - start]);
      }
    }
  }
}

/** All computing, predicted over measured (each step by its quickest run). */
function computeRatio({ predicted, steps }: Contestant): number {
  const said = predicted.events.reduce(
    (sum, event) => (event.kind === 'compute' ? sum + event.end - event.start : sum),
    0,
  );
  const took = [...steps.values()].reduce((sum, times) => sum + Math.min(...times), 0);
  return said / took;
}

const percent = (share: number): string => `${share >= 0 ? '+' : ''}${(100 * share).toFixed(1)} %`;

async function main(): Promise<void> {
  const given = process.argv.slice(2);
  const models = given.length > 0 ? given : MODELS.map(([file, zoo]) => (existsSync(file) ? file : zoo));
  console.log(
    `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}; load ${(loadavg()[0] ?? 0).toFixed(1)}`,
  );
  const [asleep, awake] = [await measureLoopback(), await measureLoopback({ busy: true })];
  const link = ({ mbps, latencyMs }: typeof awake): NetworkLink => ({ mbps, latencyMs });
  const best = awake.latencyMs < asleep.latencyMs ? awake : asleep;
  console.log(
    `link: ${best.mbps.toFixed(0)} Mbit/s, ${best.latencyMs.toFixed(3)} ms; requester ${asleep.latencyMs.toFixed(3)} ms\n`,
  );
  console.log('model               plan         volumes  predicted     median     error  computing  undisturbed');
  const errors: number[] = [];
  const exchanges: number[] = [];
  let disturbed = 0;
  for (const path of models) {
    const graph = readGraph(path);
    const analysis = analyse(graph);
    const workload = workloadOf(analysis, path);
    const profiles = (await Promise.all([0, 1].map((core) => profileOn(core, path)))).map(parseProfile);
    const providers = await Promise.all([0, 1].map(providerOn));
    const addresses = providers.map(({ address }) => address);
    const exchange = await measureExchange({ transport: createTcpTransport(), addresses, mbps: best.mbps });
    exchanges.push(exchange.latencyMs);
    const task: PlanningTask = {
      workload,
      costs: profiles.map((profile, index) => profileCosts(workload, profile, `core ${index}`)),
      network: { medium: 'switched', requester: link(asleep), devices: [link(exchange), link(exchange)] },
    };
    const contestants = await prepare(analysis, task, addresses);
    try {
      const pids = [process.pid, ...providers.map(({ child }) => child.pid ?? 0)];
      await runAll(contestants, inputsOf(graph), pids);
    } finally {
      for (const { cluster } of contestants) await cluster.close();
      for (const { child } of providers) child.disconnect();
    }
    for (const contestant of contestants) {
      const { label, plan, predicted, rounds } = contestant;
      const quiet = quietRounds(contestant);
      const enough = quiet.length >= ENOUGH;
      const median = quantile(enough ? quiet : rounds.map(({ ms }) => ms), 0.5);
      errors.push(predicted.latencyMs / median - 1);
      if (!enough) disturbed += 1;
      const cells = [
        (path.split('/').at(-1) ?? path)
          .replace(/\.onnx(\.gz)?$/, '')
          .slice(0, 19)
          .padEnd(20),
        label.padEnd(13),
        `${plan.volumes.length}`.padStart(7),
        `${predicted.latencyMs.toFixed(1)} ms`.padStart(11),
        `${median.toFixed(1)} ms`.padStart(11),
        percent(predicted.latencyMs / median - 1).padStart(10),
        percent(computeRatio(contestant) - 1).padStart(11),
        `${quiet.length} of ${rounds.length}${enough ? '' : '*'}`.padStart(12),
      ];
      console.log(cells.join(''));
    }
  }
  const median = errors.length === 0 ? 'not known' : `${(100 * quantile(errors.map(Math.abs), 0.5)).toFixed(1)} %`;
  console.log(`\nmedian error ${median}, of ${errors.length} plans`);
  console.log(`an exchange takes ${exchanges.map((took) => took.toFixed(2)).join(', ')} ms beyond its bytes`);
  if (disturbed > 0) console.log(`* all rounds count for ${disturbed} plans: too few were undisturbed`);
  console.log(`load ${(loadavg()[0] ?? 0).toFixed(1)} at the end; "computing" takes each step by its quickest run`);
}

await main();
process.exit();
