// Checks the layer rules of .dependency-cruiser.cjs on a planted source tree, then on the real one.
// The planted tree breaks every rule once, beside imports that are allowed: a rule that stays silent, or one that cries wolf, is an
// error. Without it a change to import resolution could make every rule pass without looking.
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { program, root, workspaces } from './lib.mjs';

const rules = createRequire(import.meta.url)('../.dependency-cruiser.cjs').forbidden.map((rule) => rule.name);

/** [file, what it imports, the rules it must break]; `type x` imports types only, which is erased at run time and a dependency all the same. */
const planted = [
  ['packages/core/src/index.ts', ['zod', '@bufbuild/protobuf/wire', './compile/c.js', './plan/p.js'], []],
  ['packages/core/src/onnx/o.ts', [], []],
  ['packages/core/src/graph/g.ts', ['../onnx/o.js'], []],
  ['packages/core/src/ops/p.ts', ['../graph/g.js'], []],
  ['packages/core/src/rows/r.ts', ['../ops/p.js'], []],
  ['packages/core/src/compile/c.ts', ['../rows/r.js', '../plan/p.js'], []],
  ['packages/core/src/plan/p.ts', ['../rows/r.js'], []],
  ['packages/core/src/cost/c.ts', ['../rows/r.js', '../plan/p.js'], []],
  ['packages/core/src/cost/bad.ts', ['../compile/c.js'], ['core-cost-order']],
  ['packages/core/src/rows/ok.test.ts', ['../compile/c.js', 'node:fs', 'fast-check'], []],
  ['packages/core/src/onnx/bad.ts', ['../graph/g.js'], ['core-onnx-order']],
  ['packages/core/src/graph/bad.ts', ['../rows/r.js'], ['core-graph-order']],
  ['packages/core/src/ops/bad.ts', ['../compile/c.js'], ['core-ops-order']],
  ['packages/core/src/rows/bad.ts', ['../compile/c.js'], ['core-rows-order']],
  ['packages/core/src/plan/bad.ts', ['../compile/c.js'], ['core-plan-order']],
  ['packages/core/src/bad-builtin.ts', ['node:fs'], ['core-zoo-and-planner-run-in-a-browser']],
  ['packages/core/src/bad-native.ts', ['onnxruntime-node'], ['core-third-party', 'inference-engine-in-one-folder']],
  ['packages/core/src/bad-ours.ts', ['@distredge/runtime'], ['core-imports-no-package-of-ours']],
  ['packages/core/src/bad-cycle-a.ts', ['./bad-cycle-b.js'], ['no-circular']],
  ['packages/core/src/bad-cycle-b.ts', ['./bad-cycle-a.js'], []], // a cycle is told once
  ['packages/core/src/bad-missing.ts', ['./nowhere.js'], ['not-resolvable']],
  ['packages/core/src/bad-test.ts', ['./rows/ok.test.js'], ['no-import-of-tests']],
  ['packages/zoo/src/index.ts', ['@distredge/core'], []],
  ['packages/zoo/src/bad-ours.ts', ['@distredge/runtime'], ['zoo-imports-core-only']],
  ['packages/zoo/src/bad-builtin.ts', ['fs'], ['core-zoo-and-planner-run-in-a-browser']],
  ['packages/zoo/src/bad-third.ts', ['zod'], ['zoo-third-party']],
  ['packages/runtime/src/index.ts', ['@distredge/core', 'node:net', 'zod', './engine/e.js'], []],
  ['packages/runtime/src/engine/e.ts', ['onnxruntime-node'], []],
  ['packages/runtime/src/controller/c.ts', ['aedes', 'mqtt'], []],
  ['packages/runtime/src/bad-broker.ts', ['aedes'], ['messaging-in-one-folder']],
  ['packages/runtime/src/security/x.ts', ['@peculiar/x509', 'reflect-metadata'], []],
  ['packages/runtime/src/bad-x509.ts', ['@peculiar/x509'], ['certificates-in-one-folder']],
  ['packages/runtime/src/bad-zoo.ts', ['type @distredge/zoo'], ['runtime-imports-core-only']],
  ['packages/runtime/src/bad-planner.ts', ['@distredge/planner'], ['runtime-imports-core-only']],
  ['packages/runtime/src/bad-engine.ts', ['onnxruntime-node'], ['inference-engine-in-one-folder']],
  ['packages/runtime/src/bad-deep.ts', ['@distredge/core/dist/index.js'], ['not-resolvable']],
  ['packages/runtime/src/bad-build.ts', ['../../core/dist/index.js'], ['no-import-of-a-build', 'no-internals']],
  ['packages/runtime/src/bad-relative.ts', ['../../core/src/onnx/o.js'], ['no-internals']],
  ['packages/planner/src/index.ts', ['@distredge/core'], []],
  ['packages/planner/src/rl/r.ts', ['@distredge/core'], []],
  ['packages/planner/src/rl/bad.ts', ['../index.js'], ['rl-knows-no-planning']],
  ['packages/planner/src/bad-runtime.ts', ['@distredge/runtime'], ['planner-imports-core-only']],
  ['packages/planner/src/bad-builtin.ts', ['node:fs'], ['core-zoo-and-planner-run-in-a-browser']],
  ['packages/planner/src/bad-sharp.ts', ['sharp'], ['cli-libraries-in-the-cli']],
  [
    'packages/planner/src/bad-app.ts',
    ['../../../apps/cli/src/index.js'],
    ['packages-do-not-import-apps', 'planner-imports-core-only', 'no-internals'],
  ],
  [
    'apps/cli/src/index.ts',
    ['@distredge/core', '@distredge/zoo', '@distredge/runtime', 'sharp', 'commander', 'node:fs'],
    [],
  ],
  ['apps/cli/src/bad-engine.ts', ['onnxruntime-node'], ['inference-engine-in-one-folder']],
  ['bench/ok.ts', ['@distredge/core', '@distredge/runtime', 'onnxruntime-node', 'node:net'], []],
  ['bench/bad-relative.ts', ['../packages/core/src/onnx/o.js'], ['no-internals']],
  ['e2e/ok.test.ts', ['@distredge/core', '@distredge/runtime', 'vitest', 'onnxruntime-node'], []],
];

function plant(folder) {
  rmSync(folder, { recursive: true, force: true });
  const write = (file, text) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  };
  for (const [file, imports] of planted) {
    const line = (name, i) => `import ${name.replace(/^(type )?(.*)$/, `$1* as m${i} from '$2'`)};\n`;
    write(file, `${imports.map(line).join('')}export const here = 1;\n`);
  }
  const packages = new Set(planted.map(([file]) => /^(packages|apps)\/[^/]+/.exec(file)?.[0]).filter(Boolean));
  for (const path of packages) {
    const manifest = manifestOf(path);
    const { name } = JSON.parse(manifest);
    write(`${path}/package.json`, manifest);
    // A build is there too, as in a working copy: the rules must look at sources all the same.
    write(`${path}/dist/index.js`, 'export const here = 1;\n');
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true });
    symlinkSync(join(folder, path), join(folder, 'node_modules', name));
  }
  for (const file of ['package.json', 'tsconfig.base.json']) write(file, readFileSync(join(root, file), 'utf8'));
}

/** A package's own package.json, so that its exports map is tried too; a package that is planned only gets one like core's. */
function manifestOf(path) {
  const file = (folder) => join(root, folder, 'package.json');
  if (existsSync(file(path))) return readFileSync(file(path), 'utf8');
  return readFileSync(file('packages/core'), 'utf8').replace('@distredge/core', `@distredge/${path.split('/')[1]}`);
}

/** Runs dependency-cruiser with the one rule file and returns `file: rule` for each breach, with the import it was found in. */
function breaches(cwd, folders) {
  const config = join(root, '.dependency-cruiser.cjs');
  const { stdout, output } = program(
    join(root, 'node_modules', '.bin', 'depcruise'),
    ['--config', config, '--output-type', 'json', ...folders],
    { capture: true, cwd },
  );
  let report;
  try {
    report = JSON.parse(stdout);
  } catch {
    throw new Error(`dependency-cruiser gave no report:\n${output}`);
  }
  if (report.summary.totalCruised === 0) throw new Error(`dependency-cruiser saw no file in ${folders.join(', ')}`);
  return { seen: report.summary.totalCruised, found: report.summary.violations };
}

/** The folders with sources: built files are no sources. */
function sources(folder) {
  const folders = [...workspaces(folder).map((path) => `${path}/src`), 'bench', 'e2e'];
  return folders.filter((path) => existsSync(join(folder, path)));
}

function selfTest() {
  const folder = join(root, '.tmp', 'layers');
  plant(folder);
  const { found } = breaches(folder, sources(folder));
  const got = new Set(found.map((breach) => `${breach.from}: ${breach.rule.name}`));
  const wanted = new Set(planted.flatMap(([file, , names]) => names.map((name) => `${file}: ${name}`)));
  const unplanted = rules.filter((rule) => !planted.some(([, , names]) => names.includes(rule)));
  const problems = [
    ...[...wanted].filter((line) => !got.has(line)).map((line) => `not caught: ${line}`),
    ...[...got].filter((line) => !wanted.has(line)).map((line) => `caught, but allowed: ${line}`),
    ...unplanted.map((rule) => `no violation is planted for rule ${rule}`),
  ];
  rmSync(folder, { recursive: true, force: true });
  for (const problem of problems) console.error(problem);
  console.log(`layer rules, self-test: ${wanted.size} violations planted, ${problems.length} problems`);
  return problems.length === 0;
}

function realTree() {
  const { seen, found } = breaches(root, sources(root));
  for (const { from, to, rule } of found) console.error(`${from} -> ${to}: ${rule.name}`);
  console.log(`layer rules: ${seen} modules, ${found.length} violations`);
  return found.length === 0;
}

const sound = selfTest();
process.exit(realTree() && sound ? 0 : 1);
