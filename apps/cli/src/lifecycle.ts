/** What must be undone however a command ends: by itself, by an error, or by Ctrl-C. */

/** For how long the end may be put off by what must be undone. */
const PATIENCE_MS = 2500;

const cleanups: (() => Promise<void>)[] = [];
let signalled: { readonly name: string; readonly code: number } | undefined;

/** Registers something to undo; the last registered is undone first. Once the command is ending, it is undone at once. */
export function onEnd(cleanup: () => Promise<void>): void {
  if (signalled === undefined) cleanups.push(cleanup);
  else void cleanup().catch(() => undefined);
}

/** Undoes everything, once; neither errors nor what takes too long stop the rest. */
export async function endAll(patienceMs: number = PATIENCE_MS): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  const undo = async (): Promise<void> => {
    for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) {
      await cleanup().catch(() => undefined);
    }
  };
  await Promise.race([undo(), late]);
  clearTimeout(timer);
}

/** The signals that end a command, with the exit code that shells expect after them. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * Ends cleanly on Ctrl-C and on a polite kill; `told` is called first. A second signal ends at once. From the first one on,
 * the command itself has no say any more: see `interrupted`.
 */
export function handleSignals(told: (signal: string) => void): void {
  for (const [name, code] of Object.entries(SIGNALS)) {
    process.on(name, () => {
      if (signalled !== undefined) process.exit(code);
      signalled = { name, code };
      told(name);
      void endAll().finally(() => process.exit(code));
    });
  }
}

/**
 * Whether a signal is ending the command, so that errors which follow from that are not worth telling. Waits for signals
 * that came with the error in question but are not handled yet.
 */
export async function interrupted(): Promise<boolean> {
  if (signalled === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  return signalled !== undefined;
}

/** For processes that others start and end: signals from the terminal, which the whole group gets, are not for them. */
export function ignoreTerminalSignals(): void {
  for (const name of ['SIGINT', 'SIGHUP'] as const) {
    process.removeAllListeners(name);
    process.on(name, () => undefined);
  }
}
