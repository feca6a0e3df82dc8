/** Models that are right but unusual, divided over processes of their own and compared with the unsplit run. */

import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { distredge, folder, json } from '../support/cli.js';
import { model, node, smallCnn, value, weight, weightIn } from '../support/models.js';

const dir = folder();
const image = [1, 3, 24, 16];
const relu = node('Relu', ['x'], ['y']);

/** `y = c ? relu(x) : -x`, with the branches as graphs of their own that read `x` from outside. */
function branches(): Uint8Array {
  const branch = (op: string, name: string) => ({
    name,
    node: [node(op, ['r'], [`${name}_out`])],
    output: [value(`${name}_out`, image)],
  });
  const choice = {
    ...node('If', ['c'], ['i']),
    attribute: [
      { name: 'then_branch', type: 5, g: branch('Tanh', 'then') },
      { name: 'else_branch', type: 5, g: branch('Neg', 'else') },
    ],
  };
  return model({
    input: [value('x', image), value('c', [], 9)],
    output: [value('y', image)],
    node: [node('Relu', ['x'], ['r']), choice, node('Relu', ['i'], ['y'])],
  });
}

dir.file('weights.bin', weight('w', [8, 3, 3, 3]).rawData ?? '');

const RIGHT: readonly (readonly [string, Uint8Array, string])[] = [
  ['packed.onnx.gz', gzipSync(smallCnn()), '--workers 3 --weights 1,0,1'],
  ['more-workers-than-rows.onnx', smallCnn([1, 3, 3, 16]), '--workers 5'],
  ['open-shape.onnx', smallCnn(['n', 3, 'h', 'w']), '--shape x=1,3,30,20 --volumes layers'],
  ['open-size.onnx', smallCnn(['n', 3, 'h', 'w']), '--size 30x20 --volumes 2 --weights 3,1'],
  ['subgraph.onnx', branches(), ''],
  [
    'external.onnx',
    model({
      input: [value('x', image)],
      output: [value('y')],
      initializer: [weightIn('weights.bin', 'w', [8, 3, 3, 3])],
      node: [node('Conv', ['x', 'w'], ['y'])],
    }),
    '',
  ],
  [
    'input-as-output.onnx',
    model({ input: [value('x', image)], output: [value('x', image), value('y', image)], node: [relu] }),
    '',
  ],
  ['nothing-to-do.onnx', model({ input: [value('x', image)], output: [value('x', image)], node: [] }), ''],
  [
    'constant-output.onnx',
    model({
      input: [value('x', image)],
      output: [value('k', [2, 2]), value('y', image)],
      initializer: [weight('k', [2, 2])],
      node: [relu],
    }),
    '',
  ],
  [
    'only-a-head.onnx',
    model({
      input: [value('x', [1, 12])],
      output: [value('y')],
      initializer: [weight('w', [12, 5])],
      node: [node('MatMul', ['x', 'w'], ['y'])],
    }),
    '',
  ],
  ['half-precision.onnx', model({ input: [value('x', image, 10)], output: [value('y', image, 10)], node: [relu] }), ''],
];

describe('verify says exact', () => {
  test.each(RIGHT)('%s', async (name, bytes, options) => {
    const args = ['verify', dir.file(name, bytes), ...options.split(' ').filter(Boolean)];
    const outcome = await distredge([...args, '--json']);
    expect(outcome.stderr).toBe('');
    const report = json(outcome);
    expect(report).toMatchObject({ ok: true, model: name.replace(/\.onnx(\.gz)?$/, '') });
    expect(outcome.code).toBe(0);
  });

  test('of a trained network, in words', async () => {
    const path = createRequire(new URL('../../apps/cli/package.json', import.meta.url)).resolve(
      'jp.keijiro.mlsd/ONNX/mlsd_320x320_tiny.onnx',
    );
    const { code, stdout, stderr } = await distredge(['verify', path, '--workers', '2']);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^mlsd_320x320_tiny: 2 providers, \d+ volumes, 100.0 % of the work divided/);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('exact');
    expect(stdout, 'no colours where there is no terminal').not.toContain('\u001b');
  });
});

test('a packed model with weights in other files says what to do', async () => {
  const bytes = model({
    input: [value('x', image)],
    output: [value('y')],
    initializer: [weightIn('weights.bin', 'w', [8, 3, 3, 3])],
    node: [node('Conv', ['x', 'w'], ['y'])],
  });
  const { code, stderr } = await distredge(['verify', dir.file('external.onnx.gz', gzipSync(bytes))]);
  expect(code).toBe(1);
  expect(stderr).toContain('MODEL_EXTERNAL_DATA');
  expect(stderr).toContain('unpack it first');
});

describe('inspect', () => {
  test('shows a table whose numbers stand under each other', async () => {
    const { code, stdout } = await distredge(['inspect', dir.file('inspected.onnx', smallCnn())]);
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    const head = lines.find((line) => line.startsWith('#')) ?? '';
    const rows = lines.slice(lines.indexOf(head) + 1, lines.indexOf(head) + 9);
    for (const column of ['work', 'weights']) {
      const end = head.indexOf(column) + column.length;
      for (const row of rows) expect(row.slice(0, end)).toMatch(/[A-Z]$/);
    }
    expect(stdout).toMatch(/^whole: MatMul 'make_y': comes after the rows are joined \(head\)$/m);
  });

  test('prints one JSON object', async () => {
    const outcome = await distredge(['inspect', dir.file('object.onnx', smallCnn()), '--json']);
    expect(json(outcome)).toMatchObject({ model: 'object', opset: 17, inputs: [{ name: 'x', rowAxis: 2 }] });
  });
});

test('bench prints one JSON object with its ratios', async () => {
  const model = dir.file('bench.onnx', smallCnn());
  const outcome = await distredge(['bench', model, '--volumes', 'blocks', '--rounds', '2', '--json']);
  expect([outcome.code, outcome.stderr]).toEqual([0, '']);
  const { speedup, threadsSpeedup, split } = json(outcome);
  expect(speedup).toBeGreaterThan(0);
  expect(threadsSpeedup).toBeGreaterThan(0);
  expect(split).toMatchObject({ plannedBy: 'given' });
});

test('bench plans from a profile that it measures once, and times the better of that plan and the rule', async () => {
  const model = dir.file('planned.onnx', smallCnn());
  const cache = { XDG_CACHE_HOME: join(dir.path, 'cache') };
  const outcome = await distredge(['bench', model, '--rounds', '2', '--json'], cache);
  expect([outcome.code, outcome.stderr]).toEqual([0, '']);
  const { split } = json(outcome) as { split: { plannedBy: string; medianMs: number } };
  expect(['planner', 'rule']).toContain(split.plannedBy);
  expect(split.medianMs).toBeGreaterThan(0);
  const kept = readdirSync(join(cache.XDG_CACHE_HOME, 'distredge', 'profiles'));
  expect(kept).toHaveLength(1);
  expect(
    JSON.parse(readFileSync(join(cache.XDG_CACHE_HOME, 'distredge', 'profiles', kept[0] ?? ''), 'utf8')),
  ).toHaveProperty('link');
});
