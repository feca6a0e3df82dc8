/** A cluster as a user starts it, inside a testbed's namespaces: `distredge up` for member 0, `distredge join` for the others, watched by their JSON lines. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DistrEdgeError } from '@distredge/core';
import { addressOf, type Testnet } from './namespaces.js';

const MAIN = fileURLToPath(new URL('../../../apps/cli/dist/main.js', import.meta.url));
const PORT = 7400;
const END_MS = 10_000;
/** How much of what a process complained of is kept. */
const KEPT = 4000;

/** Something that a command told, and when. */
export interface Line {
  readonly event: string;
  /** In ms since the epoch. */
  readonly at: number;
  readonly [fact: string]: unknown;
}

/** One command of the cluster. */
export class ClusterMember {
  readonly lines: Line[] = [];
  readonly child: ChildProcess;
  #complaints = '';
  #over: string | undefined;
  readonly #ended: Promise<void>;

  constructor(net: Testnet, member: number, folder: string, args: readonly string[]) {
    const state = join(folder, `member-${member}`);
    this.child = spawn('ip', ['netns', 'exec', net.namespaceOf(member), process.execPath, MAIN, ...args, '--json'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', XDG_CACHE_HOME: state, XDG_STATE_HOME: state },
    });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line);
    });
    this.child.stderr?.on('data', (data) => {
      this.#complaints = (this.#complaints + data).slice(-KEPT);
    });
    this.child.stdin?.on('error', () => undefined);
    this.#ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#over ??= how;
        resolve();
      };
      this.child.once('error', (error) => end(error.message));
      this.child.once('exit', (code, signal) => end(`exit ${code ?? signal}`));
    });
  }

  /** What it told that is `right`, from line `from` on. Rejects with `DEADLINE`, and with `PROVIDER_LOST` when the command ends. */
  async hears(what: string, right: (line: Line) => boolean, from = 0, ms = 120_000): Promise<Line> {
    const end = Date.now() + ms;
    for (;;) {
      const found = this.lines.slice(from).find(right);
      if (found !== undefined) return found;
      if (this.#over !== undefined || Date.now() > end) {
        const last = this.lines.slice(-8).map((line) => JSON.stringify(line).slice(0, 300));
        throw new DistrEdgeError(this.#over === undefined ? 'DEADLINE' : 'PROVIDER_LOST', `there was no ${what}`, {
          where: this.child.spawnargs.slice(4).join(' '),
          got: [this.#over ?? `nothing within ${ms} ms`, this.#complaints.trim(), ...last].join('\n'),
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends it by Ctrl-C, or harder where it does not end. */
  async end(): Promise<void> {
    this.child.kill('SIGINT');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), END_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}

/** A device that has joined before, and joins again. */
export function rejoin(net: Testnet, folder: string, device: number): ClusterMember {
  return new ClusterMember(net, device, folder, ['join', `${addressOf(0)}:${PORT}`, '--name', `d${device}`]);
}

/** A controller as member 0 and devices as the others, joined with codes, over TLS. Rejects as `hears` does. */
export async function startCluster(
  net: Testnet,
  folder: string,
  devices: number,
  args: readonly string[],
  started: (member: ClusterMember) => void,
): Promise<ClusterMember> {
  const listen = `${addressOf(0)}:${PORT}`;
  const controller = new ClusterMember(net, 0, folder, ['up', ...args, '--listen', listen, '--cluster', 'testbed']);
  started(controller);
  for (let device = 1; device <= devices; device++) {
    await controller.hears('code', () => controller.lines.filter(({ event }) => event === 'code').length >= device);
    const code = String(controller.lines.findLast(({ event }) => event === 'code')?.['code']);
    const member = new ClusterMember(net, device, folder, ['join', listen, '--code', code, '--name', `d${device}`]);
    started(member);
    await member.hears('joining', ({ event }) => event === 'joined');
  }
  return controller;
}
