/** How soon a cluster is on another plan after a link has changed or was cut, or a device is gone; `npm run bench -- testbed-step --help`. */
import { rm } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { type ClusterMember, type Line, rejoin, startCluster } from './_testbed/cluster.js';
import { makeFolder, missing, removeLeftovers, Testnet } from './_testbed/namespaces.js';
import { median } from './_workloads.js';

const HELP = `usage: npm run bench -- testbed-step [MODEL] [options]

A controller and devices in network namespaces, as a user starts them (distredge up, distredge join, TLS), with a stream of images.
The last device's link is slowed down, and everything up to the first image on another plan is timed; then all is as it was, and so on.

  --cut           cut the last device off from the one before it instead; the controller still reaches both
  --kill          kill the last device's process instead; it joins again
  --freeze        stop the last device's process instead; it goes on afterwards
  --devices N     default 2
  --times N       changes that are measured (5)
  --from MBPS     rate of all links (200)
  --to MBPS       rate that the last device's link falls to (20)
  --calm SECONDS  before each change, for so long nothing but images (2); with 6 no plan for what was before the change is being
                  prepared any more, and plans stand by
  --verbose       print every event, of images only those around each change
MODEL is zoo:NAME or a file (zoo:resnet50).`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean' },
    cut: { type: 'boolean', default: false },
    kill: { type: 'boolean', default: false },
    freeze: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    devices: { type: 'string', default: '2' },
    times: { type: 'string', default: '5' },
    from: { type: 'string', default: '200' },
    to: { type: 'string', default: '20' },
    calm: { type: 'string', default: '2' },
  },
});
const [model = 'zoo:resnet50'] = positionals;
const [devices, times, from, to, calmS] = [values.devices, values.times, values.from, values.to, values.calm].map(
  Number,
) as [number, number, number, number, number];
if (values.help === true) {
  console.log(HELP);
  process.exit(0);
}
const lack = missing();
if (lack !== undefined || ![devices, times, from, to, calmS].every((value) => value > 0) || devices < 2) {
  console.error(lack === undefined ? HELP : `error: the testbed needs ${lack}`);
  process.exit(2);
}

/** Images before a change, at least, with nothing else between them, so that the plan's usual times are known. */
const CALM_IMAGES = 15;
/** A change after which the first so many images take less than so many times as long as before does not matter to the plan in force. */
const UNTOUCHED_IMAGES = 30;
const UNTOUCHED = 1.25;
/** Changes that may turn out so, for each that is measured. */
const MOST_UNTOUCHED = 2;
/** Of images that are done later than this only the last one is shown. */
const SHOWN_MS = 3000;
/** How long anything may take. */
const PATIENCE_MS = 120_000;

/** Ended by a signal: what fails then is no news. */
let ended = false;
const members: ClusterMember[] = [];
let net: Testnet | undefined;
let folder = '';

async function close(): Promise<void> {
  for (const member of members.splice(0)) await member.end().catch(() => undefined);
  await net?.close();
  net = undefined;
  if (folder !== '') await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => {
    ended = true;
    void close().finally(() => process.exit(code));
  });
}

interface Measured {
  /** Until something was noticed. */
  readonly noticed: number;
  /** Until the first other plan was in force. */
  readonly planned: number;
  /** Until the first image on it was begun (the end of the image before it), and done. */
  readonly begun: number;
  readonly done: number;
  readonly predictedMs: number;
}

const NOTICED = new Set(['drift', 'link', 'problem', 'fallback', 'device']);

/** Lines that have been printed. */
let told = 0;

/** Makes a change, and times what comes of it; undefined where it does not matter to the plan in force. */
async function once(controller: ClusterMember, change: () => Promise<void>): Promise<Measured | undefined> {
  const usesAll = ({ event, devices: used }: Line): boolean =>
    event === 'plan' && Array.isArray(used) && used.length === devices;
  const plans = (): Line[] => controller.lines.filter(({ event }) => event === 'plan');
  // A plan with all devices, and images on it, with nothing else going on.
  const end = Date.now() + PATIENCE_MS;
  const calm = (): boolean => {
    const plan = plans().at(-1);
    const since = Date.now() - 1000 * calmS;
    const last = controller.lines.filter(({ at }, line) => at > since || line >= controller.lines.length - CALM_IMAGES);
    return (
      plan !== undefined &&
      usesAll(plan) &&
      last.every(({ event, plan: on }) => event === 'image' && on === plan['generation'])
    );
  };
  while (!calm() && Date.now() < end)
    await controller.hears('image', ({ event }) => event === 'image', controller.lines.length, PATIENCE_MS);
  const heard = controller.lines.length;
  if (values.verbose) {
    for (const { event, at: when, ...facts } of controller.lines.slice(told))
      if (event !== 'image')
        console.log(`  ${String(when - Date.now()).padStart(6)} ms  ${event} ${JSON.stringify(facts)}`);
  }
  const usual = median(
    controller.lines
      .slice(-CALM_IMAGES)
      .map((line) => Number(line['totalMs'] ?? 0))
      .filter(Boolean),
  );
  const before = Number(plans().at(-1)?.['generation']);
  const at = Date.now();
  await change();
  // What was being prepared before the change knows nothing of it.
  const plan = await controller.hears(
    'another plan',
    (line) => {
      const { event, at: when, tookMs, generation } = line;
      if (event === 'plan') return Number(generation) > before && when - Number(tookMs) >= at;
      if (event !== 'image') return false;
      const after = controller.lines
        .slice(heard, controller.lines.indexOf(line) + 1)
        .filter((one) => one.event === event);
      return after.length >= UNTOUCHED_IMAGES && after.every(({ totalMs }) => Number(totalMs) < UNTOUCHED * usual);
    },
    heard,
    PATIENCE_MS,
  );
  if (plan.event !== 'plan') return undefined;
  const image = await controller.hears(
    'image on another plan',
    ({ event, plan: number }) => event === 'image' && Number(number) >= Number(plan['generation']),
    heard,
    PATIENCE_MS,
  );
  const noticed = controller.lines.slice(heard).find(({ event }) => NOTICED.has(event));
  if (values.verbose) {
    for (const line of controller.lines.slice(heard, controller.lines.indexOf(image) + 1)) {
      const { event, at: when, outputs: _, ...facts } = line;
      if (event === 'image' && when - at > SHOWN_MS && line !== image) continue;
      console.log(`  ${String(when - at).padStart(6)} ms  ${event} ${JSON.stringify(facts)}`);
    }
    console.log(`  an image took ${usual.toFixed(0)} ms before`);
    told = controller.lines.indexOf(image) + 1;
  }
  const begun = image.at - Number(image['totalMs']);
  return {
    noticed: Math.min(noticed?.at ?? plan.at, plan.at - Number(plan['tookMs'])) - at,
    planned: plan.at - at,
    begun: begun - at,
    done: image.at - at,
    predictedMs: Number(plan['predictedMs']),
  };
}

const shown = (name: string, list: readonly number[]): string =>
  `${name} ${median(list).toFixed(0)} ms (${Math.min(...list).toFixed(0)}–${Math.max(...list).toFixed(0)})`;

try {
  await removeLeftovers();
  folder = await makeFolder();
  net = await Testnet.build(devices + 1);
  const all = (last: number): number[] => [from, ...new Array<number>(devices - 1).fill(from), last];
  await net.shape(all(from));
  const args = [model, '--devices', `${devices}`, '--random', '1000000', '--profile-budget', '2', '--budget', '1'];
  const controller = await startCluster(net, folder, devices, args, (member) => members.push(member));
  const testnet = net;
  const last = (): ClusterMember => members[devices] as ClusterMember;
  const pair = [devices - 1, devices];
  const changes: Record<string, { what: string; begin(): Promise<void>; end(): Promise<void> }> = {
    slow: {
      what: `d${devices}'s link ${from} → ${to} Mbit/s`,
      begin: () => testnet.shape(all(to)),
      end: () => testnet.shape(all(from)),
    },
    cut: {
      what: `link between d${devices - 1} and d${devices} cut`,
      begin: () => testnet.part(pair, true),
      end: () => testnet.part(pair, false),
    },
    kill: {
      what: `d${devices} killed`,
      begin: async () => void last().child.kill('SIGKILL'),
      end: async () => void members.splice(devices, 1, rejoin(testnet, folder, devices)),
    },
    freeze: {
      what: `d${devices} stopped`,
      begin: async () => void last().child.kill('SIGSTOP'),
      end: async () => void last().child.kill('SIGCONT'),
    },
  };
  const kind = ['cut', 'kill', 'freeze'].find((name) => values[name as 'cut' | 'kill' | 'freeze']) ?? 'slow';
  const change = changes[kind] as (typeof changes)[string];
  console.log(`${model} on ${devices} devices; ${change.what}, ${times} times; load ${(loadavg()[0] ?? 0).toFixed(1)}`);
  const measured: Measured[] = [];
  let tries = 0;
  while (measured.length < times) {
    const one = await once(controller, change.begin);
    if (one === undefined) {
      console.log('the plan in force did not mind; again');
      await change.end();
      if (++tries > MOST_UNTOUCHED * times) throw new Error('no plan in force minds this change');
      continue;
    }
    measured.push(one);
    console.log(
      `${measured.length}: noticed after ${one.noticed.toFixed(0)} ms, plan in force after ${one.planned}, first image begun after ${one.begun.toFixed(0)}, done after ${one.done}; predicted ${one.predictedMs.toFixed(0)} ms an image`,
    );
    await change.end();
  }
  const column = (of: keyof Measured): number[] => measured.map((one) => one[of]);
  console.log(
    `medians (and ends): ${shown('noticed', column('noticed'))}, ${shown('planned', column('planned'))}, ${shown('first image begun', column('begun'))}, ${shown('done', column('done'))}`,
  );
} catch (error) {
  // The signal's own way out comes soon.
  if (!ended) throw error;
  await new Promise(() => undefined);
} finally {
  await close();
}
