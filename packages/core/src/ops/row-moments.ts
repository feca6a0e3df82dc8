/**
 * RowMoments, an op of this project's own: mean and 1 / sqrt(variance + epsilon) of groups of channels over the whole
 * image. Every part sends the mean of its rows and the squared deviations from that mean; they combine by the formula of
 * Chan, Golub and LeVeque ("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979), which
 * keeps its digits where the mean of squares minus the square of the mean would lose them.
 */
import { elements, floatTensor, intTensor } from '../tensor.js';
import { type GlobalRule, type OpFamily, type OpView, type RowRule, whole } from './op.js';

/** Input: [N, C, spatial axes]. Outputs, mean first: [N, C, 1, …]. Attributes: `groups` of channels, `epsilon`. */
export const rowMoments: OpFamily = {
  ops: ['distredge:RowMoments'],
  infer(view) {
    const [batch = 1, channels = 1, ...spatial] = view.shape(0);
    const shape = [batch, channels, ...spatial.map(() => 1)];
    return view.node.outputs.map(() => ({ dtype: 'float32', shape }));
  },
  flops: (view) => 4 * elements(view.shape(0)),
  rows(view, axes): RowRule {
    const [axis = 0] = axes;
    return axis < 2 ? whole('its rows are not along a spatial axis') : momentsRule(view, axis);
  },
  emitWhole(view, build, [x = '']) {
    const rule = momentsRule(view, 2);
    const rows = { from: 0, to: view.shape(0)[2] ?? 1 };
    const sum = `${view.node.outputs[0] || view.node.name}~whole`;
    rule.reduce(build, x, rows, sum);
    rule.combine(build, build.reshape(sum, [1, ...rule.partial.shape]), [rows], view.node.outputs);
  },
};

function momentsRule(view: OpView, axis: number): GlobalRule {
  const shape = view.shape(0);
  const [batch = 1, channels = 1, ...spatial] = shape;
  const groups = view.attributes.int('groups', channels);
  const epsilon = view.attributes.float('epsilon', 1e-5);
  /** Elements of one group in this many rows. */
  const count = (rows: number): number => (elements(shape.slice(1)) / groups / (shape[axis] ?? 1)) * rows;
  return {
    kind: 'global',
    input: 0,
    partial: { dtype: 'float32', shape: [batch, groups, 2] },
    reduce(build, input, _rows, output) {
      const x = build.reshape(input, [batch, groups, -1]);
      const mean = build.reduce('ReduceMean', x, [2]);
      const squares = build.reduce('ReduceSumSquare', build.node('Sub', [x, mean]), [2]);
      build.concat([mean, squares], 2, output);
    },
    combine(build, partials, rows, outputs) {
      const counts = rows.map(({ from, to }) => count(to - from));
      const total = counts.reduce((sum, item) => sum + item, 0);
      const means = build.slice(partials, 3, 0, 1);
      const share = build.constant(
        floatTensor(
          counts.map((item) => item / total),
          [counts.length, 1, 1, 1],
        ),
      );
      const mean = build.reduce('ReduceSum', build.node('Mul', [means, share]), [0]);
      const apart = build.node('Sub', [means, mean]);
      const between = build.node('Mul', [build.node('Mul', [apart, apart]), share]);
      const within = build.node('Div', [build.slice(partials, 3, 1, 2), build.constant(floatTensor([total], []))]);
      const variance = build.reduce('ReduceSum', build.node('Add', [between, within]), [0]);
      const padded = build.node('Add', [variance, build.constant(floatTensor([epsilon], []))]);
      const rstd = build.node('Reciprocal', [build.node('Sqrt', [padded])]);
      [mean, rstd].forEach((value, index) => {
        const output = outputs[index];
        if (output === undefined || output === '') return;
        const times = build.constant(intTensor([1, 1, channels / groups]));
        const each = build.node('Tile', [build.reshape(value, [batch, groups, 1]), times]);
        build.reshape(each, [batch, channels, ...spatial.map(() => 1)], output);
      });
    },
  };
}
