/**
 * How long plans take to be prepared one after another on the same providers, and what travels; `npm run bench -- prepare [MODEL…]`.
 *
 * Three local providers. First a plan over all of them, then the same again, then another one over all, one over the first
 * two (as after a loss), and the first again. Each is prepared while the one before is in force, and run once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import {
  analyse,
  byteLength,
  compile,
  type Graph,
  loadGraph,
  type Program,
  planByRule,
  type Tensor,
  typeOf,
} from '@distredge/core';
import { type Cluster, connect, createTcpTransport } from '@distredge/runtime';
import { buildZooModel } from '@distredge/zoo';

const MAIN = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));
const SHARED = ['vgg16', 'resnet18'].map((name) => `../shared/models/architectures/${name}.onnx.gz`);
const PROVIDERS = 3;

const { positionals } = parseArgs({ allowPositionals: true });
const models = positionals.length > 0 ? positionals : SHARED.filter(existsSync);
if (models.length === 0) models.push('zoo:vgg16');

async function provider(): Promise<{ child: ChildProcess; address: string }> {
  const child = spawn(process.execPath, [MAIN, 'provider', '--listen', '127.0.0.1:0', '--child'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const address = await new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`provider: ${code}`)));
    child.once('message', (message) => resolve((message as { address: string }).address));
  });
  return { child, address };
}

function readModel(path: string): Graph {
  if (path.startsWith('zoo:')) {
    const { bytes } = buildZooModel(path.slice('zoo:'.length) as 'vgg16');
    return loadGraph(bytes);
  }
  const file = readFileSync(path);
  return loadGraph(path.endsWith('.gz') ? gunzipSync(file) : file);
}

/** Inputs of zeros: what is computed does not matter here. */
function inputsOf(graph: Graph): Record<string, Tensor> {
  return Object.fromEntries(
    graph.inputs.map((name): [string, Tensor] => {
      const { dtype = 'float32', shape = [] } = typeOf(graph, name);
      return [name, { dtype, shape, data: new Uint8Array(byteLength(dtype, shape)) }];
    }),
  );
}

for (const path of models) {
  const graph = readModel(path);
  const analysis = analyse(graph);
  const byRule = (volumes: number, weights: readonly number[]): Program =>
    compile(graph, planByRule(analysis, { volumes, weights }), analysis);
  const plans: readonly (readonly [string, () => Program])[] = [
    ['the first plan', () => byRule(5, [1, 1, 1])],
    ['the same again', () => byRule(5, [1, 1, 1])],
    ['other rows', () => byRule(5, [4, 3, 3])],
    ['other volumes', () => byRule(4, [1, 1, 1])],
    ['two devices', () => byRule(5, [1, 1])],
    ['the first again', () => byRule(5, [1, 1, 1])],
  ];
  const providers = await Promise.all(Array.from({ length: PROVIDERS }, provider));
  let before: Cluster | undefined;
  console.log(
    `${path}\n                      compiled     prepared    first image      sent of          resident sets (MB)`,
  );
  try {
    for (const [name, make] of plans) {
      let [sent, total] = [0, 0];
      const start = performance.now();
      const program = make();
      const compiled = performance.now();
      const cluster: Cluster = await connect(program, {
        transport: createTcpTransport(),
        addresses: providers.slice(0, program.plan.devices).map(({ address }) => address),
        progress: (bytes, all) => {
          [sent, total] = [bytes, all];
        },
      });
      const ready = performance.now();
      await cluster.infer(inputsOf(graph));
      const done = performance.now();
      const { residentBytes } = await cluster.trace();
      await before?.close();
      before = cluster;
      const ms = (from: number, to: number): string => `${(to - from).toFixed(0)} ms`.padStart(12);
      const mb = (bytes: number): string => (bytes / 1e6).toFixed(1).padStart(8);
      console.log(
        `${name.padEnd(18)}${ms(start, compiled)}${ms(compiled, ready)}${ms(ready, done)}   ${mb(sent)} ${mb(total)} MB   ${residentBytes.map((bytes) => ((bytes ?? 0) / 1e6).toFixed(0)).join(' ')}`,
      );
    }
  } finally {
    await before?.close();
    for (const { child } of providers) child.disconnect();
  }
}
