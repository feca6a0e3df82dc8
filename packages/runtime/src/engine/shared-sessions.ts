/**
 * onnxruntime sessions that several engines of one thread have in common: the next plan of a model mostly has the same
 * sub-models as the one in force, and a session costs 5 to 500 ms and a packed copy of its filters. Runs do not disturb each
 * other, for a thread runs one at a time. A session that nobody uses stays for a while, in case a plan is replaced by a like one.
 */
import { totalmem } from 'node:os';
import type { InferenceSession } from 'onnxruntime-node';

interface Shared {
  readonly session: InferenceSession;
  readonly bytes: number;
  users: number;
  /** Ends it, while nobody uses it. */
  timer: NodeJS.Timeout | undefined;
}

/** For how long a session that nobody uses stays, in ms. */
const IDLE_MS = 30_000;
/** The most of those: bytes of models and weights, of which a small device has fewer to spare, and sessions. */
const MAX_IDLE_BYTES: number = Math.min(2 ** 30, totalmem() / 8);
const MAX_IDLE = 256;

class SharedSessions {
  /** Those that nobody uses: the longest unused first. */
  readonly #all = new Map<string, Shared>();

  /** The session of this key, for one more user; undefined where there is none. */
  take(key: string): InferenceSession | undefined {
    const shared = this.#all.get(key);
    if (shared === undefined) return undefined;
    clearTimeout(shared.timer);
    shared.timer = undefined;
    shared.users += 1;
    return shared.session;
  }

  /** Shares a session with those who come later; false where there is one of this key, and this one stays its owner's. */
  add(key: string, session: InferenceSession, bytes: number): boolean {
    if (this.#all.has(key)) return false;
    this.#all.set(key, { session, bytes, users: 1, timer: undefined });
    return true;
  }

  /** One user less. */
  async give(key: string): Promise<void> {
    const shared = this.#all.get(key);
    if (shared === undefined) return;
    shared.users -= 1;
    if (shared.users > 0) return;
    this.#all.delete(key);
    this.#all.set(key, shared);
    shared.timer = setTimeout(() => void this.#end(key, shared).catch(() => undefined), IDLE_MS);
    shared.timer.unref();
    const idle = [...this.#all].filter(([, { users }]) => users === 0);
    let bytes = idle.reduce((sum, [, item]) => sum + item.bytes, 0);
    for (const [index, [name, item]] of idle.entries()) {
      if (bytes <= MAX_IDLE_BYTES && idle.length - index <= MAX_IDLE) break;
      bytes -= item.bytes;
      await this.#end(name, item);
    }
  }

  /** Ends all that nobody uses. */
  async clear(): Promise<void> {
    for (const [key, shared] of [...this.#all]) if (shared.users === 0) await this.#end(key, shared);
  }

  async #end(key: string, shared: Shared): Promise<void> {
    if (shared.users > 0 || this.#all.get(key) !== shared) return;
    clearTimeout(shared.timer);
    this.#all.delete(key);
    await shared.session.release();
  }
}

/** Those of this thread. */
export const sharedSessions: SharedSessions = new SharedSessions();
