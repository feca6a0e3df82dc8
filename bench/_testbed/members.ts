/** The testbed's processes, seen from their parent: each in its namespace, asked one thing at a time, never waited for without end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import type { Answer, MemberSettings, Order } from './orders.js';

const SCRIPTS: Readonly<Record<'provider' | 'requester', string>> = {
  provider: fileURLToPath(new URL('./provider.js', import.meta.url)),
  requester: fileURLToPath(new URL('./requester.js', import.meta.url)),
};
const START_MS = 60_000;
/** A process that computes notices late that it shall end. */
const END_MS = 3000;
/** How much of what a process wrote is kept, for when it fails. */
const KEPT = 4000;
/** As the command line starts providers. */
const ENVIRONMENT = {
  ...process.env,
  MALLOC_MMAP_THRESHOLD_: `${32 * 2 ** 20}`,
  MALLOC_TRIM_THRESHOLD_: `${64 * 2 ** 20}`,
};

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class TestbedMember {
  readonly #child: ChildProcess;
  readonly #where: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #said = '';
  #ids = 0;
  #address = '';
  #failure: DistrEdgeError | undefined;

  private constructor(kind: keyof typeof SCRIPTS, namespace: string, settings: MemberSettings, core?: number) {
    this.#where = kind === 'requester' ? 'the requester' : `device ${settings.member - 1}`;
    const pinned = core === undefined ? [] : ['taskset', '-c', `${core}`];
    this.#child = spawn(
      'ip',
      ['netns', 'exec', namespace, ...pinned, process.execPath, SCRIPTS[kind], JSON.stringify(settings)],
      {
        env: ENVIRONMENT,
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      },
    );
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (data) => {
        this.#said = (this.#said + data).slice(-KEPT);
      });
    }
    this.#ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#failure ??= new DistrEdgeError('PROVIDER_LOST', 'a process of the testbed ended', {
          where: this.#where,
          got: [how, this.#said.trim()].filter((text) => text !== '').join(': '),
        });
        for (const { reject } of this.#waiting.values()) reject(this.#failure);
        this.#waiting.clear();
        resolve();
      };
      this.#child.once('error', (error) => end(error.message));
      this.#child.once('exit', (code, signal) => end(`exit ${code ?? signal}`));
    });
    this.#child.on('message', (answer: Answer) => {
      const id = 'ready' in answer ? 0 : answer.id;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if ('ready' in answer) waiting?.resolve(answer.ready);
      else if ('done' in answer) waiting?.resolve(answer.done);
      else waiting?.reject(unpack(answer.failed, this.#where));
    });
  }

  /** Starts a process, on one core where it is given; resolves when it listens. */
  static async start(
    kind: keyof typeof SCRIPTS,
    namespace: string,
    settings: MemberSettings,
    core?: number,
  ): Promise<TestbedMember> {
    const member = new TestbedMember(kind, namespace, settings, core);
    try {
      member.#address = (await member.#answer(0, 'being started', START_MS)) as string;
      return member;
    } catch (error) {
      await member.close();
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Where a provider listens. */
  get address(): string {
    return this.#address;
  }

  /** Rejects with what the process answers, with `PROVIDER_LOST` when it ends, with `DEADLINE` when it does not answer. */
  ask(order: Order, deadlineMs: number): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = ++this.#ids;
    const answer = this.#answer(id, `'${order.kind}'`, deadlineMs);
    this.#child.send({ id, order }, (error) => {
      if (error !== null) this.#waiting.get(id)?.reject(error);
    });
    return answer;
  }

  #answer(id: number, what: string, deadlineMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(
          new DistrEdgeError('DEADLINE', `a process of the testbed did not answer within ${deadlineMs} ms`, {
            where: `${this.#where}, ${what}`,
            ...(this.#said === '' ? {} : { got: this.#said.trim() }),
          }),
        );
      }, deadlineMs);
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          settle(value);
        };
      this.#waiting.set(id, { resolve: settled(resolve), reject: settled(reject) });
    });
  }

  /** Ends the process at once. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Lets the process end, and after a while ends it. Resolves when it is gone. */
  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.kill(), END_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}

function unpack(
  { code = 'INTERNAL', message = '', where, ...facts }: Readonly<Record<string, string>>,
  who: string,
): Error {
  return new DistrEdgeError(code as ErrorCode, message, {
    where: where === undefined ? who : `${who}: ${where}`,
    ...facts,
  });
}
