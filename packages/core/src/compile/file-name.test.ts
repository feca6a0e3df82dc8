import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fileNameOf } from './file-name.js';

const PLAIN = /^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$/;

it.each([
  ['features.0.weight', 'features.0.weight'],
  ['onnx::Conv_193', 'onnx_3a__3a_Conv__193'],
  ['w[0:0:12]', 'w_5b_0_3a_0_3a_12_5d_'],
  ['../w', '_2e__2e__2f_w'],
  ['-w.', '_2d_w_2e_'],
])('%s is kept as %s', (name, file) => {
  expect(fileNameOf(name)).toBe(file);
  expect(file).toMatch(PLAIN);
});

it('is a plain file name, and another one for each name', () => {
  const name = fc.oneof(
    fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('a', '1', '_', '.', '-', ':', '2', 'e', '/') }),
    fc.string({ minLength: 1, maxLength: 12, unit: 'binary' }),
  );
  fc.assert(
    fc.property(name, name, (one, other) => {
      expect(fileNameOf(one)).toMatch(PLAIN);
      if (one !== other) expect(fileNameOf(one)).not.toBe(fileNameOf(other));
    }),
    { numRuns: 3000 },
  );
});

it('leaves a name that would get too long as it is', () => {
  const name = ':'.repeat(100);
  expect(fileNameOf(name)).toBe(name);
});
