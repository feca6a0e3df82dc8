/**
 * Measures a link: what a message takes, and what every byte adds. The other end answers every message with an empty one, so
 * one clock suffices.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { DistrEdgeError } from '@distredge/core';
import { FrameKind, type Listener, type Transport } from '../link/link.js';
import { createTcpTransport } from '../link/tcp.js';
import { median } from '../median.js';

/** As the simulator takes it: a message of n bytes arrives after `latencyMs` + n · 8 / (`mbps` · 1000). */
export interface LinkFigures {
  /** 10⁶ bit/s. */
  readonly mbps: number;
  readonly latencyMs: number;
}

export interface LinkOptions {
  /** Size of the large messages, in bytes. Default 262144, as halo rows have it. */
  readonly bytes?: number;
  /** Messages of each size. Default 200. */
  readonly rounds?: number;
  /** Ends early after so many ms, once a few messages of each size are timed: other traffic may hold every one of them up. Default: never. */
  readonly limitMs?: number;
  /** Wait without sleeping, as providers with cores of their own do. Default: no. */
  readonly busy?: boolean;
  /** Wall clock in ms. */
  readonly now?: () => number;
}

/** The largest message that the answering end takes. */
const MOST_BYTES = 2 ** 26;
const WARM_UP = 20;
/** Where there is a limit: messages of each size that are timed whatever they take, and the share of it for warming up. */
const LEAST_ROUNDS = 5;
const WARM_UP_SHARE = 0.25;
const START_MS = 10_000;
/** A link is not measured faster than this, in 10⁶ bit/s. */
const MOST_MBPS = 1e9;

/** Answers messages until it is closed. */
export async function answerMessages(transport: Transport, address: string): Promise<Listener> {
  const landing = new Uint8Array(MOST_BYTES);
  return transport.listen(
    address,
    (link) => ({
      allocate: ({ length }) => {
        if (length <= MOST_BYTES) return landing.subarray(0, length);
        throw new DistrEdgeError('PROTOCOL', 'a message is too large', {
          expected: `${MOST_BYTES} bytes`,
          got: `${length}`,
        });
      },
      frame: ({ request }) => {
        link.send({ kind: FrameKind.data, request, channel: 0 }, []).catch(() => undefined);
      },
      closed: () => undefined,
    }),
    { maxFrameBytes: MOST_BYTES },
  );
}

/** Messages to an end that runs `answerMessages`, one after another. */
export interface Exchange {
  /** What a message and its answer take, in ms. Rejects with `LINK_CLOSED`. */
  time(payload: Uint8Array): Promise<number>;
  close(): void;
}

/** Rejects as `dial` does. */
export async function openExchange(
  transport: Transport,
  address: string,
  { busy = false, now = () => performance.now() }: Pick<LinkOptions, 'busy' | 'now'> = {},
): Promise<Exchange> {
  let answered: (() => void) | undefined;
  let failed: ((error: Error) => void) | undefined;
  let request = 0;
  const link = await transport.dial(address, () => ({
    frame: () => answered?.(),
    closed: (error) =>
      failed?.(error ?? new DistrEdgeError('LINK_CLOSED', 'the other end hung up', { where: address })),
  }));
  return {
    async time(payload) {
      let open = true;
      const answer = new Promise<void>((resolve, reject) => {
        answered = () => {
          open = false;
          resolve();
        };
        failed = (error) => {
          open = false;
          reject(error);
        };
      });
      const start = now();
      request += 1;
      link.send({ kind: FrameKind.data, request, channel: 0 }, [payload]).catch((error: Error) => failed?.(error));
      while (busy && open) await new Promise((resolve) => setImmediate(resolve));
      await answer;
      return now() - start;
    },
    close() {
      failed = undefined;
      link.close();
    },
  };
}

/** Measures the link to an end that runs `answerMessages`. Rejects as `dial` does, or with `LINK_CLOSED`. */
export async function measureLink(
  transport: Transport,
  address: string,
  {
    bytes = 2 ** 18,
    rounds = 200,
    limitMs = Number.POSITIVE_INFINITY,
    busy = false,
    now = () => performance.now(),
  }: LinkOptions = {},
): Promise<LinkFigures> {
  const exchange = await openExchange(transport, address, { busy, now });
  const large = new Uint8Array(bytes);
  const none = new Uint8Array(0);
  const times: [number[], number[]] = [[], []];
  try {
    let passed = 0;
    for (let round = -WARM_UP; round < rounds; round++) {
      if (round >= LEAST_ROUNDS && passed >= limitMs) break;
      for (const [kind, payload] of [none, large].entries()) {
        const ms = await exchange.time(payload);
        passed += ms;
        if (round >= 0) times[kind]?.push(ms);
      }
      if (round < 0 && passed >= WARM_UP_SHARE * limitMs) round = -1;
    }
  } finally {
    exchange.close();
  }
  return figuresOf(times[0], times[1], bytes);
}

/** Empty messages that take so many times as long as the quickest one waited behind others on the link. */
const DISTURBED = 2;

/**
 * What a link is, from what empty messages and those of so many bytes took, ms. Where most empty ones waited for other traffic, the quickest
 * of both kinds count: else the rate would come out as chance has it.
 */
export function figuresOf(empty: readonly number[], large: readonly number[], bytes: number): LinkFigures {
  const quickest = Math.min(...empty);
  const disturbed = median(empty) > DISTURBED * quickest;
  const small = disturbed ? quickest : median(empty);
  const whole = disturbed ? Math.min(...large) : median(large);
  const extra = Math.max(whole - small, (bytes * 8) / (MOST_MBPS * 1000));
  return { mbps: (bytes * 8) / (extra * 1000), latencyMs: small / 2 };
}

const BESIDE = new URL('./link-peer.js', import.meta.url);
/** Node cannot start a process from TypeScript. */
const PEER = import.meta.url.endsWith('.ts') ? new URL('../../dist/profile/link-peer.js', BESIDE) : BESIDE;

/** Measures the link between two processes of this machine. Rejects with `LINK_FAILED` where the other one does not start. */
export async function measureLoopback(options: LinkOptions = {}): Promise<LinkFigures> {
  const peer: ChildProcess = fork(PEER, { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  try {
    const address = await new Promise<string>((resolve, reject) => {
      const refuse = (got: string): void =>
        reject(new DistrEdgeError('LINK_FAILED', 'the other end of a link did not start', { got }));
      const timer = setTimeout(() => refuse(`nothing within ${START_MS} ms`), START_MS);
      peer.once('error', (error) => refuse(error.message));
      peer.once('exit', (code) => refuse(`it ended with code ${code}`));
      peer.once('message', (message) => {
        clearTimeout(timer);
        resolve(String(message));
      });
    });
    return await measureLink(createTcpTransport(), address, options);
  } finally {
    peer.kill();
  }
}
