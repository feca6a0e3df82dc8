#!/usr/bin/env node
// The command that npm links. It stands in the repository, because npm links no file that is made only by a build.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = new URL('../dist/main.js', import.meta.url);
if (existsSync(fileURLToPath(main))) {
  await import(main.href);
} else {
  process.stderr.write('error: distredge is not built\n  to do:    npm run build\n');
  process.exitCode = 1;
}
