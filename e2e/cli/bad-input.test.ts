/** Files that are no model or no photo, and models that are wrong: each a clear error, found before anything is started. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { distredge, failing, folder } from '../support/cli.js';
import { model, node, oneNode, smallCnn, value, weight, weightIn } from '../support/models.js';

const dir = folder();
const small = smallCnn();
const image = [1, 3, 24, 16];
const relu = node('Relu', ['x'], ['y']);

const external = (location: string, offset = 0): Uint8Array =>
  model({
    input: [value('x', image)],
    output: [value('y')],
    initializer: [weightIn(location, 'w', [8, 3, 3, 3], offset)],
    node: [node('Conv', ['x', 'w'], ['y'])],
  });

const weights = weight('w', [8, 3, 3, 3]).rawData ?? new Uint8Array();
dir.file('weights.bin', weights);

/** Bytes that unpack to more than any model has; 1000 times smaller while packed. */
function bomb(): Uint8Array {
  const member = gzipSync(new Uint8Array(2 ** 28));
  return Buffer.concat(new Array<Uint8Array>(9).fill(member));
}

interface Bad {
  readonly bytes: Uint8Array | string;
  readonly code: string;
  /** What the error's place holds, beside the file. */
  readonly where?: RegExp;
}

const BAD: Readonly<Record<string, Bad>> = {
  'empty.onnx': { bytes: '', code: 'MODEL_INVALID' },
  'text.onnx': { bytes: 'not a model but a letter', code: 'MODEL_INVALID', where: /byte \d+ of 24/ },
  'cut.onnx': { bytes: small.subarray(0, 900), code: 'MODEL_INVALID', where: /byte \d+ of 900/ },
  'random.onnx': {
    bytes: Uint8Array.from({ length: 999 }, (_, at) => (at * 7919 + 13) % 256),
    code: 'MODEL_INVALID',
    where: /byte \d+ of 999/,
  },
  'cut.onnx.gz': { bytes: gzipSync(small).subarray(0, 200), code: 'MODEL_INVALID' },
  'damaged.onnx.gz': {
    bytes: Buffer.concat([gzipSync(small).subarray(0, 40), Buffer.alloc(400, 7)]),
    code: 'MODEL_INVALID',
  },
  'packed-text.onnx.gz': { bytes: gzipSync('a letter'), code: 'MODEL_INVALID' },
  'cycle.onnx': {
    bytes: model({
      input: [value('x', image)],
      output: [value('y')],
      node: [node('Add', ['x', 'b'], ['a']), node('Relu', ['a'], ['b']), node('Relu', ['b'], ['y'])],
    }),
    code: 'MODEL_CYCLE',
    where: /Add 'make_a'/,
  },
  'missing-initialiser.onnx': {
    bytes: model({
      input: [value('x', image)],
      output: [value('y')],
      node: [node('Conv', ['x', 'w'], ['y'])],
    }),
    code: 'MODEL_MISSING_VALUE',
    where: /Conv 'make_y'/,
  },
  'missing-output.onnx': {
    bytes: model({ input: [value('x', image)], output: [value('z')], node: [relu] }),
    code: 'MODEL_MISSING_VALUE',
    where: /output 'z'/,
  },
  'made-twice.onnx': {
    bytes: model({ input: [value('x', image)], output: [value('y')], node: [relu, node('Neg', ['x'], ['y'])] }),
    code: 'MODEL_INVALID',
    where: /value 'y'/,
  },
  'wrong-weights.onnx': {
    bytes: model({
      input: [value('x', [1, 4, 8, 8])],
      output: [value('y')],
      initializer: [weight('w', [8, 3, 3, 3])],
      node: [node('Conv', ['x', 'w'], ['y'])],
    }),
    code: 'OP_INVALID',
    where: /Conv 'make_y'/,
  },
  'short-weight.onnx': {
    bytes: model({
      input: [value('x', image)],
      output: [value('y')],
      initializer: [{ ...weight('w', [8, 3, 3, 3]), rawData: new Uint8Array(100) }],
      node: [node('Conv', ['x', 'w'], ['y'])],
    }),
    code: 'MODEL_INVALID',
    where: /tensor 'w'/,
  },
  'text-input.onnx': {
    bytes: model({ input: [value('x', [1, 3], 8)], output: [value('y')], node: [relu] }),
    code: 'MODEL_INVALID',
    where: /input 'x'/,
  },
  'no-rank.onnx': {
    bytes: model({ input: [value('x')], output: [value('y')], node: [relu] }),
    code: 'SHAPE_UNKNOWN',
    where: /input 'x'/,
  },
  'external-missing.onnx': { bytes: external('elsewhere.bin'), code: 'MODEL_EXTERNAL_DATA' },
  'external-outside.onnx': { bytes: external('../../weights.bin'), code: 'MODEL_EXTERNAL_DATA' },
  'external-absolute.onnx': { bytes: external('/etc/hosts'), code: 'MODEL_EXTERNAL_DATA' },
  'external-short.onnx': { bytes: external('weights.bin', 16), code: 'MODEL_EXTERNAL_DATA', where: /weights\.bin/ },
  'external-folder.onnx': { bytes: external('.'), code: 'MODEL_EXTERNAL_DATA' },
  'external-constant.onnx': {
    bytes: model({
      input: [value('x', image)],
      output: [value('y')],
      node: [
        {
          ...node('Constant', [], ['w']),
          attribute: [{ name: 'value', type: 4, t: weightIn('weights.bin', 'v', [8, 3, 3, 3]) }],
        },
        node('Conv', ['x', 'w'], ['y']),
      ],
    }),
    code: 'MODEL_EXTERNAL_DATA',
    where: /tensor 'v'/,
  },
};

describe.concurrent('a model file', () => {
  test.each(Object.entries(BAD))('%s', async (name, { bytes, code, where }) => {
    const path = dir.file(name, bytes);
    const { code: exit, error } = await failing(['inspect', path]);
    expect([exit, error['code']]).toEqual([1, code]);
    expect(error['where']).toContain(path);
    expect(error['where']).toMatch(where ?? /./);
    expect(error['hint'] ?? error['expected'], 'says what to do').toMatch(/\S/);
  });

  test.each([
    ['there is none', 'none.onnx', 'FILE'],
    ['it is a folder', '.', 'FILE'],
    ['it is a device', '/dev/zero', 'FILE'],
  ])('where %s', async (_, name, code) => {
    const path = name.startsWith('/') ? name : `${dir.path}/${name}`;
    const { code: exit, error } = await failing(['verify', path]);
    expect([exit, error['code'], error['where']]).toEqual([1, code, path]);
    expect(error['hint']).toMatch(/\S/);
  });

  test('that unpacks to more than a model can be is refused when that shows', async () => {
    const { error } = await failing(['inspect', dir.file('bomb.onnx.gz', bomb())]);
    expect(error['code']).toBe('MODEL_LIMIT');
  });
});

describe.concurrent('a shape', () => {
  test.each([
    ['--shape other=1,3,24,16', 'SHAPE_MISMATCH', /input 'other'/],
    ['--shape x=1,3,24', 'SHAPE_MISMATCH', /input 'x'/],
    ['--shape x=1,5,24,16', 'SHAPE_MISMATCH', /input 'x'/],
    ['--shape x=1,3,1000000,1000000', 'MODEL_LIMIT', /Conv 'make_c1'/],
  ])('%s that does not fit', async (option, code, where) => {
    const path = dir.file('open.onnx', smallCnn(['batch', 3, 'height', 'width']));
    const { code: exit, error } = await failing(['verify', path, ...option.split(' ')]);
    expect([exit, error['code']]).toEqual([1, code]);
    expect(error['where']).toMatch(where);
  });
});

describe.concurrent('a photo', () => {
  const path = dir.file('small.onnx', small);

  test.each([
    ['there is none', 'none.jpg', undefined, 'FILE'],
    ['it is a folder', '.', undefined, 'FILE'],
    ['it is empty', 'empty.png', '', 'IMAGE_INVALID'],
    ['it is something else', 'model.jpg', small, 'IMAGE_INVALID'],
  ])('where %s', async (_, name, bytes, code) => {
    const photo = bytes === undefined ? `${dir.path}/${name}` : dir.file(name, bytes);
    const { code: exit, error } = await failing(['verify', path, '--image', photo]);
    expect([exit, error['code'], error['where']]).toEqual([1, code, photo]);
  });

  test('for a model that takes none', async () => {
    const flat = dir.file('flat.onnx', model({ input: [value('x', [1, 12])], output: [value('y')], node: [relu] }));
    const { code, error } = await failing(['verify', flat, '--image', 'photo.jpg']);
    expect([code, error['code']]).toEqual([1, 'IMAGE_INVALID']);
  });
});

describe.concurrent('what onnxruntime itself cannot run', () => {
  test.each([
    ['an op that does not exist', node('Frobnicate', ['x'], ['y']), {}],
    [
      'an op of an unknown domain',
      node('Frobnicate', ['x'], ['y'], {}, 'com.example'),
      {
        opsetImport: [
          { domain: '', version: 17n },
          { domain: 'com.example', version: 1n },
        ],
      },
    ],
  ])('%s runs whole, with the reason, and is an error when run', async (name, op, more) => {
    const path = dir.file(`${name.replaceAll(' ', '-')}.onnx`, oneNode(op, more));
    const shown = await distredge(['inspect', path]);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/^whole: Frobnicate 'make_y': .*not known/m);
    const { code, error } = await failing(['verify', path]);
    expect([code, error['code'], error['where']]).toEqual([1, 'ENGINE_FAILED', path]);
    expect(error['got']).toContain('Frobnicate');
    expect(error['hint']).toMatch(/export the model again/);
  });

  test.each([
    ['an opset from the future', { opsetImport: [{ domain: '', version: 99n }] }, /[Oo]pset 99/],
    ['a format from the future', { irVersion: 99n }, /IR version: 99/],
    ['no opset', { opsetImport: [] }, /opset/],
  ])('%s', async (name, more, got) => {
    const path = dir.file(`${name.replaceAll(' ', '-')}.onnx`, oneNode(relu, more));
    const { code, error } = await failing(['verify', path]);
    expect([code, error['code']]).toEqual([1, 'ENGINE_FAILED']);
    expect(error['got']).toMatch(got);
    expect(error['got']).not.toContain('onnxruntime_src');
  });
});

test('names in a model cannot steer the terminal', async () => {
  const op = node('Re\u001b[31mlu\n', ['x'], ['y']);
  const { stdout } = await distredge(['inspect', dir.file('escape.onnx', oneNode(op))]);
  expect(stdout).not.toContain('\u001b');
  expect(stdout).toContain('Re\\u001b[31mlu\\u000a');
});
