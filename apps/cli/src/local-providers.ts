/**
 * Provider processes on this machine: each a process of its own, on its own core where the system can pin processes. They
 * end with the process that started them, however that ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { DistrEdgeError } from '@distredge/core';

export interface LocalProviders {
  readonly addresses: readonly string[];
  readonly pids: readonly number[];
  /** Whether each has a core of its own. */
  readonly pinned: boolean;
  close(): Promise<void>;
}

const START_MS = 20_000;
const END_MS = 3000;

/** Starts this many providers on free loopback ports. Rejects with `PROVIDER_LOST` if one does not come up. */
export async function startLocalProviders(count: number): Promise<LocalProviders> {
  const cores = availableParallelism();
  const pinned = process.platform === 'linux' && count <= cores && (await canPin());
  const children = Array.from({ length: count }, (_, index) => launch(pinned ? index : undefined));
  try {
    const addresses = await Promise.all(children.map(addressOf));
    return {
      addresses,
      pids: children.map(({ pid }) => pid ?? 0),
      pinned,
      close: () => endAll(children),
    };
  } catch (error) {
    await endAll(children);
    throw error;
  }
}

/** The command of a provider process; on one core where that is given. */
function launch(core: number | undefined): ChildProcess {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const command = [process.execPath, main, 'provider', '--listen', '127.0.0.1:0', '--child'];
  const [program = process.execPath, ...args] = core === undefined ? command : ['taskset', '-c', `${core}`, ...command];
  return spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

function canPin(): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = spawn('taskset', ['-c', '0', 'true'], { stdio: 'ignore' });
    probe.once('error', () => resolve(false));
    probe.once('exit', (code) => resolve(code === 0));
  });
}

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const lost = (got: string): void => {
      clearTimeout(timer);
      reject(new DistrEdgeError('PROVIDER_LOST', 'a provider process on this machine did not start', { got }));
    };
    const timer = setTimeout(() => lost(`no address within ${START_MS} ms`), START_MS);
    child.once('error', (error) => lost(error.message));
    child.once('exit', (code, signal) => lost(`it ended with ${signal ?? `code ${code}`}`));
    child.once('message', (message) => {
      clearTimeout(timer);
      child.removeAllListeners('exit');
      const address =
        typeof message === 'object' && message !== null && 'address' in message ? message.address : undefined;
      if (typeof address === 'string') resolve(address);
      else lost('it did not give its address');
    });
  });
}

async function endAll(children: readonly ChildProcess[]): Promise<void> {
  await Promise.all(
    children.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
      await ended;
      clearTimeout(timer);
    }),
  );
}
