/**
 * Every network of the zoo against what is published of it: parameters exactly, work within 1 % (published counts leave out
 * what is not a convolution or fully connected). Where nothing is published, against the layers added up by hand.
 */
import {
  type Analysis,
  analyse,
  compile,
  type Graph,
  loadGraph,
  planByRule,
  splitFlopShare,
  typeOf,
} from '@distredge/core';
import { describe, expect, test } from 'vitest';
import { buildZooModel, zooNames } from './zoo.js';

function load(name: string): Graph {
  const model = buildZooModel(name, { weights: 'none' });
  return loadGraph(model.bytes, model);
}

/** Numbers in float weights; the running mean and variance of batch normalisations apart. */
function parameters({ nodes, constants }: Graph): { trained: number; statistics: number } {
  const running = new Set(
    nodes.filter(({ op }) => op === 'BatchNormalization').flatMap(({ inputs }) => inputs.slice(3)),
  );
  const count = (statistics: boolean): number =>
    [...constants]
      .filter(([name, { dtype }]) => dtype === 'float32' && running.has(name) === statistics)
      .reduce((sum, [, { data }]) => sum + data.byteLength / 4, 0);
  return { trained: count(false), statistics: count(true) };
}

/** Multiply-adds, and weights with biases, of a convolution. */
interface Sum {
  readonly macs: number;
  readonly weights: number;
}
/** `pixels` of output, `inputs` to `filters` channels, kernel elements, numbers beside the kernel for each filter. */
type Row = readonly [pixels: number, inputs: number, filters: number, kernel: number, more: number];
const BIAS = 1;
const NORM = 2;

function sum(rows: readonly Row[]): Sum {
  return {
    macs: rows.reduce((all, [pixels, inputs, filters, kernel]) => all + pixels * inputs * filters * kernel, 0),
    weights: rows.reduce((all, [, inputs, filters, kernel, more]) => all + filters * (inputs * kernel + more), 0),
  };
}

const times = (count: number, row: Row): Row[] => Array.from({ length: count }, () => row);

function openposeByHand(): Sum {
  const [p1, p2, p4, p8] = [368 * 656, 184 * 328, 92 * 164, 46 * 82] as const;
  const later = (outputs: number): Row[] => [
    [p8, 185, 128, 49, BIAS],
    ...times(4, [p8, 128, 128, 49, BIAS]),
    [p8, 128, 128, 1, BIAS],
    [p8, 128, outputs, 1, BIAS],
  ];
  const first = (outputs: number): Row[] => [
    ...times(3, [p8, 128, 128, 9, BIAS]),
    [p8, 128, 512, 1, BIAS],
    [p8, 512, outputs, 1, BIAS],
  ];
  return sum([
    ...([
      [p1, 3, 64, 9, BIAS],
      [p1, 64, 64, 9, BIAS],
      [p2, 64, 128, 9, BIAS],
      [p2, 128, 128, 9, BIAS],
    ] as const),
    ...([[p4, 128, 256, 9, BIAS], ...times(3, [p4, 256, 256, 9, BIAS])] as const),
    ...([
      [p8, 256, 512, 9, BIAS],
      [p8, 512, 512, 9, BIAS],
      [p8, 512, 256, 9, BIAS],
      [p8, 256, 128, 9, BIAS],
    ] as const),
    ...first(38),
    ...first(19),
    ...Array.from({ length: 5 }, () => [...later(38), ...later(19)]).flat(),
  ]);
}

function voxelnetByHand(): Sum {
  const [voxels, p2, p4, p8] = [400 * 352, 200 * 176, 100 * 88, 50 * 44] as const;
  return sum([
    ...([
      [5 * voxels, 128, 64, 27, NORM],
      [3 * voxels, 64, 64, 27, NORM],
      [2 * voxels, 64, 64, 27, NORM],
    ] as const),
    ...times(4, [p2, 128, 128, 9, NORM]),
    ...times(6, [p4, 128, 128, 9, NORM]),
    ...([[p8, 128, 256, 9, NORM], ...times(5, [p8, 256, 256, 9, NORM])] as const),
    // Transposed convolutions: every input pixel meets the whole kernel.
    ...([
      [p8, 256, 256, 16, NORM],
      [p4, 128, 256, 4, NORM],
      [p2, 128, 256, 9, NORM],
    ] as const),
    ...([
      [p2, 768, 2, 1, BIAS],
      [p2, 768, 14, 1, BIAS],
    ] as const),
  ]);
}

function ssdResnet50ByHand(): Sum {
  const [p2, p4, p8] = [150 ** 2, 75 ** 2, 38 ** 2] as const;
  const next = (pixels: number, width: number): Row[] => [
    [pixels, 4 * width, width, 1, NORM],
    [pixels, width, width, 9, NORM],
    [pixels, width, 4 * width, 1, NORM],
  ];
  /** The first block of a stage: the 1×1 before the stride sees the larger map, and the shortcut is a convolution. */
  const opening = (before: number, pixels: number, inputs: number, width: number): Row[] => [
    [before, inputs, width, 1, NORM],
    [pixels, width, width, 9, NORM],
    [pixels, width, 4 * width, 1, NORM],
    [pixels, inputs, 4 * width, 1, NORM],
  ];
  const repeated = (count: number, rows: readonly Row[]): Row[] => Array.from({ length: count }, () => rows).flat();
  const maps: readonly (readonly [side: number, channels: number, boxes: number])[] = [
    ...([
      [38, 1024, 4],
      [19, 512, 6],
      [10, 512, 6],
    ] as const),
    ...([
      [5, 256, 6],
      [3, 256, 4],
      [1, 256, 4],
    ] as const),
  ];
  const narrow = [256, 256, 128, 128, 128];
  return sum([
    [p2, 3, 64, 49, NORM],
    ...[...opening(p4, p4, 64, 64), ...repeated(2, next(p4, 64))],
    ...[...opening(p4, p8, 256, 128), ...repeated(3, next(p8, 128))],
    ...[...opening(p8, p8, 512, 256), ...repeated(5, next(p8, 256))],
    ...narrow.flatMap((width, index): Row[] => {
      const [from, to] = [maps[index], maps[index + 1]];
      if (from === undefined || to === undefined) return [];
      return [
        [from[0] ** 2, from[1], width, 1, NORM],
        [to[0] ** 2, width, to[1], 9, NORM],
      ];
    }),
    ...maps.map(([side, channels, boxes]): Row => [side ** 2, channels, boxes * (4 + 81), 9, BIAS]),
  ]);
}

interface Expected {
  readonly parameters: number;
  /** Whether the published count includes the statistics of batch normalisations. */
  readonly withStatistics?: true;
  readonly flops: number;
}

const byHand = ({ macs, weights }: Sum): Expected => ({ parameters: weights, flops: 2 * macs });

const EXPECTED: Readonly<Record<string, Expected>> = {
  // torchvision's documentation of its weights; multiply-adds.
  vgg16: { parameters: 138_357_544, flops: 2 * 15.47e9 },
  resnet50: { parameters: 25_557_032, flops: 2 * 4.089e9 },
  inception_v3: { parameters: 23_834_568, flops: 2 * 5.713e9 },
  // Darknet's weight file and its own count.
  yolov2: { parameters: 50_983_561, withStatistics: true, flops: 29.5e9 },
  // The Caffe model; Open Model Zoo.
  ssd_vgg16: { parameters: 26_285_486, flops: 62.815e9 },
  ssd_resnet50: byHand(ssdResnet50ByHand()),
  openpose: byHand(openposeByHand()),
  voxelnet: byHand(voxelnetByHand()),
};

const shapesOf = (graph: Graph, names: readonly string[]): string[] =>
  names.map((name) => `${name} ${typeOf(graph, name).shape?.join('×')}`);

/** Inputs and outputs; what the SSDs' heads give is in a test of its own. */
const SHAPES: Readonly<Record<string, readonly string[]>> = {
  vgg16: ['image 1×3×224×224', 'logits 1×1000'],
  resnet50: ['image 1×3×224×224', 'logits 1×1000'],
  inception_v3: ['image 1×3×299×299', 'logits 1×1000'],
  yolov2: ['image 1×3×416×416', 'detections 1×425×13×13'],
  openpose: ['image 1×3×368×656', 'fields 1×38×46×82', 'parts 1×19×46×82'],
  voxelnet: ['voxels 1×128×10×400×352', 'scores 1×2×200×176', 'offsets 1×14×200×176'],
};

describe.each(zooNames)('%s', (name) => {
  const graph = load(name);
  const analysis: Analysis = analyse(graph);

  test('has the published parameters and work', () => {
    const expected = EXPECTED[name] as Expected;
    const { trained, statistics } = parameters(graph);
    expect(trained + (expected.withStatistics ? statistics : 0)).toBe(expected.parameters);
    expect(Math.abs(analysis.flops / expected.flops - 1)).toBeLessThan(0.01);
  });

  test('divides by rows but for its classifier', () => {
    const work = (kind: string): number =>
      analysis.nodes.filter((node) => node.kind === kind).reduce((all, { flops }) => all + flops, 0);
    expect(work('rows') / analysis.flops).toBeGreaterThan(0.99);
    expect(analysis.nodes.filter(({ kind }) => kind === 'island')).toEqual([]);
    const program = compile(graph, planByRule(analysis, { weights: [1, 1, 1] }), analysis);
    expect(splitFlopShare(program), 'the simple rule gives every device its share').toBeGreaterThan(0.98);
    for (const input of graph.inputs) {
      const shape = typeOf(graph, input).shape ?? [];
      expect(analysis.axes.get(input), 'the longest spatial axis, or the height').toBe(shape.length === 5 ? 3 : 2);
    }
  });
});

test.each(Object.entries(SHAPES))('%s has the inputs and outputs of the paper', (name, shapes) => {
  const graph = load(name);
  expect(shapesOf(graph, [...graph.inputs, ...graph.outputs])).toEqual(shapes);
});

test.each([
  ['ssd_vgg16', 21],
  ['ssd_resnet50', 81],
])('the heads of %s make 8732 boxes of %i classes', (name, classes) => {
  const graph = load(name);
  const maps = graph.outputs.map((output) => typeOf(graph, output).shape as readonly number[]);
  const sizes = [38, 19, 10, 5, 3, 1].flatMap((side) => [side, side]);
  expect(maps.map(([, , height]) => height)).toEqual(sizes);
  const places = (kind: string, numbers: number): number =>
    graph.outputs.reduce((all, output, at) => {
      const [, channels = 0, height = 0, width = 0] = maps[at] ?? [];
      return all + (output.startsWith(kind) ? (channels / numbers) * height * width : 0);
    }, 0);
  expect(places('loc', 4)).toBe(8732);
  expect(places('conf', classes)).toBe(8732);
});
