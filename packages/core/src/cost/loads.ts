/** How long one image keeps every device and link busy: what limits a plan when images follow each other closely. */
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
