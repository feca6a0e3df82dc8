/**
 * By how much the testbed's time is slower than the model's, so that this machine keeps up: rates are divided and all times
 * multiplied by the same number. What is waited for must be long against what the machine itself takes for a step or a
 * message, and the bytes of all links together must be few against what it can carry.
 */
import { loadavg } from 'node:os';
import type { SimulatedRun } from '@distredge/core';

/** What a step or a message takes here beyond its time, in ms: a timer, an announcement, a few wake-ups. */
const EVENT_MS = 0.5;
/** The share of an image's time that this may be. */
const OVERHEAD = 0.01;
/** What all links together may carry, in 10⁶ bit/s as waited: TCP through a bridge and two queues, on two cores. */
const CARRIED_MBPS = 150;
/** An image takes this long at least, in ms as waited: shorter ones are disturbed by anything. */
const SHORTEST_MS = 300;

/** The number for a plan with this simulated run; the same plan may get another one where the machine is busy. */
export function chooseDilation({ latencyMs, events }: SimulatedRun, load: number = loadavg()[0] ?? 0): number {
  const perDevice = new Map<number, number>();
  let bytes = 0;
  const count = (device: number): void => {
    perDevice.set(device, (perDevice.get(device) ?? 0) + 1);
  };
  for (const event of events) {
    if (event.kind === 'compute') count(event.device);
    else {
      bytes += event.bytes;
      count(event.from);
      count(event.to);
    }
  }
  // Events follow one another on the busiest device at most.
  const inTurn = Math.max(1, ...perDevice.values());
  const wanted = Math.max(
    (inTurn * EVENT_MS) / OVERHEAD / latencyMs,
    (bytes * 8) / 1000 / CARRIED_MBPS / latencyMs,
    SHORTEST_MS / latencyMs,
    1,
  );
  const busy = 1 + Math.min(load, 8) / 4;
  return Number((wanted * busy).toPrecision(2));
}
