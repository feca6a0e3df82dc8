import { describe, expect, it } from 'vitest';
import { loadGraph } from '../graph/load.js';
import { encodeModelProto } from '../onnx/wire.js';
import { planWithChannels } from '../plan/channel-rule.js';
import { isChannels, type Plan, parsePlan } from '../plan/plan.js';
import { analyse } from '../rows/analysis.js';
import { floats } from '../tensor.js';
import { expandChannels } from './channels.js';
import { node, same, value, weight } from './fixtures.js';
import { compile, splitFlopShare } from './program.js';

/** A residual block between a first conv and a pooling head: c channels, `size` rows and columns. */
function model(channels = 8, size = 6) {
  const bytes = encodeModelProto({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'residual',
      input: [value('x', [1, 3, size, size])],
      output: [value('y', [1, channels, 1, 1])],
      initializer: [
        weight('w0', [channels, 3, 3, 3]),
        weight('w1', [channels, channels, 3, 3]),
        weight('b1', [channels]),
        weight('w2', [channels, channels, 3, 3]),
        ...['scale', 'bias', 'mean', 'var'].map((name) => weight(name, [channels])),
      ],
      node: [
        node('Conv', ['x', 'w0'], ['c0'], same),
        node('Relu', ['c0'], ['r0']),
        node('Conv', ['r0', 'w1', 'b1'], ['c1'], same),
        node('BatchNormalization', ['c1', 'scale', 'bias', 'mean', 'var'], ['n1']),
        node('Relu', ['n1'], ['r1']),
        node('Conv', ['r1', 'w2'], ['c2'], same),
        node('Add', ['c2', 'r0'], ['a']),
        node('Relu', ['a'], ['r2']),
        node('GlobalAveragePool', ['r2'], ['y']),
      ],
    },
  });
  return analyse(loadGraph(bytes));
}

const cutAt = (split: number, channels = 8): Plan['volumes'][number] & { end: string } => ({
  end: 'r1',
  channels: [
    { device: 0, from: 0, to: split },
    { device: 1, from: split, to: channels },
  ],
});
const rows = [
  { device: 0, from: 0, to: 3 },
  { device: 1, from: 3, to: 6 },
];

describe('a volume that is cut by channels', () => {
  it('gives each device its share of the filters and of what follows them, and joins them where all are read', () => {
    const analysis = model();
    const plan: Plan = {
      version: 1,
      devices: 2,
      volumes: [{ end: 'r0', parts: rows }, cutAt(3), { ...cutAt(5), end: 'c2' }, { end: 'r2', parts: rows }],
    };
    const { graph, plan: flat, origins } = expandChannels(analysis, plan);
    expect(flat.volumes.map((volume) => ('end' in volume ? volume.end : ''))).toEqual([
      'r0',
      'r1~0',
      'r1~3',
      'c2~0',
      'c2~5',
      'r2',
    ]);
    const convs = graph.nodes.filter(({ op }) => op === 'Conv');
    const filters = convs.map(({ inputs }) => graph.constants.get(inputs[1] ?? ''));
    expect(filters.map((tensor) => tensor?.shape)).toEqual([
      [8, 3, 3, 3],
      [3, 8, 3, 3],
      [5, 8, 3, 3],
      [5, 8, 3, 3],
      [3, 8, 3, 3],
    ]);
    expect(floats(filters[2] as NonNullable<(typeof filters)[number]>)[0]).toBe(3 * 8 * 9);
    const norms = graph.nodes.filter(({ op }) => op === 'BatchNormalization');
    expect(norms.map(({ inputs }) => inputs.slice(1).map((name) => graph.constants.get(name)?.shape))).toEqual([
      [[3], [3], [3], [3]],
      [[5], [5], [5], [5]],
    ]);
    // Both devices join all channels of r1 for themselves; c2 is joined once, for the sum that is cut by rows.
    const joins = graph.nodes.filter(({ op }) => op === 'Concat').map(({ outputs }) => outputs[0]);
    expect(joins).toEqual(['r1', 'r1~1', 'c2']);
    const parts = graph.nodes.filter(({ name }) => origins.has(name));
    expect(parts.map(({ op }) => op)).toEqual([
      'Conv',
      'BatchNormalization',
      'Relu',
      'Conv',
      'BatchNormalization',
      'Relu',
      'Conv',
      'Conv',
    ]);
    expect(new Set(origins.values()).size).toBe(4);
    expect(splitFlopShare(compile(analysis.graph, plan, analysis))).toBe(1);
  });

  it('sends each device the channels it lacks and no weights that it does not use', () => {
    const analysis = model(64);
    const plan: Plan = {
      version: 1,
      devices: 2,
      volumes: [{ end: 'r0', parts: rows }, cutAt(32, 64), { ...cutAt(32, 64), end: 'c2' }],
    };
    const { messages, steps, models } = compile(analysis.graph, plan, analysis);
    const exchanged = messages
      .filter(({ from, to }) => from >= 0 && to >= 0)
      .map(({ from, to, bytes }) => [from, to, bytes]);
    // Half of r0's rows both ways, half of r1's channels both ways, device 1's half of c2 to the device that ends it all.
    expect(exchanged).toEqual([
      [0, 1, 64 * 3 * 6 * 4],
      [1, 0, 64 * 3 * 6 * 4],
      [0, 1, 32 * 36 * 4],
      [1, 0, 32 * 36 * 4],
      [1, 0, 32 * 36 * 4],
    ]);
    for (const step of steps.filter(({ volume }) => volume >= 1 && volume <= 4)) {
      const bytes = [...(models[step.model]?.weights.values() ?? [])].reduce((sum, data) => sum + data.byteLength, 0);
      expect(bytes).toBe(32 * 64 * 9 * 4);
    }
  });

  it('keeps a schedule', () => {
    const analysis = model();
    const volumes = [{ end: 'r0', parts: rows }, cutAt(4), { end: 'r2', parts: rows }];
    const schedule = [
      [0, 1],
      [0, 0],
      [1, 1],
      [1, 0],
      [2, 1],
      [2, 0],
    ] as const;
    const { plan } = compile(analysis.graph, { version: 1, devices: 2, volumes, schedule }, analysis);
    expect(plan.schedule).toEqual([
      [0, 1],
      [0, 0],
      [2, 0],
      [1, 0],
      [3, 1],
      [3, 0],
    ]);
  });

  it('is refused where it is not one convolution between cheap ops and ops that keep channels apart', () => {
    const analysis = model();
    const refused = (volumes: Plan['volumes'], facts: object): void => {
      expect(() => compile(analysis.graph, { version: 1, devices: 2, volumes }, analysis)).toThrow(
        expect.objectContaining({ code: 'PLAN_INVALID', ...facts }),
      );
    };
    refused([{ ...cutAt(4), end: 'r2' }], { where: 'volumes.0', got: "'r2'" });
    refused([{ ...cutAt(4), end: 'nowhere' }], { got: "'nowhere'" });
    refused([cutAt(4, 7), { end: 'r2', parts: rows }], { expected: 'channels 0 to 8', got: '0 to 7' });
  });

  it('is checked when it comes from a file', () => {
    const plan = (channels: object[]): object => ({ devices: 2, volumes: [{ end: 'r1', channels }] });
    expect(parsePlan(plan([{ device: 1, from: 0, to: 8 }])).volumes).toHaveLength(1);
    const gap = [
      { device: 0, from: 0, to: 3 },
      { device: 1, from: 4, to: 8 },
    ];
    const twice = [
      { device: 0, from: 0, to: 3 },
      { device: 0, from: 3, to: 8 },
    ];
    const outside = [{ device: 2, from: 0, to: 8 }];
    for (const channels of [gap, twice, outside, []]) {
      expect(() => parsePlan(plan(channels))).toThrow(expect.objectContaining({ code: 'PLAN_INVALID' }));
    }
  });
});

describe('the rule that cuts by channels', () => {
  const cut = (analysis: ReturnType<typeof model>, weights: number[]): unknown[] =>
    planWithChannels(analysis, weights).volumes.filter(isChannels);

  it('cuts layers with few rows and large filters, in blocks of channels', () => {
    expect(cut(model(512), [1, 1])).toEqual([{ ...cutAt(256, 512) }, { ...cutAt(256, 512), end: 'c2' }]);
    expect(cut(model(512), [1, 0, 2])).toMatchObject([
      {
        channels: [
          { device: 0, from: 0, to: 176 },
          { device: 2, from: 176, to: 512 },
        ],
      },
      { end: 'c2' },
    ]);
  });

  it('leaves layers with many rows or small filters, and one device alone', () => {
    expect(cut(model(512, 40), [1, 1])).toEqual([]);
    expect(cut(model(64), [1, 1])).toEqual([]);
    expect(cut(model(512), [0, 1])).toEqual([]);
  });
});
