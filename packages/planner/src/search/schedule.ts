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

/** The parts that each part of a volume reads from. */
interface Sources {
  /** The volumes read from; the sources hold as long as they are the same. */
  readonly made: SearchVolume[];
  /** How far back each of them is. */
  readonly back: number[];
  /** Three numbers for each range of parts read from: volumes back, first and last part. */
  readonly ranges: number[];
  /** Where the ranges of each part begin; one more. */
  readonly begins: number[];
}

/** Puts parts in order. Of the plan that a search is at, it knows which parts read from which. */
export class Scheduler {
  readonly #geometry: Geometry;
  /** By part, from top to bottom of all volumes: its place; places and parts as sorted so far. */
  #places = new Float64Array(256);
  #sortedPlaces = new Float64Array(256);
  #sortedParts = new Int32Array(256);
  /** By part: its volume. By volume: its first part. */
  #volumeOf = new Int32Array(256);
  #firstPart = new Int32Array(64);
  /** The volumes put in order last, and their sources. */
  #last: readonly SearchVolume[] = [];
  #lastSources: Sources[] = [];
  #kept: readonly SearchVolume[] = [];
  #keptSources: Sources[] = [];

  constructor(geometry: Geometry) {
    this.#geometry = geometry;
  }

  /** Says that the volumes to come are mostly those put in order last, the very same values. */
  keep(): void {
    this.#kept = this.#last;
    this.#keptSources = this.#lastSources;
  }

  /** [volume, index in its parts] of all parts in the order in which they run. */
  order(volumes: readonly SearchVolume[]): (readonly [number, number])[] {
    const count = this.#findPlaces(volumes);
    const places = this.#places;
    const sortedPlaces = this.#sortedPlaces;
    const sortedParts = this.#sortedParts;
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
    for (let at = 0; at < count; at++) {
      const part = sortedParts[at] as number;
      const v = this.#volumeOf[part] as number;
      order[at] = pair(v, part - (this.#firstPart[v] as number));
    }
    return order;
  }

  /** Finds, for each part, the larger of its key and the places of those it reads from; returns how many parts. */
  #findPlaces(volumes: readonly SearchVolume[]): number {
    this.#reserve(volumes);
    const places = this.#places;
    const firstPart = this.#firstPart;
    this.#last = volumes;
    this.#lastSources = [];
    let count = 0;
    /** The largest place so far: with a key behind it, nothing that the part reads can matter. */
    let latest = Number.NEGATIVE_INFINITY;
    for (let v = 0; v < volumes.length; v++) {
      const { parts } = volumes[v] as SearchVolume;
      const { ranges, begins } = this.#sourcesOf(volumes, v);
      let most = latest;
      for (let i = 0; i < parts.length; i++) {
        let place = (parts[i] as SearchPart).key;
        if (place < latest) {
          const end = begins[i + 1] as number;
          for (let at = begins[i] as number; at < end; at += 3) {
            const first = firstPart[v - (ranges[at] as number)] as number;
            const to = first + (ranges[at + 2] as number);
            for (let other = first + (ranges[at + 1] as number); other <= to; other++) {
              if ((places[other] as number) > place) place = places[other] as number;
            }
          }
        }
        if (place > most) most = place;
        places[count + i] = place;
        this.#volumeOf[count + i] = v;
      }
      latest = most;
      firstPart[v] = count;
      count += parts.length;
    }
    return count;
  }

  #reserve(volumes: readonly SearchVolume[]): void {
    let count = 0;
    for (let v = 0; v < volumes.length; v++) count += (volumes[v] as SearchVolume).parts.length;
    if (this.#places.length < count) {
      this.#places = new Float64Array(2 * count);
      this.#sortedPlaces = new Float64Array(2 * count);
      this.#sortedParts = new Int32Array(2 * count);
      this.#volumeOf = new Int32Array(2 * count);
    }
    if (this.#firstPart.length < volumes.length) this.#firstPart = new Int32Array(2 * volumes.length);
  }

  #sourcesOf(volumes: readonly SearchVolume[], v: number): Sources {
    const volume = volumes[v] as SearchVolume;
    const kept = this.#kept;
    let at = v;
    if (kept[at] !== volume) at += kept.length - volumes.length;
    const known = kept[at] === volume ? this.#keptSources[at] : undefined;
    const sources = known !== undefined && holds(known, volumes, v) ? known : this.#find(volumes, v);
    this.#lastSources.push(sources);
    return sources;
  }

  #find(volumes: readonly SearchVolume[], v: number): Sources {
    const geometry = this.#geometry;
    const { parts } = volumes[v] as SearchVolume;
    const made: SearchVolume[] = [];
    const back: number[] = [];
    const ranges: number[] = [];
    const begins: number[] = [];
    for (let i = 0; i < parts.length; i++) {
      begins.push(ranges.length);
      forEachSource(volumes, v, parts[i] as SearchPart, geometry, (w, first, last) => {
        if (!back.includes(v - w)) {
          back.push(v - w);
          made.push(volumes[w] as SearchVolume);
        }
        ranges.push(v - w, first, last);
      });
    }
    begins.push(ranges.length);
    return { made, back, ranges, begins };
  }
}

/** Index of the part that owns a row of a tensor. */
function partWith(parts: readonly SearchPart[], geometry: Geometry, tensor: number, rows: number, row: number): number {
  let low = 0;
  let high = parts.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (geometry.share(tensor, (parts[middle] as SearchPart).to, rows) > row) high = middle;
    else low = middle + 1;
  }
  return low;
}

function holds({ made, back }: Sources, volumes: readonly SearchVolume[], v: number): boolean {
  for (let at = 0; at < made.length; at++) if (volumes[v - (back[at] as number)] !== made[at]) return false;
  return true;
}

/**
 * Keys that make every device run a part as soon as what it reads is there. Of the first volume, all devices are sent their first chunk, then
 * all their second one, so that none waits until others have everything.
 */
export function depthFirst(volumes: readonly SearchVolume[]): SearchVolume[] {
  return volumes.map((volume, v) => {
    const chunks = new Map<number, number>();
    const rank = (device: number): number => {
      const before = chunks.get(device) ?? 0;
      chunks.set(device, before + 1);
      return before;
    };
    return { ...volume, parts: volume.parts.map((part) => ({ ...part, key: v === 0 ? rank(part.device) : 0 })) };
  });
}

export function volumeByVolume(volumes: readonly SearchVolume[]): SearchVolume[] {
  return volumes.map((volume, v) => ({ ...volume, parts: volume.parts.map((part) => ({ ...part, key: v })) }));
}

/** Keys by when the rows that a part reads were there in a simulated run: had arrived, or had been computed on the same device. */
export function firstReady(volumes: readonly SearchVolume[], run: SimulatedRun, geometry: Geometry): SearchVolume[] {
  const ready = volumes.map(({ parts }) => new Float64Array(parts.length));
  const done = volumes.map(({ parts }) => new Float64Array(parts.length));
  for (const event of run.events) {
    if (event.kind !== 'compute' || event.volume >= volumes.length) continue;
    (ready[event.volume] as Float64Array)[event.part] = event.ready;
    (done[event.volume] as Float64Array)[event.part] = event.end;
  }
  return volumes.map((volume, v) => {
    const parts = volume.parts.map((part, i) => {
      let key = ready[v]?.[i] ?? 0;
      forEachSource(volumes, v, part, geometry, (w, first, last) => {
        for (let other = first; other <= last; other++) {
          if (volumes[w]?.parts[other]?.device === part.device) key = Math.max(key, done[w]?.[other] ?? 0);
        }
      });
      return { ...part, key };
    });
    return { ...volume, parts };
  });
}

/** What a part of a volume reads from: for each tensor the volume that makes it, the first and the last of its parts that do. */
function forEachSource(
  volumes: readonly SearchVolume[],
  v: number,
  { from, to }: SearchPart,
  geometry: Geometry,
  visit: (volume: number, first: number, last: number) => void,
): void {
  const { start, end } = volumes[v] as SearchVolume;
  const pieces = geometry.needs(start, end, from, to);
  for (let at = 0; at < pieces.length; at += 3) {
    const tensor = pieces[at] as number;
    const maker = geometry.producer[tensor] as number;
    if (maker < 0) continue;
    let w = v - 1;
    while ((volumes[w] as SearchVolume).start > maker) w--;
    const { end: made, parts } = volumes[w] as SearchVolume;
    const rows = geometry.rows(made);
    const first = partWith(parts, geometry, tensor, rows, pieces[at + 1] as number);
    visit(w, first, partWith(parts, geometry, tensor, rows, (pieces[at + 2] as number) - 1));
  }
}
