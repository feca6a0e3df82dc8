/**
 * The testbed as it is used: namespaces, shaped links and real providers for two devices, and what is left behind when it
 * ends, however it does. Needs Linux, root, `ip` and `tc`; skipped elsewhere, saying so.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { missing, removeLeftovers } from '../../bench/_testbed/namespaces.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const BENCH = `${root}/scripts/bench.mjs`;
const TESTBED = `${root}/bench/dist/testbed.js`;
/** Building, or a run on a busy machine. */
const PATIENCE_MS = 240_000;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const running: ChildProcess[] = [];
afterEach(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});

function start(
  args: readonly string[],
  options: { uid?: number } = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [TESTBED, ...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  running.push(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once('exit', (code) => setTimeout(() => resolve({ code, stdout, stderr }), 50));
  });
  return { child, ended };
}

/** Namespaces, temporary folders and processes that a testbed made. */
function leftOf(pid: number): string[] {
  const name = `dedge-testbed-${pid}-`;
  const spaces = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((space) => space.startsWith(name));
  const inside = spaces.flatMap((space) =>
    execFileSync('ip', ['netns', 'pids', space], { encoding: 'utf8' }).split('\n').filter(Boolean),
  );
  return [
    ...spaces,
    ...readdirSync(tmpdir()).filter((file) => file.startsWith(name)),
    ...inside.map((id) => `process ${id}`),
  ];
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('did not happen within a minute');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

beforeAll(() => {
  execFileSync(process.execPath, [BENCH, 'testbed', '--list'], { stdio: ['ignore', 'ignore', 'inherit'] });
}, PATIENCE_MS);

describe('without what it needs', () => {
  it.skipIf(process.getuid?.() !== 0)('says that it is root, and ends with 1', async () => {
    const { code, stderr } = await start(['--filter', '^two'], { uid: 65_534 }).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/needs root/);
  });

  it('refuses a wrong option with 2 and tells how it is used with 0', async () => {
    const wrong = await start(['--access', 'nobody']).ended;
    expect(wrong.stderr).toMatch(/--access[\s\S]*expected: one of ordered/);
    expect(wrong.code).toBe(2);
    const help = await start(['--help']).ended;
    expect(help.stdout).toMatch(/Examples:/);
    expect(help.code).toBe(0);
  });
});

const lack = missing();
describe.skipIf(lack !== undefined)(`with namespaces${lack === undefined ? '' : ` (skipped: needs ${lack})`}`, () => {
  it(
    'measures plans: exact results, no faster than the devices and links allow, nothing left',
    async () => {
      const args = [
        '--filter',
        '^two/resnet50',
        '--planners',
        'offload,auto',
        '--images',
        '1',
        '--budget',
        '0.3',
        '--json',
      ];
      const { child, ended } = start(args);
      const { code, stdout, stderr } = await ended;
      expect(stderr).toBe('');
      const { rows, summary } = JSON.parse(stdout);
      expect(summary).toMatchObject({ failed: 0, inexact: 0 });
      expect(rows.flatMap(({ planners }: { planners: string[] }) => planners)).toEqual(['offload', 'auto']);
      for (const { predictedMs, measuredMs, difference } of rows) {
        expect(difference).toBeLessThanOrEqual(1e-4);
        // Paced engines and shaped links: a busy machine makes it longer, nothing makes it much shorter.
        expect(measuredMs).toBeGreaterThan(0.95 * predictedMs);
      }
      expect(code).toBe(0);
      expect(leftOf(child.pid as number)).toEqual([]);
    },
    PATIENCE_MS,
  );

  const endless = ['--filter', '^two/resnet50', '--planners', 'offload', '--images', '1000'];

  it(
    'ends in good order on Ctrl-C',
    async () => {
      const { child, ended } = start(endless);
      const pid = child.pid as number;
      await until(() => leftOf(pid).filter((what) => what.startsWith('process')).length >= 3);
      child.kill('SIGINT');
      const { code, stdout } = await ended;
      expect(code).toBe(130);
      expect(stdout).toMatch(/ended early/);
      expect(leftOf(pid)).toEqual([]);
    },
    PATIENCE_MS,
  );

  it(
    'is killed: its processes end by themselves, and the next start removes the rest',
    async () => {
      const { child, ended } = start(endless);
      const pid = child.pid as number;
      await until(() => leftOf(pid).filter((what) => what.startsWith('process')).length >= 3);
      child.kill('SIGKILL');
      await ended;
      await until(() => !leftOf(pid).some((what) => what.startsWith('process')));
      expect(leftOf(pid).length).toBeGreaterThanOrEqual(4);
      await removeLeftovers();
      expect(leftOf(pid)).toEqual([]);
    },
    PATIENCE_MS,
  );
});
