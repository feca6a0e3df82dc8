/** Looks at a cluster from outside: what its broker has retained, and whether its controller answers. For `devices` and `doctor`. */
import { randomBytes } from 'node:crypto';
import { DistrEdgeError } from '@distredge/core';
import { OBSERVER_CLIENT } from './broker.js';
import { type Endpoint, openBus } from './bus.js';
import { type ControllerStatus, decode, encode, MESSAGE_VERSION } from './messages.js';
import { apply, EMPTY_REGISTRY, type Registry } from './registry.js';
import { eventOf } from './registry-events.js';
import { parseTopic, topicOf } from './topics.js';

export interface ObserveOptions {
  readonly cluster: string;
  readonly endpoint: Endpoint;
  /** How long to listen for what is retained, in ms. Default 500. */
  readonly listenMs?: number | undefined;
  /** For the connection and the controller's answer, in ms. Default 5000. */
  readonly deadlineMs?: number | undefined;
}

/** What a cluster says of itself. */
export interface Snapshot {
  readonly controller: ControllerStatus | undefined;
  readonly registry: Registry;
  /** The controller's answer; undefined where there was none in time. `skewMs`: its clock is so much ahead of this machine's. */
  readonly answer: { readonly roundTripMs: number; readonly skewMs: number; readonly software: string } | undefined;
  /** Messages that were none, with the reason. */
  readonly refused: readonly string[];
}

/** Reads a cluster's state. Rejects as `openBus` does. */
export async function readDirectory({
  cluster,
  endpoint,
  listenMs = 500,
  deadlineMs = 5000,
}: ObserveOptions): Promise<Snapshot> {
  const bus = await openBus({ endpoint, clientId: `${OBSERVER_CLIENT}${randomBytes(8).toString('hex')}`, deadlineMs });
  try {
    let controller: ControllerStatus | undefined;
    let registry = EMPTY_REGISTRY;
    const refused: string[] = [];
    await bus.subscribe(`distredge/${cluster}/#`, (text, payload) => {
      const topic = parseTopic(cluster, text);
      if (topic === undefined || payload.byteLength === 0) return;
      try {
        if (topic.kind === 'controller') controller = decode('controller', payload);
        else if ('id' in topic && topic.kind !== 'orders' && topic.kind !== 'answer')
          registry = apply(registry, eventOf(topic, payload));
      } catch (error) {
        if (refused.length < 100)
          refused.push(`${topic.kind}: ${error instanceof Error ? error.message : String(error)}`);
      }
    });
    const answer = await ask();
    await new Promise((resolve) => setTimeout(resolve, listenMs));
    return { controller, registry, answer, refused };
  } finally {
    await bus.close();
  }

  async function ask(): Promise<Snapshot['answer']> {
    const request = randomBytes(8).toString('hex');
    let timer: NodeJS.Timeout | undefined;
    try {
      const answered = new Promise<Snapshot['answer']>((resolve) => {
        const stop = (): void => resolve(undefined);
        timer = setTimeout(stop, deadlineMs);
        const asked = { at: 0, sent: 0 };
        const heard = (payload: Uint8Array): void => {
          try {
            const reply = decode('answers', payload);
            const roundTripMs = performance.now() - asked.sent;
            resolve({ roundTripMs, skewMs: reply.at - (asked.at + roundTripMs / 2), software: reply.software });
          } catch (error) {
            if (error instanceof DistrEdgeError) stop();
          }
        };
        bus
          .subscribe(topicOf(cluster, { kind: 'answers', request }), (_topic, payload) => heard(payload))
          .then(() => {
            asked.at = Date.now();
            asked.sent = performance.now();
            const message = { version: MESSAGE_VERSION, request, at: asked.at };
            return bus.publish(topicOf(cluster, { kind: 'ask' }), encode('ask', message));
          })
          .catch(stop);
      });
      return await answered;
    } finally {
      clearTimeout(timer);
    }
  }
}
