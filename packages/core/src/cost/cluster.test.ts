import { describe, expect, test } from 'vitest';
import { DistrEdgeError } from '../errors.js';
import { networkOf, parseCluster, parseScenarios, taskOf } from './cluster.js';
import { DEVICE_TYPES } from './device-types.js';
import type { Workload } from './workload.js';

const link = { mbps: 100, latency_ms: 1 };
const own = { kind: 'cpu', cores: 2, gflops: 10, launch_us: 5, mem_gbps: 3, memory_mb: 500 };
const cluster = {
  version: 1,
  medium: 'shared',
  requester: { mbps: 300, latency_ms: 0 },
  devices: [
    { id: 'a', type: 'pi4', ...link },
    { id: 'b', type: 'mine', ...link },
  ],
  types: { mine: own },
};

const workload: Workload = { model: 'none', tensors: [], inputs: 0, ops: [], forced: [], outputs: [], head: undefined };

function refusal(value: unknown, parse: (value: unknown) => unknown = parseCluster): DistrEdgeError {
  try {
    parse(value);
  } catch (error) {
    if (error instanceof DistrEdgeError) return error;
  }
  throw new Error('it was not refused');
}

describe('a cluster', () => {
  test('becomes a network and costs', () => {
    const task = taskOf(workload, parseCluster(JSON.parse(JSON.stringify(cluster))));
    expect(task.network).toEqual({
      medium: 'shared',
      requester: { mbps: 300, latencyMs: 0 },
      devices: [
        { mbps: 100, latencyMs: 1 },
        { mbps: 100, latencyMs: 1 },
      ],
    });
    expect(task.costs.map(({ id, memoryBytes }) => [id, memoryBytes])).toEqual([
      ['a', 3e9],
      ['b', 5e8],
    ]);
  });

  test('its own types come before the built-in ones', () => {
    const devices = [{ id: 'a', type: 'pi4', ...link }];
    expect(taskOf(workload, parseCluster({ ...cluster, devices, types: { pi4: own } })).costs[0]?.memoryBytes).toBe(
      5e8,
    );
  });

  test('a measured device is asked of the caller', () => {
    const measured = parseCluster({ ...cluster, devices: [{ id: 'a', profile: 'a.json', ...link }] });
    const costs = {
      id: 'a',
      memoryBytes: 1,
      opMs: [],
      readMsPerByte: new Float64Array(0),
      headBeforeMs: 0,
      headCutMs: new Float64Array(0),
      headAfterMs: 0,
    };
    const asked: string[] = [];
    const task = taskOf(workload, measured, (profile, { id }) => {
      asked.push(profile, id);
      return costs;
    });
    expect(task.costs).toEqual([costs]);
    expect(asked).toEqual(['a.json', 'a']);
    expect(() => taskOf(workload, measured)).toThrow(DistrEdgeError);
  });

  test.each([
    ['no devices', { devices: [] }, 'cluster.devices', undefined],
    ['a negative rate', { requester: { mbps: -1, latency_ms: 0 } }, 'cluster.requester.mbps', '-1'],
    ['a rate that is no number', { requester: { mbps: Number.NaN, latency_ms: 0 } }, 'cluster.requester.mbps', 'NaN'],
    [
      'an endless rate',
      { requester: { mbps: Number.POSITIVE_INFINITY, latency_ms: 0 } },
      'cluster.requester.mbps',
      'Infinity',
    ],
    ['a negative latency', { requester: { mbps: 1, latency_ms: -2 } }, 'cluster.requester.latency_ms', '-2'],
    ['a rate of 0', { devices: [{ id: 'a', type: 'pi4', mbps: 0, latency_ms: 0 }] }, 'cluster.devices.0.mbps', '0'],
    ['no medium', { medium: undefined }, 'cluster.medium', 'nothing'],
    ['another version', { version: 2 }, 'cluster.version', '2'],
    ['an unknown field', { speed: 1 }, 'cluster', undefined],
    ['an unknown type', { devices: [{ id: 'a', type: 'pi9', ...link }] }, "cluster.devices.0 ('a')", "'pi9'"],
    [
      'a type named like a method',
      { devices: [{ id: 'a', type: 'toString', ...link }] },
      "cluster.devices.0 ('a')",
      "'toString'",
    ],
    ['neither type nor profile', { devices: [{ id: 'a', ...link }] }, "cluster.devices.0 ('a')", 'neither'],
    ['two of one id', { devices: [cluster.devices[0], cluster.devices[0]] }, "cluster.devices.1 ('a')", undefined],
    [
      'more devices than there may be',
      { devices: new Array(1025).fill(cluster.devices[0]) },
      'cluster.devices',
      undefined,
    ],
    ['a type that computes nothing', { types: { mine: { ...own, gflops: 0 } } }, 'cluster.types.mine.gflops', '0'],
  ])('with %s is refused', (_, change, where, got) => {
    const error = refusal({ ...cluster, ...change });
    expect(error.code).toBe('CLUSTER_INVALID');
    expect(error.where).toBe(where);
    expect(error.got).toBe(got);
  });

  test.each([undefined, null, 3, 'x', []])('%j is no cluster', (value) => {
    expect(refusal(value).code).toBe('CLUSTER_INVALID');
  });
});

describe('scenarios', () => {
  const { types: _, version: __, ...bare } = cluster;
  const file = { version: 1, devices: { mine: own }, scenarios: [{ id: 's', model: 'vgg16', cluster: bare }] };

  test('take the types of their file', () => {
    const [scenario] = parseScenarios(file);
    expect(scenario).toMatchObject({ id: 's', model: 'vgg16' });
    expect(scenario && networkOf(scenario.cluster).devices).toHaveLength(2);
    expect(scenario?.cluster.types?.['mine']).toEqual(own);
  });

  test('with a trace give every device a rate in every second', () => {
    const [scenario] = file.scenarios;
    const traced = (trace_mbps: number[][]): unknown => ({ ...file, scenarios: [{ ...scenario, trace_mbps }] });
    expect(
      parseScenarios(
        traced([
          [1, 2],
          [3, 4],
        ]),
      )[0]?.trace_mbps,
    ).toHaveLength(2);
    expect(refusal(traced([[1, 2], [3]]), parseScenarios).got).toBe('2 of 2, 1 rates');
    expect(refusal(traced([[1, 2]]), parseScenarios).where).toBe("scenarios.0 ('s').trace_mbps");
  });

  test('given twice are refused', () => {
    expect(refusal({ ...file, scenarios: [file.scenarios[0], file.scenarios[0]] }, parseScenarios).code).toBe(
      'CLUSTER_INVALID',
    );
  });
});

test('the built-in types pass the check of a file', () => {
  expect(parseCluster({ ...cluster, types: { ...DEVICE_TYPES, mine: own } }).devices).toHaveLength(2);
});
