/**
 * The order of parts. Every part has a key, the earliest place it may take; its place is that or just after the last part
 * that it reads from, whichever is later. So any keys make a valid schedule: keys that rise from volume to volume run volume
 * by volume, keys of 0 behind the first volume run depth first, and the times at which parts were ready in a simulated run
 * make the schedule of a device that always takes what is ready first.
 */
import type { SimulatedRun } from '@distredge/core';
import type { Geometry } from './geometry.js';
import type { SearchPart, SearchVolume } from './parts.js';

/** Pairs [volume, part] by volume and part: schedules share them. */
const PAIRS: (readonly [number, number])[][] = [];

function pair(volume: number, part: number): readonly [number, number] {
  PAIRS[volume] ??= [];
  const row = PAIRS[volume] as (readonly [number, number])[];
  while (row.length <= part) row.push([volume, row.length]);
  return row[part] as readonly [number, number];
}

/** Working memory of `scheduleOf`, by part from top to bottom of all volumes: the places, and places and parts as sorted so far. */
let places = new Float64Array(256);
let sortedPlaces = new Float64Array(256);
let sortedParts = new Int32Array(256);
/** By volume: its first part. */
let firstPart = new Int32Array(64);

/** [volume, index in its parts] of all parts in the order in which they run. */
export function scheduleOf(volumes: readonly SearchVolume[], geometry: Geometry): (readonly [number, number])[] {
  const count = findPlaces(volumes, geometry);
  const pairs: (readonly [number, number])[] = [];
  for (let v = 0; v < volumes.length; v++) {
    const { length } = (volumes[v] as SearchVolume).parts;
    for (let i = 0; i < length; i++) pairs.push(pair(v, i));
  }
  for (let at = 0; at < count; at++) {
    // Behind all of the same place: those are of earlier volumes, or above in this one.
    const place = places[at] as number;
    let low = at;
    if (at > 0 && (sortedPlaces[at - 1] as number) > place) {
      let from = 0;
      while (from < low) {
        const middle = (from + low) >> 1;
        if ((sortedPlaces[middle] as number) <= place) from = middle + 1;
        else low = middle;
      }
      sortedPlaces.copyWithin(low + 1, low, at);
      sortedParts.copyWithin(low + 1, low, at);
    }
    sortedPlaces[low] = place;
    sortedParts[low] = at;
  }
  const order = new Array<readonly [number, number]>(count);
  for (let at = 0; at < count; at++) order[at] = pairs[sortedParts[at] as number] as readonly [number, number];
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

/** Working memory of `sourcesOf`: the pairs found for one part. */
let found = new Int32Array(64);

function sourcesOf(volumes: readonly SearchVolume[], v: number, geometry: Geometry): Sources {
  const volume = volumes[v] as SearchVolume;
  const known = SOURCES.get(volume);
  if (known !== undefined && holds(known, volumes, v)) return known;
  const { start, end, parts } = volume;
  const back: number[] = [];
  const ofPart: Int32Array[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as SearchPart;
    const pieces = geometry.needs(start, end, part.from, part.to);
    let count = 0;
    for (let at = 0; at < pieces.length; at += 3) {
      const tensor = pieces[at] as number;
      const maker = geometry.producer[tensor] as number;
      if (maker < 0) continue;
      let w = v - 1;
      while ((volumes[w] as SearchVolume).start > maker) w--;
      if (!back.includes(v - w)) back.push(v - w);
      const made = volumes[w] as SearchVolume;
      const rows = geometry.rows(made.end);
      if (found.length < count + 2 * made.parts.length) {
        const larger = new Int32Array(2 * (count + 2 * made.parts.length));
        larger.set(found);
        found = larger;
      }
      for (let j = 0; j < made.parts.length; j++) {
        const other = made.parts[j] as SearchPart;
        if (geometry.share(tensor, other.from, rows) >= (pieces[at + 2] as number)) break;
        if (geometry.share(tensor, other.to, rows) <= (pieces[at + 1] as number)) continue;
        found[count++] = v - w;
        found[count++] = j;
      }
    }
    ofPart.push(found.slice(0, count));
  }
  const sources = { made: back.map((step) => volumes[v - step] as SearchVolume), back, ofPart };
  SOURCES.set(volume, sources);
  return sources;
}

function holds({ made, back }: Sources, volumes: readonly SearchVolume[], v: number): boolean {
  for (let at = 0; at < made.length; at++) if (volumes[v - (back[at] as number)] !== made[at]) return false;
  return true;
}

/** Leaves in `places`, for each part, the larger of its key and the places of those it reads from; returns how many parts. */
function findPlaces(volumes: readonly SearchVolume[], geometry: Geometry): number {
  let count = 0;
  if (firstPart.length < volumes.length) firstPart = new Int32Array(2 * volumes.length);
  for (let v = 0; v < volumes.length; v++) {
    firstPart[v] = count;
    count += (volumes[v] as SearchVolume).parts.length;
  }
  if (places.length < count) {
    places = new Float64Array(2 * count);
    sortedPlaces = new Float64Array(2 * count);
    sortedParts = new Int32Array(2 * count);
  }
  for (let v = 0; v < volumes.length; v++) {
    const { parts } = volumes[v] as SearchVolume;
    const first = firstPart[v] as number;
    const { ofPart } = sourcesOf(volumes, v, geometry);
    for (let i = 0; i < parts.length; i++) {
      let place = (parts[i] as SearchPart).key;
      const from = ofPart[i] as Int32Array;
      for (let at = 0; at < from.length; at += 2) {
        const other = places[(firstPart[v - (from[at] as number)] as number) + (from[at + 1] as number)] as number;
        if (other > place) place = other;
      }
      places[first + i] = place;
    }
  }
  return count;
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
