/**
 * Links of the testbed: TCP over the shaped links, with two things that `tc` here cannot do. Rows are sent when the access
 * point says so (`access-point.ts`), and **latency** is added where they arrive: a message is handed over that much after its
 * last byte, and occupies nothing meanwhile. Set-up, pings and the frame that opens an image are neither queued nor delayed.
 */
import {
  type Frame,
  FrameKind,
  type Link,
  type LinkHandlers,
  parseAddress,
  sleepUntil,
  type Transport,
} from '@distredge/runtime';
import type { Station } from './access-point.js';
import { memberAt } from './namespaces.js';

export interface TestbedLinks {
  /** This member: 0 is the requester, device i is i + 1. */
  readonly self: number;
  /** Undefined where everyone sends when they like. */
  readonly station: Station | undefined;
  /** How long a message from this member takes beyond its transfer, in ms as waited; read for every message. */
  readonly latencyMs: (from: number) => number;
}

export function testbedTransport(inner: Transport, links: TestbedLinks): Transport {
  const wrap = (handlers: (link: Link) => LinkHandlers) => (link: Link) => wrapped(link, handlers, links);
  return {
    name: `${inner.name} in a testbed`,
    dial: async (address, handlers, options) => {
      let outer: Link | undefined;
      const link = await inner.dial(
        address,
        (raw) =>
          wrapped(raw, handlers, links, (made) => {
            outer = made;
          }),
        options,
      );
      return outer ?? link;
    },
    listen: (address, handlers, options) => inner.listen(address, wrap(handlers), options),
  };
}

/** What the owner of a link sees of it, and what the link sees of its owner. */
function wrapped(
  raw: Link,
  make: (link: Link) => LinkHandlers,
  { self, station, latencyMs }: TestbedLinks,
  made?: (link: Link) => void,
): LinkHandlers {
  const other = memberAt(parseAddress(raw.remote).host) ?? -1;
  const link: Link = {
    remote: raw.remote,
    async send(header, payload) {
      const rows = header.kind === FrameKind.data && payload.some((piece) => piece.length > 0);
      if (rows) await station?.turn(`${self}:${other}:${header.request}:${header.channel}`);
      await raw.send(header, payload);
    },
    close: (error) => raw.close(error),
  };
  made?.(link);
  const handlers = make(link);
  let before: Promise<unknown> = Promise.resolve();
  return {
    ...(handlers.allocate === undefined ? {} : { allocate: (header) => handlers.allocate?.(header) as Uint8Array }),
    frame(frame: Frame) {
      if (frame.kind !== FrameKind.data || frame.length === 0) return handlers.frame(frame);
      station?.arrived(`${other}:${self}:${frame.request}:${frame.channel}`);
      const due = performance.now() + latencyMs(other);
      before = before
        .then(() => sleepUntil(due))
        .then(() => handlers.frame(frame))
        .catch((error: unknown) => raw.close(error instanceof Error ? error : new Error(String(error))));
    },
    closed: (error) => handlers.closed(error),
  };
}
