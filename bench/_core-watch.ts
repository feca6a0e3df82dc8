/**
 * Whether a core runs at its pace. What shares it (the other thread of a core, another virtual machine) slows everything for a while,
 * and no operating system tells; a fixed piece of work does. `CoreWatch` has it done by a process of its own on that core.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { quantile } from './_workloads.js';

/** Floats of two arrays that stay in the innermost cache. */
const FLOATS = 2048;
/** How often they are multiplied: some tenths of a millisecond. */
const TIMES = 150;
/** Runs until the work is compiled. */
const WARM_UP = 100;
/** Runs that its usual time is known from: the latest. */
const REMEMBERED = 200;
/** Of those the usual time is this quantile. */
const USUAL = 0.2;
/** Work that takes longer than usual by more than this share is slowed down. */
const SLOWED = 0.1;

const left = Float32Array.from({ length: FLOATS }, (_, index) => index % 7);
const right = Float32Array.from({ length: FLOATS }, (_, index) => index % 5);

/** Four sums at a time: what waits for one sum alone leaves the core's units idle, and would hardly notice who else uses them. */
function work(): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let time = 0; time < TIMES; time++) {
    for (let at = 0; at < FLOATS; at += 4) {
      a += (left[at] as number) * (right[at] as number);
      b += (left[at + 1] as number) * (right[at + 1] as number);
      c += (left[at + 2] as number) * (right[at + 2] as number);
      d += (left[at + 3] as number) * (right[at + 3] as number);
    }
  }
  return a + b + c + d;
}

/** Time of the fixed piece of work, ms. */
function workMs(): number {
  const start = performance.now();
  const sum = work();
  const ms = performance.now() - start;
  // That the sum is looked at keeps the work from being optimised away.
  return sum < 0 ? Number.NaN : ms;
}

export class CoreWatch {
  readonly #child: ChildProcess;
  readonly #times: number[] = [];

  constructor(core: number) {
    this.#child = spawn('taskset', ['-c', `${core}`, process.execPath, fileURLToPath(import.meta.url)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
  }

  /** Whether the core is about as fast now as it mostly was in its better moments. */
  async isAtPace(): Promise<boolean> {
    const ms = await new Promise<number>((resolve, reject) => {
      this.#child.once('exit', () => reject(new Error('the process that looks at a core has ended')));
      this.#child.once('message', (message) => {
        this.#child.removeAllListeners('exit');
        resolve(message as number);
      });
      this.#child.send('look');
    });
    if (this.#times.push(ms) > REMEMBERED) this.#times.shift();
    return ms <= quantile(this.#times, USUAL) * (1 + SLOWED);
  }

  close(): void {
    this.#child.disconnect();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (let run = 0; run < WARM_UP; run++) workMs();
  process.on('message', () => process.send?.(workMs()));
}
