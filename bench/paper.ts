/** The evaluation of the DistrEdge paper in simulation: writes docs/evaluation; `npm run bench -- paper [--quick] [--only NAME]`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type Cluster, parseScenarios, taskOf } from '@distredge/core';
import { changing, cluster, LARGE, LINKS, TYPES } from './_paper-clusters.js';
import { alphaSweep, training } from './_paper-learning.js';
import { type Budgets, measure } from './_paper-methods.js';
import { type Comparison, comparisonTable, type Results, writeReport } from './_paper-report.js';
import { replay } from './_replay.js';
import { processorMs, zooWorkload } from './_workloads.js';

const FOLDER = new URL('../../docs/evaluation/', import.meta.url);
const MODELS = ['vgg16', 'resnet50', 'inception_v3', 'yolov2', 'ssd_vgg16', 'ssd_resnet50', 'openpose', 'voxelnet'];
const RATES = [50, 100, 150, 200, 250, 300];
const ALPHAS = [0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1];

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    scenarios: { type: 'string' },
    filter: { type: 'string', default: '' },
  },
});
const { quick } = values;
const budgets: Budgets = quick ? { planMs: 500, episodes: 60 } : { planMs: 2000, episodes: 200 };

/** One panel for every cluster and model: what each method makes of it. */
async function compare(pairs: readonly (readonly [title: string, model: string, of: Cluster])[]): Promise<Comparison> {
  const comparison: Comparison = [];
  for (const [title, model, of] of pairs) {
    const rows = await measure(taskOf(zooWorkload(model), of), budgets);
    comparison.push({ title, rows });
    console.error(`  ${title}: ${rows.map(({ method, ips }) => `${method} ${ips?.toFixed(2) ?? '-'}`).join(', ')}`);
  }
  return comparison;
}

const dd = cluster('DD', TYPES['DD'] ?? [], 200);
const all: Readonly<Record<keyof Results, () => Promise<unknown>>> = {
  devices: () => compare(Object.entries(TYPES).map(([name, types]) => [name, 'vgg16', cluster(name, types, 200)])),
  bandwidth: () => compare(RATES.map((mbps) => [`${mbps}`, 'vgg16', cluster('DD', TYPES['DD'] ?? [], mbps)])),
  links: () => compare(LINKS.map((of) => [of.name ?? '', 'vgg16', of])),
  large: () => compare(LARGE.map((of) => [of.name ?? '', 'vgg16', of])),
  models: () => compare(MODELS.map((model) => [model, model, cluster('DA', TYPES['DA'] ?? [], 200)])),
  alpha: async () => {
    const da = cluster('DA', TYPES['DA'] ?? [], 200);
    const rows = [];
    for (const model of ['vgg16', 'yolov2', 'resnet50']) {
      rows.push(...(await alphaSweep(model, taskOf(zooWorkload(model), da), ALPHAS, budgets.episodes)));
    }
    return rows;
  },
  training: () => training(taskOf(zooWorkload('vgg16'), dd), quick ? 300 : 1000, budgets),
  dynamic: async () => {
    const options = {
      seconds: quick ? 20 : 60,
      budgetMs: 80,
      backgroundMs: quick ? 100 : 400,
      clairvoyantMs: quick ? 200 : 400,
      firstMs: budgets.planMs,
      now: processorMs,
    };
    const found = [];
    for (const [name, types] of [
      ['four nano', ['nano', 'nano', 'nano', 'nano']],
      ['DA', TYPES['DA'] ?? []],
      ['DC', TYPES['DC'] ?? []],
    ] as const) {
      found.push({ name, ...(await replay(changing(name, 'vgg16', types, options.seconds + 1, 7), options)) });
    }
    return found;
  },
};

/** A file's scenarios instead of the groups: a table, and no report. */
async function compareFile(file: string): Promise<void> {
  const scenarios = parseScenarios(JSON.parse(readFileSync(file, 'utf8'))).filter(({ id }) =>
    id.includes(values.filter),
  );
  const pairs = scenarios.map(({ id, model, cluster: of }): [string, string, Cluster] => [id, model, of]);
  console.log(comparisonTable('scenario', await compare(pairs)));
}

async function run(): Promise<void> {
  if (values.scenarios !== undefined) return await compareFile(values.scenarios);
  const names = Object.keys(all) as (keyof Results)[];
  const chosen = names.filter((name) => values.only === undefined || name === values.only);
  if (chosen.length === 0) {
    console.error(`--only takes one of ${names.join(', ')}`);
    process.exitCode = 2;
    return;
  }
  mkdirSync(FOLDER, { recursive: true });
  const file = new URL('results.json', FOLDER);
  let results: Results = {};
  try {
    results = JSON.parse(readFileSync(file, 'utf8')) as Results;
  } catch {
    // The first run: there are none yet.
  }
  for (const name of chosen) {
    console.error(name);
    const began = processorMs();
    const data = await all[name]();
    const seconds = Math.round((processorMs() - began) / 1000);
    const machine = `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.versions.node}`;
    results = { ...results, [name]: { machine, quick, ...budgets, seconds, data } };
    writeFileSync(
      file,
      `${JSON.stringify(results, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value))}\n`,
    );
    writeReport(FOLDER, results);
  }
}

await run();
