/** Who may try to join how often: wrong codes by source, and connections at once. All of it is bounded, whoever connects. */
import { isIPv6 } from 'node:net';

/** Wrong proofs from one source, within the window, after which it is not listened to. */
const MAX_FAILURES = 10;
const WINDOW_MS = 600_000;
const MAX_SOURCES = 4096;
const MAX_CONNECTIONS = 64;
const MAX_CONNECTIONS_PER_SOURCE = 8;

/** Where a connection comes from, for counting: an IPv4 address, or the first 64 bits of an IPv6 address. */
export function sourceOf(address: string | undefined): string {
  const plain = (address ?? 'unknown').replace(/^::ffff:(?=\d+\.)/i, '').split('%')[0] ?? 'unknown';
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const all = [...groups, ...Array.from({ length: Math.max(0, 8 - groups.length - rest.length) }, () => '0'), ...rest];
  return `${all.slice(0, 4).join(':')}::/64`;
}

interface Failures {
  count: number;
  readonly until: number;
}

/** Counts failures and open connections by source. */
export class JoinLimits {
  readonly #failures: Map<string, Failures> = new Map();
  readonly #open: Map<string, number> = new Map();
  #connections = 0;

  /** Why a new connection is not taken, or undefined: then it counts until `left`. */
  enter(source: string): 'too-many-attempts' | 'too-many-connections' | undefined {
    if (this.exhausted(source)) return 'too-many-attempts';
    const open = this.#open.get(source) ?? 0;
    if (this.#connections >= MAX_CONNECTIONS || open >= MAX_CONNECTIONS_PER_SOURCE) return 'too-many-connections';
    this.#connections += 1;
    this.#open.set(source, open + 1);
    return undefined;
  }

  /** How many sources are remembered for their failures. */
  get sources(): number {
    return this.#failures.size;
  }

  left(source: string): void {
    this.#connections -= 1;
    const open = (this.#open.get(source) ?? 1) - 1;
    if (open === 0) this.#open.delete(source);
    else this.#open.set(source, open);
  }

  failed(source: string): void {
    const now = Date.now();
    const known = this.#failures.get(source);
    if (known !== undefined && known.until > now) {
      known.count += 1;
      return;
    }
    this.#failures.delete(source);
    if (this.#failures.size >= MAX_SOURCES) this.#forget(now);
    this.#failures.set(source, { count: 1, until: now + WINDOW_MS });
  }

  exhausted(source: string): boolean {
    const known = this.#failures.get(source);
    return known !== undefined && known.until > Date.now() && known.count >= MAX_FAILURES;
  }

  /** Drops what has ended (the oldest come first), or else the oldest. */
  #forget(now: number): void {
    for (const [source, { until }] of this.#failures) {
      if (until > now && this.#failures.size < MAX_SOURCES) break;
      this.#failures.delete(source);
    }
  }
}
