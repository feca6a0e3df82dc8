/**
 * Keeps a process from ending while another of its threads is inside onnxruntime: Node stops that thread, the native code
 * comes back to a dead one, and the process aborts (exit code 134) instead of ending as it was told to. The gate is two
 * words of shared memory: whether the thread is in a job, and whether the process wants to end.
 */

const BUSY = 0;
const ENDING = 1;

/** For how long an ending process waits for a job, in ms: one that a signal ends is expected to end soon. */
const PATIENCE = 10_000;
const PATIENCE_AFTER_SIGNAL = 2000;

/** Exit codes of processes that end because of a signal. */
const SIGNALS: ReadonlyMap<number, NodeJS.Signals> = new Map([
  [129, 'SIGHUP'],
  [130, 'SIGINT'],
  [143, 'SIGTERM'],
]);

export type ExitGate = Int32Array<SharedArrayBuffer>;

const guarded = new Set<ExitGate>();

export function createExitGate(): ExitGate {
  return new Int32Array(new SharedArrayBuffer(8));
}

function shutAll(code: number): void {
  const signal = SIGNALS.get(code);
  const deadline = Date.now() + (signal === undefined ? PATIENCE : PATIENCE_AFTER_SIGNAL);
  for (const gate of guarded) Atomics.store(gate, ENDING, 1);
  for (const gate of guarded) Atomics.wait(gate, BUSY, 1, Math.max(0, deadline - Date.now()));
  if (![...guarded].some((gate) => Atomics.load(gate, BUSY) === 1)) return;
  // Rather killed than aborted; by the signal that the exit code stands for, which shells report as that code.
  if (signal !== undefined) process.removeAllListeners(signal);
  process.kill(process.pid, signal ?? 'SIGKILL');
}

/** For the thread that may end the process: makes its end wait for the job behind this gate, until `unguardExit`. */
export function guardExit(gate: ExitGate): void {
  if (guarded.size === 0) process.on('exit', shutAll);
  guarded.add(gate);
}

export function unguardExit(gate: ExitGate): void {
  guarded.delete(gate);
  if (guarded.size === 0) process.off('exit', shutAll);
}

/** For the thread that computes: runs a job, one at a time, unless the process is ending (then it never settles). */
export async function throughGate<T>(gate: ExitGate, job: () => Promise<T>): Promise<T> {
  Atomics.store(gate, BUSY, 1);
  const ending = Atomics.load(gate, ENDING) === 1;
  try {
    if (!ending) return await job();
  } finally {
    Atomics.store(gate, BUSY, 0);
    Atomics.notify(gate, BUSY);
  }
  return new Promise<never>(() => {});
}
