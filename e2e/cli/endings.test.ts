/** However a command ends — Ctrl-C at any time, kill, a reader that goes away — nothing of it stays: no process, no file. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import {
  endWithTests,
  folder,
  json,
  MAIN,
  type Outcome,
  type Running,
  sleep,
  start,
  startProvider,
  until,
  within,
} from '../support/cli.js';
import { slowCnn, smallCnn } from '../support/models.js';

endWithTests();

const dir = folder();
const small = dir.file('small.onnx', smallCnn());
const slow = dir.file('slow.onnx', slowCnn(160));
/** Divided, it takes long; whole it is run only once. */
const long = dir.file('long.onnx', slowCnn(12));

/** An end takes well under 5 s; this machine may have other work. */
const SOON_MS = 10_000;

/** A folder for temporary files, to be found empty. */
function temporary(): { readonly env: Record<string, string>; left(): string[] } {
  const path = mkdtempSync(join(dir.path, 'tmp-'));
  return { env: { TMPDIR: path, TEMP: path, TMP: path }, left: () => readdirSync(path) };
}

const ended = (running: Running): Promise<Outcome> => within(running.done, SOON_MS, 'the end after a signal');

/** Providers that a command has started on this machine, once they are all there. */
const withProviders = (running: Running): Promise<void> =>
  until(() => running.over || running.left().length >= 3, 'two provider processes');

describe.concurrent('Ctrl-C', () => {
  test('while a model is unpacked', async () => {
    const member = gzipSync(new Uint8Array(2 ** 28));
    const bomb = dir.file('bomb.onnx.gz', Buffer.concat(new Array<Uint8Array>(9).fill(member)));
    const running = start(['verify', bomb]);
    await sleep(800);
    running.signal('SIGINT', 'group');
    const { code, signal, stderr } = await ended(running);
    // Before the command has begun to listen for signals, the system ends it; shells tell 130 of that too.
    expect(code ?? signal).toSatisfy((how) => how === 130 || how === 'SIGINT');
    expect(stderr).toBe('');
  });

  test.each([
    ['the command', 0],
    ['the group', 0],
    ['the command', 1000],
    ['the group', 1000],
  ] as const)('to %s, %d ms after the first provider was started', async (whom, ms) => {
    const files = temporary();
    const running = start(['verify', long, '--workers', '2', '--volumes', 'layers', '--json'], files.env);
    await until(() => running.over || running.left().length >= 2, 'a provider process');
    await sleep(ms);
    running.signal('SIGINT', whom === 'the group' ? 'group' : 'command');
    const outcome = await ended(running);
    expect(outcome.code).toBe(130);
    expect(json(outcome)).toEqual({ ok: false, error: { code: 'CANCELLED', message: 'ended by SIGINT' } });
    expect(outcome.stderr).toBe('');
    await running.gone(SOON_MS);
    expect(files.left()).toEqual([]);
  });

  test('in mid-run at the requester: the provider goes on; at the provider: it ends', async () => {
    const files = temporary();
    const provider = await startProvider([], files.env);
    const requester = start(['run', slow, '--devices', provider.address]);
    await provider.prints('preparing');
    await sleep(1500);
    requester.signal('SIGINT');
    expect(await ended(requester)).toMatchObject({ code: 130, stdout: '', stderr: '' });
    await provider.prints('done');
    expect(provider.over).toBe(false);

    const next = start(['run', slow, '--devices', provider.address, '--no-fallback', '--json']);
    await provider.prints(/preparing.*preparing/s);
    await sleep(1500);
    provider.signal('SIGINT');
    const { code, signal } = await ended(provider);
    // What is being computed cannot be interrupted: if it takes long, the provider ends by the signal itself.
    expect(code ?? signal).toSatisfy((how) => how === 130 || how === 'SIGINT');
    const outcome = await ended(next);
    expect(outcome.code).toBe(1);
    expect(json(outcome)).toMatchObject({ ok: false, error: { code: 'PROVIDER_LOST' } });
    expect(files.left()).toEqual([]);
  });

  test('at a provider that waits', async () => {
    const provider = await startProvider();
    provider.signal('SIGINT', 'group');
    expect(await ended(provider)).toMatchObject({ code: 130, stderr: '' });
  });
});

describe.concurrent('a kill', () => {
  test('that is polite ends a command as Ctrl-C does, with the code of its own', async () => {
    const running = start(['bench', long, '--workers', '2', '--volumes', 'blocks', '--rounds', '1000']);
    await withProviders(running);
    running.signal('SIGTERM');
    expect((await ended(running)).code).toBe(143);
    await running.gone(SOON_MS);
  });

  test.each([0, 1000])('that is not, %d ms after the providers came up, leaves none of them', async (ms) => {
    const files = temporary();
    const running = start(['verify', long, '--workers', '2', '--volumes', 'layers'], files.env);
    await until(() => running.over || running.left().length >= 2, 'a provider process');
    await sleep(ms);
    running.signal('SIGKILL');
    expect((await ended(running)).signal).toBe('SIGKILL');
    await running.gone(SOON_MS);
    expect(files.left()).toEqual([]);
  });

  test('of a provider that a command has started is an error, and the others end', async () => {
    const running = start(['verify', long, '--workers', '2', '--volumes', 'layers', '--json']);
    await withProviders(running);
    await sleep(300);
    const victim = running.left().find((pid) => pid !== running.pid);
    process.kill(victim ?? 0, 'SIGKILL');
    const outcome = await running.done;
    expect(outcome.code).toBe(1);
    expect(json(outcome)).toMatchObject({ ok: false, error: { code: 'PROVIDER_LOST' } });
    await running.gone(SOON_MS);
  });
});

describe.skipIf(process.platform === 'win32')('output that nobody reads', () => {
  const shell = (line: string): Promise<{ out: string; err: string }> =>
    new Promise((resolve) => {
      const child = spawn('sh', ['-c', line], { env: { ...process.env, NODE: process.execPath, MAIN } });
      const told = { out: '', err: '' };
      child.stdout.on('data', (data) => {
        told.out += data;
      });
      child.stderr.on('data', (data) => {
        told.err += data;
      });
      child.once('close', () => resolve(told));
    });

  test('is no error when the reader has seen enough', async () => {
    // More than a pipe holds.
    const deep = dir.file('deep.onnx', slowCnn(800, 4, 8));
    const { out, err } = await shell(`("$NODE" "$MAIN" inspect ${deep}; echo "code $?" >&2) | head -n 1`);
    expect(out).toBe('deep (opset 17)\n');
    expect(err).toBe('code 0\n');
  });

  test.skipIf(process.platform !== 'linux')('is one when it cannot be written', async () => {
    const { err } = await shell(`"$NODE" "$MAIN" inspect ${small} > /dev/full; echo "code $?" >&2`);
    expect(err).toMatch(/^error FILE: the output cannot be written\n {2}got: .*ENOSPC.*\n.*\ncode 1\n$/);
  });

  test('does not matter to errors', async () => {
    const { err } = await shell(`("$NODE" "$MAIN" inspect none.onnx 2>&1; echo "code $?" >&2) | true`);
    expect(err).toBe('code 1\n');
  });
});
