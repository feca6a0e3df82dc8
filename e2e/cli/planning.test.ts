/** Planning on the command line: from a cluster file to a plan that is simulated, drawn, verified and run; and wrong input. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { distredge, endWithTests, failing, folder, json, start, startProvider } from '../support/cli.js';
import { smallCnn } from '../support/models.js';

endWithTests();
const dir = folder();

const link = { mbps: 1000, latency_ms: 0.01 };
const slow = { kind: 'cpu', cores: 1, gflops: 0.01, launch_us: 1, mem_gbps: 1, memory_mb: 100 };
const two = {
  name: 'two',
  medium: 'switched',
  requester: link,
  devices: [
    { id: 'left', type: 'slow', ...link },
    { id: 'right', type: 'slow', ...link },
  ],
  types: { slow },
};
const file = (name: string, value: unknown): string => dir.file(name, JSON.stringify(value));
const cluster = file('two.json', two);
const model = dir.file('small.onnx', smallCnn());
const planFile = join(dir.path, 'plan.json');

describe('a plan for two devices', () => {
  test('is made, and beats one device', async () => {
    const args = ['plan', model, '--cluster', cluster, '--budget', '0.3', '--out', planFile, '--json'];
    const outcome = await distredge(args);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    const report = json(outcome) as unknown as {
      latencyMs: number;
      lowerBoundMs: number;
      gap: number;
      bestDevice: { latencyMs: number };
      plan: unknown;
    };
    expect(report).toMatchObject({ model: 'small', cluster: 'two', planner: 'auto', devicesUsed: ['left', 'right'] });
    expect(report.latencyMs).toBeLessThan(report.bestDevice.latencyMs);
    expect(report.lowerBoundMs).toBeLessThanOrEqual(report.latencyMs);
    expect(report.gap).toBeCloseTo(report.latencyMs / report.lowerBoundMs, 9);
    expect(JSON.parse(readFileSync(planFile, 'utf8'))).toEqual(report.plan);
  });

  test('is told in words', async () => {
    const outcome = await distredge(['plan', model, '--cluster', cluster, '--planner', 'mednn', '--classical']);
    expect(outcome.code, '--classical is for auto').toBe(2);
    const { code, stdout, stderr } = await distredge(['plan', model, '--cluster', cluster, '--planner', 'mednn']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^small on two, planned by mednn\npredicted +\d/);
    expect(stdout).toMatch(/^Busy longest: .*\n(.*\n)*One more device like (left|right) would /m);
    expect(stdout).toMatch(/^volume +ends at +rows +left +right$/m);
    expect(stdout).toMatch(/2 of 2 devices share the work \(left and right\): \d\.\d\d× as fast as the best device/);
  });

  test('is learnt within its budget by osds, on onnxruntime', async () => {
    const outcome = await distredge([
      'plan',
      model,
      '--cluster',
      cluster,
      '--planner',
      'osds',
      '--budget',
      '0.5',
      '--json',
    ]);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    expect(json(outcome)).toMatchObject({ planner: 'osds', latencyMs: expect.any(Number) });
  });

  test('is simulated as it was predicted', async () => {
    const planned = JSON.parse(readFileSync(planFile, 'utf8')) as { volumes: unknown[] };
    const outcome = await distredge(['simulate', planFile, model, '--cluster', cluster, '--json']);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    const report = json(outcome) as {
      latencyMs: number;
      devices: { id: string; computeMs: number }[];
      events: { end?: number }[];
    };
    expect(report.devices.map(({ id }) => id)).toEqual(['left', 'right']);
    for (const { computeMs } of report.devices) expect(computeMs).toBeGreaterThan(0);
    expect(report.events.length).toBeGreaterThan(planned.volumes.length);
    for (const { end = 0 } of report.events) expect(end).toBeLessThanOrEqual(report.latencyMs);
    const told = await distredge(['simulate', planFile, model, '--cluster', cluster]);
    expect(told.stdout).toContain(`predicted     ${report.latencyMs.toFixed(1)} ms`);
    expect(told.stdout).toMatch(/^requester/m);
  });

  test.each(['svg', 'html'])('is drawn as .%s', async (ending) => {
    const picture = join(dir.path, `plan.${ending}`);
    const outcome = await distredge(['explain', planFile, model, '--cluster', cluster, '--out', picture, '--json']);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    expect(json(outcome)).toMatchObject({ devicesUsed: ['left', 'right'], out: picture });
    const drawn = readFileSync(picture, 'utf8');
    expect(drawn).toMatch(ending === 'svg' ? /^<svg / : /^<!doctype html>/);
    expect(drawn).toMatch(/<title>left: volume 1, rows \d+–\d+\n/);
  });

  test('is explained in words', async () => {
    const { code, stdout } = await distredge(['explain', planFile, model, '--cluster', cluster]);
    expect(stdout).toMatch(/^One image takes [\d.]+ ms\. 2 of 2 devices compute: /m);
    expect(stdout).toMatch(/^Twice the bandwidth on every link would /m);
    expect(code).toBe(0);
    expect(stdout).toMatch(/2 of 2 devices with work/);
    expect(stdout).toMatch(/^head on (left|right), /m);
  });

  test('is exact on real providers', async () => {
    const outcome = await distredge(['verify', model, '--plan', planFile, '--json']);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    expect(json(outcome)).toMatchObject({ ok: true, workers: 2 });
  });

  test('runs on providers at given addresses', async () => {
    const [left, right] = [await startProvider(), await startProvider()];
    const outcome = await distredge([
      'run',
      model,
      '--plan',
      planFile,
      '--devices',
      `${left.address},${right.address}`,
      '--json',
    ]);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    expect(json(outcome)).toMatchObject({ ok: true, fallback: null });
  });
});

test('Ctrl-C ends a search at once', async () => {
  const large = file('large.json', { ...two, types: { slow: { ...slow, memory_mb: 4000 } } });
  for (let waitMs = 2500; ; waitMs *= 2) {
    const running = start(['plan', 'zoo:yolov2', '--cluster', large, '--budget', '600']);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    running.signal('SIGINT');
    const { code, signal, stdout } = await running.done;
    // A busy machine may not have got as far as hearing it.
    if (signal === 'SIGINT' && waitMs < 20_000) continue;
    expect([code, stdout]).toEqual([130, '']);
    await running.gone();
    return;
  }
}, 120_000);

const { devices } = two;
const cases: readonly (readonly [string, unknown, string, RegExp])[] = [
  ['of no devices', { ...two, devices: [] }, 'CLUSTER_INVALID', /devices/],
  ['with a negative rate', { ...two, devices: [{ ...devices[0], mbps: -5 }] }, 'CLUSTER_INVALID', /devices\.0\.mbps/],
  ['with an unknown type', { ...two, devices: [{ ...devices[0], type: 'quantum' }] }, 'CLUSTER_INVALID', /'left'/],
  ['with a device named twice', { ...two, devices: [devices[0], devices[0]] }, 'CLUSTER_INVALID', /'left'/],
  ['with an unknown field', { ...two, speed: 3 }, 'CLUSTER_INVALID', /cluster/],
  ['with a medium that is none', { ...two, medium: 'ether' }, 'CLUSTER_INVALID', /medium/],
  [
    'with a profile that is not there',
    { ...two, devices: [{ id: 'left', profile: 'none.json', ...link }] },
    'FILE',
    /none\.json/,
  ],
  [
    'with a profile of another model',
    { ...two, devices: [{ id: 'left', profile: 'other-profile.json', ...link }] },
    'PROFILE_INVALID',
    /other-profile\.json/,
  ],
  ['without memory for any part', { ...two, types: { slow: { ...slow, memory_mb: 0.0001 } } }, 'PLAN_INVALID', /small/],
];
file('other-profile.json', {
  version: 1,
  device: { id: 'left', engine: 'none', threads: 1, cpu: 'none' },
  model: { name: 'other', hash: '0123456789abcdef' },
  memory_mb: 100,
  part_ms: 0,
  input_edge_ms_per_mb: 0,
  fusion: 1,
  ops: [{ end: 'elsewhere', rows: [1], ms: [1], edge_ms_per_mb: 0 }],
});

describe.concurrent('a cluster', () => {
  test.each(cases)('%s is refused', async (name, value, code, where) => {
    const path = file(`${name.replaceAll(' ', '-')}.json`, value);
    const outcome = await failing(['plan', model, '--cluster', path, '--budget', '0.2']);
    expect([outcome.code, outcome.error['code']]).toEqual([1, code]);
    expect(outcome.error['where']).toMatch(where);
  });

  test('that is no JSON is refused', async () => {
    const outcome = await failing(['plan', model, '--cluster', dir.file('broken.json', '{"name":')]);
    expect([outcome.code, outcome.error['code']]).toEqual([1, 'CLUSTER_INVALID']);
  });

  test('that is not there is refused', async () => {
    const outcome = await failing(['plan', model, '--cluster', join(dir.path, 'nowhere.json')]);
    expect([outcome.code, outcome.error['code']]).toEqual([1, 'FILE']);
  });
});

describe.concurrent('a plan', () => {
  const planned = (end: string, rows: number, count = 2): string =>
    file(`plan-${end}-${rows}-${count}.json`, {
      version: 1,
      devices: count,
      volumes: [{ end, parts: [{ device: 0, from: 0, to: rows }] }],
    });

  test.each([
    ['simulate', planned('elsewhere', 12)],
    ['simulate', planned('r2', 13)],
    ['explain', planned('elsewhere', 12)],
  ])('for another model: %s', async (command, path) => {
    const outcome = await failing([command, path, model, '--cluster', cluster]);
    expect([outcome.code, outcome.error['code']]).toEqual([1, 'PLAN_INVALID']);
    expect(outcome.error['where']).toContain(path);
    expect(outcome.error['hint']).toContain('another model');
  });

  test('for another model: verify', async () => {
    const path = planned('elsewhere', 12);
    const outcome = await failing(['verify', model, '--plan', path]);
    expect([outcome.code, outcome.error['code']]).toEqual([1, 'PLAN_INVALID']);
    expect(outcome.error['where']).toContain(path);
    expect(outcome.error['hint']).toContain('another model');
  });

  test('for another number of devices', async () => {
    const path = planned('c3', 12, 3);
    const simulated = await failing(['simulate', path, model, '--cluster', cluster]);
    expect([simulated.code, simulated.error['code']]).toEqual([1, 'PLAN_INVALID']);
    const ran = await failing(['run', model, '--plan', path, '--devices', '127.0.0.1:7411,127.0.0.1:7412']);
    expect([ran.code, ran.error['code']]).toEqual([2, 'USAGE']);
    expect(ran.error).toMatchObject({ got: '2', expected: expect.stringContaining('3 addresses') });
  });

  test('that needs more memory than there is', async () => {
    const small = file('small-memory.json', { ...two, types: { slow: { ...slow, memory_mb: 0.001 } } });
    const outcome = await failing(['simulate', planned('c3', 12), model, '--cluster', small]);
    expect([outcome.code, outcome.error['code']]).toEqual([1, 'PLAN_INVALID']);
    expect(outcome.error['got']).toMatch(/^left: /);
  });

  test('that is none', async () => {
    const outcome = await failing(['verify', model, '--plan', file('no-plan.json', { volumes: 3 })]);
    expect([outcome.code, outcome.error['code']]).toEqual([1, 'PLAN_INVALID']);
  });
});

const WRONG: readonly (readonly [string, RegExp])[] = [
  ['plan none.onnx', /required option '--cluster <file>'/],
  ['plan none.onnx --cluster c.json --planner oracle', /'oracle' is no value for --planner/],
  ['plan none.onnx --cluster c.json --budget 0', /'0' is no value for --budget/],
  ['plan none.onnx --cluster c.json --budget soon', /'soon' is no value for --budget/],
  ['plan none.onnx --cluster c.json --objective fame', /'fame' is no value for --objective/],
  ['plan none.onnx --cluster c.json --planner aofl --classical', /no value for --classical/],
  ['explain p.json none.onnx --cluster c.json --out plan.pdf', /'plan.pdf' is no value for --out/],
  ['simulate p.json --cluster c.json', /missing required argument 'model'/],
  ['verify none.onnx --plan p.json --workers 3', /'--plan <file>' cannot be used with option '--workers <n>'/],
  ['run none.onnx --plan p.json --weights 1,2 --devices 127.0.0.1:7411', /'--plan <file>' cannot be used with/],
  ['bench planners', /required option '--scenarios <file>'/],
  ['bench planners --scenarios s.json --planners auto,oracle', /'auto,oracle' is no value for --planners/],
];

describe.concurrent('wrong usage', () => {
  test.each(WRONG)('distredge %s', async (line, says) => {
    const { code, error } = await failing(line.split(' '));
    expect([code, error['code']]).toEqual([2, 'USAGE']);
    expect(error['message']).toMatch(says);
  });
});

describe('bench planners', () => {
  const scenarios = file('scenarios.json', {
    version: 1,
    devices: { slow, tiny: { ...slow, memory_mb: 0.001 } },
    scenarios: [
      {
        id: 'a/resnet50',
        model: 'resnet50',
        cluster: { ...two, types: undefined, devices: [{ id: 'd', type: 'nano', ...link }] },
      },
      {
        id: 'b/resnet50',
        model: 'resnet50',
        cluster: { ...two, types: undefined, devices: [{ id: 'd', type: 'tiny', ...link }] },
      },
      { id: 'c/none', model: 'none', cluster: { ...two, types: undefined } },
    ],
  });

  test('gives a row for every scenario and planner, failed ones too, and writes plans', async () => {
    const plans = join(dir.path, 'plans');
    const args = ['bench', 'planners', '--scenarios', scenarios, '--planners', 'auto,offload', '--budget', '0.3'];
    const outcome = await distredge([...args, '--plans', plans, '--json']);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    const { rows, summary } = json(outcome) as { rows: Record<string, unknown>[]; summary: Record<string, unknown> };
    expect(rows.map(({ scenario, planner }) => `${scenario} ${planner}`)).toEqual(
      ['a/resnet50', 'b/resnet50', 'c/none'].flatMap((id) => [`${id} auto`, `${id} offload`]),
    );
    expect(rows[1]).toMatchObject({ devicesUsed: 1, latencyMs: expect.any(Number), lowerBoundMs: expect.any(Number) });
    expect(rows[2]).toMatchObject({ error: { code: 'PLAN_INVALID' } });
    expect(rows[4]).toMatchObject({ error: { code: 'USAGE' } });
    expect(summary).toMatchObject({ scenarios: 3, failed: 4, against: { offload: { scenarios: 1 } } });
    expect(readdirSync(plans).sort()).toEqual(['a_resnet50--auto.json', 'a_resnet50--offload.json']);
    const written = JSON.parse(readFileSync(join(plans, 'a_resnet50--offload.json'), 'utf8')) as Record<
      string,
      unknown
    >;
    expect(written).toMatchObject({
      scenario: 'a/resnet50',
      planner: 'offload',
      latencyMs: rows[1]?.['latencyMs'],
      plan: { devices: 1 },
    });
  });

  test('says in words how many times as fast the plans are', async () => {
    const args = ['bench', 'planners', '--scenarios', scenarios, '--filter', 'a/', '--planners', 'auto,offload,aofl'];
    const { code, stdout } = await distredge([...args, '--budget', '0.2']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^best of 2 baselines +1 +\d\.\d{3}×/m);
    expect(stdout).toMatch(/^auto takes \d\.\d{3}× the lower bound/m);
  });

  test('compares plans of the classical form when asked', async () => {
    const plans = join(dir.path, 'classical');
    const args = ['bench', 'planners', '--scenarios', scenarios, '--filter', 'a/', '--planners', 'auto,aofl'];
    const { code } = await distredge([...args, '--budget', '0.3', '--classical', '--plans', plans, '--json']);
    expect(code).toBe(0);
    const { plan } = JSON.parse(readFileSync(join(plans, 'a_resnet50--auto.json'), 'utf8')) as {
      plan: { schedule?: unknown; order?: unknown; head: unknown; volumes: { parts: unknown[] }[] };
    };
    expect([plan.schedule, plan.order, plan.head]).toEqual([undefined, undefined, 0]);
    expect(plan.volumes.map(({ parts }) => parts.length)).toEqual(plan.volumes.map(() => 1));
  });

  test.each([
    ['no scenario has this', ['--filter', 'nowhere'], 2, 'USAGE'],
    ['nothing searches for classical plans', ['--classical', '--planners', 'aofl'], 2, 'USAGE'],
  ])('%s', async (_, more, exit, code) => {
    const outcome = await failing(['bench', 'planners', '--scenarios', scenarios, ...more]);
    expect([outcome.code, outcome.error['code']]).toEqual([exit, code]);
  });

  test('refuses a file that holds no scenarios', async () => {
    const outcome = await failing(['bench', 'planners', '--scenarios', cluster]);
    expect([outcome.code, outcome.error['code']]).toEqual([1, 'CLUSTER_INVALID']);
  });
});

const REAL = new URL('../../../shared/scenarios/static.json', import.meta.url);
test.skipIf(!existsSync(REAL))('real scenarios are planned for', async () => {
  const args = ['bench', 'planners', '--scenarios', REAL.pathname, '--filter', 'DC-100/resnet50'];
  const outcome = await distredge([...args, '--planners', 'auto,offload', '--budget', '1', '--json']);
  expect(outcome.code).toBe(0);
  const { summary } = json(outcome) as { summary: { against: { offload: { geometricMean: number } } } };
  expect(summary.against.offload.geometricMean).toBeGreaterThanOrEqual(1);
});
