/** `distredge zoo`: the networks that can be built instead of read, told and written as ONNX files. */
import { writeFile } from 'node:fs/promises';
import { analyse, loadGraph, typeOf } from '@distredge/core';
import { buildZooModel, zooNames } from '@distredge/zoo';
import type { Command } from 'commander';
import { fileError } from '../image/file-error.js';
import { wholeNumber } from '../options.js';
import { amount, print, printJson, shown, table } from '../output.js';

export function addZoo(program: Command): void {
  const zoo = program
    .command('zoo')
    .summary('list and export the networks that are built in')
    .description(
      'Networks from the literature, built as ONNX models with seeded random weights. Wherever a model file is asked for, zoo:NAME names one of them.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge zoo list\n  $ distredge zoo export resnet50 --out resnet50.onnx\n  $ distredge verify zoo:resnet50\n',
    );
  zoo
    .command('list')
    .summary('show the networks, their inputs, work and weights')
    .description('Shows the networks with their inputs, outputs, work and weights, and where they are published.')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExamples:\n  $ distredge zoo list\n  $ distredge zoo list --json\n')
    .action(list);
  zoo
    .command('export')
    .argument('<name>', 'a name that zoo list shows')
    .summary('write a network as an ONNX file')
    .description('Writes a network as one ONNX file, with random weights that depend on nothing but the seed.')
    .option('--out <file>', 'the file to write (default: NAME.onnx)')
    .option('--seed <n>', 'seed of the weights; zoo:NAME has those of seed 1', wholeNumber('--seed', 0, 2 ** 31), 1)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge zoo export vgg16\n  $ distredge zoo export yolov2 --out /tmp/yolo.onnx --seed 3 --json\n',
    )
    .action(exportModel);
}

interface Entry {
  readonly name: string;
  readonly title: string;
  readonly source: string;
  readonly inputs: readonly (readonly number[])[];
  readonly outputs: number;
  readonly flops: number;
  readonly weightBytes: number;
}

function entryOf(name: string): Entry {
  const model = buildZooModel(name, { weights: 'none' });
  const graph = loadGraph(model.bytes, model);
  return {
    name,
    title: model.title,
    source: model.source,
    inputs: graph.inputs.map((input) => typeOf(graph, input).shape ?? []),
    outputs: graph.outputs.length,
    flops: analyse(graph).flops,
    weightBytes: [...graph.constants.values()].reduce((sum, { data }) => sum + data.byteLength, 0),
  };
}

function list({ json }: { readonly json?: true }): void {
  const models = zooNames.map(entryOf);
  if (json) {
    printJson({ models });
    return;
  }
  print(
    table([
      ['name', 'network', 'input', 'outputs', 'work', 'weights', 'published'],
      ...models.map(({ name, title, inputs, outputs, flops, weightBytes, source }) => [
        name,
        title,
        inputs.map((shape) => shape.join('×')).join(', '),
        outputs,
        amount(flops, 'FLOP'),
        amount(weightBytes, 'B'),
        source,
      ]),
    ]),
  );
}

interface ExportOptions {
  readonly out?: string;
  readonly seed: number;
  readonly json?: true;
}

async function exportModel(name: string, { out, seed, json }: ExportOptions): Promise<void> {
  const { title, bytes } = buildZooModel(name, { seed });
  const file = out ?? `${name}.onnx`;
  try {
    await shown(`writing ${file}`, () => writeFile(file, bytes));
  } catch (error) {
    throw fileError(error, file, 'write');
  }
  if (json) printJson({ model: name, file, bytes: bytes.byteLength, seed, ok: true });
  else print(`${title}: ${amount(bytes.byteLength, 'B')} written to ${file}`);
}
