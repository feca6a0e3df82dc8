/** Lets those wait who can go on only when something has changed; nobody waits without an end. */
export class Changes {
  readonly #woken = new Set<() => void>();

  /** Something has changed: everybody looks again. */
  wake(): void {
    for (const woken of [...this.#woken]) woken();
  }

  /** Waits for anything to change; false where nothing did within `ms`. */
  next(ms: number): Promise<boolean> {
    if (ms <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const end = (changed: boolean): void => {
        clearTimeout(timer);
        this.#woken.delete(woken);
        resolve(changed);
      };
      const woken = (): void => end(true);
      const timer = setTimeout(() => end(false), ms);
      this.#woken.add(woken);
    });
  }
}
