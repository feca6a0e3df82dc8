/**
 * Keeps a process from ending while another of its threads is inside onnxruntime: Node stops that thread, the native code
 * comes back to a dead one, and the process aborts (exit code 134) instead of ending as it was told to. The gate is two
 * words of shared memory: whether the thread is in a job, and whether the process wants to end.
 */

const BUSY = 0;
const ENDING = 1;

/** For how long an ending process waits for a job, in ms. */
const PATIENCE = 10_000;

export type ExitGate = Int32Array<SharedArrayBuffer>;

const guarded = new Set<ExitGate>();

export function createExitGate(): ExitGate {
  return new Int32Array(new SharedArrayBuffer(8));
}

function shutAll(): void {
  for (const gate of guarded) Atomics.store(gate, ENDING, 1);
  for (const gate of guarded) Atomics.wait(gate, BUSY, 1, PATIENCE);
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
