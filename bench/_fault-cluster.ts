/** What fault and soak runs are made of: a small network with its right answers, and providers that can be hurt. */
import { type ChildProcess, spawn } from 'node:child_process';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import {
  attributeProto,
  encodeModelProto,
  floats,
  floatTensor,
  type Graph,
  loadGraph,
  protoOf,
  type Tensor,
} from '@distredge/core';
import { createWholeModel, removeFoldersOf, type WholeModel } from '@distredge/runtime';
import { seeded } from './_seeded.js';

/** Tests run this from its source, benchmarks from its build. */
const ROOT = import.meta.url.endsWith('.ts') ? '..' : '../..';
const MAIN = fileURLToPath(new URL(`${ROOT}/apps/cli/dist/main.js`, import.meta.url));
/** A provider's process may take so long to come up on a busy machine. */
const START_MS = 30_000;

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const CHANNELS = 16;
const SIDE = 48;
const LAYERS = 6;

/** Six convolutions and a head of 10 values: some milliseconds on one core. */
function smallNetwork(): Uint8Array {
  const random = seeded(1);
  const weight = (name: string, shape: readonly number[]) =>
    protoOf(
      name,
      floatTensor(
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => (random() - 0.5) / 4),
        shape,
      ),
    );
  const dims = (shape: readonly number[]) => ({
    tensorType: { elemType: 1, shape: { dim: shape.map((size) => ({ dimValue: BigInt(size) })) } },
  });
  const pads = [attributeProto('pads', [1, 1, 1, 1])];
  const layers = Array.from({ length: LAYERS }, (_, at) => at);
  return encodeModelProto({
    irVersion: 8n,
    producerName: 'bench',
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'small',
      input: [{ name: 'x', type: dims([1, 3, SIDE, SIDE]) }],
      output: [{ name: 'y', type: dims([1, 10]) }],
      initializer: [
        ...layers.map((at) => weight(`w${at}`, [CHANNELS, at === 0 ? 3 : CHANNELS, 3, 3])),
        weight('head', [CHANNELS, 10]),
      ],
      node: [
        ...layers.flatMap((at) => [
          {
            opType: 'Conv',
            name: `conv${at}`,
            input: [at === 0 ? 'x' : `r${at - 1}`, `w${at}`],
            output: [`c${at}`],
            attribute: pads,
          },
          { opType: 'Relu', name: `relu${at}`, input: [`c${at}`], output: [`r${at}`] },
        ]),
        { opType: 'GlobalAveragePool', name: 'pool', input: [`r${LAYERS - 1}`], output: ['p'] },
        { opType: 'Flatten', name: 'flat', input: ['p'], output: ['f'] },
        { opType: 'MatMul', name: 'mm', input: ['f', 'head'], output: ['y'] },
      ],
    },
  });
}

/** A network, images, and the answers of the unsplit model. */
export class Work {
  /** The network's ModelProto. */
  readonly bytes: Uint8Array;
  readonly graph: Graph;
  readonly whole: WholeModel;
  readonly images: readonly { readonly inputs: Record<string, Tensor>; readonly answer: Float32Array }[];

  private constructor(bytes: Uint8Array, whole: WholeModel, images: Work['images']) {
    this.bytes = bytes;
    this.graph = loadGraph(bytes);
    this.whole = whole;
    this.images = images;
  }

  static async create(seed: number, count = 8): Promise<Work> {
    const bytes = smallNetwork();
    const whole = await createWholeModel(bytes);
    const random = seeded(seed);
    const images = [];
    for (let index = 0; index < count; index++) {
      const inputs = {
        x: floatTensor(
          Float32Array.from({ length: 3 * SIDE * SIDE }, () => random() * 2 - 1),
          [1, 3, SIDE, SIDE],
        ),
      };
      const { outputs } = await whole.run(inputs);
      images.push({ inputs, answer: Float32Array.from(floats(outputs['y'] as Tensor)) });
    }
    return new Work(bytes, whole, images);
  }

  /** Whether these are the outputs of the image with this index, to 1e-4 of their range. */
  right(index: number, outputs: Readonly<Record<string, Tensor>>): boolean {
    const { answer } = this.images[index % this.images.length] as Work['images'][number];
    const range = Math.max(...answer) - Math.min(...answer);
    const got = floats(outputs['y'] as Tensor);
    return (
      got.length === answer.length &&
      answer.every((value, at) => Math.abs(value - (got[at] ?? Number.NaN)) <= 1e-4 * range)
    );
  }
}

const children = new Set<ChildProcess>();
// However this process ends; a stopped child would not notice.
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

export interface HurtOptions {
  /** Further arguments of `distredge provider`. */
  readonly args?: readonly string[];
  /** On top of this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A provider in a process of its own, behind a wire that can be cut. */
export class HurtProvider {
  readonly #options: HurtOptions;
  #child: ChildProcess | undefined;
  #behind = '127.0.0.1:0';
  readonly #wire = new Wire();

  constructor(options: HurtOptions = {}) {
    this.#options = options;
  }

  /** The address for requesters and other devices. */
  get address(): string {
    return this.#wire.address;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it, at the address that it had before. */
  async start(): Promise<void> {
    const { args = [], env = {} } = this.#options;
    const child = spawn(process.execPath, [MAIN, 'provider', '--listen', this.#behind, '--child', ...args], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: { ...process.env, ...env },
    });
    children.add(child);
    child.once('exit', () => children.delete(child));
    this.#child = child;
    this.#behind = await new Promise<string>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('a provider did not start')), START_MS);
      child.once('exit', () => reject(new Error('a provider ended as it started')));
      child.once('message', (message) => {
        clearTimeout(late);
        resolve((message as { address: string }).address);
      });
    });
    await this.#wire.open(this.#behind);
  }

  /** Whether its process has ended. */
  get over(): boolean {
    const child = this.#child;
    return child === undefined || child.exitCode !== null || child.signalCode !== null;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || this.over) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    await removeFoldersOf(this.pid);
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  cut(): void {
    this.#wire.cut();
  }

  mend(): void {
    this.#wire.mend();
  }

  async close(): Promise<void> {
    await this.kill();
    await this.#wire.close();
  }
}

/** A relay that can be cut: bytes are then neither taken nor given, and no end is told. */
class Wire {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #target = '';
  #cut = false;
  address = '';

  async open(target: string): Promise<void> {
    this.#target = target;
    if (this.#server !== undefined) return;
    const server = createServer({ noDelay: true }, (near) => this.#relay(near));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const bound = server.address();
    this.address = `127.0.0.1:${typeof bound === 'object' ? (bound?.port ?? 0) : 0}`;
  }

  #relay(near: Socket): void {
    const far = connect({ host: '127.0.0.1', port: Number(this.#target.split(':')[1]), noDelay: true });
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
      if (this.#cut) from.pause();
    }
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** New links pass again; those that were cut are lost. */
  mend(): void {
    this.#cut = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      if (this.#server === undefined) resolve();
      else this.#server.close(() => resolve());
    });
  }
}
