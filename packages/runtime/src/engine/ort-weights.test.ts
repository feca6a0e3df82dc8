import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { stage, unstage } from './ort-weights.js';

const folder = mkdtempSync(join(tmpdir(), 'ort-weights-test-'));
vi.stubEnv('TMPDIR', folder);
vi.stubEnv('TEMP', folder);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('removes what a killed process left long ago, and nothing else', async () => {
  const { pid: dead } = spawnSync(process.execPath, ['-e', '']);
  const left = (name: string, minutes: number): string => {
    const path = join(folder, name);
    mkdirSync(path);
    const time = Date.now() / 1000 - 60 * minutes;
    utimesSync(path, time, time);
    return path;
  };
  const abandoned = left(`distredge-weights-${dead}-a`, 60);
  const kept = [
    left(`distredge-weights-${dead}-b`, 1),
    left(`distredge-weights-${process.pid}-c`, 60),
    left('distredge-weights-mine', 60),
  ];
  const staged = await stage(new Map([['w', Uint8Array.of(1)]]));
  expect(existsSync(abandoned)).toBe(false);
  expect(kept.map((path) => existsSync(path))).toEqual([true, true, true]);
  expect(readdirSync(staged.folder)).toEqual(['w']);
  await unstage(staged.folder);
  expect(existsSync(staged.folder)).toBe(false);
});
