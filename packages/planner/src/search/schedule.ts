/**
 * The order of parts. Every part has a key, the earliest place it may take; its place is that or just after the last part
 * that it reads from, whichever is later. So any keys make a valid schedule: keys that rise from volume to volume run volume
 * by volume, keys of 0 behind the first volume run depth first, and the times at which parts were ready in a simulated run
 * make the schedule of a device that always takes what is ready first.
 */
import type { SimulatedRun } from '@distredge/core';
import type { Geometry } from './geometry.js';
import type { SearchPart, SearchVolume } from './plan-state.js';

/** Pairs [volume, part] by volume and part: schedules share them. */
const PAIRS: (readonly [number, number])[][] = [];

function pair(volume: number, part: number): readonly [number, number] {
  PAIRS[volume] ??= [];
  const row = PAIRS[volume] as (readonly [number, number])[];
  while (row.length <= part) row.push([volume, row.length]);
  return row[part] as readonly [number, number];
}

/** [volume, index in its parts] of all parts in the order in which they run. */
export function scheduleOf(volumes: readonly SearchVolume[], geometry: Geometry): (readonly [number, number])[] {
  const places = placesOf(volumes, geometry);
  const order: (readonly [number, number])[] = [];
  const sorted: number[] = [];
  for (let v = 0; v < volumes.length; v++) {
    const own = places[v] as Float64Array;
    for (let i = 0; i < own.length; i++) {
      // Behind all of the same place: those are of earlier volumes, or above in this one.
      const place = own[i] as number;
      let low = 0;
      let high = sorted.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((sorted[middle] as number) <= place) low = middle + 1;
        else high = middle;
      }
      sorted.splice(low, 0, place);
      order.splice(low, 0, pair(v, i));
    }
  }
  return order;
}

/** For each part of a volume, the parts it reads from, as pairs of numbers: volumes back from its own, index there. */
interface Sources {
  /** The volumes read from, nearest first; the sources hold as long as they are the same. */
  readonly made: readonly SearchVolume[];
  /** How far back each of them is. */
  readonly back: readonly number[];
  readonly ofPart: readonly Int32Array[];
}

/** Remembered as long as a volume lives: states share most of their volumes. */
const SOURCES = new WeakMap<SearchVolume, Sources>();

function sourcesOf(volumes: readonly SearchVolume[], v: number, geometry: Geometry): Sources {
  const volume = volumes[v] as SearchVolume;
  const known = SOURCES.get(volume);
  if (known?.made.every((made, at) => volumes[v - (known.back[at] as number)] === made)) return known;
  const back = new Set<number>();
  const ofPart = volume.parts.map((part) => {
    const pieces = geometry.needs(volume.start, volume.end, part.from, part.to);
    const found: number[] = [];
    for (let at = 0; at < pieces.length; at += 3) {
      const tensor = pieces[at] as number;
      const maker = geometry.producer[tensor] as number;
      if (maker < 0) continue;
      let w = v - 1;
      while ((volumes[w] as SearchVolume).start > maker) w--;
      back.add(v - w);
      const made = volumes[w] as SearchVolume;
      const rows = geometry.rows(made.end);
      for (let j = 0; j < made.parts.length; j++) {
        const other = made.parts[j] as SearchPart;
        if (geometry.share(tensor, other.from, rows) >= (pieces[at + 2] as number)) break;
        if (geometry.share(tensor, other.to, rows) > (pieces[at + 1] as number)) found.push(v - w, j);
      }
    }
    return Int32Array.from(found);
  });
  const steps = [...back];
  const sources = { made: steps.map((step) => volumes[v - step] as SearchVolume), back: steps, ofPart };
  SOURCES.set(volume, sources);
  return sources;
}

/** For each part, the larger of its key and the places of those it reads from. */
function placesOf(volumes: readonly SearchVolume[], geometry: Geometry): Float64Array[] {
  const places: Float64Array[] = [];
  for (let v = 0; v < volumes.length; v++) {
    const { parts } = volumes[v] as SearchVolume;
    const own = new Float64Array(parts.length);
    const { ofPart } = sourcesOf(volumes, v, geometry);
    for (let i = 0; i < parts.length; i++) {
      let place = (parts[i] as SearchPart).key;
      const from = ofPart[i] as Int32Array;
      for (let at = 0; at < from.length; at += 2) {
        const other = (places[v - (from[at] as number)] as Float64Array)[from[at + 1] as number] as number;
        if (other > place) place = other;
      }
      own[i] = place;
    }
    places.push(own);
  }
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
