/** The report of the evaluation: tables and charts of docs/evaluation from the results of the experiments. */
import { writeFileSync } from 'node:fs';
import { barPanels, lineChart, type Series, short } from './_chart.js';
import type { AlphaRow, Training } from './_paper-learning.js';
import { COLORS, METHODS, type Measured } from './_paper-methods.js';
import type { Replayed } from './_replay.js';
import { mean, median, quantile } from './_workloads.js';

/** For every group, rate or model: what each method reaches. */
export type Comparison = { readonly title: string; readonly rows: readonly Measured[] }[];

interface Experiment<T> {
  readonly machine: string;
  readonly quick: boolean;
  readonly planMs: number;
  readonly episodes: number;
  /** Processor time that the experiment took. */
  readonly seconds: number;
  readonly data: T;
}

export interface Results {
  readonly devices?: Experiment<Comparison>;
  readonly bandwidth?: Experiment<Comparison>;
  readonly links?: Experiment<Comparison>;
  readonly large?: Experiment<Comparison>;
  readonly models?: Experiment<Comparison>;
  readonly alpha?: Experiment<AlphaRow[]>;
  readonly training?: Experiment<Training>;
  readonly dynamic?: Experiment<(Replayed & { readonly name: string })[]>;
}

type Cell = string | number;

function table(head: readonly Cell[], rows: readonly (readonly Cell[])[]): string {
  const line = (cells: readonly Cell[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

const OURS = ['osds', 'auto --classical', 'auto'];

function bestBaseline(rows: readonly Measured[]): number {
  return Math.max(...rows.filter(({ method }) => !OURS.includes(method)).map(({ ips = 0 }) => ips));
}

function ipsOf(rows: readonly Measured[], method: string): number | undefined {
  return rows.find((row) => row.method === method)?.ips;
}

/** Images per second, and how many times as fast `auto` is as the best baseline and as the best device. */
export function comparisonTable(first: string, data: Comparison): string {
  const ratio = (a: number | undefined, b: number | undefined): string =>
    a === undefined || !b ? '–' : `${(a / b).toFixed(2)}×`;
  return table(
    [first, ...METHODS, 'auto / best baseline', 'auto / best device'],
    data.map(({ title, rows }) => {
      const most = Math.max(...rows.map(({ ips = 0 }) => ips));
      const auto = ipsOf(rows, 'auto');
      return [
        title,
        ...METHODS.map((method) => {
          const ips = ipsOf(rows, method);
          if (ips === undefined) return '–';
          return ips === most ? `**${short(ips)}**` : short(ips);
        }),
        ratio(auto, bestBaseline(rows)),
        ratio(auto, ipsOf(rows, 'offload')),
      ];
    }),
  );
}

function bars(title: string, data: Comparison): string {
  const panels = data.map(({ title: name, rows }) => ({
    title: name,
    bars: METHODS.map((method) => ({ name: method, value: ipsOf(rows, method), color: COLORS[method] ?? '#888888' })),
  }));
  return barPanels(title, 'images per second, one after another; every panel has its own scale', panels, 4);
}

function rates(title: string, data: Comparison): string {
  const series = METHODS.map(
    (method): Series => ({
      name: method,
      color: COLORS[method] ?? '#888888',
      width: method === 'auto' ? 3 : OURS.includes(method) ? 2.4 : 1.6,
      points: data.flatMap(({ title: mbps, rows }) => {
        const ips = ipsOf(rows, method);
        return ips === undefined ? [] : [[Number(mbps), ips] as const];
      }),
    }),
  );
  return lineChart({ title, x: 'rate of all links, Mbit/s', y: 'images per second', series });
}

interface Section {
  readonly name: keyof Results;
  readonly title: string;
  readonly about: string;
  /** Writes the chart, returns the tables and notes. */
  readonly body: (results: Results) => { readonly svg: string; readonly text: string };
}

const MODEL_COLORS = ['#173f8f', '#e07b00', '#3f8f4f'];

function comparison(name: 'devices' | 'links' | 'large' | 'models', first: string): Section['body'] {
  return (results) => {
    const data = results[name]?.data ?? [];
    return { svg: bars(TITLES[name], data), text: comparisonTable(first, data) };
  };
}

const TITLES = {
  devices: 'Unequal device types: VGG-16, links of 200 Mbit/s',
  links: 'Unequal links: VGG-16',
  large: 'Sixteen devices: VGG-16',
  models: 'Eight networks on group DA, links of 200 Mbit/s',
};

const SECTIONS: readonly Section[] = [
  {
    name: 'devices',
    title: 'Unequal device types',
    about:
      'DA: two pi4, two nano. DB: two xavier, two nano. DC: xavier, tx2, nano, pi4. DD: two tx2, two nano. VGG-16; all links have 200 Mbit/s.',
    body: comparison('devices', 'group'),
  },
  {
    name: 'bandwidth',
    title: 'Rates from 50 to 300 Mbit/s',
    about: 'VGG-16 on group DD; all links have the same rate.',
    body: (results) => {
      const data = results.bandwidth?.data ?? [];
      return { svg: rates('Rates of the links: VGG-16 on group DD', data), text: comparisonTable('Mbit/s', data) };
    },
  },
  {
    name: 'links',
    title: 'Unequal links',
    about:
      'NA: four nano at 50, 50, 200, 200 Mbit/s. NB: four nano at 100, 100, 200, 200. NC: four tx2 at 200, 200, 300, 300. ND: four pi4 at 50, 100, 200, 300. The requester has the fastest of them.',
    body: comparison('links', 'group'),
  },
  {
    name: 'large',
    title: 'Sixteen devices',
    about:
      'LA: four each of pi3, pi4, nano and tx2, each at 50, 100, 200 and 300 Mbit/s. LB: sixteen pi4 at 200. LC: twelve nano and four xavier; eight of the nano at 50, all others at 300. LD: sixteen nano at 100.',
    body: comparison('large', 'group'),
  },
  {
    name: 'models',
    title: 'Eight networks',
    about: 'Group DA, all links 200 Mbit/s.',
    body: comparison('models', 'network'),
  },
  {
    name: 'alpha',
    title: 'The weight α of LC-PSS',
    about:
      'Group DA, 200 Mbit/s. For every α the partition that LC-PSS finds, split by OSDS with the same number of episodes and the same seed. α weighs bytes sent against operations computed twice; 0.75 is the published value, for the paper’s normalisation.',
    body: (results) => {
      const data = results.alpha?.data ?? [];
      const models = [...new Set(data.map(({ model }) => model))];
      const alphas = [...new Set(data.map(({ alpha }) => alpha))];
      const best = (model: string): number =>
        Math.max(...data.filter((row) => row.model === model).map(({ ips }) => ips));
      const of = (model: string, alpha: number): AlphaRow | undefined =>
        data.find((row) => row.model === model && row.alpha === alpha);
      const series = models.map((model, i) => ({
        name: model,
        color: MODEL_COLORS[i] ?? '#888888',
        width: 2.4,
        points: data
          .filter((row) => row.model === model)
          .map((row) => [row.alpha, (100 * row.ips) / best(model)] as const),
      }));
      return {
        svg: lineChart({
          title: 'The weight α of LC-PSS',
          x: 'α',
          y: 'images per second, % of the best α',
          series,
          from: 'fit',
        }),
        text: table(
          ['α', ...models.flatMap((model) => [`${model}: volumes`, 'images/s'])],
          alphas.map((alpha) => [
            alpha,
            ...models.flatMap((model) => [
              of(model, alpha)?.volumes ?? '–',
              short(of(model, alpha)?.ips ?? Number.NaN),
            ]),
          ]),
        ),
      };
    },
  },
  {
    name: 'training',
    title: 'Training of OSDS',
    about:
      'VGG-16 on group DD at 200 Mbit/s, partition by α = 0.25. The best strategy seen after so many episodes: as this project trains, and with the actor’s noise as the only exploration. Both begin with the same simple strategies. Dashed: what other methods reach.',
    body: (results) => {
      const { curves = [], others = [] } = results.training?.data ?? {};
      const last = Math.max(1, ...curves.flatMap(({ points }) => points.map(([episode]) => episode)));
      const series: Series[] = [
        ...curves.map(({ name, points }, i) => ({ name, points, color: i === 0 ? '#e07b00' : '#8c4a00', width: 2.6 })),
        ...others.map(({ method, ips }) => ({
          name: method,
          color: COLORS[method] ?? '#888888',
          dash: '6 4',
          points: [[0, ips] as const, [last, ips] as const],
        })),
      ];
      return {
        svg: lineChart({
          title: 'Training of OSDS: VGG-16 on group DD, 200 Mbit/s',
          x: 'episodes',
          y: 'images per second of the best strategy so far',
          series,
          from: 'fit',
        }),
        text: table(
          ['search', 'episodes', 'images/s', 'time'],
          [
            ...curves.map(({ name, points, seconds }) => [
              name,
              points.at(-1)?.[0] ?? 0,
              short(points.at(-1)?.[1] ?? Number.NaN),
              `${seconds.toFixed(0)} s`,
            ]),
            ...others.map(({ method, ips }) => [method, '–', short(ips), '–']),
          ],
        ),
      };
    },
  },
  {
    name: 'dynamic',
    title: 'A network that changes every second',
    about:
      'VGG-16; every device’s rate wanders between 40 and 100 Mbit/s by up to 20 Mbit/s a second. The adaptive planner knows the rates of the past second and has 80 ms of processor time; the clairvoyant one knows those of the second it plans for, has 400 ms (quick runs 200 ms), and may take over the other’s plans; between two seconds each searches once more for as long as that (quick runs half as long). See [009](../decisions/009-replanning.md). On other traces: `npm run bench -- dynamic FILE`.',
    body: (results) => {
      const data = results.dynamic?.data ?? [];
      const [first] = data;
      const points = (ips: readonly number[]): [number, number][] => ips.map((value, i) => [i + 1, value]);
      const share = (ips: readonly number[], of: readonly number[]): string =>
        `${(100 * mean(ips.map((value, i) => value / (of[i] as number)))).toFixed(1)} %`;
      return {
        svg: lineChart({
          title: `A changing network: VGG-16 on ${first?.name ?? ''}`,
          x: 'seconds',
          y: 'images per second',
          series: [
            { name: 'clairvoyant', color: '#9aa3b2', points: points(first?.clairvoyant ?? []), width: 3 },
            { name: 'adaptive', color: '#173f8f', points: points(first?.adaptive ?? []), width: 2 },
            { name: 'first plan kept', color: '#e07b00', points: points(first?.fixed ?? []), width: 1.6 },
          ],
          from: 'fit',
        }),
        text: table(
          ['group', 'images/s', 'clairvoyant', 'of it', 'first plan kept', 're-planning, median', 'p90', 'adoptions'],
          data.map(({ name, adaptive, clairvoyant, fixed, planMs, adoptions }) => [
            name,
            short(mean(adaptive)),
            short(mean(clairvoyant)),
            share(adaptive, clairvoyant),
            share(fixed, clairvoyant),
            `${median(planMs).toFixed(0)} ms`,
            `${quantile(planMs, 0.9).toFixed(0)} ms`,
            `${adoptions} in ${adaptive.length} s`,
          ]),
        ),
      };
    },
  },
];

const INTRODUCTION = `# Evaluation

The evaluation of *DistrEdge* (IPDPS 2022, arXiv 2202.01699), repeated on this project's simulator: the paper's eight networks, device types
after those of its test bed, and groups in its manner. Devices are the built-in types (\`packages/core/src/cost/device-types.ts\`), stand-ins
calibrated on published rates of whole networks; groups are defined in \`bench/_paper-clusters.ts\`. So figures compare **methods under equal
conditions**; they say nothing about a particular board. All links hang on one switch with a latency of 1 ms. Images go one after another:
images per second = 1 / end-to-end latency.

Methods: the seven baselines as their papers describe them (\`offload\` is the best single device, end to end); \`osds\` is the paper's own
method, LC-PSS with several α and OSDS; \`auto --classical\` and \`auto\` are this project's search, over plans of the paper's form and over
general ones. Every method sees the same costs and is judged by the same simulator. Higher is better; the best of a row is bold.

\`npm run bench -- paper\` makes everything on this page, \`--only NAME\` one experiment of it, \`--quick\` with smaller budgets. Budgets are
processor time, so a slower machine plans a little worse, a busy one does not; seeds are fixed. \`osds\` has no limit of time here, and
takes 2 to 10 s for its partitions alone; with equal time \`auto --classical\` is not behind it (\`npx distredge bench planners --classical\`).
`;

export function writeReport(folder: URL, results: Results): void {
  const parts = [INTRODUCTION];
  const ratios: { readonly baseline: number; readonly device: number; readonly osds: number }[] = [];
  for (const name of ['devices', 'bandwidth', 'links', 'large', 'models'] as const) {
    for (const { rows } of results[name]?.data ?? []) {
      const auto = ipsOf(rows, 'auto') ?? Number.NaN;
      ratios.push({
        baseline: auto / bestBaseline(rows),
        device: auto / (ipsOf(rows, 'offload') ?? Number.NaN),
        osds: auto / (ipsOf(rows, 'osds') ?? Number.NaN),
      });
    }
  }
  if (ratios.length > 0) parts.push(summary(ratios));
  for (const { name, title, about, body } of SECTIONS) {
    const result = results[name];
    if (result === undefined) continue;
    const { svg, text } = body(results);
    writeFileSync(new URL(`${name}.svg`, folder), svg);
    const budgets = `${result.planMs / 1000} s of processor time a plan of \`auto\`, ${result.episodes} episodes of \`osds\``;
    const command = `npm run bench -- paper --only ${name}${result.quick ? ' --quick' : ''}`;
    parts.push(
      `## ${title}\n\n${about}\n\n![${title}](${name}.svg)\n\n${text}\n\n\`${command}\` — ${budgets}; ${result.seconds} s of processor time in all on ${result.machine}.\n`,
    );
  }
  writeFileSync(new URL('README.md', folder), parts.join('\n'));
}

function summary(
  ratios: readonly { readonly baseline: number; readonly device: number; readonly osds: number }[],
): string {
  const line = (name: string, of: readonly number[]): Cell[] => {
    const known = of.filter((ratio) => Number.isFinite(ratio));
    const geometric = Math.exp(mean(known.map(Math.log)));
    return [
      name,
      known.length,
      `${geometric.toFixed(2)}×`,
      `${Math.min(...known).toFixed(2)}×`,
      `${Math.max(...known).toFixed(2)}×`,
    ];
  };
  return `## In short\n\nHow many times as fast \`auto\` is, over all comparisons below:\n\n${table(
    ['against', 'comparisons', 'geometric mean', 'least', 'most'],
    [
      line(
        'the best of the seven baselines, chosen anew for each',
        ratios.map(({ baseline }) => baseline),
      ),
      line(
        'the best single device',
        ratios.map(({ device }) => device),
      ),
      line(
        'osds',
        ratios.map(({ osds }) => osds),
      ),
    ],
  )}\n`;
}
