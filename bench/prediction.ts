/**
 * What the simulator says of a run by measured profiles, beside the run itself; `npm run bench -- prediction [MODEL…]`.
 *
 * Two providers of this machine, each on a core of its own. Both are profiled at the same time, so that each has the other for
 * a neighbour, as in the run. What an exchange costs is measured between the same providers, with a network that is nobody's.
 * Predictions are made before anything is run, and all of that several times, a pass after another: a machine has better and worse
 * minutes, and a profile of one tells little of a run in another. Of each plan the pass with the middle error is told. Where other
 * programs run meanwhile, a round counts only if they took next to nothing of it: Linux tells how long a process was kept from running.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
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
import { median } from './_workloads.js';

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
const PASSES = 3;
/** Rounds that count, of each plan and pass. */
const ROUNDS = 15;
/** How long to try to get them, in ms for each pass. */
const PATIENCE_MS = Number(process.env['PATIENCE_S'] ?? 20) * 1000;
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

interface Contestant {
  readonly label: string;
  readonly plan: Plan;
  readonly cluster: Cluster;
}

/** A plan in one pass. */
interface Entry {
  readonly predicted: SimulatedRun;
  /** All rounds: how long each took, and for how long it was disturbed. */
  readonly rounds: { readonly ms: number; readonly disturbedMs: number }[];
  /** Per step of the program, how long it computed. */
  readonly steps: Map<number, number[]>;
}

/** What Linux tells of the threads of processes: how long each has run, and been kept from running, in ms. Empty where it does not tell. */
function threadsOf(pids: readonly number[]): Map<string, { readonly ran: number; readonly kept: number }>[] {
  return pids.map((pid) => {
    const threads = new Map<string, { ran: number; kept: number }>();
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const [ran = 0, kept = 0] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8')
          .split(' ')
          .map(Number);
        threads.set(thread, { ran: ran / 1e6, kept: kept / 1e6 });
      }
    } catch {
      // Not Linux, or a thread that has just ended.
    }
    return threads;
  });
}

/**
 * For how long processes were kept from running between two looks, in ms: of each the thread that ran most. The others of a
 * process wait for that one, which is nobody else's doing.
 */
function disturbance(before: ReturnType<typeof threadsOf>, after: ReturnType<typeof threadsOf>): number {
  return after.reduce((sum, threads, index) => {
    const changes = [...threads].map(([thread, { ran, kept }]) => {
      const was = before[index]?.get(thread) ?? { ran: 0, kept: 0 };
      return { ran: ran - was.ran, kept: kept - was.kept };
    });
    const most = changes.reduce((so, change) => (change.ran > so.ran ? change : so), { ran: 0, kept: 0 });
    return sum + most.kept;
  }, 0);
}

function quietRounds({ rounds }: Entry): number[] {
  return rounds.filter(({ ms, disturbedMs }) => disturbedMs <= DISTURBED * ms).map(({ ms }) => ms);
}

async function prepare(analysis: Analysis, addresses: readonly string[]): Promise<Contestant[]> {
  const contestants: Contestant[] = [];
  for (const [label, volumes, weights] of PLANS) {
    const plan = planByRule(analysis, { volumes, weights });
    const program = compile(analysis.graph, plan, analysis);
    const cluster = await connect(program, { transport: createTcpTransport(), addresses });
    contestants.push({ label, plan, cluster });
  }
  return contestants;
}

/** Predicts all plans, then runs them in turn. */
async function pass(
  contestants: readonly Contestant[],
  task: PlanningTask,
  inputs: Record<string, Tensor>,
  pids: readonly number[],
): Promise<Entry[]> {
  const predict = simulator(task);
  const entries = contestants.map(({ plan }): Entry => {
    return { predicted: predict.run(fromPlan(task.workload, plan)), rounds: [], steps: new Map() };
  });
  const until = performance.now() + PATIENCE_MS;
  const enough = (entry: Entry): boolean => quietRounds(entry).length >= ROUNDS;
  for (let round = -1; performance.now() < until && !entries.every(enough); round++) {
    for (const [index, { rounds, steps }] of entries.entries()) {
      const { cluster } = contestants[index] as Contestant;
      // The others' weights are in the caches: a run that does not count brings back one's own.
      await cluster.infer(inputs);
      const before = threadsOf(pids);
      const started = performance.now();
      await cluster.infer(inputs);
      const ms = performance.now() - started;
      if (round < 0) continue;
      rounds.push({ ms, disturbedMs: disturbance(before, threadsOf(pids)) });
      for (const { step, start, end } of (await cluster.trace()).steps) {
        steps.set(step, [...(steps.get(step) ?? []), end - start]);
      }
    }
  }
  return entries;
}

/** What a pass says of a plan. */
interface Outcome {
  readonly predictedMs: number;
  readonly medianMs: number;
  readonly error: number;
  readonly computing: number;
  readonly quiet: number;
  readonly rounds: number;
}

function outcomeOf(entry: Entry): Outcome {
  const quiet = quietRounds(entry);
  const all = entry.rounds.map(({ ms }) => ms);
  const medianMs = median(quiet.length >= ENOUGH ? quiet : all);
  const predictedMs = entry.predicted.latencyMs;
  const error = predictedMs / medianMs - 1;
  return { predictedMs, medianMs, error, computing: computeRatio(entry) - 1, quiet: quiet.length, rounds: all.length };
}

/** All computing, predicted over measured (each step by its quickest run). */
function computeRatio({ predicted, steps }: Entry): number {
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
  console.log(
    'model               plan         volumes  predicted     median     error             of all    computing  undisturbed',
  );
  const errors: number[] = [];
  const exchanges: number[] = [];
  let disturbed = 0;
  for (const path of models) {
    const graph = readGraph(path);
    const analysis = analyse(graph);
    const workload = workloadOf(analysis, path);
    const providers = await Promise.all([0, 1].map(providerOn));
    const addresses = providers.map(({ address }) => address);
    const contestants = await prepare(analysis, addresses);
    const passes: Outcome[][] = [];
    try {
      const pids = [process.pid, ...providers.map(({ child }) => child.pid ?? 0)];
      while (passes.length < PASSES) {
        const profiles = (await Promise.all([0, 1].map((core) => profileOn(core, path)))).map(parseProfile);
        const exchange = await measureExchange({ transport: createTcpTransport(), addresses, mbps: best.mbps });
        exchanges.push(exchange.latencyMs);
        const task: PlanningTask = {
          workload,
          costs: profiles.map((profile, index) => profileCosts(workload, profile, `core ${index}`)),
          network: { medium: 'switched', requester: link(asleep), devices: [link(exchange), link(exchange)] },
        };
        passes.push((await pass(contestants, task, inputsOf(graph), pids)).map(outcomeOf));
      }
    } finally {
      for (const { cluster } of contestants) await cluster.close();
      for (const { child } of providers) child.disconnect();
    }
    for (const [index, { label, plan }] of contestants.entries()) {
      const outcomes = passes.map((outcome) => outcome[index] as Outcome).sort((a, b) => a.error - b.error);
      const { predictedMs, medianMs, error, computing, quiet, rounds } = outcomes[PASSES >> 1] as Outcome;
      const enough = quiet >= ENOUGH;
      errors.push(error);
      if (!enough) disturbed += 1;
      const cells = [
        (path.split('/').at(-1) ?? path)
          .replace(/\.onnx(\.gz)?$/, '')
          .slice(0, 19)
          .padEnd(20),
        label.padEnd(13),
        `${plan.volumes.length}`.padStart(7),
        `${predictedMs.toFixed(1)} ms`.padStart(11),
        `${medianMs.toFixed(1)} ms`.padStart(11),
        percent(error).padStart(10),
        ` (${percent(outcomes[0]?.error ?? 0)} to ${percent(outcomes.at(-1)?.error ?? 0)})`.padStart(22),
        percent(computing).padStart(11),
        `${quiet} of ${rounds}${enough ? '' : '*'}`.padStart(12),
      ];
      console.log(cells.join(''));
    }
  }
  const middle = errors.length === 0 ? 'not known' : `${(100 * median(errors.map(Math.abs))).toFixed(1)} %`;
  console.log(`\nmedian error ${middle}, of ${errors.length} plans`);
  console.log(`an exchange takes ${exchanges.map((took) => took.toFixed(2)).join(', ')} ms beyond its bytes`);
  if (disturbed > 0) console.log(`* all rounds count for ${disturbed} plans: too few were undisturbed`);
  console.log(`load ${(loadavg()[0] ?? 0).toFixed(1)} at the end; "computing" takes each step by its quickest run`);
}

await main();
process.exit();
