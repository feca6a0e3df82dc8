// Small helpers that the scripts of this folder share.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a program of node_modules/.bin in the repository root and returns its exit code; 1 when it did not start or died of a signal. */
export function tool(name, args = [], options = {}) {
  return program(join(root, 'node_modules', '.bin', name), args, options).status;
}

/** Runs a program in the repository root; `capture` returns its output instead of showing it. */
export function program(command, args = [], { capture = false, cwd = root } = {}) {
  const done = spawnSync(command, args, {
    cwd,
    stdio: capture ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  });
  if (done.error) console.error(`${command}: ${done.error.message}`);
  return { status: done.status ?? 1, output: `${done.stdout ?? ''}${done.stderr ?? ''}`, stdout: done.stdout ?? '' };
}

/** The folders of all workspace packages, relative to the repository. */
export function workspaces(folder = root) {
  return ['packages', 'apps'].flatMap((parent) =>
    readdirSync(join(folder, parent), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `${parent}/${entry.name}`),
  );
}
