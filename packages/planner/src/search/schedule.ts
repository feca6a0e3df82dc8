/**
 * The order of parts. Every part has a key, the earliest place it may take; its place is that or just after the last part
 * that it reads from, whichever is later. So any keys make a valid schedule: keys that rise from volume to volume run volume
 * by volume, keys of 0 behind the first volume run depth first, and the times at which parts were ready in a simulated run
 * make the schedule of a device that always takes what is ready first.
 */
import type { SimulatedRun } from '@distredge/core';
import type { Geometry } from './geometry.js';
import type { SearchPart, SearchVolume } from './plan-state.js';

/** [volume, index in its parts] of all parts in the order in which they run. */
export function scheduleOf(volumes: readonly SearchVolume[], geometry: Geometry): [number, number][] {
  const places = placesOf(volumes, geometry);
  const all: [number, number][] = [];
  volumes.forEach(({ parts }, v) => {
    for (let i = 0; i < parts.length; i++) all.push([v, i]);
  });
  return all.sort((a, b) => {
    const byPlace = ((places[a[0]] as Float64Array)[a[1]] as number) - ((places[b[0]] as Float64Array)[b[1]] as number);
    return byPlace !== 0 ? byPlace : a[0] !== b[0] ? a[0] - b[0] : a[1] - b[1];
  });
}

/** For each part, the larger of its key and the places of those it reads from. */
function placesOf(volumes: readonly SearchVolume[], geometry: Geometry): Float64Array[] {
  const places: Float64Array[] = [];
  const volumeOf = new Int32Array(geometry.workload.ops.length);
  volumes.forEach(({ start, end, parts }, v) => {
    volumeOf.fill(v, start, end + 1);
    const own = Float64Array.from(parts, (part) => part.key);
    places.push(own);
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as SearchPart;
      const needs = geometry.needs(start, end, part.from, part.to);
      for (let at = 0; at < needs.length; at += 3) {
        const tensor = needs[at] as number;
        const maker = geometry.producer[tensor] as number;
        if (maker < 0) continue;
        const w = volumeOf[maker] as number;
        const made = volumes[w] as SearchVolume;
        const rows = geometry.rows(made.end);
        const from = needs[at + 1] as number;
        const to = needs[at + 2] as number;
        const theirs = places[w] as Float64Array;
        for (let j = 0; j < made.parts.length; j++) {
          const other = made.parts[j] as SearchPart;
          if (geometry.share(tensor, other.from, rows) >= to) break;
          if (geometry.share(tensor, other.to, rows) <= from) continue;
          if ((theirs[j] as number) > (own[i] as number)) own[i] = theirs[j] as number;
        }
      }
    }
  });
  return places;
}

/** Keys that make every device run a part as soon as what it reads is there, the first volume from top to bottom. */
export function depthFirst(volumes: readonly SearchVolume[]): SearchVolume[] {
  return volumes.map((volume, v) => ({
    ...volume,
    parts: volume.parts.map((part, i) => ({ ...part, key: v === 0 ? i : 0 })),
  }));
}

export function volumeByVolume(volumes: readonly SearchVolume[]): SearchVolume[] {
  return volumes.map((volume, v) => ({ ...volume, parts: volume.parts.map((part) => ({ ...part, key: v })) }));
}

/** Keys by when the rows that a part reads had arrived in a simulated run. */
export function firstReady(volumes: readonly SearchVolume[], run: SimulatedRun): SearchVolume[] {
  const ready = volumes.map(({ parts }) => new Float64Array(parts.length));
  for (const event of run.events) {
    if (event.kind !== 'compute') continue;
    const places = ready[event.volume];
    if (places !== undefined) places[event.part] = event.ready;
  }
  return volumes.map((volume, v) => ({
    ...volume,
    parts: volume.parts.map((part, i) => ({ ...part, key: ready[v]?.[i] ?? 0 })),
  }));
}
