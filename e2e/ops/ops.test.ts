/** Every golden case of every op family. Made by `make-golden.ts`; what is checked stands in `harness.ts`. */
import { readdirSync } from 'node:fs';
import { describe, test } from 'vitest';
import { checkCase, loadCases } from './harness.js';

const folder = new URL('golden/', import.meta.url);
for (const file of readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .sort()) {
  describe(file.replace('.json', ''), () => {
    for (const golden of loadCases(new URL(file, folder))) {
      test(`${golden.name} (opset ${golden.opset})`, () => checkCase(golden));
    }
  });
}
