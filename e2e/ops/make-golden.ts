/**
 * Writes the golden cases: runs every case of `cases/<family>.ts` in onnxruntime and keeps operands and results as JSON in
 * `golden/<family>.json`. Run it with a TypeScript runner, from the root: `npx tsx e2e/ops/make-golden.ts [family …]`.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { elements } from '../../packages/core/src/tensor.js';
import { runWhole } from './engine.js';
import { type CaseDefinition, type GoldenCase, type GoldenTensor, type Operand, toGolden } from './golden-case.js';
import { random } from './sampling.js';

function filled(operand: Operand, seed: string): GoldenTensor {
  const next = random(seed);
  const float = operand.dtype.startsWith('float');
  const whole = operand.dtype === 'bool' ? 2 : 9;
  const draw = (): number => (float ? Math.floor(next() * 256 - 128) / 64 : Math.floor(next() * whole));
  return { ...operand, data: operand.data ?? Array.from({ length: elements(operand.shape) }, draw) };
}

async function make(definition: CaseDefinition): Promise<GoldenCase> {
  const { outputs = 1, ...rest } = definition;
  const inputs = rest.inputs.map((operand, index) => operand && filled(operand, `${rest.name} ${index}`));
  const asked = typeof outputs === 'number' ? Array.from({ length: outputs }, () => true) : outputs;
  const results = await runWhole(
    { ...rest, inputs },
    asked.map((given) => (given ? {} : null)),
  );
  const golden = asked.map((given, index) => {
    const tensor = results.get(`out${index}`);
    if (given && tensor === undefined) throw new Error(`${rest.name}: onnxruntime gives no output ${index}`);
    return given && tensor !== undefined ? toGolden(tensor) : null;
  });
  return { ...rest, inputs, outputs: golden };
}

async function main(families: readonly string[]): Promise<void> {
  const known = readdirSync(new URL('cases/', import.meta.url)).map((file) => file.replace('.ts', ''));
  for (const family of families.length > 0 ? families : known) {
    const { cases } = (await import(`./cases/${family}.js`)) as { cases: readonly CaseDefinition[] };
    const made: string[] = [];
    for (const definition of cases) {
      try {
        made.push(JSON.stringify(await make(definition)));
      } catch (error) {
        throw new Error(`${family}, case '${definition.name}'`, { cause: error });
      }
    }
    writeFileSync(new URL(`golden/${family}.json`, import.meta.url), `[\n${made.join(',\n')}\n]\n`);
    process.stdout.write(`${family}: ${made.length} cases\n`);
  }
}

await main(process.argv.slice(2));
