/** Planners measured on real processes behind real, shaped links, beside what the simulator says; `npm run bench -- testbed --help`. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DistrEdgeError, type Plan, parseScenarios, taskOf, toPlan } from '@distredge/core';
import { baselineNames, createPlanner, plannerNames } from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';
import { missing, removeLeftovers } from './_testbed/namespaces.js';
import { Session } from './_testbed/session.js';
import { zooWorkload } from './_workloads.js';

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string' },
    filter: { type: 'string', default: '' },
    planners: { type: 'string', default: [...baselineNames, 'best-device', 'auto'].join(',') },
    dilation: { type: 'string' },
    images: { type: 'string', default: '3' },
    budget: { type: 'string', default: '2' },
    access: { type: 'string', default: 'ordered' },
    json: { type: 'boolean', default: false },
  },
});
void plannerNames;
void createOrtGraphRunner;
void DistrEdgeError;

const lack = missing();
if (lack !== undefined) {
  console.error(`the testbed needs ${lack}`);
  process.exit(1);
}
await removeLeftovers();
const scenarios = parseScenarios(JSON.parse(readFileSync(values.scenarios as string, 'utf8'))).filter(({ id }) =>
  new RegExp(values.filter).test(id),
);
for (const scenario of scenarios) {
  const workload = zooWorkload(scenario.model);
  const task = taskOf(workload, scenario.cluster);
  const session = await Session.open(
    { cluster: scenario.cluster, model: scenario.model, task },
    {
      access: values.access as 'ordered',
      dilation: values.dilation === undefined ? undefined : Number(values.dilation),
      images: Number(values.images),
      reuse: true,
    },
  );
  try {
    for (const name of values.planners.split(',')) {
      const planned = await createPlanner(name).plan(task, { budgetMs: 1000 * Number(values.budget), seed: 1 });
      const plan: Plan = toPlan(workload, planned.plan, task.costs.length);
      const began = performance.now();
      const row = await session.measure(plan);
      console.log(
        scenario.id.padEnd(22),
        name.padEnd(12),
        row.predictedMs.toFixed(1).padStart(8),
        row.imagesMs.map((ms) => ms.toFixed(1)).join(' '),
        `${(100 * (row.measuredMs / row.predictedMs - 1)).toFixed(2)} %`,
        'x',
        row.dilation,
        row.difference.toExponential(1),
        row.late,
        ((performance.now() - began) / 1000).toFixed(1),
        's',
      );
    }
  } finally {
    await session.close();
  }
}
