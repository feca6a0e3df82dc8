/** Planners measured on real processes behind shaped links, beside what the simulator says; `npm run bench -- testbed --help`. */
import { cpus, loadavg } from 'node:os';
import { DistrEdgeError, type Scenario, taskOf } from '@distredge/core';
import { type DynamicMeasured, measureDynamic } from './_testbed/dynamic.js';
import { missing, removeLeftovers } from './_testbed/namespaces.js';
import { HELP, type TestbedOptions, testbedOptions } from './_testbed/options.js';
import { plansFor } from './_testbed/plans.js';
import { realTask } from './_testbed/quota.js';
import { dynamicLine, EXACT, HEADER, lineOf, linesOf, type Row, summarise } from './_testbed/report.js';
import { Session } from './_testbed/session.js';
import { processorMs, zooWorkload } from './_workloads.js';

/** The end that was asked for by a signal: nothing new begins. */
const ending = new AbortController();
let session: Session | undefined;

function endBy(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', code: number): void {
  process.on(signal, () => {
    if (ending.signal.aborted) return;
    ending.abort();
    process.exitCode = code;
    // What is under way fails when its processes are gone; whoever waits for it removes the rest.
    session?.kill();
  });
}

/** For people who watch: what is being done now. */
function status(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`);
}

function factsOf(error: unknown): Record<string, string> {
  return error instanceof DistrEdgeError ? error.toJSON() : { code: 'INTERNAL', message: String(error) };
}

async function measureScenario(scenario: Scenario, options: TestbedOptions, add: (row: Row) => void): Promise<void> {
  const { id, model } = scenario;
  const { shares } = options;
  const cluster = { ...scenario.cluster, devices: scenario.cluster.devices.slice(0, shares?.length) };
  if (shares !== undefined) status(`${id}: measuring a profile`);
  // There may be fewer devices than shares.
  const task =
    shares === undefined
      ? taskOf(zooWorkload(model), cluster)
      : await realTask(model, cluster, shares.slice(0, cluster.devices.length));
  // By processor time: other programs do not make plans worse.
  const planning = { budgetMs: options.budgetMs, seed: options.seed, signal: ending.signal, now: processorMs };
  const { plans, failed } = await plansFor(task, options.planners, planning, (name) => status(`${id}: ${name} plans`));
  for (const { planner, error } of failed) add({ scenario: id, planners: [planner], error: factsOf(error) });
  try {
    for (const { planners, plan } of plans) {
      if (ending.signal.aborted) return;
      status(`${id}: measuring ${planners.join(', ')}`);
      try {
        session ??= await Session.open({ cluster, model, task }, options);
        if (ending.signal.aborted) return;
        add({ scenario: id, planners, ...(await session.measure(plan)) });
      } catch (error) {
        if (ending.signal.aborted) return;
        add({ scenario: id, planners, error: factsOf(error) });
        // What state it is in nobody knows: the next plan gets a new one.
        await closeSession();
      }
    }
  } finally {
    await closeSession();
  }
}

async function measureDynamics(options: TestbedOptions, say: (line: string) => void): Promise<void> {
  const rows: DynamicMeasured[] = [];
  for (const scenario of options.scenarios) {
    if (ending.signal.aborted) break;
    const opened = (made: Session): void => {
      session = made;
    };
    try {
      const tell = (text: string): void => status(`${scenario.id}: ${text}`);
      const row = await measureDynamic(scenario, options.seconds, options, opened, tell);
      rows.push(row);
      say(dynamicLine(row));
      if (!(row.difference <= EXACT)) process.exitCode = 1;
    } catch (error) {
      if (!ending.signal.aborted) throw error;
    } finally {
      await closeSession();
    }
  }
  if (options.json) console.log(JSON.stringify({ rows }, undefined, 2));
}

async function closeSession(): Promise<void> {
  const closing = session;
  session = undefined;
  await closing?.close();
}

async function main(): Promise<void> {
  const options = testbedOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(HELP);
    return;
  }
  if (options.list) {
    for (const { id, cluster } of options.scenarios)
      console.log(`${id}  ${cluster.devices.length} devices, ${cluster.medium}`);
    return;
  }
  const lack = missing();
  if (lack !== undefined) throw new DistrEdgeError('USAGE', `the testbed needs ${lack}`);
  endBy('SIGINT', 130);
  endBy('SIGTERM', 143);
  endBy('SIGHUP', 129);
  const left = await removeLeftovers();
  const say = (line: string): void => {
    status('');
    if (!options.json) console.log(line);
  };
  if (left > 0) say(`removed ${left} namespaces that a testbed had left which was killed`);
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}, load ${(loadavg()[0] ?? 0).toFixed(1)}`;
  say(
    `${machine}; ${options.shares === undefined ? 'paced engines' : 'real compute'}, ${options.access} access, ${options.images} images a plan; times in ms of the model\n`,
  );
  if (options.dynamic) {
    await measureDynamics(options, say);
    if (ending.signal.aborted) say('ended early, all removed');
    return;
  }
  say(HEADER);
  const rows: Row[] = [];
  for (const scenario of options.scenarios) {
    if (ending.signal.aborted) break;
    await measureScenario(scenario, options, (row) => {
      rows.push(row);
      say(lineOf(row));
    });
  }
  const summary = summarise(rows);
  if (options.json) console.log(JSON.stringify({ machine, rows, summary }, undefined, 2));
  else for (const line of ['', ...linesOf(summary)]) say(line);
  if (ending.signal.aborted) say('ended early, all removed');
  else if (summary.failed > 0 || summary.inexact > 0) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  status('');
  const { message, where, expected, got, hint } = factsOf(error);
  const facts = { where, expected, got, hint };
  console.error(`error: ${message}`);
  for (const [name, fact] of Object.entries(facts)) if (fact !== undefined) console.error(`  ${name}: ${fact}`);
  process.exitCode = ending.signal.aborted
    ? (process.exitCode ?? 1)
    : error instanceof DistrEdgeError && error.code === 'USAGE' && missing() === undefined
      ? 2
      : 1;
}
