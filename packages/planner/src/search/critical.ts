/**
 * What holds a simulated run up: the chain of parts and messages, each waiting for the one before it, that ends with the last
 * result. A change that leaves all of them alone cannot make the plan faster, so moves begin there more often.
 */
import type { SimulatedEvent, SimulatedRun } from '@distredge/core';

/** A part of a plan: index of its volume, index among the volume's parts. */
export type Place = readonly [number, number];

type Compute = Extract<SimulatedEvent, { kind: 'compute' }>;
type Message = Extract<SimulatedEvent, { kind: 'message' }>;

/** The parts on the chain, the last one first; those that wait for a message stand for it. Parts of the head are left out. */
export function criticalParts({ events, latencyMs }: SimulatedRun, volumes: number, shared: boolean): Place[] {
  const found: Place[] = [];
  let now: SimulatedEvent | undefined = events.find(
    (event) => event.kind === 'message' && event.to < 0 && event.arrived === latencyMs,
  );
  // Every step goes back in time or to what ends when it begins: the number of events bounds them, whatever is rounded.
  for (let step = 0; now !== undefined && step < events.length; step++) {
    if (now.kind === 'compute') {
      if (now.volume < volumes) found.push([now.volume, now.part]);
      now = beforeCompute(events, now);
    } else now = beforeMessage(events, now, shared);
  }
  return found;
}

/** The message that a part waited for, or what its device computed until then. */
function beforeCompute(
  events: readonly SimulatedEvent[],
  { device, start, ready }: Compute,
): SimulatedEvent | undefined {
  if (start > ready) {
    return events.find((event) => event.kind === 'compute' && event.device === device && event.end === start);
  }
  return events.find((event) => event.kind === 'message' && event.to === device && event.arrived === ready);
}

/** The message that held a link, or the part whose rows it takes. */
function beforeMessage(
  events: readonly SimulatedEvent[],
  message: Message,
  shared: boolean,
): SimulatedEvent | undefined {
  const { from, to, issued, start } = message;
  if (start > issued) {
    return events.find(
      (event) =>
        event.kind === 'message' &&
        event !== message &&
        event.sent === start &&
        (shared || event.from === from || event.to === to),
    );
  }
  if (from < 0) return undefined;
  return events.find((event) => event.kind === 'compute' && event.device === from && event.end === issued);
}
