/**
 * The list of certificates that the CA has taken back, as one member holds it: an X.509 CRL with a number. A list counts only with
 * the CA's signature and never gives way to an older one.
 */
import { DistrEdgeError } from '@distredge/core';
import type { Revocations } from './contract.js';
import { readPrivateFile, writePrivateFile } from './files.js';
import { type CrlFacts, readCrl } from './x509.js';

/** Largest list that is looked at, in bytes: about 20,000 entries. */
export const MAX_CRL_BYTES: number = 2 ** 20;

const NOTHING: CrlFacts = { version: 0, serials: new Set() };

/** The one implementation; held by an `Identity`. */
export class HeldRevocations implements Revocations {
  readonly #file: string | undefined;
  readonly #ca: string;
  readonly #listeners: Set<() => void> = new Set();
  #pem: string;
  #facts: CrlFacts;
  /** The last write, so that two lists are not written at once. */
  #written: Promise<void> = Promise.resolve();

  private constructor(ca: string, file: string | undefined, pem: string, facts: CrlFacts) {
    this.#ca = ca;
    this.#file = file;
    this.#pem = pem;
    this.#facts = facts;
  }

  /** With the list kept in `file`, if there is one; without a file, in memory only. Throws `IDENTITY_INVALID`. */
  static async open(ca: string, file?: string): Promise<HeldRevocations> {
    const pem = file === undefined ? undefined : await readPrivateFile(file);
    if (pem === undefined) return new HeldRevocations(ca, file, '', NOTHING);
    try {
      return new HeldRevocations(ca, file, pem, await checked(pem, ca));
    } catch (cause) {
      throw new DistrEdgeError('IDENTITY_INVALID', `${file} is not a revocation list of this cluster`, {
        ...(file === undefined ? {} : { where: file }),
        got: cause instanceof DistrEdgeError ? (cause.got ?? cause.message) : String(cause),
        hint: 'let the device join again, or fetch the list from the controller',
        cause,
      });
    }
  }

  get version(): number {
    return this.#facts.version;
  }

  get pem(): string {
    return this.#pem;
  }

  get serials(): ReadonlySet<string> {
    return this.#facts.serials;
  }

  has(serial: string): boolean {
    return this.#facts.serials.has(serial);
  }

  async accept(pem: string): Promise<boolean> {
    const { version, newer } = await this.offer(pem);
    if (version >= this.#facts.version) return newer;
    throw new DistrEdgeError('PEER_REFUSED', 'A revocation list is older than the one held here', {
      where: 'revocations',
      expected: `version ${this.#facts.version} or later`,
      got: `version ${version}`,
    });
  }

  /** As `accept`, but an older list is no error. */
  async offer(pem: string): Promise<{ readonly version: number; readonly newer: boolean }> {
    const facts = await checked(pem, this.#ca);
    // From here to the end of the change nothing waits.
    if (facts.version <= this.#facts.version) return { version: facts.version, newer: false };
    this.#facts = facts;
    this.#pem = pem;
    for (const listener of [...this.#listeners]) listener();
    if (this.#file !== undefined) await this.#write(this.#file);
    return { version: facts.version, newer: true };
  }

  onChange(listener: () => void): () => void {
    // A function of its own for every call, so that the same listener may be given twice.
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Writes what is then the newest list, after the write before. */
  #write(file: string): Promise<void> {
    const write = this.#written.then(() => writePrivateFile(file, this.#pem));
    this.#written = write.catch(() => undefined);
    return write;
  }
}

async function checked(pem: string, ca: string): Promise<CrlFacts> {
  try {
    if (typeof pem !== 'string' || pem.length > MAX_CRL_BYTES) throw new Error('it is too large');
    return await readCrl(pem, ca);
  } catch (cause) {
    throw new DistrEdgeError('PEER_REFUSED', 'A revocation list was refused', {
      where: 'revocations',
      expected: "a list signed by this cluster's CA",
      got: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}
