/** `distredge inspect`: what a model consists of, what of it can be divided, and why the rest cannot. */
import { type Analysis, analyse, type PlacedNode, rowsOf, typeOf } from '@distredge/core';
import type { Command } from 'commander';
import { MODEL_ARGUMENT, readModel } from '../model-file.js';
import { modelOptions, withShapes } from '../options.js';
import { amount, plain, print, printJson, styled, table } from '../output.js';
import { whyWhole } from '../split.js';

interface Options {
  readonly json?: true;
  readonly shape?: Record<string, number[]>;
  readonly size?: { height: number; width: number };
}

export function addInspect(program: Command): void {
  withShapes(program.command('inspect').argument('<model>', MODEL_ARGUMENT))
    .summary('show layers, row windows, work, and what can be divided')
    .description(
      'Shows the layers of a model, the rows that each one needs, its work and weights, and what can be divided by rows.',
    )
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge inspect model.onnx\n  $ distredge inspect model.onnx.gz --size 480x640 --json\n  $ distredge inspect zoo:vgg16\n',
    )
    .action(inspect);
}

interface Layer {
  readonly name: string;
  readonly op: string;
  readonly output: readonly number[] | undefined;
  readonly rowAxis: number | undefined;
  /** Input rows that one output row in the middle of the image needs. */
  readonly window: number | undefined;
  readonly flops: number;
  readonly weightBytes: number;
  readonly kind: PlacedNode['kind'];
  readonly reason: string | undefined;
}

const KINDS: Record<PlacedNode['kind'], string> = {
  rows: 'by rows',
  global: 'partial sums',
  island: 'whole',
  free: 'everywhere',
  head: 'head',
};

function layerOf(analysis: Analysis, { node, rule, kind, flops }: PlacedNode): Layer {
  const name = node.outputs[0] ?? '';
  const rowAxis = analysis.axes.get(name);
  let window: number | undefined;
  if (rule?.kind === 'local' && rowAxis !== undefined) {
    const middle = Math.floor(rowsOf(analysis, name) / 2);
    const sizes = rule
      .need({ from: middle, to: middle + 1 })
      .map((range) => (range === undefined ? 0 : range.to - range.from));
    window = Math.max(...sizes);
  }
  return {
    name: node.name,
    op: node.op,
    output: typeOf(analysis.graph, name).shape,
    rowAxis,
    window,
    flops,
    weightBytes: node.inputs.reduce(
      (sum, input) => sum + (analysis.graph.constants.get(input)?.data.byteLength ?? 0),
      0,
    ),
    kind,
    reason: rule?.kind === 'whole' ? rule.reason : undefined,
  };
}

async function inspect(path: string, options: Options): Promise<void> {
  const { name, graph } = await readModel(path, { ...modelOptions(options), weights: 'none' });
  const analysis = analyse(graph);
  const layers = analysis.nodes.map((placed) => layerOf(analysis, placed));
  const divided = layers
    .filter(({ kind }) => kind === 'rows' || kind === 'global')
    .reduce((sum, { flops }) => sum + flops, 0);
  const describe = (
    value: string,
  ): { name: string; dtype: string; shape: readonly number[] | undefined; rowAxis: number | undefined } => {
    const { dtype, shape } = typeOf(graph, value);
    return { name: value, dtype: dtype ?? 'unknown', shape, rowAxis: analysis.axes.get(value) };
  };
  const weightBytes = [...graph.constants.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const report = {
    model: name,
    opset: graph.opset,
    inputs: graph.inputs.map(describe),
    outputs: graph.outputs.map(describe),
    flops: analysis.flops,
    divisibleShare: analysis.flops === 0 ? 0 : divided / analysis.flops,
    weightBytes,
    layers,
  };
  if (options.json) {
    printJson(report);
    return;
  }
  print(styled('bold', `${plain(name)} (opset ${graph.opset})`));
  for (const { name: value, dtype, shape, rowAxis } of report.inputs) {
    print(
      `input  ${plain(value)}: ${dtype} [${shape?.join(', ')}]${rowAxis === undefined ? '' : `, rows along axis ${rowAxis}`}`,
    );
  }
  for (const { name: value, dtype, shape } of report.outputs)
    print(`output ${plain(value)}: ${dtype} [${shape?.join(', ') ?? 'unknown'}]`);
  print(
    `${amount(analysis.flops, 'FLOP')}, ${amount(weightBytes, 'B')} of weights, ${(100 * report.divisibleShare).toFixed(1)} % of the work can be divided by rows\n`,
  );
  print(
    table([
      ['#', 'op', 'name', 'output', 'row axis', 'window', 'work', 'weights', 'divided'],
      ...layers.map((layer, index) => [
        index,
        layer.op,
        layer.name.length > 40 ? `…${layer.name.slice(-39)}` : layer.name,
        layer.output?.join('×') ?? 'unknown',
        layer.rowAxis ?? '-',
        layer.window ?? '-',
        amount(layer.flops, 'FLOP'),
        amount(layer.weightBytes, 'B'),
        KINDS[layer.kind],
      ]),
    ]),
  );
  const whole = analysis.nodes.filter(({ kind }) => kind === 'island' || kind === 'head');
  if (whole.length > 0) print();
  for (const placed of whole) {
    const { node, kind } = placed;
    const place = kind === 'island' ? '' : ' (head)';
    print(plain(`whole: ${node.op} '${node.name}': ${whyWhole(analysis, placed)}${place}`));
  }
}
