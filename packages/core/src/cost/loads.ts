/** What the events of a simulated run add up to: for how long one image keeps every device and link busy. */
import type { PlanLoads, PlanningTask, SimulatedEvent } from './task.js';

/** Sums the events of a run. */
export function loadsOf({ costs, network }: PlanningTask, events: readonly SimulatedEvent[]): PlanLoads {
  const computeMs = new Float64Array(costs.length);
  const uplinkMs = new Float64Array(costs.length + 1);
  const downlinkMs = new Float64Array(costs.length + 1);
  let mediumMs = 0;
  const add = (sums: Float64Array, index: number, ms: number): void => {
    sums[index] = (sums[index] ?? 0) + ms;
  };
  for (const event of events) {
    if (event.kind === 'compute') add(computeMs, event.device, event.end - event.start);
    else {
      const ms = event.sent - event.start;
      add(uplinkMs, event.from < 0 ? costs.length : event.from, ms);
      add(downlinkMs, event.to < 0 ? costs.length : event.to, ms);
      if (network.medium === 'shared') mediumMs += ms;
    }
  }
  const periodMs = Math.max(mediumMs, ...computeMs, ...uplinkMs, ...downlinkMs);
  return { computeMs, uplinkMs, downlinkMs, mediumMs, periodMs };
}

/** The events by their start, then by their end; computing before messages. Both simulators give them in this order. */
export function inTime(events: readonly SimulatedEvent[]): SimulatedEvent[] {
  const key = (event: SimulatedEvent): number[] =>
    event.kind === 'compute'
      ? [event.start, event.end, 0, event.device, event.volume, event.part]
      : [event.start, event.arrived, 1, event.from, event.to, event.volume];
  return events
    .map((event) => ({ event, key: key(event) }))
    .sort((a, b) => {
      const at = a.key.findIndex((value, index) => value !== b.key[index]);
      return at < 0 ? 0 : (a.key[at] as number) - (b.key[at] as number);
    })
    .map(({ event }) => event);
}
