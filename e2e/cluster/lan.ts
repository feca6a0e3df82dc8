/** A small network on this machine: devices in network namespaces, on a bridge, behind links whose rate can be changed. */
import { execFileSync } from 'node:child_process';

function run(...args: string[]): void {
  const [program = '', ...rest] = args;
  execFileSync(program, rest, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 10_000 });
}

function works(...args: string[]): boolean {
  try {
    run(...args);
    return true;
  } catch {
    return false;
  }
}

/** Whether namespaces can be made and links shaped here: on Linux, as root, with iproute2. */
export function canMakeLan(): boolean {
  const probe = `dlp${process.pid}`;
  if (process.platform !== 'linux' || !works('ip', 'netns', 'add', probe)) return false;
  const shapes = works(
    'ip',
    'netns',
    'exec',
    probe,
    'tc',
    'qdisc',
    'add',
    'dev',
    'lo',
    'root',
    'tbf',
    'rate',
    '10mbit',
    'burst',
    '16kb',
    'latency',
    '400ms',
  );
  works('ip', 'netns', 'del', probe);
  return shapes;
}

/** Networks of tests that run at the same time must not meet. */
const SUBNET = `10.${100 + (process.pid % 100)}.${process.pid % 251}`;

export class Lan {
  /** Of the bridge, where the controller listens. */
  readonly host: string = `${SUBNET}.1`;
  readonly #prefix: string = `dl${process.pid}`;
  readonly #names: string[] = [];

  constructor() {
    run('ip', 'link', 'add', this.#bridge, 'type', 'bridge');
    run('ip', 'addr', 'add', `${this.host}/24`, 'dev', this.#bridge);
    run('ip', 'link', 'set', this.#bridge, 'up');
  }

  get #bridge(): string {
    return `${this.#prefix}br`;
  }

  /** Adds a namespace; returns the command that runs others in it. */
  add(mbps: number): readonly string[] {
    const index = this.#names.length;
    const name = `${this.#prefix}n${index}`;
    this.#names.push(name);
    const [outside, inside] = [`${this.#prefix}o${index}`, `${this.#prefix}i${index}`];
    run('ip', 'netns', 'add', name);
    run('ip', 'link', 'add', outside, 'type', 'veth', 'peer', 'name', inside);
    run('ip', 'link', 'set', inside, 'netns', name);
    run('ip', 'link', 'set', outside, 'master', this.#bridge, 'up');
    run('ip', 'netns', 'exec', name, 'ip', 'addr', 'add', `${SUBNET}.${10 + index}/24`, 'dev', inside);
    run('ip', 'netns', 'exec', name, 'ip', 'link', 'set', inside, 'up');
    run('ip', 'netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up');
    this.rate(index, mbps);
    return ['ip', 'netns', 'exec', name];
  }

  /** Shapes both directions of a namespace's link. */
  rate(index: number, mbps: number): void {
    const shape = ['root', 'tbf', 'rate', `${mbps}mbit`, 'burst', '32kb', 'latency', '500ms'];
    run('tc', 'qdisc', 'replace', 'dev', `${this.#prefix}o${index}`, ...shape);
    const name = this.#names[index] ?? '';
    run('ip', 'netns', 'exec', name, 'tc', 'qdisc', 'replace', 'dev', `${this.#prefix}i${index}`, ...shape);
  }

  /** Pulls the plug of a namespace, or puts it back. */
  plug(index: number, state: 'up' | 'down'): void {
    run('ip', 'link', 'set', `${this.#prefix}o${index}`, state);
  }

  /** Cuts the link between two namespaces, and no other, or mends it. */
  between(one: number, other: number, state: 'cut' | 'mended'): void {
    const isolated = state === 'cut' ? 'on' : 'off';
    for (const index of [one, other])
      run('ip', 'link', 'set', `${this.#prefix}o${index}`, 'type', 'bridge_slave', 'isolated', isolated);
  }

  remove(): void {
    for (const name of this.#names) works('ip', 'netns', 'del', name);
    for (const index of this.#names.keys()) works('ip', 'link', 'del', `${this.#prefix}o${index}`);
    works('ip', 'link', 'del', this.#bridge);
  }
}
