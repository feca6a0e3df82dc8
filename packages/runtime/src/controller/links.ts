/** Measures links on behalf of the control plane: with few, small messages where the link is slow, and never without an end. */
import { DistrEdgeError } from '@distredge/core';
import type { Link, Transport } from '../link/link.js';
import { type LinkFigures, measureLink, openExchange } from '../profile/link.js';

/** A first look, to choose how much the link can carry. */
const LOOK = { bytes: 2 ** 13, rounds: 4, limitMs: 100 };
/** What the large messages of a measurement may take together, in ms. */
const AIM_MS = 200;
const MOST_BYTES = 2 ** 18;
const ROUNDS = 12;
/** Images that are under way meanwhile hold messages up: then fewer are sent. */
const LIMIT_MS = 400;
/** Above this rate, in 10⁶ bit/s, what a message costs hides what its bytes cost: a link is not said to be faster. */
const MOST_MBPS = 20_000;
/** Messages that are sent before any is timed come on top. */
const ALL_ROUNDS = ROUNDS + 20;

/** A transport whose links end when asked to. */
function ending(transport: Transport): { readonly transport: Transport; end(error: Error): void } {
  const open = new Set<Link>();
  let over: Error | undefined;
  return {
    transport: {
      ...transport,
      async dial(address, handlers, options) {
        const link = await transport.dial(address, handlers, options);
        open.add(link);
        if (over !== undefined) link.close(over);
        return link;
      },
    },
    end(error) {
      over = error;
      for (const link of open) link.close(error);
    },
  };
}

/** Messages of so many bytes tell a link that became slow. */
const GLANCE_BYTES = 2 ** 15;
/** So many of them at least, in so many ms at least: one alone, or a few at once, may wait for others on the link. */
const GLANCES = 2;
const GLANCE_MS = 60;
/** A link is much slower where messages take more than so many times as long as known; and so many ms longer, where few tell. */
export const SLOWER = 2;
const LATER_MS = 2;

/**
 * Whether the link to an end that runs `answerMessages` carries much less than known, and then what it carries, in 10⁶ bit/s; undefined where
 * it does not. Far sooner done than `quickLink`, and coarser. Rejects as that does.
 */
export function slowerLink(
  transport: Transport,
  address: string,
  known: LinkFigures,
  deadlineMs: number,
): Promise<number | undefined> {
  return inTime(transport, address, deadlineMs, async (links) => {
    const exchange = await openExchange(links, address);
    const payload = new Uint8Array(GLANCE_BYTES);
    const bits = GLANCE_BYTES * 8;
    const knownMs = bits / (known.mbps * 1000);
    const begun = performance.now();
    let leastMs = Number.POSITIVE_INFINITY;
    try {
      for (let times = 0; times < GLANCES || performance.now() - begun < GLANCE_MS; times++) {
        leastMs = Math.min(leastMs, (await exchange.time(payload)) - 2 * known.latencyMs);
        if (leastMs <= Math.max(SLOWER * knownMs, knownMs + LATER_MS)) return undefined;
      }
    } finally {
      exchange.close();
    }
    return bits / (leastMs * 1000);
  });
}

/** Measures the link to an end that runs `answerMessages`. Rejects as `dial` does, with `LINK_CLOSED`, or `DEADLINE`. */
export function quickLink(transport: Transport, address: string, deadlineMs: number): Promise<LinkFigures> {
  return inTime(transport, address, deadlineMs, async (links) => {
    const look = await measureLink(links, address, LOOK);
    const bits = (AIM_MS / ALL_ROUNDS) * look.mbps * 1000;
    const bytes = Math.min(MOST_BYTES, Math.max(LOOK.bytes, Math.round(bits / 8)));
    const own = await measureLink(links, address, { bytes, rounds: ROUNDS, limitMs: LIMIT_MS });
    const { mbps, latencyMs } = quicker(own, look.latencyMs, bytes);
    return { mbps: Math.min(mbps, MOST_MBPS), latencyMs };
  });
}

/**
 * The figures of a link of which messages are known to have taken less than so many ms besides their bytes: where all empty ones of a
 * measurement waited, its messages of so many bytes seem to cost nothing.
 */
export function quicker({ mbps, latencyMs }: LinkFigures, otherMs: number, bytes: number): LinkFigures {
  const bits = bytes * 8;
  const waitedMs = 2 * Math.max(0, latencyMs - otherMs);
  return { mbps: bits / (bits / mbps + waitedMs * 1000), latencyMs: Math.min(latencyMs, otherMs) };
}

/** Measures over links that end when it takes too long. */
async function inTime<T>(
  transport: Transport,
  address: string,
  deadlineMs: number,
  measure: (transport: Transport) => Promise<T>,
): Promise<T> {
  const links = ending(transport);
  const timer = setTimeout(
    () =>
      links.end(new DistrEdgeError('DEADLINE', `a link was not measured within ${deadlineMs} ms`, { where: address })),
    deadlineMs,
  );
  try {
    return await measure(links.transport);
  } finally {
    clearTimeout(timer);
  }
}
