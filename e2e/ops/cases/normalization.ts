/** Cases of the normalisations whose rows need no other row, and of those that then stay whole. */
import { type CaseDefinition, fed, type Operand, weight } from '../golden-case.js';

interface Options {
  readonly opset?: number;
  readonly row?: number;
  readonly kind?: 'local' | 'whole';
  readonly weights?: readonly Operand[];
  readonly attributes?: CaseDefinition['attributes'];
  readonly outputs?: number;
}

function normalised(name: string, op: string, options: Options = {}): CaseDefinition {
  const { opset = 13, row = 2, kind = 'local', weights = [], attributes = {}, outputs = 1 } = options;
  const inputs = [fed([2, 3, 5, 4]), ...weights];
  const rowAxes = [row, ...weights.map(() => null)];
  return { name: `${op}: ${name}`, opset, op, attributes, kind, inputs, rowAxes, outputs };
}

const channels = weight([3]);
const statistics = [channels, channels, channels, weight([3], [0.5, 1, 2])];
const columns = [weight([4]), weight([4])];

export const cases: readonly CaseDefinition[] = [
  ...[7, 9, 14, 15, 21].map((opset) => normalised('rows', 'BatchNormalization', { opset, weights: statistics })),
  normalised('columns', 'BatchNormalization', { row: 3, weights: statistics, attributes: { epsilon: { float: 0.1 } } }),
  normalised('rows are channels', 'BatchNormalization', { row: 1, kind: 'whole', weights: statistics }),
  ...[7, 13].map((opset) =>
    normalised('rows', 'LRN', { opset, attributes: { size: 3, alpha: { float: 0.1 }, bias: { float: 2 } } }),
  ),
  normalised('rows are channels', 'LRN', { row: 1, kind: 'whole', attributes: { size: 3 } }),
  normalised('the last axis', 'LayerNormalization', { opset: 17, weights: columns }),
  normalised('with statistics', 'LayerNormalization', {
    opset: 17,
    weights: columns,
    attributes: { axis: 3 },
    outputs: 3,
  }),
  normalised('over rows', 'LayerNormalization', {
    opset: 17,
    kind: 'whole',
    weights: [weight([5, 4])],
    attributes: { axis: 2 },
  }),
  normalised('over channels', 'LpNormalization', { attributes: { axis: 1, p: 1 } }),
  normalised('over columns', 'LpNormalization', {}),
  normalised('over rows', 'LpNormalization', { kind: 'whole', attributes: { axis: 2 } }),
  normalised('over channels', 'MeanVarianceNormalization', { attributes: { axes: [1] } }),
  normalised('over the image', 'MeanVarianceNormalization', { kind: 'whole' }),
  normalised('over the image', 'InstanceNormalization', { kind: 'whole', weights: [channels, channels] }),
];
