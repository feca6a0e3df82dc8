/**
 * Provider processes on this machine: each a process of its own, on its own core where the system can pin processes. They
 * end with the process that started them, however that ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DistrEdgeError } from '@distredge/core';
import { allocatorEnvironment, removeFoldersOf } from '@distredge/runtime';
import { onEnd } from './lifecycle.js';

export interface LocalProviders {
  readonly addresses: readonly string[];
  readonly pids: readonly number[];
  /** Whether each has a core of its own. */
  readonly pinned: boolean;
  /** Ends them before the command ends. */
  end(): Promise<void>;
}

/** With a core of its own, a provider need not sleep while its neighbour is about to send. */
const BUSY_WAIT_MS = 2;
const START_MS = 30_000;
const PROBE_MS = 5000;
const END_MS = 2000;

/**
 * Starts this many providers on free loopback ports, with `extra` arguments; they end with the command. Rejects with
 * `PROVIDER_LOST` if one does not come up.
 */
export async function startLocalProviders(count: number, extra: readonly string[] = []): Promise<LocalProviders> {
  const cores = await pinnableCores();
  const pinned = count <= cores.length;
  const children = Array.from({ length: count }, (_, index) => launch(pinned ? cores[index] : undefined, extra));
  onEnd(() => endChildren(children));
  const addresses = await Promise.all(children.map(addressOf));
  return { addresses, pids: children.map(({ pid }) => pid ?? 0), pinned, end: () => endChildren(children) };
}

/** Starts a provider process; on one core where that is given. */
function launch(core: number | undefined, extra: readonly string[]): ChildProcess {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const command = [process.execPath, main, 'provider', '--listen', '127.0.0.1:0', '--child', ...extra];
  const [program = process.execPath, ...args] =
    core === undefined ? command : ['taskset', '-c', `${core}`, ...command, '--busy-wait', `${BUSY_WAIT_MS}`];
  const child = spawn(program, args, {
    env: { ...process.env, ...allocatorEnvironment(process.env) },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  // That it could not be started, spoken to or ended is noticed by its silence.
  child.on('error', () => undefined);
  child.once('exit', () => void tidied(child));
  return child;
}

/** The cores that this process may use, if processes can be pinned here; else none. */
async function pinnableCores(): Promise<number[]> {
  const cores = allowedCores();
  if (cores.length === 0) return [];
  const works = await new Promise<boolean>((resolve) => {
    const probe = spawn('taskset', ['-c', `${cores[0]}`, 'true'], { stdio: 'ignore', timeout: PROBE_MS });
    probe.once('error', () => resolve(false));
    probe.once('exit', (code) => resolve(code === 0));
  });
  return works ? cores : [];
}

/** As Linux tells it: `Cpus_allowed_list: 0-3,8`. Containers may have any of the machine's cores. */
function allowedCores(): number[] {
  if (process.platform !== 'linux') return [];
  try {
    const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    return list.split(',').flatMap((range) => {
      const [from = 0, to = from] = range.split('-').map(Number);
      return Array.from({ length: to - from + 1 }, (_, index) => from + index);
    });
  } catch {
    return [];
  }
}

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const settle = (address: string | undefined, got: string): void => {
      clearTimeout(timer);
      child.off('exit', ended);
      if (address !== undefined) resolve(address);
      else reject(new DistrEdgeError('PROVIDER_LOST', 'a provider process on this machine did not start', { got }));
    };
    const ended = (code: number | null, signal: string | null): void =>
      settle(undefined, `it ended with ${signal ?? `code ${code}`}`);
    const timer = setTimeout(() => settle(undefined, `no address within ${START_MS} ms`), START_MS);
    child.once('error', (error) => settle(undefined, error.message));
    child.once('exit', ended);
    child.once('message', (message) => {
      const address =
        typeof message === 'object' && message !== null && 'address' in message ? message.address : undefined;
      settle(typeof address === 'string' ? address : undefined, 'it did not give its address');
    });
  });
}

/** Removes what a provider that did not end in good order may have left. */
async function tidied({ pid, signalCode }: ChildProcess): Promise<void> {
  if (pid !== undefined && signalCode !== null) await removeFoldersOf(pid);
}

/** Asks them to end by closing the channel to them, as the end of this process would; those that do not are killed. */
async function endChildren(children: readonly ChildProcess[]): Promise<void> {
  await Promise.all(
    children.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
      await ended;
      clearTimeout(timer);
      await tidied(child);
    }),
  );
}
