/** Help, and what is wrong on the command line itself: exit code 2, one clear error. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { distredge, failing } from '../support/cli.js';

const COMMANDS = [
  'demo',
  'inspect',
  'plan',
  'simulate',
  'explain',
  'verify',
  'bench',
  'profile',
  'provider',
  'run',
  'zoo',
];

describe.concurrent('help', () => {
  test('of distredge names every command, with examples and exit codes', async () => {
    const { code, stdout, stderr } = await distredge(['--help']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}`, 'm'));
    expect(stdout).toContain('Examples:\n  $ distredge demo\n');
    expect(stdout).toContain('Exit codes:');
  });

  test.each(COMMANDS)('of %s has examples that begin with the command', async (command) => {
    const { code, stdout } = await distredge([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: distredge ${command}`);
    expect(stdout).toContain(`Examples:\n  $ distredge ${command === 'run' ? 'provider' : command}`);
    expect(stdout).not.toContain('--child');
  });

  test('comes on standard error, with exit code 2, where no command is given', async () => {
    const { code, stdout, stderr } = await distredge([]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('Usage: distredge');
  });

  test('--version tells that of the package', async () => {
    const manifest = fileURLToPath(new URL('../../apps/cli/package.json', import.meta.url));
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
    expect(await distredge(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});

/** Arguments, and what the error says. No model of these names exists: usage is checked before any file is opened. */
const WRONG: readonly (readonly [string, RegExp])[] = [
  ['frobnicate', /unknown command 'frobnicate'/],
  ['inspect', /missing required argument 'model'/],
  ['inspect none.onnx --frob', /unknown option '--frob'/],
  ['inspect none.onnx other.onnx', /too many arguments/],
  ['verify none.onnx --workers 0', /'0' is no value for --workers/],
  ['verify none.onnx --workers 3 --weights 1,2', /'1,2' is no value for --weights/],
  ['verify none.onnx --weights 0,0', /'0,0' is no value for --weights/],
  ['verify none.onnx --weights 1,,1', /no value for --weights/],
  ['verify none.onnx --volumes some', /'some' is no value for --volumes/],
  ['verify none.onnx --normalize bright', /'bright' is no value for --normalize/],
  ['verify none.onnx --seed x', /'x' is no value for --seed/],
  ['inspect none.onnx --shape x=1,3,0,4', /no value for --shape/],
  ['inspect none.onnx --shape x=1,3,99999999,4', /no value for --shape/],
  ['inspect none.onnx --size 12by12', /'12by12' is no value for --size/],
  ['inspect none.onnx --size 0', /no value for --size/],
  ['bench none.onnx --rounds 0', /'0' is no value for --rounds/],
  ['demo --workers 65', /'65' is no value for --workers/],
  ['run none.onnx', /required option '--devices <list>'/],
  ['run none.onnx --devices 127.0.0.1:7411,127.0.0.1:7411', /a provider is named twice/],
  ['run none.onnx --devices 127.0.0.1:7411 --weights 1,1', /no value for --weights/],
  ['run none.onnx --devices 127.0.0.1:7411 --deadline 0', /no value for --deadline/],
];

describe.concurrent('wrong usage', () => {
  test.each(WRONG)('distredge %s', async (line, says) => {
    const { code, error } = await failing(line.split(' '));
    expect(code).toBe(2);
    expect(error['code']).toBe('USAGE');
    expect(error['message']).toMatch(says);
    expect(error['hint'] ?? error['expected'], 'says what would be right').toMatch(/\S/);
  });

  test('comes as text alone without --json', async () => {
    const { code, stdout, stderr } = await distredge(['inspect', '--bogus']);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toBe(
      "error USAGE: unknown option '--bogus'\n  to do:    distredge inspect --help shows its arguments, options and examples\n",
    );
  });

  test('a provider that pretends to be started by another command', async () => {
    const { code, stderr } = await distredge(['provider', '--child']);
    expect(code).toBe(2);
    expect(stderr).toContain('error USAGE: --child is for providers that distredge itself starts');
  });
});

test('the command that npm links runs, and is there before anything is built', () => {
  const manifest = new URL('../../apps/cli/package.json', import.meta.url);
  const bin = (JSON.parse(readFileSync(manifest, 'utf8')) as { bin: { distredge: string } }).bin.distredge;
  expect(bin).not.toMatch(/^(\.\/)?dist\//);
  const linked = fileURLToPath(new URL(bin, manifest));
  expect(execFileSync(process.execPath, [linked, '--version'], { encoding: 'utf8' })).toMatch(/^\d+\.\d+\.\d+\n$/);
});

describe.concurrent('addresses', () => {
  test.each([
    ['provider --listen 0.0.0.0:7411', 'ADDRESS_NOT_LOOPBACK'],
    ['provider --listen example.com:7411', 'ADDRESS_NOT_LOOPBACK'],
    ['provider --listen 127.0.0.1', 'ADDRESS_INVALID'],
    ['provider --listen 127.0.0.1:65536', 'ADDRESS_INVALID'],
  ])('%s is refused with the reason', async (line, code) => {
    const outcome = await distredge(line.split(' '));
    expect([outcome.code, outcome.stdout]).toEqual([2, '']);
    expect(outcome.stderr).toContain(`error ${code}: `);
    expect(outcome.stderr).toMatch(/expected: /);
    if (code === 'ADDRESS_NOT_LOOPBACK') expect(outcome.stderr).toContain('are not authenticated');
  });

  test.each([
    ['10.0.0.1:7411', 'ADDRESS_NOT_LOOPBACK'],
    ['127.0.0.1:7411,device.local:7411', 'ADDRESS_NOT_LOOPBACK'],
    ['', 'ADDRESS_INVALID'],
    ['127.0.0.1:7411,', 'ADDRESS_INVALID'],
    ['127.0.0.1:0', 'ADDRESS_INVALID'],
  ])("run --devices '%s' is refused with the reason", async (devices, code) => {
    const { code: exit, error } = await failing(['run', 'none.onnx', '--devices', devices]);
    expect([exit, error['code']]).toEqual([2, code]);
  });
});
