/** Re-planning every second on a changing network, against a planner that knows the future; `npm run bench -- dynamic FILE`. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { parseScenarios } from '@distredge/core';
import { type Replayed, replay } from './_replay.js';
import { mean, median, quantile } from './_workloads.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '120' },
    budget: { type: 'string', default: '80' },
    background: { type: 'string', default: '800' },
    clairvoyant: { type: 'string', default: '300' },
    first: { type: 'string', default: '2000' },
    filter: { type: 'string', default: '' },
  },
});
const [file] = positionals;
if (file === undefined) {
  console.error(
    'usage: npm run bench -- dynamic FILE [--seconds 120] [--budget 80] [--background 800] [--clairvoyant 300] [--first 2000] [--filter TEXT]\n' +
      'FILE holds scenarios with trace_mbps, a rate for every device and second; times in ms',
  );
  process.exit(2);
}
const scenarios = parseScenarios(JSON.parse(readFileSync(file, 'utf8'))).filter(
  ({ id, trace_mbps }) => trace_mbps !== undefined && id.includes(values.filter),
);
if (scenarios.length === 0) {
  console.error(
    `${file} has no scenario with trace_mbps${values.filter === '' ? '' : ` and '${values.filter}' in its name`}`,
  );
  process.exit(2);
}
const options = {
  seconds: Number(values.seconds),
  budgetMs: Number(values.budget),
  backgroundMs: Number(values.background),
  clairvoyantMs: Number(values.clairvoyant),
  firstMs: Number(values.first),
};

const ratio = ({ adaptive, clairvoyant }: Replayed): number =>
  mean(adaptive.map((ips, second) => ips / (clairvoyant[second] as number)));
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

console.log(
  `${cpus()[0]?.model ?? 'processor unknown'}, one thread; ${options.budgetMs} ms a re-planning, ${options.backgroundMs} ms in the background before the next one, the clairvoyant planner ${options.clairvoyantMs} ms`,
);
const all: Replayed[] = [];
for (const scenario of scenarios) {
  const replayed = await replay(scenario, options);
  all.push(replayed);
  const { adaptive, clairvoyant, fixed, planMs, evaluations, adoptions } = replayed;
  const kept = mean(fixed.map((ips, second) => ips / (clairvoyant[second] as number)));
  console.log(
    `${scenario.id}: ${percent(ratio(replayed))} of clairvoyant (first plan kept ${percent(kept)}) over ${adaptive.length} s; ` +
      `${mean(adaptive).toFixed(3)} images/s of ${mean(clairvoyant).toFixed(3)}; re-planning median ${median(planMs).toFixed(0)} ms, ` +
      `p90 ${quantile(planMs, 0.9).toFixed(0)} ms, ${median(evaluations)} plans; ${adoptions} adoptions`,
  );
}
const times = all.flatMap(({ planMs }) => planMs);
console.log(
  `overall: ${percent(mean(all.map(ratio)))} of clairvoyant; re-planning median ${median(times).toFixed(0)} ms, p90 ${quantile(times, 0.9).toFixed(0)} ms; ` +
    `${all.reduce((sum, { adoptions }) => sum + adoptions, 0)} adoptions`,
);
