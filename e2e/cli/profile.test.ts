/** Profiles of real, tiny models: complete, kept, told; and what ends a measurement. No time is held against another. */
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { analyse, loadGraph, parseProfile, profileCosts, workloadOf } from '@distredge/core';
import { describe, expect, test } from 'vitest';
import { distredge, endWithTests, failing, folder, json, PATIENCE_MS, start, within } from '../support/cli.js';
import { slowCnn, smallCnn } from '../support/models.js';

endWithTests();
const dir = folder();
const small = dir.file('small.onnx', smallCnn());
const slow = dir.file('slow.onnx', slowCnn(40, 32, 128));
const cacheOf = (name: string): { XDG_CACHE_HOME: string } => ({ XDG_CACHE_HOME: join(dir.path, name) });
const kept = (name: string): string[] => {
  try {
    return readdirSync(join(dir.path, name, 'distredge', 'profiles'));
  } catch {
    return [];
  }
};

describe.concurrent('profile', () => {
  test('measures every op, writes the profile, and keeps it', async () => {
    const out = join(dir.path, 'small.json');
    const args = ['profile', small, '--budget', '1', '--json'];
    const first = await distredge([...args, '--out', out, '--link'], cacheOf('kept'));
    expect(first).toMatchObject({ code: 0, stderr: '' });
    const profile = parseProfile(json(first));
    expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(profile);
    const workload = workloadOf(analyse(loadGraph(smallCnn())), 'small');
    const costs = profileCosts(workload, profile, 'this');
    expect(costs.opMs.map((table) => table.length - 1)).toEqual(workload.ops.map(({ rows }) => rows));
    expect(costs.opMs.some((table) => (table.at(-1) ?? 0) > 0)).toBe(true);
    expect(costs.partMs).toBeGreaterThan(0);
    expect(profile.link?.mbps).toBeGreaterThan(0);
    expect(kept('kept')).toHaveLength(1);
    const again = await distredge(args, cacheOf('kept'));
    expect(json(again)).toEqual(json(first));
  });

  test('shows a table, and where a kept profile is from', async () => {
    const { stdout, stderr } = await distredge(['profile', small, '--budget', '1'], cacheOf('table'));
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^small on /);
    expect(stdout).toContain('op ends at');
    expect(stdout).toContain('every part:');
    expect(stdout).not.toContain('kept in');
    const again = await distredge(['profile', small], cacheOf('table'));
    expect(again.stdout).toContain('kept in');
  });

  test('--no-cache keeps nothing', async () => {
    const { code } = await distredge(['profile', small, '--budget', '1', '--no-cache'], cacheOf('none'));
    expect(code).toBe(0);
    expect(kept('none')).toEqual([]);
  });

  test('of a folder that cannot be written is still told', async () => {
    const file = dir.file('a-file', '');
    const { code, stdout, stderr } = await distredge(['profile', small, '--budget', '1'], { XDG_CACHE_HOME: file });
    expect(code).toBe(0);
    expect(stdout).toContain('every part:');
    expect(stderr).toMatch(/^the profile is not kept: /);
  });

  test('ends at once with Ctrl-C, and leaves no weights behind', async () => {
    const temporary = join(dir.path, 'tmp');
    mkdirSync(temporary);
    // Told of, not looked for: weights are on their way to the engine for some milliseconds only, and a few times.
    const changes = watch(temporary);
    const changed = once(changes, 'change');
    const running = start(['profile', slow, '--budget', '60'], { ...cacheOf('interrupted'), TMPDIR: temporary });
    await within(changed, PATIENCE_MS, 'weights on their way to the engine');
    changes.close();
    running.signal('SIGINT');
    expect(await running.done).toMatchObject({ code: 130, stdout: '' });
    await running.gone();
    expect(kept('interrupted')).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test.each([
    [['profile'], 2, 'USAGE'],
    [['profile', small, '--threads', '0'], 2, 'USAGE'],
    [['profile', small, '--budget', 'long'], 2, 'USAGE'],
    [['profile', join(dir.path, 'none.onnx')], 1, 'FILE'],
    [
      ['profile', small, '--budget', '1', '--no-cache', '--out', join(dir.path, 'no', 'such', 'folder.json')],
      1,
      'FILE',
    ],
  ])('%j fails with exit code %i, %s', async (args, code, name) => {
    expect(await failing(args)).toMatchObject({ code, error: { code: name } });
  });
});
