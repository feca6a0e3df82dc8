/** Runs the built command as a user would: as a process of its own, whose output, exit and descendants are looked at. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect } from 'vitest';

export const MAIN: string = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));

/** No command of these tests may take so long, however busy the machine is. */
export const PATIENCE_MS = 45_000;

export interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command under way, alone in a process group. */
export class Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly done: Promise<Outcome>;
  stdout = '';
  stderr = '';
  #over = false;

  constructor(args: readonly string[], env: Readonly<Record<string, string>>) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', ...temporary, ...env },
    });
    this.pid = this.child.pid ?? 0;
    this.child.stdout?.on('data', (data) => {
      this.stdout += data;
    });
    this.child.stderr?.on('data', (data) => {
      this.stderr += data;
    });
    this.done = new Promise((resolve) => {
      // 'close' waits for the output, which descendants may keep open: 'exit' is what a user sees.
      this.child.once('exit', (code, signal) => {
        setTimeout(() => {
          this.#over = true;
          resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
        }, 50);
      });
    });
  }

  get over(): boolean {
    return this.#over;
  }

  /** Resolves once the output holds this; fails when the command ends without. */
  async prints(text: string | RegExp, from: 'stdout' | 'stderr' = 'stdout'): Promise<RegExpExecArray | undefined> {
    const found = (): boolean =>
      typeof text === 'string' ? this[from].includes(text) : new RegExp(text).test(this[from]);
    await until(() => found() || this.#over, `${text} on ${from}`);
    if (!found()) throw new Error(`ended without printing ${text}:\n${this.stdout}\n${this.stderr}`);
    return typeof text === 'string' ? undefined : (new RegExp(text).exec(this[from]) ?? undefined);
  }

  /** Sends a signal to the command, or to all of its process group, as a terminal does. */
  signal(name: NodeJS.Signals, whom: 'command' | 'group' = 'command'): void {
    process.kill(whom === 'group' ? -this.pid : this.pid, name);
  }

  /** Processes of the group that still run. */
  left(): number[] {
    return groupMembers(this.pid);
  }

  /** Waits until nothing of the group runs any more. */
  async gone(ms = 5000): Promise<void> {
    await until(() => this.left().length === 0, `the end of ${this.left().join(', ')}`, ms);
  }

  /** For the end of a test: ends whatever is left, at once. */
  kill(): void {
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch {
      // None is left.
    }
  }
}

const started = new Set<Running>();

/** Where commands put temporary files, if that is not where all do. */
let temporary: Readonly<Record<string, string>> = {};

/** Starts a command that goes on by itself. */
export function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const running = new Running(args, env);
  started.add(running);
  return running;
}

/** Runs a command to its end. Fails if it hangs, or leaves a process behind. */
export async function distredge(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const running = new Running(args, env);
  try {
    const outcome = await within(running.done, PATIENCE_MS, `distredge ${args.join(' ')}`);
    await running.gone();
    return outcome;
  } finally {
    running.kill();
  }
}

/** A failed command: its exit code, and an error for people, without a stack trace. */
export async function failing(
  args: readonly string[],
): Promise<Outcome & { readonly error: Readonly<Record<string, string>> }> {
  const outcome = await distredge([...args, '--json']);
  const what = `${args.join(' ')}\n${outcome.stdout}\n${outcome.stderr}`;
  expect(outcome.signal, what).toBeNull();
  expect(outcome.stderr, what).not.toMatch(/\n\s+at |INTERNAL|node:internal/);
  expect(outcome.stderr, what).toMatch(/^error [A-Z_]+: \S/m);
  const answer = json(outcome) as { ok: boolean; error: Record<string, string> };
  expect(answer.ok, what).toBe(false);
  expect(outcome.stderr, what).toContain(`error ${answer.error['code']}: `);
  return { ...outcome, error: answer.error };
}

/** The one JSON object that a command prints. */
export function json({ stdout, stderr }: Outcome): Record<string, unknown> {
  expect(stdout.trimEnd().split('\n').length, `one line expected:\n${stdout}\n${stderr}`).toBe(1);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** A provider in a process of its own, ready for requesters. */
export async function startProvider(
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Running & { readonly address: string }> {
  const running = start(['provider', '--listen', '127.0.0.1:0', ...args], env);
  const found = await running.prints(/provider on (\S+:\d+) /);
  return Object.assign(running, { address: found?.[1] ?? '' });
}

/** A folder of its own for a file of tests, removed with what is in it. */
export function folder(): { readonly path: string; file(name: string, bytes: Uint8Array | string): string } {
  const path = mkdtempSync(join(tmpdir(), 'distredge-e2e-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    file(name, bytes) {
      const at = join(path, name);
      writeFileSync(at, bytes);
      return at;
    },
  };
}

/** Call once in a file of tests that `start` something: it ends with the file, also when a test fails. */
export function endWithTests(): void {
  // What is killed while it loads leaves files there.
  const path = mkdtempSync(join(tmpdir(), 'distredge-e2e-tmp-'));
  temporary = { TMPDIR: path, TEMP: path, TMP: path };
  afterAll(() => {
    for (const running of started) running.kill();
    started.clear();
    rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });
}

export async function until(condition: () => boolean, what: string, ms: number = PATIENCE_MS): Promise<void> {
  const deadline = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await sleep(20);
  }
}

export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Processes of a group, except those that have ended and wait for their parent to notice. */
function groupMembers(group: number): number[] {
  if (existsSync('/proc/self/stat')) {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          // "pid (name) state parent group …"; the name may hold anything.
          const [state, , of] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
          return Number(of) === group && state !== 'Z' && state !== 'X';
        } catch {
          return false;
        }
      });
  }
  try {
    process.kill(-group, 0);
    return [group];
  } catch {
    return [];
  }
}
