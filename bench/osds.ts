/** What OSDS reaches and how long it takes, beside the best classical plan annealed; `npm run bench -- osds FILE`. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { parseScenarios, taskOf } from '@distredge/core';
import { createPlanner, OSDS_DEFAULTS, OSDS_PUBLISHED, osds } from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';
import { processorMs, zooWorkload } from './_workloads.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    episodes: { type: 'string', default: `${OSDS_DEFAULTS.episodes}` },
    race: { type: 'string', default: '10000' },
    rival: { type: 'string', default: '3000' },
    filter: { type: 'string', default: '' },
    published: { type: 'boolean', default: false },
  },
});
const [file] = positionals;
if (file === undefined) {
  console.error(
    'usage: npm run bench -- osds FILE [--episodes 4000] [--race 10000] [--rival 3000] [--filter TEXT] [--published]\n' +
      'FILE holds scenarios; --rival is the time of the classical search in ms; --published leaves out all that the paper lacks',
  );
  process.exit(2);
}
const scenarios = parseScenarios(JSON.parse(readFileSync(file, 'utf8'))).filter(({ id }) => id.includes(values.filter));
const planner = osds({
  runner: createOrtGraphRunner(),
  ...(values.published ? { ...OSDS_PUBLISHED, alphas: [0.75] } : {}),
  episodes: Number(values.episodes),
  raceEpisodes: Number(values.race),
});
const rival = createPlanner('auto', { classical: true });

const line = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(28) : cell.padStart(13))).join('');

console.log(`${cpus()[0]?.model ?? 'processor unknown'}, one thread; seconds are of processor time`);
console.log(
  line(['', 'osds ms', 'its actor ms', 'classical', 'ratio', 'volumes', 'race s', 'training s', 'episodes/s']),
);
let logSum = 0;
for (const { id, model, cluster } of scenarios) {
  const task = taskOf(zooWorkload(model), cluster);
  const began = processorMs();
  let raced = began;
  const planned = await planner.plan(task, {
    seed: 1,
    onProgress: ({ done }) => {
      if (done === 0) raced = processorMs();
    },
  });
  const ended = processorMs();
  const classical = await rival.plan(task, { seed: 1, budgetMs: Number(values.rival) });
  const ratio = planned.latencyMs / classical.latencyMs;
  logSum += Math.log(ratio);
  console.log(
    line([
      id,
      planned.latencyMs.toFixed(2),
      planned.actorMs.toFixed(2),
      classical.latencyMs.toFixed(2),
      ratio.toFixed(3),
      `${planned.trained?.ends.length ?? 0}`,
      ((raced - began) / 1000).toFixed(1),
      ((ended - raced) / 1000).toFixed(1),
      ((1000 * planned.episodes) / (ended - raced)).toFixed(1),
    ]),
  );
}
console.log(
  line([`geometric mean of ${scenarios.length}`, '', '', '', Math.exp(logSum / scenarios.length).toFixed(4)]),
);
