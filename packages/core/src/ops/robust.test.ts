/**
 * Nodes as a broken or hostile file may hold them: any op with any operands and attributes is either understood or refused
 * with an error that says so. What is understood never asks for rows that do not exist.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DistrEdgeError } from '../errors.js';
import type { Node, TensorType } from '../graph/graph.js';
import { type AttributeProto, AttributeType } from '../onnx/proto.js';
import { protoOf } from '../onnx/tensor-proto.js';
import { byteLength, type DataType, DTYPE_BYTES, elements, intTensor, type Tensor } from '../tensor.js';
import { type LocalRule, OpView, type Range } from './op.js';
import { familyOf, knownOps } from './registry.js';

/** A node with operands; `outputs` says which outputs are asked for. */
interface Sample {
  readonly op: string;
  readonly opset: number;
  readonly inputs: readonly (Operand | undefined)[];
  readonly attributes: readonly AttributeProto[];
  readonly outputs: readonly boolean[];
  /** Fractions that choose row axes and ranges. */
  readonly choices: readonly number[];
}
type Operand = TensorType & { readonly value?: Tensor };

const DTYPES = Object.keys(DTYPE_BYTES) as DataType[];
/** Samples of each op: always the same ones, so that a failure can be told from the one before. */
const RUNS = { numRuns: 400, seed: 1 };
/** A model with larger values is refused, so that no rows of them are asked for. */
const MAX_ELEMENTS = 2 ** 32;

const dim = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: 1, max: 9 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 2 ** 20, 2 ** 31, Number.MAX_SAFE_INTEGER) },
);
const shape = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant(1), fc.constantFrom(1, 2, 4), dim, dim) },
  { weight: 3, arbitrary: fc.array(dim, { maxLength: 6 }) },
);
const dtype = fc.oneof({ weight: 3, arbitrary: fc.constant<DataType>('float32') }, fc.constantFrom(...DTYPES));
const whole = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: -4, max: 6 }) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 31, -(2 ** 31), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER) },
);
const list = fc.array(whole, { maxLength: 8 });
const tensor: fc.Arbitrary<Tensor> = fc.oneof(
  list.map((values) => intTensor(values)),
  whole.map((value) => intTensor([value], [])),
  fc
    .record({ dtype, shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }), seed: fc.nat(255) })
    .map(({ dtype: type, shape: sizes, seed }) => {
      const data = Uint8Array.from({ length: byteLength(type, sizes) }, (_, index) => (index * seed) % 256);
      return { dtype: type, shape: sizes, data };
    }),
);
const operand: fc.Arbitrary<Operand | undefined> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ dtype, shape }) },
  { weight: 3, arbitrary: tensor.map((value) => ({ dtype: value.dtype, shape: value.shape, value })) },
  { weight: 1, arbitrary: fc.constantFrom(undefined, { dtype: undefined, shape: undefined }) },
);

const WORDS = [
  ...[
    'NOTSET',
    'SAME_UPPER',
    'SAME_LOWER',
    'VALID',
    'nearest',
    'linear',
    'cubic',
    'constant',
    'edge',
    'reflect',
    'wrap',
  ],
  ...['align_corners', 'asymmetric', 'half_pixel', 'floor', 'ceil', 'not_larger', 'not_smaller', 'DCR', 'CRD', '', 'é'],
];
const NAMES = [
  ...[
    'kernel_shape',
    'strides',
    'pads',
    'dilations',
    'output_padding',
    'output_shape',
    'axes',
    'perm',
    'scales',
    'split',
  ],
  ...['starts', 'ends', 'steps', 'value_ints', 'value_floats', 'value', 'value_int', 'value_float', 'num_outputs'],
  ...['auto_pad', 'mode', 'coordinate_transformation_mode', 'nearest_mode', 'keep_aspect_ratio_policy', 'approximate'],
  ...['group', 'axis', 'keepdims', 'ceil_mode', 'count_include_pad', 'blocksize', 'p', 'k', 'to', 'allowzero', 'start'],
  ...['end', 'transA', 'transB', 'noop_with_empty_axes', 'storage_order', 'antialias', 'exclude_outside', 'block_size'],
  ...['epsilon', 'size', 'training_mode', 'output_dtype', 'largest', 'batch_dims', 'select_last_index', 'num_groups'],
];
/** Values that suit some attribute, which need not be the one that has them. */
const attribute: fc.Arbitrary<AttributeProto> = fc
  .tuple(
    fc.constantFrom(...NAMES),
    fc.oneof<fc.Arbitrary<Partial<AttributeProto>>[]>(
      whole.map((value) => ({ type: AttributeType.int, i: BigInt(value) })),
      list.map((values) => ({ type: AttributeType.ints, ints: values.map(BigInt) })),
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 4 }).map((values) => ({
        type: AttributeType.ints,
        ints: values.map(BigInt),
      })),
      fc.constantFrom(...WORDS).map((word) => ({ type: AttributeType.string, s: new TextEncoder().encode(word) })),
      fc.float().map((value) => ({ type: AttributeType.float, f: value })),
      fc.array(fc.float(), { maxLength: 5 }).map((values) => ({ type: AttributeType.floats, floats: values })),
      tensor.map((value) => ({ type: AttributeType.tensor, t: protoOf('', value) })),
      fc.constant({ t: { dataType: 1, dims: [-1n, 1n << 62n], rawData: new Uint8Array(3) } }),
      fc.constant({}),
    ),
  )
  .map(([name, value]) => ({ name, ...value }));

const sample = (op: string): fc.Arbitrary<Sample> =>
  fc.record({
    op: fc.constant(op),
    opset: fc.integer({ min: 1, max: 24 }),
    inputs: fc.array(operand, { maxLength: 5 }),
    attributes: fc.array(attribute, { maxLength: 4 }),
    outputs: fc.oneof(fc.constant([true]), fc.array(fc.boolean(), { maxLength: 4 })),
    choices: fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 12, maxLength: 12 }),
  });

function nodeOf({ op, inputs, attributes, outputs }: Sample): Node {
  const [domain, type] = op.includes(':') ? (op.split(':') as [string, string]) : ['', op];
  return {
    name: 'node',
    op: type,
    domain,
    inputs: inputs.map((input, index) => (input === undefined ? '' : `in${index}`)),
    outputs: outputs.map((given, index) => (given ? `out${index}` : '')),
    captures: [],
    attributes: new Map(attributes.map((item) => [item.name ?? '', item])),
  };
}

/** What `ask` answers; undefined where it refuses as it should. */
function answer<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof DistrEdgeError && error.code !== 'INTERNAL') return undefined;
    throw error;
  }
}

function check(given: Sample): void {
  const node = nodeOf(given);
  const family = familyOf(node);
  if (family === undefined) throw new Error('no family');
  const types = new Map<string, TensorType>();
  const constants = new Map<string, Tensor>();
  given.inputs.forEach((input, index) => {
    if (input !== undefined) types.set(`in${index}`, { dtype: input.dtype, shape: input.shape });
    if (input?.value !== undefined) constants.set(`in${index}`, input.value);
  });
  const inferred = answer(() => family.infer(new OpView(node, given.opset, types, constants, false)));
  if (inferred === undefined) return;
  for (const { shape: sizes } of inferred) {
    for (const size of sizes ?? []) expect(Number.isInteger(size) && size >= 0, `size ${size}`).toBe(true);
  }
  node.outputs.forEach((name, index) => {
    if (name !== '') types.set(name, inferred[index] ?? { dtype: undefined, shape: undefined });
  });
  const view = new OpView(node, given.opset, types, constants, true);
  const flops = answer(() => family.flops?.(view));
  expect(flops === undefined || (flops >= 0 && !Number.isNaN(flops)), `flops ${flops}`).toBe(true);
  answer(() => family.jumps?.(view));
  const known = [...types.values()].every(({ dtype: type, shape: sizes }) => {
    return type !== undefined && sizes !== undefined && elements(sizes) <= MAX_ELEMENTS;
  });
  if (!known || node.outputs.every((name) => name === '')) return;
  const axes = view.inputs.map((type, index): number | undefined => {
    const sizes = type?.shape ?? [];
    const axis = Math.floor((given.choices[index] ?? 0) * (sizes.length + 1)) - 1;
    return constants.has(`in${index}`) || (sizes[axis] ?? 0) < 1 ? undefined : axis;
  });
  if (axes.every((axis) => axis === undefined)) return;
  const rule = answer(() => family.rows(view, axes));
  if (rule?.kind === 'local') checkLocal(view, rule, axes, given.choices);
}

function checkLocal(
  view: OpView,
  rule: LocalRule,
  axes: readonly (number | undefined)[],
  choices: readonly number[],
): void {
  const rows = view.node.outputs.flatMap((name, index) => {
    return name === '' ? [] : [view.outputs[index]?.shape?.[rule.axes[index] ?? -1]];
  });
  const count = rows[0] ?? Number.NaN;
  expect(rows, 'rows of the outputs').toEqual(rows.map(() => count));
  if (count === 0) return;
  for (let choice = 6; choice + 1 < choices.length; choice += 2) {
    const from = Math.floor((choices[choice] ?? 0) * count);
    const to = from + 1 + Math.floor((choices[choice + 1] ?? 0) * Math.min(count - from, 1000));
    const needs = answer(() => rule.need({ from, to }));
    needs?.forEach((need, index) => {
      if (need === undefined) return;
      const sizes = view.inputs[index]?.shape ?? [];
      const first = view.node.outputs.findIndex((name) => name !== '');
      const fromLast = (view.outputs[first]?.shape?.length ?? 0) - (rule.axes[first] ?? 0);
      const axis = axes[index] ?? rule.cutAxes?.[index] ?? sizes.length - fromLast;
      expect(within(need, sizes[axis]), `${from}–${to} of ${count}: input ${index}, ${need.from}–${need.to}`).toBe(
        true,
      );
    });
  }
}

function within({ from, to }: Range, size: number | undefined): boolean {
  return size !== undefined && Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from < to && to <= size;
}

describe('any node', () => {
  for (const op of knownOps()) {
    test(op, () => {
      fc.assert(fc.property(sample(op), check), RUNS);
    });
  }
});

describe('refuses', () => {
  const image: Operand = { dtype: 'float32', shape: [4, 3] };
  const list = (values: readonly number[]): Operand => ({
    dtype: 'int64',
    shape: [values.length],
    value: intTensor(values),
  });
  const cases: readonly [string, string, readonly Operand[]][] = [
    ['a slice twice along one axis', 'Slice', [image, list([0, 1]), list([3, 3]), list([0, -2])]],
    ['a slice with more steps than starts', 'Slice', [image, list([0]), list([3]), list([0]), list([1, 2])]],
    [
      'a bias larger than the product',
      'Gemm',
      [image, { dtype: 'float32', shape: [3, 2] }, { ...image, shape: [1, 4, 2] }],
    ],
    ['more of the largest than there are', 'TopK', [image, list([4])]],
    ['a third operand', 'Add', [image, image, image]],
    [
      'fractions for axes',
      'ReduceSum',
      [image, { ...image, shape: [0], value: { dtype: 'float32', shape: [0], data: new Uint8Array() } }],
    ],
    ['a shape of negative sizes', 'Expand', [image, list([-1, 4, 3])]],
  ];
  for (const [what, op, inputs] of cases) {
    test(what, () => {
      const node = nodeOf({ op, opset: 13, inputs, attributes: [], outputs: [true], choices: [] });
      const types = new Map(
        inputs.map(({ dtype: type, shape: sizes }, index) => [`in${index}`, { dtype: type, shape: sizes }]),
      );
      const constants = new Map(
        inputs.flatMap(({ value }, index): [string, Tensor][] => (value === undefined ? [] : [[`in${index}`, value]])),
      );
      expect(() => familyOf(node)?.infer(new OpView(node, 13, types, constants, false))).toThrow(
        expect.objectContaining({ code: 'OP_INVALID' }),
      );
    });
  }
});
