/** What link tests are written with: an end that records what arrives, and ways to wait for it. Only tests import it. */
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import { expect } from 'vitest';
import type { Frame, Link, LinkHandlers } from './link.js';

/** One end of a link under test: records what arrives. */
export class Recorder {
  readonly frames: Frame[] = [];
  /** The errors that the `closed` handler was called with, one for each call. */
  readonly closings: (Error | undefined)[] = [];
  readonly #waiters: { readonly ready: () => boolean; readonly resolve: () => void }[] = [];
  #link: Link | undefined;

  /** The handlers to give to a transport; `extra` replaces some of them. */
  handlers(extra: Partial<LinkHandlers> = {}): (link: Link) => LinkHandlers {
    return (link) => {
      this.#link = link;
      this.#notify();
      return {
        ...extra,
        frame: (frame) => {
          this.frames.push(frame);
          this.#notify();
          return extra.frame?.(frame);
        },
        closed: (error) => {
          this.closings.push(error);
          this.#notify();
        },
      };
    };
  }

  get link(): Link {
    if (this.#link === undefined) throw new Error('there is no link yet');
    return this.#link;
  }

  get hasLink(): boolean {
    return this.#link !== undefined;
  }

  /** Resolves when `count` frames have arrived. */
  received(count: number): Promise<void> {
    return this.#until(() => this.frames.length >= count);
  }

  linked(): Promise<void> {
    return this.#until(() => this.hasLink);
  }

  /** Resolves to the error (or undefined) that the link closed with, a few turns of the event loop after it did. */
  async closed(): Promise<Error | undefined> {
    await this.#until(() => this.closings.length > 0);
    await turns(5);
    return this.closings[0];
  }

  #until(ready: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ ready, resolve });
      this.#notify();
    });
  }

  #notify(): void {
    for (const { ready, resolve } of this.#waiters) if (ready()) resolve();
  }
}

/** A promise and the function that resolves it. */
export class Gate {
  #open = (): void => {};
  readonly opened: Promise<void> = new Promise((resolve) => {
    this.#open = resolve;
  });
  open(): void {
    this.#open();
  }
}

/** Lets the event loop turn: what was going to happen without a further event has then happened. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Bytes that differ from place to place. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + (i >> 8) * 7 + seed;
  return bytes;
}

/** Resolves to the error that `promise` rejects with, having checked its code. */
export async function rejection(promise: Promise<unknown>, code: ErrorCode): Promise<DistrEdgeError> {
  const error: unknown = await promise.then(
    () => new Error('it did not reject'),
    (reason: unknown) => reason,
  );
  return expectCode(error, code);
}

/** Checks that `error` is one of the project's with `code`. */
export function expectCode(error: unknown, code: ErrorCode): DistrEdgeError {
  if (!(error instanceof DistrEdgeError)) throw new Error(`expected ${code}, got ${String(error)}`);
  expect(error.code).toBe(code);
  return error;
}
