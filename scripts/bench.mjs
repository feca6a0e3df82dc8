// npm run bench: builds bench/ and lists its benchmarks, one a line with the first line of its opening comment.
// npm run bench -- NAME args: runs that one; with --help it says how it is used, and its opening comment does where it says nothing.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, tool } from './lib.mjs';

/** Files of bench/ that can be run; those of its folders, and those that begin with `_`, are parts. */
function benchmarks() {
  return readdirSync(join(root, 'bench'))
    .filter((file) => /^[^_].*\.ts$/.test(file) && !/\.(d|test)\.ts$/.test(file))
    .map((file) => file.slice(0, -3))
    .sort();
}

function textOf(name) {
  return readFileSync(join(root, 'bench', `${name}.ts`), 'utf8');
}

function summary(name) {
  const text = textOf(name);
  const comment = /^(?:#!.*\n)?\s*(?:\/\/\s*(.*)|\/\*\*?[\s*]*(.*))/.exec(text);
  return (comment?.[1] ?? comment?.[2] ?? '').replace(/\s*\*\/\s*$/, '').trim();
}

function list(names) {
  if (names.length === 0) console.log('bench/ holds no benchmark yet');
  const width = Math.max(0, ...names.map((name) => name.length));
  for (const name of names) console.log(`${name.padEnd(width)}  ${summary(name)}`);
}

const [name, ...args] = process.argv.slice(2);
const names = existsSync(join(root, 'bench')) ? benchmarks() : [];
if (name === undefined) {
  list(names);
} else if (!names.includes(name)) {
  console.error(`no benchmark is called ${name}; there are:`);
  list(names);
  process.exit(2);
} else if (args.includes('--help') && !/\bhelp: \{/.test(textOf(name))) {
  console.log(
    /\/\*\*([\s\S]*?)\*\//
      .exec(textOf(name))?.[1]
      .replaceAll(/^ \* ?/gm, '')
      .trim(),
  );
} else {
  if (tool('tsc', ['-b', 'bench']) !== 0) process.exit(1);
  // Waits for a benchmark that tidies up: a terminal sends Ctrl-C to both, other signals are passed on.
  const script = join(root, 'bench', 'dist', `${name}.js`);
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
  });
}
