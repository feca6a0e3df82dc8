/**
 * Join codes: 16 letters and digits that a person carries to a device. Three of them name the code (and are sent), twelve are the
 * secret (60 bits, never sent), one is a check against typing errors (never sent). The book keeps the codes that are open, in
 * memory only, and ends a code that was used, ran out, or was guessed at too often.
 */
import { createHash, randomInt, scrypt } from 'node:crypto';
import { DistrEdgeError } from '@distredge/core';
import type { JoinCode } from './contract.js';

/** Crockford's digits: no I, L, O or U. */
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const ID_LENGTH = 3;
const SECRET_LENGTH = 12;
const DEFAULT_TTL_MS = 600_000;
/** Wrong proofs after which a code is dead. */
const MAX_GUESSES = 5;
/** Open codes at a time. */
const MAX_OPEN = 64;
/** How long a code that is over is remembered, so that its use can be told from a guess. */
const MEMORY_MS = 3_600_000;
const MAX_REMEMBERED = 256;
/** 32 MiB and some 0.1 s for every try at guessing a code from a recorded proof. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 2 ** 20 } as const;

/** What one end of the join protocol needs of a code. */
export interface CodeParts {
  /** Names the code; no secret. */
  readonly id: string;
  /** The key for proofs, 32 bytes; takes some 0.1 s the first time. */
  readonly key: () => Promise<Buffer>;
}

/** Reads a code as a person typed it: any case, blanks or dashes anywhere, O for 0, I or L for 1. Throws `USAGE`. */
export function parseCode(typed: string): CodeParts {
  const text = String(typed).slice(0, 100).toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
  const body = text.slice(0, -1);
  if (text.length !== ID_LENGTH + SECRET_LENGTH + 1 || !/^[0-9A-HJKMNP-TV-Z]+$/.test(text)) {
    throw mistyped(`${text.length} letters and digits`);
  }
  if (checkDigit(body) !== text.at(-1)) throw mistyped('a code with a wrong letter or digit in it');
  const id = body.slice(0, ID_LENGTH);
  return { id, key: keyOf(id, body.slice(ID_LENGTH)) };
}

function mistyped(got: string): DistrEdgeError {
  return new DistrEdgeError('USAGE', 'That is not a join code', {
    where: 'the join code',
    expected: '16 letters and digits, for example in groups of four',
    got,
    hint: 'type it as the controller shows it',
  });
}

/** Why a code was not accepted. */
export type CodeRefusal = 'wrong-code' | 'code-used' | 'code-expired' | 'code-dead';

/** A code that was used up. */
export interface Claim {
  readonly key: Buffer;
  /** Opens the code again: for who claimed it and then was given nothing. */
  release(): void;
}

interface Entry {
  readonly key: () => Promise<Buffer>;
  readonly expires: number;
  guesses: number;
  state: 'open' | 'used' | 'dead';
}

/** The codes of one cluster. */
export class CodeBook {
  readonly #entries: Map<string, Entry> = new Map();

  /** A new code. Throws `USAGE` where its time is out of range or too many codes are open. */
  issue(ttlMs: number = DEFAULT_TTL_MS): JoinCode {
    if (!(ttlMs >= 1000 && ttlMs <= 86_400_000)) {
      throw new DistrEdgeError('USAGE', 'A join code cannot last so long, or so short', {
        where: 'ttlMs',
        expected: '1000 to 86400000 ms',
        got: String(ttlMs),
      });
    }
    const now = Date.now();
    this.#forget(now);
    const open = [...this.#entries.values()].filter((entry) => entry.state === 'open' && entry.expires > now);
    if (open.length >= MAX_OPEN) {
      throw new DistrEdgeError('USAGE', 'Too many join codes are open', {
        expected: `at most ${MAX_OPEN}`,
        hint: 'use them, or wait until they run out',
      });
    }
    let id: string;
    do id = randomDigits(ID_LENGTH);
    while (this.#entries.has(id));
    const secret = randomDigits(SECRET_LENGTH);
    const expires = now + ttlMs;
    this.#entries.set(id, { key: keyOf(id, secret), expires, guesses: 0, state: 'open' });
    const text = `${id}${secret}${checkDigit(id + secret)}`;
    return { code: (text.match(/.{4}/g) ?? []).join('-'), expires };
  }

  /**
   * Uses a code up, or tells why not. `proves` looks at a proof with the code's key. Only who has proven to know a code is told
   * that it is used up or has run out; the guess that ends a code hears, like every later one, that it is dead.
   */
  async claim(id: string, proves: (key: Buffer) => boolean): Promise<Claim | CodeRefusal> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return 'wrong-code';
    const key = await entry.key();
    // From here on nothing waits: of two devices with one code, one gets it.
    if (entry.state === 'dead') return 'code-dead';
    if (!proves(key)) {
      entry.guesses += 1;
      if (entry.guesses < MAX_GUESSES || entry.state !== 'open') return 'wrong-code';
      entry.state = 'dead';
      return 'code-dead';
    }
    if (entry.state === 'used') return 'code-used';
    if (entry.expires <= Date.now()) return 'code-expired';
    entry.state = 'used';
    return {
      key,
      release: () => {
        entry.state = 'open';
      },
    };
  }

  #forget(now: number): void {
    for (const [id, { expires }] of this.#entries) if (expires + MEMORY_MS < now) this.#entries.delete(id);
    for (const [id, { state, expires }] of this.#entries) {
      if (this.#entries.size <= MAX_REMEMBERED) break;
      if (state !== 'open' || expires <= now) this.#entries.delete(id);
    }
  }
}

function randomDigits(count: number): string {
  return Array.from({ length: count }, () => DIGITS[randomInt(DIGITS.length)]).join('');
}

function checkDigit(body: string): string {
  const [byte = 0] = createHash('sha256').update(`distredge join code ${body}`).digest();
  return DIGITS[byte % DIGITS.length] as string;
}

/** The key of a code: computed when it is first asked for, and once. */
function keyOf(id: string, secret: string): () => Promise<Buffer> {
  let key: Promise<Buffer> | undefined;
  return () => {
    key ??= new Promise((resolve, reject) => {
      scrypt(secret, `distredge-join-1:${id}`, 32, SCRYPT, (error, bytes) => (error ? reject(error) : resolve(bytes)));
    });
    return key;
  };
}
