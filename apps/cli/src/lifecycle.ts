/** What must be undone however a command ends: by itself, by an error, or by Ctrl-C. */

const cleanups: (() => Promise<void>)[] = [];

/** Registers something to undo; the last registered is undone first. */
export function onEnd(cleanup: () => Promise<void>): void {
  cleanups.push(cleanup);
}

/** Undoes everything, once; errors while doing so do not stop the rest. */
export async function endAll(): Promise<void> {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) {
    await cleanup().catch(() => undefined);
  }
}

/** Ends cleanly on Ctrl-C and on a polite kill, with the exit code that shells expect. A second signal ends at once. */
export function handleSignals(): void {
  let ending = false;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => {
      if (ending) process.exit(code);
      ending = true;
      void endAll().finally(() => process.exit(code));
    });
  }
}
