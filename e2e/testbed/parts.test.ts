/** The testbed's parts that need neither root nor namespaces: who may send, what steps take, how time is dilated, the summary. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  analyse,
  compile,
  DistrEdgeError,
  fromPlan,
  loadGraph,
  type PlanningTask,
  parseCluster,
  parsePlan,
  parseScenarios,
  type SimulatedEvent,
  simulator,
  taskOf,
  toPlan,
  workloadOf,
} from '@distredge/core';
import { createPlanner } from '@distredge/planner';
import { buildZooModel } from '@distredge/zoo';
import { afterEach, describe, expect, it } from 'vitest';
import { type Access, AccessPoint, Station } from '../../bench/_testbed/access-point.js';
import { chooseDilation } from '../../bench/_testbed/dilation.js';
import { perSecond } from '../../bench/_testbed/dynamic.js';
import { addressOf, memberAt } from '../../bench/_testbed/namespaces.js';
import { testbedOptions } from '../../bench/_testbed/options.js';
import { type Row, summarise } from '../../bench/_testbed/report.js';
import { BUILT_IN } from '../../bench/_testbed/scenarios.js';
import { stepTimes } from '../../bench/_testbed/step-times.js';

describe('the access point', () => {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  /** Announces messages in this order; `granted` are those that may be sent, in the order in which they were told so. */
  async function announce(access: Access, shared: boolean, keys: readonly string[]) {
    const folder = mkdtempSync(join(tmpdir(), 'testbed-test-'));
    const path = join(folder, 'socket');
    const point = await AccessPoint.open(path, access, shared);
    const station = await Station.open(path);
    ends.push(async () => {
      station.close();
      await point.close();
      rmSync(folder, { recursive: true });
    });
    const granted: string[] = [];
    const all = keys.map((key) => station.turn(key).then(() => granted.push(key)));
    /** What was said before has been heard when a message between two others, who want nothing else, was granted and ended. */
    const heard = async (): Promise<string[]> => {
      if (!shared) {
        await station.turn('98:99:0:0');
        station.arrived('98:99:0:0');
      } else await until(() => point.waiting === keys.length - done);
      await new Promise((resolve) => setTimeout(resolve, 20));
      return [...granted];
    };
    let done = 0;
    const arrived = (key: string): void => {
      done += 1;
      station.arrived(key);
    };
    return { heard, arrived, all };
  }

  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  // from:to:request:message
  const keys = ['1:2:1:0', '1:3:1:1', '4:2:1:2', '5:6:1:3'];

  it('lets every link carry one message at a time, in the order of issue', async () => {
    const { heard, arrived } = await announce('ordered', false, keys);
    expect(await heard()).toEqual(['1:2:1:0', '5:6:1:3']);
    arrived('1:2:1:0');
    expect(await heard()).toEqual(['1:2:1:0', '5:6:1:3', '1:3:1:1', '4:2:1:2']);
  });

  it('keeps only the order of each sender where nothing else is asked for', async () => {
    const { heard, arrived } = await announce('sender', false, keys);
    expect(await heard()).toEqual(['1:2:1:0', '4:2:1:2', '5:6:1:3']);
    arrived('1:2:1:0');
    expect(await heard()).toContain('1:3:1:1');
  });

  it('lets a shared medium carry one message in all', async () => {
    const { heard, arrived, all } = await announce('ordered', true, keys);
    expect(await heard()).toEqual(['1:2:1:0']);
    arrived('1:2:1:0');
    expect(await heard()).toEqual(['1:2:1:0', '1:3:1:1']);
    for (const key of keys.slice(1)) arrived(key);
    await Promise.all(all);
  });
});

describe('the times of a program’s steps', () => {
  const cluster = parseCluster({
    medium: 'switched',
    requester: { mbps: 100, latency_ms: 1 },
    devices: ['nano', 'pi5', 'nano'].map((type, index) => ({ id: `${index}`, type, mbps: 300, latency_ms: 1 })),
  });

  function prepared(name: string) {
    const model = buildZooModel(name, { weights: 'none' });
    const analysis = analyse(loadGraph(model.bytes, model));
    const workload = workloadOf(analysis, name);
    return { analysis, task: taskOf(workload, cluster) };
  }

  /** Per device, by the steps of the program and by the simulator. */
  function perDevice(analysis: ReturnType<typeof analyse>, task: PlanningTask, planned: unknown) {
    const plan = parsePlan(planned);
    const work = fromPlan(task.workload, plan);
    const run = simulator(task).run(work);
    const program = compile(analysis.graph, plan, analysis);
    const times = stepTimes(program, task.workload, work, run);
    const bySteps = cluster.devices.map((_, device) =>
      program.steps.reduce((sum, step, index) => sum + (step.device === device ? (times[index] as number) : 0), 0),
    );
    const bySimulator = cluster.devices.map((_, device) =>
      run.events.reduce(
        (sum, event) => sum + (event.kind === 'compute' && event.device === device ? event.end - event.start : 0),
        0,
      ),
    );
    return { times, steps: program.steps, bySteps, bySimulator };
  }

  it.each([
    ['modnn', 'vgg16'],
    ['coedge', 'vgg16'],
    ['deeperthings', 'resnet50'],
    ['offload', 'ssd_resnet50'],
  ])('are the simulator’s, for %s on %s', async (planner, network) => {
    const { analysis, task } = prepared(network);
    const { plan } = await createPlanner(planner).plan(task, { budgetMs: 200, seed: 1 });
    const { bySteps, bySimulator } = perDevice(analysis, task, toPlan(task.workload, plan, 3));
    bySteps.forEach((ms, device) => {
      expect(ms).toBeCloseTo(bySimulator[device] as number, 6);
    });
  });

  it('are right for gathers, several parts a device, and a head cut by channels', () => {
    const { analysis, task } = prepared('vgg16');
    const { workload } = task;
    const half = workload.ops.findIndex(({ rows }) => rows === 56);
    const [rows, last] = [workload.ops[half]?.rows ?? 0, workload.ops.at(-1)?.rows ?? 0];
    const channels = workload.head?.cut?.channels ?? 0;
    const work = {
      volumes: [
        {
          end: half,
          parts: [
            { device: 0, from: 0, to: 10 },
            { device: 1, from: 10, to: 30 },
            { device: 0, from: 30, to: rows },
          ],
        },
        { gather: 1 },
        {
          end: workload.ops.length - 1,
          parts: [
            { device: 1, from: 0, to: 3 },
            { device: 2, from: 3, to: last },
          ],
        },
      ],
      head: [
        { device: 2, from: 0, to: 1000 },
        { device: 0, from: 1000, to: channels },
      ],
    };
    const { bySteps, bySimulator, times, steps } = perDevice(analysis, task, toPlan(workload, work, 3));
    bySteps.forEach((ms, device) => {
      expect(ms).toBeCloseTo(bySimulator[device] as number, 6);
    });
    // Every step but the gather takes some time.
    steps.forEach((step, index) => {
      if (step.volume === 1) expect(times[index]).toBe(0);
      else expect(times[index]).toBeGreaterThan(0);
    });
  });
});

describe('the dilation', () => {
  const event = (device: number): SimulatedEvent => ({
    kind: 'compute',
    device,
    volume: 0,
    part: 0,
    ready: 0,
    start: 0,
    end: 1,
  });
  const run = (latencyMs: number, events: number) => ({
    latencyMs,
    events: Array.from({ length: events }, (_, index) => event(index % 4)),
    memoryBytes: [],
  });

  it('grows with the events of an image and the load of the machine, and is 1 where nothing asks for more', () => {
    expect(chooseDilation(run(10_000, 4), 0, 2)).toBe(1);
    expect(chooseDilation(run(100, 400), 0, 2)).toBeGreaterThan(chooseDilation(run(100, 200), 0, 2));
    expect(chooseDilation(run(100, 400), 4, 2)).toBe(3 * chooseDilation(run(100, 400), 0, 2));
  });

  it('makes short images long enough to be measured', () => {
    expect(10 * chooseDilation(run(10, 1), 0, 2)).toBeGreaterThanOrEqual(300);
  });
});

it('knows members by their addresses, and nobody else', () => {
  for (const member of [0, 1, 254, 255, 1024]) expect(memberAt(addressOf(member))).toBe(member);
  expect(memberAt('127.0.0.1')).toBeUndefined();
  expect(memberAt('10.78.0.1')).toBeUndefined();
});

describe('the summary', () => {
  const row = (scenario: string, planner: string, predictedMs: number, measuredMs: number): Row => ({
    scenario,
    planners: [planner],
    predictedMs,
    measuredMs,
    imagesMs: [measuredMs],
    dilation: 1,
    difference: 1e-7,
    late: { times: 0, worstMs: 0 },
  });

  it('tells errors, winners and what auto gains', () => {
    const summary = summarise([
      row('a', 'offload', 100, 102),
      row('a', 'auto', 50, 51),
      row('b', 'best-device', 100, 110),
      row('b', 'coedge', 90, 99),
      row('b', 'auto', 89, 99.5),
      { scenario: 'b', planners: ['modnn'], error: { code: 'PLAN_INVALID', message: 'x' } },
    ]);
    expect(summary).toMatchObject({ plans: 5, failed: 1, inexact: 0, contests: 2, winnersPredicted: 1 });
    expect(summary.medianError).toBeCloseTo(0.1, 9);
    expect(summary.p90Error).toBeCloseTo(0.118, 2);
    expect(summary.autoOverBestBaseline?.geometricMean).toBeCloseTo(Math.sqrt(2 * (99 / 99.5)), 9);
    expect(summary.autoOverBestBaseline?.smallestIn).toBe('b');
    expect(summary.autoOverBestDevice?.geometricMean).toBeCloseTo(110 / 99.5, 9);
  });

  it('counts results that differ from the unsplit model’s, not-a-number among them', () => {
    const wrong = [1e-3, Number.NaN, Number.POSITIVE_INFINITY].map((difference) => ({
      ...row('a', 'auto', 1, 1),
      difference,
    }));
    expect(summarise(wrong).inexact).toBe(3);
  });
});

it('counts an image that spans two seconds for both, by its share', () => {
  // Model seconds of 2000 ms as waited.
  const images = [
    { began: 0, ended: 1000 },
    { began: 1000, ended: 2500 },
    { began: 2500, ended: 4500 },
  ];
  const [first, second, ...rest] = perSecond(images, 2, 2);
  expect(first).toBeCloseTo(1 + 2 / 3, 9);
  expect(second).toBeCloseTo(1 / 3 + 3 / 4, 9);
  expect(rest).toEqual([]);
});

describe('the options', () => {
  it('have a dozen scenarios and more, among them sixteen devices and a shared medium', () => {
    const scenarios = parseScenarios(BUILT_IN);
    expect(scenarios.length).toBeGreaterThanOrEqual(12);
    expect(scenarios.some(({ cluster }) => cluster.devices.length === 16)).toBe(true);
    expect(scenarios.some(({ cluster }) => cluster.medium === 'shared')).toBe(true);
  });

  it.each([
    ['--planners', 'nobody'],
    ['--filter', '('],
    ['--filter', 'no such scenario'],
    ['--dilation', '0'],
    ['--dilation', 'much'],
    ['--images', '1.5'],
    ['--images', ''],
    ['--access', 'all'],
    ['--budget', '-1'],
    ['--real', '0'],
    ['--real', '100,x'],
    ['--what', 'x'],
  ])('refuse %s %s', (option, value) => {
    expect(() => testbedOptions([option, value])).toThrow(DistrEdgeError);
    expect(() => testbedOptions([option, value])).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('refuse a file that is not there', () => {
    expect(() => testbedOptions(['--scenarios', '/nowhere/x.json'])).toThrow(expect.objectContaining({ code: 'FILE' }));
  });
});
