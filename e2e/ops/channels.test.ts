/** Fully connected layers cut by their output channels: every range of channels equals those of the whole layer. */
import { describe, expect, test } from 'vitest';
import type { Node } from '../../packages/core/src/graph/graph.js';
import { channelRule } from '../../packages/core/src/ops/matmul.js';
import { OpView } from '../../packages/core/src/ops/op.js';
import { type GoldenCase, graphOf, toTensor } from './golden-case.js';
import { checkRule, loadCases } from './harness.js';

function viewOf(golden: GoldenCase): OpView {
  const graph = graphOf(golden, golden.outputs);
  const types = new Map(graph.types);
  golden.outputs.forEach((output, index) => {
    if (output !== null) types.set(`out${index}`, { dtype: output.dtype, shape: output.shape });
  });
  return new OpView(graph.nodes[0] as Node, graph.opset, types, graph.constants, true);
}

const file = (name: string): URL => new URL(`golden/${name}.json`, import.meta.url);

describe('channelRule', () => {
  for (const golden of loadCases(file('channels'))) {
    test(golden.name, async () => {
      const rule = channelRule(viewOf(golden));
      if (rule === undefined) throw new Error('no rule');
      expect(rule.axes).toEqual([(golden.outputs[0]?.shape.length ?? 0) - 1]);
      const outputs = golden.outputs.map((output) => (output === null ? undefined : toTensor(output)));
      await checkRule(
        golden,
        graphOf(golden, golden.outputs),
        rule,
        golden.inputs.map(() => undefined),
        outputs,
      );
    });
  }

  test('has nothing to say of other ops and of products of two computed values', () => {
    const [softmax] = loadCases(file('softmax'));
    const attention = loadCases(file('matmul')).find(({ name }) => name === 'attention over rows');
    expect(softmax && channelRule(viewOf(softmax))).toBeUndefined();
    expect(attention && channelRule(viewOf(attention))).toBeUndefined();
  });
});
