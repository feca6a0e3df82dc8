/** The testbed's command line. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DistrEdgeError, parseScenarios, type Scenario } from '@distredge/core';
import { baselineNames, plannerNames } from '@distredge/planner';
import type { Access } from './access-point.js';
import { checkShares, missingForQuotas } from './quota.js';
import { BUILT_IN } from './scenarios.js';

const ACCESS: readonly Access[] = ['ordered', 'sender', 'fair'];
const DEFAULT_PLANNERS: readonly string[] = [...baselineNames, 'best-device', 'auto'];

export const HELP: string = `usage: npm run bench -- testbed [options]

Builds network namespaces and shaped links for each scenario, runs a provider for every device in them, lets each planner plan,
and prints what the plans take beside what the simulator says. Providers compute the true results and then wait until the
device of the scenario would be done. Time is dilated, so that this machine keeps up. Needs Linux, root, ip and tc.

  --scenarios FILE   scenarios, as for "distredge bench planners" (default: a dozen that are built in)
  --filter RE        only scenarios whose name matches
  --planners LIST    some of ${plannerNames.join(', ')} (default: all but osds)
  --budget S         seconds of processor time that each search may take (default 2)
  --seed N           seed of the searches (default 1)
  --images N         images for each plan; their median counts, one more before them does not (default 5)
  --dilation X       rates divided and times multiplied by this (default: chosen for each plan from its events, its bytes, and
                     the load of this machine; every row says it)
  --real SHARES      devices compute really, without dilation: the first ones of each scenario, pinned to cores in turn and limited
                     to these shares of a core in percent, as in 100,50; what they take is measured by a profile
  --access WHO       who may send: ordered (one message at a time on every link, in order of issue: the rules of simulation),
                     sender (only each sender's own order), fair (sockets share the links) (default ordered)
  --compute-all      compute every image; by default a step is computed once, and again when it is given other rows
  --dynamic FILE     instead: scenarios with trace_mbps, a rate for every device and second; rates are changed by tc while images
                     follow one another, plans are those of re-planning, and images per second are held against a planner that
                     knows all rates beforehand, in simulation
  --seconds N        seconds of the model to measure with --dynamic (default 20)
  --list             list the scenarios
  --json             print one JSON object with rows and summary

Examples:
  sudo npm run bench -- testbed --filter '^two'
  sudo npm run bench -- testbed --scenarios scenarios.json --filter vgg16 --planners coedge,aofl,auto --json
  sudo npm run bench -- testbed --dynamic dynamic.json --seconds 30`;

export interface TestbedOptions {
  readonly scenarios: readonly Scenario[];
  readonly planners: readonly string[];
  readonly budgetMs: number;
  readonly seed: number;
  readonly images: number;
  /** Undefined: chosen for every plan. */
  readonly dilation: number | undefined;
  readonly access: Access;
  /** Share of a core of each device, where they compute really. */
  readonly shares: readonly number[] | undefined;
  readonly reuse: boolean;
  /** Whether the scenarios' rates change, and are to. */
  readonly dynamic: boolean;
  readonly seconds: number;
  readonly list: boolean;
  readonly json: boolean;
}

/** Reads the arguments; undefined where they ask for help. Throws `USAGE`, `FILE`, or what a file of scenarios is refused with. */
export function testbedOptions(args: readonly string[]): TestbedOptions | undefined {
  const { values } = parsed(args);
  if (values.help) return undefined;
  const planners =
    values.planners === undefined ? DEFAULT_PLANNERS : values.planners.split(',').map((name) => name.trim());
  const unknown = planners.find((name) => !plannerNames.includes(name));
  if (unknown !== undefined) throw usage('--planners', `some of ${plannerNames.join(', ')}`, unknown);
  const access = ACCESS.find((name) => name === values.access);
  if (access === undefined) throw usage('--access', `one of ${ACCESS.join(', ')}`, values.access);
  if (values.real !== undefined && values.dynamic !== undefined) {
    throw usage('--real', 'not together with --dynamic', values.real);
  }
  return {
    scenarios: scenariosOf(values.dynamic ?? values.scenarios, values.filter, values.dynamic !== undefined),
    dynamic: values.dynamic !== undefined,
    seconds: whole('--seconds', values.seconds, 1, 3600),
    planners: [...new Set(planners)],
    budgetMs: 1000 * number('--budget', values.budget, 0.01, 3600),
    seed: whole('--seed', values.seed, 0, 2 ** 31),
    images: whole('--images', values.images, 1, 1000),
    dilation: values.dilation === undefined ? undefined : number('--dilation', values.dilation, 0.1, 1000),
    access,
    shares: values.real === undefined ? undefined : sharesOf(values.real),
    reuse: !values['compute-all'],
    list: values.list,
    json: values.json,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        scenarios: { type: 'string' },
        filter: { type: 'string', default: '' },
        planners: { type: 'string' },
        budget: { type: 'string', default: '2' },
        seed: { type: 'string', default: '1' },
        images: { type: 'string', default: '5' },
        dilation: { type: 'string' },
        real: { type: 'string' },
        access: { type: 'string', default: 'ordered' },
        'compute-all': { type: 'boolean', default: false },
        dynamic: { type: 'string' },
        seconds: { type: 'string', default: '20' },
        list: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (cause) {
    throw new DistrEdgeError('USAGE', cause instanceof Error ? cause.message : String(cause), {
      hint: 'see --help',
      cause,
    });
  }
}

function sharesOf(text: string): number[] {
  const lack = missingForQuotas();
  if (lack !== undefined) throw usage('--real', lack, 'none');
  const shares = text.split(',').map((part) => number('--real', part, 1, 100) / 100);
  checkShares(shares);
  return shares;
}

function scenariosOf(file: string | undefined, filter: string, dynamic: boolean): Scenario[] {
  const all = parseScenarios(file === undefined ? BUILT_IN : read(file)).filter(
    ({ trace_mbps }) => (trace_mbps !== undefined) === dynamic,
  );
  let pattern: RegExp;
  try {
    pattern = new RegExp(filter);
  } catch {
    throw usage('--filter', 'a regular expression', filter);
  }
  const chosen = all.filter(({ id }) => pattern.test(id));
  if (chosen.length > 0) return chosen;
  throw usage(
    '--filter',
    `part of a name, as in ${all[0]?.id ?? `nothing: there is no scenario of ${dynamic ? 'changing' : 'fixed'} rates`}`,
    filter,
  );
}

function read(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const got = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new DistrEdgeError('FILE', 'the scenarios cannot be read', { where: file, got, cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DistrEdgeError('FILE', 'the scenarios are no JSON', { where: file, got: String(cause), cause });
  }
}

function number(option: string, text: string, least: number, most: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= least && value <= most) return value;
  throw usage(option, `a number from ${least} to ${most}`, text);
}

function whole(option: string, text: string, least: number, most: number): number {
  const value = number(option, text, least, most);
  if (Number.isInteger(value)) return value;
  throw usage(option, `a whole number from ${least} to ${most}`, text);
}

function usage(where: string, expected: string, got: string): DistrEdgeError {
  return new DistrEdgeError('USAGE', 'an option has a value that it cannot have', {
    where,
    expected,
    got,
    hint: 'see --help',
  });
}
