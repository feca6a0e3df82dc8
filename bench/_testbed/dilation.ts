/**
 * By how much the testbed's time is slower than the model's, so that this machine keeps up: rates are divided and all times
 * multiplied by the same number. What is waited for must be long against what the machine itself takes for a step or a
 * message, on the busiest device in turn and on all together, and the bytes of all links must be few against what it can carry.
 */
import { availableParallelism, loadavg } from 'node:os';
import type { SimulatedRun } from '@distredge/core';

/** By how much a step or a message is late here: a timer, an announcement, a few wake-ups. In ms. */
const DELAY_MS = 0.1;
/** The share of an image's time that all delays of the busiest device may be. */
const DELAY_SHARE = 0.015;
/** What a step or a message takes of a core, on both ends together, in ms; and the share of the cores that it may be. */
const WORK_MS = 0.6;
const WORK_SHARE = 0.15;
/** What all links together may carry, in 10⁶ bit/s as waited: TCP through a bridge and two queues, on two cores. */
const CARRIED_MBPS = 60;
/** An image takes this long at least, in ms as waited: shorter ones are disturbed by anything. */
const SHORTEST_MS = 300;

/** The number for a plan with this simulated run. Other programs that keep the machine busy (`load`) make it larger. */
export function chooseDilation(
  { latencyMs, events }: SimulatedRun,
  load: number = loadavg()[0] ?? 0,
  cores: number = availableParallelism(),
): number {
  const perMember = new Map<number, number>();
  let bytes = 0;
  for (const event of events) {
    const members = event.kind === 'compute' ? [event.device] : [event.from, event.to];
    for (const member of members) perMember.set(member, (perMember.get(member) ?? 0) + 1);
    if (event.kind === 'message') bytes += event.bytes;
  }
  const wanted = Math.max(
    (Math.max(0, ...perMember.values()) * DELAY_MS) / DELAY_SHARE / latencyMs,
    (events.length * WORK_MS) / cores / WORK_SHARE / latencyMs,
    (bytes * 8) / 1000 / CARRIED_MBPS / latencyMs,
    SHORTEST_MS / latencyMs,
    1,
  );
  const busy = 1 + Math.min(load / cores, 5);
  return Number((wanted * busy).toPrecision(2));
}
