/**
 * Holds an op family to its golden cases: the inferred types, the value where it can be folded, and above all that every
 * range of output rows, computed by the emitted sub-model in onnxruntime from exactly the rows that `need` asks for, equals
 * those rows of the whole op's result.
 */
import { readFileSync } from 'node:fs';
import { type Port, SubModelBuilder } from '../../packages/core/src/compile/builder.js';
import { foldNode } from '../../packages/core/src/graph/fold.js';
import type { Graph, Node, TensorType } from '../../packages/core/src/graph/graph.js';
import { numbers } from '../../packages/core/src/onnx/tensor-proto.js';
import { type GlobalRule, type LocalRule, OpView, type Range, type RowRule } from '../../packages/core/src/ops/op.js';
import { familyOf } from '../../packages/core/src/ops/registry.js';
import { type DataType, elements, sliceRows, type Tensor } from '../../packages/core/src/tensor.js';
import { runWhole, Sessions } from './engine.js';
import { type GoldenCase, graphOf, toTensor } from './golden-case.js';
import { ranges, tilings } from './sampling.js';

/** Relative to the size of the output's values. */
const TOLERANCE = 1e-5;

export function loadCases(file: URL): GoldenCase[] {
  return JSON.parse(readFileSync(file, 'utf8')) as GoldenCase[];
}

/** Everything that one case says is checked. Throws with the place where it fails. */
export async function checkCase(golden: GoldenCase): Promise<void> {
  const graph = graphOf(golden, golden.outputs);
  const node = graph.nodes[0] as Node;
  const family = familyOf(node);
  if (family === undefined) throw new Error(`no op family answers for ${node.op}`);
  const expected = golden.outputs.map((output) => (output === null ? undefined : toTensor(output)));
  const types = new Map(graph.types);
  const inferred = family.infer(new OpView(node, graph.opset, types, graph.constants, false));
  expected.forEach((tensor, index) => {
    const type = inferred[index];
    const known = type?.shape !== undefined;
    if (tensor === undefined) return;
    if (type?.dtype !== tensor.dtype || (known && `${type.shape}` !== `${tensor.shape}`)) {
      fail('infer', `output ${index} is ${show(tensor)}, not ${type ? show(type) : 'nothing'}`);
    }
    types.set(`out${index}`, { dtype: tensor.dtype, shape: tensor.shape });
  });
  checkFold(golden, node, expected);
  const whole = await runWhole(golden, golden.outputs);
  expected.forEach((tensor, index) => {
    if (tensor !== undefined) compare(whole.get(`out${index}`), tensor, `whole op, output ${index}`);
  });
  if (golden.rowAxes.every((axis) => axis === null)) return;
  const view = new OpView(node, graph.opset, types, graph.constants, true);
  const flops = family.flops?.(view) ?? 0;
  if (!Number.isFinite(flops) || flops < 0) fail('flops', String(flops));
  const axes = golden.rowAxes.map((axis) => axis ?? undefined);
  const rule = family.rows(view, axes);
  if (golden.kind !== undefined && rule.kind !== golden.kind) {
    fail('rows', `expected a ${golden.kind} rule, got ${rule.kind}${rule.kind === 'whole' ? ` (${rule.reason})` : ''}`);
  }
  await checkRule(golden, { ...graph, types }, rule, axes, expected);
}

/** Checks one rule against the whole op's outputs. */
export async function checkRule(
  golden: GoldenCase,
  graph: Graph,
  rule: RowRule,
  axes: readonly (number | undefined)[],
  expected: readonly (Tensor | undefined)[],
): Promise<void> {
  if (rule.kind === 'local') await checkLocal(golden, graph, rule, axes, expected);
  else if (rule.kind === 'global') await checkGlobal(golden, graph, rule, axes, expected);
}

function checkFold(golden: GoldenCase, node: Node, expected: readonly (Tensor | undefined)[]): void {
  const constants = new Map<string, Tensor>();
  golden.inputs.forEach((input, index) => {
    if (input !== null) constants.set(`in${index}`, toTensor(input));
  });
  const types = new Map(
    [...constants].map(([name, { dtype, shape }]): [string, TensorType] => [name, { dtype, shape }]),
  );
  const values = foldNode(new OpView(node, golden.opset, types, constants, false));
  if (values === undefined && golden.folds === true) fail('fold', 'foldNode does not compute it');
  values?.forEach((value, index) => {
    const tensor = expected[index];
    if (tensor !== undefined) compare(value, tensor, `fold, output ${index}`);
  });
}

async function checkLocal(
  golden: GoldenCase,
  graph: Graph,
  rule: LocalRule,
  axes: readonly (number | undefined)[],
  expected: readonly (Tensor | undefined)[],
): Promise<void> {
  const node = graph.nodes[0] as Node;
  const height = (index: number): number | undefined => expected[index]?.shape[rule.axes[index] ?? -1];
  const first = expected.findIndex((tensor) => tensor !== undefined);
  const rows = height(first);
  expected.forEach((tensor, index) => {
    if (tensor !== undefined && height(index) !== rows)
      fail('rows', `output ${index} has other rows than output ${first}`);
  });
  if (rows === undefined) fail('rows', `row axis ${rule.axes[first]} is not one of the output's axes`);
  const sessions = new Sessions();
  for (const out of ranges(rows, golden.name)) {
    const place = `rows ${out.from}–${out.to} of ${rows}`;
    const need = rule.need(out);
    const build = new SubModelBuilder(graph);
    const ports: Port[] = [];
    const feeds = new Map<string, Tensor>();
    const names = node.inputs.map((name, index) => {
      const golds = golden.inputs[index];
      if (name === '' || !golds) return '';
      const range = need[index];
      const axis =
        axes[index] ?? (range === undefined ? undefined : cutAxis(rule, index, golds.shape.length, expected, first));
      if (range !== undefined) checkRange(range, golds.shape[axis as number], `${place}: need of input ${index}`);
      if (graph.constants.has(name)) {
        return build.weight(name, range === undefined ? undefined : { axis: axis as number, range });
      }
      const tensor = toTensor(golds);
      const part = range === undefined ? tensor : sliceRows(tensor, axis as number, range);
      feeds.set(name, part);
      ports.push({ name, dtype: part.dtype, shape: open(part.shape, range === undefined ? undefined : axis) });
      return name;
    });
    const inputs = (index: number): string => names[index] ?? fail(place, `input ${index} is asked for but not given`);
    rule.emit({ out, build, input: inputs, output: (index) => `out${index}` });
    const outputs = expected.flatMap((tensor, index): Port[] =>
      tensor === undefined
        ? []
        : [{ name: `out${index}`, dtype: tensor.dtype, shape: open(tensor.shape, rule.axes[index]) }],
    );
    const results = await sessions.run(build.build(ports, outputs), feeds, place);
    expected.forEach((tensor, index) => {
      if (tensor === undefined) return;
      const wanted = sliceRows(tensor, rule.axes[index] as number, out);
      compare(results.get(`out${index}`), wanted, `${place}, output ${index}`, scaleOf(tensor));
    });
  }
}

/** The axis along which the compiler cuts an input without a row axis. */
function cutAxis(
  rule: LocalRule,
  index: number,
  rank: number,
  expected: readonly (Tensor | undefined)[],
  first: number,
): number {
  const given = rule.cutAxes?.[index];
  if (given !== undefined) return given;
  const fromLast = (expected[first]?.shape.length ?? 0) - (rule.axes[first] ?? 0);
  return rank - fromLast;
}

function checkRange({ from, to }: Range, size: number | undefined, place: string): void {
  if (size === undefined) fail(place, 'a range of an input that has no such axis');
  else if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to && to <= size)) {
    fail(place, `${from}–${to} is not a range within ${size}`);
  }
}

/** One row-dependent dimension is left open, as the sub-models of a plan leave it. */
function open(shape: readonly number[], axis: number | undefined): number[] {
  return shape.map((size, index) => (index === axis ? -1 : size));
}

async function checkGlobal(
  golden: GoldenCase,
  graph: Graph,
  rule: GlobalRule,
  axes: readonly (number | undefined)[],
  expected: readonly (Tensor | undefined)[],
): Promise<void> {
  const axis = axes[rule.input];
  const input = golden.inputs[rule.input];
  if (axis === undefined || !input) fail('rows', 'a global rule over an input without rows');
  const tensor = toTensor(input);
  const rows = tensor.shape[axis] as number;
  const sessions = new Sessions();
  const partialType = { dtype: rule.partial.dtype as DataType, shape: rule.partial.shape };
  for (const tiling of tilings(rows, golden.name)) {
    const place = `tiling ${tiling.map(({ from, to }) => `${from}–${to}`).join(' ')}`;
    const partials: Uint8Array[] = [];
    for (const range of tiling) {
      const build = new SubModelBuilder(graph);
      rule.reduce(build, 'x', range, 'partial');
      const model = build.build(
        [{ name: 'x', dtype: tensor.dtype, shape: open(tensor.shape, axis) }],
        [{ name: 'partial', ...partialType }],
      );
      const results = await sessions.run(model, new Map([['x', sliceRows(tensor, axis, range)]]), place);
      const partial = results.get('partial');
      if (`${partial?.shape}` !== `${partialType.shape}` || partial?.dtype !== partialType.dtype) {
        fail(place, `the partial is ${partial ? show(partial) : 'missing'}, not ${show(partialType)}`);
      }
      partials.push(partial.data);
    }
    const stacked = {
      dtype: partialType.dtype,
      shape: [tiling.length, ...partialType.shape],
      data: Buffer.concat(partials),
    };
    const build = new SubModelBuilder(graph);
    const names = expected.map((output, index) => (output === undefined ? '' : `out${index}`));
    rule.combine(build, 'partials', tiling, names);
    const outputs = expected.flatMap((output, index): Port[] =>
      output === undefined ? [] : [{ name: `out${index}`, dtype: output.dtype, shape: output.shape }],
    );
    const model = build.build([{ name: 'partials', dtype: stacked.dtype, shape: stacked.shape }], outputs);
    const results = await sessions.run(model, new Map([['partials', stacked]]), place);
    expected.forEach((output, index) => {
      if (output !== undefined) compare(results.get(`out${index}`), output, `${place}, output ${index}`);
    });
  }
}

/** What the tolerance is relative to: the span or the largest of the finite values. */
function scaleOf(tensor: Tensor): number {
  let [low, high] = [0, 0];
  for (const value of numbers(tensor)) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high - low;
}

export function compare(got: Tensor | undefined, wanted: Tensor, place: string, scale: number = scaleOf(wanted)): void {
  if (got === undefined) fail(place, 'is missing');
  if (got.dtype !== wanted.dtype || `${got.shape}` !== `${wanted.shape}`)
    fail(place, `is ${show(got)}, not ${show(wanted)}`);
  const values = numbers(got);
  const exact = wanted.dtype !== 'float32' && wanted.dtype !== 'float64';
  numbers(wanted).forEach((value, index) => {
    const other = values[index] as number;
    const equal = Object.is(value, other) || value === other;
    if (equal || (!exact && Math.abs(value - other) <= TOLERANCE * scale)) return;
    fail(place, `element ${index} of ${elements(wanted.shape)} is ${other}, not ${value}`);
  });
}

function show({
  dtype,
  shape,
}: {
  readonly dtype: DataType | undefined;
  readonly shape: readonly number[] | undefined;
}): string {
  return `${dtype} [${shape?.join(', ')}]`;
}

function fail(place: string, message: string): never {
  throw new Error(`${place}: ${message}`);
}
