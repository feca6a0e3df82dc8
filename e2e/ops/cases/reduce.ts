/** Cases of the reductions, the global poolings, ArgMax and ArgMin. */
import { type CaseDefinition, fed, ints, type Operand } from '../golden-case.js';

const OPS = ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'SumSquare', 'L1', 'L2', 'LogSum', 'LogSumExp'];
/** Positive, so that every reduction has a value. */
const positive = (shape: readonly number[]): Operand => {
  const count = shape.reduce((product, dim) => product * dim, 1);
  return fed(
    shape,
    Array.from({ length: count }, (_, index) => 0.25 + ((index * 7) % 11) / 8),
  );
};

function byAttribute(
  op: string,
  attributes: Record<string, number | readonly number[]>,
  kind: 'local' | 'global',
): CaseDefinition {
  const name = `Reduce${op} ${JSON.stringify(attributes)}`;
  return { name, opset: 11, op: `Reduce${op}`, attributes, kind, inputs: [positive([1, 2, 5, 3])], rowAxes: [2] };
}

function byInput(op: string, axes: readonly number[], keepdims: number, kind: 'local' | 'global'): CaseDefinition {
  const name = `Reduce${op} over ${axes.join(', ')}, keepdims ${keepdims}`;
  return {
    name,
    opset: 18,
    op: `Reduce${op}`,
    attributes: { keepdims },
    kind,
    inputs: [positive([2, 2, 6, 3]), ints(axes)],
    rowAxes: [2, null],
  };
}

function global(op: string, more: Partial<CaseDefinition> = {}): CaseDefinition {
  const shape = [1, 3, 7, 4];
  return {
    name: `Global${op}Pool`,
    opset: 9,
    op: `Global${op}Pool`,
    kind: 'global',
    inputs: [fed(shape)],
    rowAxes: [2],
    ...more,
  };
}

function extreme(name: string, more: Partial<CaseDefinition>): CaseDefinition {
  return { name, opset: 13, op: 'ArgMax', kind: 'local', inputs: [fed([1, 4, 5, 3])], rowAxes: [2], ...more };
}

export const cases: readonly CaseDefinition[] = [
  ...OPS.flatMap((op) => [
    byAttribute(op, { axes: [2, 3] }, 'global'),
    byAttribute(op, { axes: [-2], keepdims: 0 }, 'global'),
    byAttribute(op, { axes: [1], keepdims: 0 }, 'local'),
    byInput(op, [3, 2], 0, 'global'),
    byInput(op, [-1, 1], 1, 'local'),
  ]),
  byAttribute('Mean', {}, 'global'),
  byAttribute('Sum', { keepdims: 0 }, 'global'),
  {
    name: 'large values under an exponential',
    opset: 13,
    op: 'ReduceLogSumExp',
    attributes: { axes: [2, 3] },
    kind: 'global',
    inputs: [fed([1, 2, 4, 1], [500, 501, 502, 499, -300, -301, -302, -300])],
    rowAxes: [2],
  },
  {
    name: 'no axes, nothing to do',
    opset: 18,
    op: 'ReduceMax',
    attributes: { noop_with_empty_axes: 1 },
    kind: 'local',
    inputs: [fed([1, 2, 5, 3]), ints([])],
    rowAxes: [2, null],
  },
  {
    name: 'ReduceSum by input',
    opset: 13,
    op: 'ReduceSum',
    kind: 'global',
    folds: true,
    inputs: [{ dtype: 'int64', shape: [2, 5, 3] }, ints([1])],
    rowAxes: [1, null],
  },
  {
    name: 'ReduceMean of whole numbers',
    opset: 13,
    op: 'ReduceMean',
    attributes: { axes: [1] },
    kind: 'global',
    inputs: [{ dtype: 'int32', shape: [2, 5, 3] }],
    rowAxes: [1],
  },
  {
    name: 'ReduceMax of doubles',
    opset: 18,
    op: 'ReduceMax',
    kind: 'global',
    folds: true,
    inputs: [{ dtype: 'float64', shape: [2, 5, 3] }],
    rowAxes: [1],
  },
  {
    name: 'ReduceMean of doubles',
    opset: 18,
    op: 'ReduceMean',
    kind: 'global',
    inputs: [{ dtype: 'float64', shape: [2, 5, 3] }],
    rowAxes: [1],
  },
  global('Average'),
  global('Average', { name: 'GlobalAveragePool of a volume', inputs: [fed([2, 2, 5, 3, 2])], rowAxes: [3] }),
  global('Max'),
  global('Lp', { name: 'GlobalLpPool 1', attributes: { p: 1 } }),
  global('Lp', { name: 'GlobalLpPool 2' }),
  global('Lp', { name: 'GlobalLpPool 3', attributes: { p: 3 } }),
  extreme('classes', { attributes: { axis: 1 } }),
  extreme('classes, dropped', { attributes: { axis: 1, keepdims: 0 }, opset: 11 }),
  extreme('columns, last', { attributes: { axis: -1, select_last_index: 1 }, op: 'ArgMin' }),
  extreme('rows', { attributes: { axis: 2 }, kind: 'whole' }),
];
