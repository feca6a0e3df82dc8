/**
 * Plans to start from: the best devices of a few numbers of them, rows in proportion to how fast they are, volume ends by
 * dynamic programming over a simple cost, whole or in chunks that run depth first.
 */
import type { PlanPart } from '@distredge/core';
import { lcPssSweep } from '../lc-pss.js';
import { BYTES_PER_MS } from '../units.js';
import type { Geometry } from './geometry.js';
import { balancedHead } from './head.js';
import type { SearchPart, SearchVolume } from './parts.js';
import type { PlanForm, PlanState } from './plan-state.js';
import { depthFirst, volumeByVolume } from './schedule.js';

/** Devices that the head is tried on: moving it later takes a change of all cuts with it. */
const HEADS = 3;
/** Random split decisions of LC-PSS: enough for partitions to start from; fewer where they have more parts together. */
const DECISIONS = { most: 12, parts: 192 };
/** Most ends that the dynamic programme weighs. */
const MOST_ENDS = 48;

/** Ends worth weighing in the first place: few bytes alive, no more than after the ops around them. */
function narrowEnds(geometry: Geometry): number[] {
  const { ops, tensors } = geometry.workload;
  const bytes = ops.map((_, end) =>
    geometry.live(end).reduce((sum, t) => sum + (tensors[t]?.rows ?? 0) * (tensors[t]?.bytesPerRow ?? 0), 0),
  );
  const count = ops.map((_, end) => geometry.live(end).length);
  const required = new Set(geometry.required);
  let found = ops
    .map((_, end) => end)
    .filter((end) => {
      if (required.has(end)) return true;
      const before = count[end - 1] ?? 1e9;
      const after = count[end + 1] ?? 1e9;
      return (count[end] as number) <= before && (count[end] as number) <= after;
    });
  if (found.length > MOST_ENDS) {
    const kept = new Set([...found].sort((a, b) => (bytes[a] as number) - (bytes[b] as number)).slice(0, MOST_ENDS));
    found = found.filter((end) => kept.has(end) || required.has(end));
  }
  return found;
}

/** Time of the whole network on one device, its input's and result's transfer not counted. */
export function aloneMs(geometry: Geometry, device: number): number {
  const { costs } = geometry.task;
  const own = costs[device];
  if (own === undefined) return Number.POSITIVE_INFINITY;
  let ms = own.headBeforeMs + (own.headCutMs.at(-1) ?? 0) + own.headAfterMs;
  let start = 0;
  for (const end of geometry.required) {
    ms += geometry.ms(device, start, end, 0, geometry.rows(end));
    start = end + 1;
  }
  return ms;
}

/** All work on one device. */
export function singleDevice(geometry: Geometry, device: number): PlanState {
  let start = 0;
  const volumes = geometry.required.map((end): SearchVolume => {
    const volume = { start, end, parts: [{ device, from: 0, to: geometry.rows(end), key: 0 }] };
    start = end + 1;
    return volume;
  });
  return { volumes, order: undefined, head: geometry.workload.head === undefined ? undefined : device };
}

/** Tiles rows in proportion to the weights; devices whose share rounds to nothing are left out. */
function tile(devices: readonly number[], weights: readonly number[], rows: number): SearchPart[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const parts: SearchPart[] = [];
  let sum = 0;
  let from = 0;
  devices.forEach((device, i) => {
    sum += weights[i] as number;
    const to = Math.floor((sum / total) * rows + 0.5);
    if (to > from) parts.push({ device, from, to, key: 0 });
    from = to;
  });
  return parts;
}

/**
 * Volumes for these devices with these shares, by dynamic programming: a volume takes as long as its slowest part, and as
 * the halo rows that its slowest receiver lacks.
 */
function volumesFor(
  geometry: Geometry,
  ends: readonly number[],
  devices: readonly number[],
  weights: readonly number[],
): SearchVolume[] {
  const { network, workload } = geometry.task;
  const required = new Set(geometry.required);
  const tiles = ends.map((end) => tile(devices, weights, geometry.rows(end)));
  const least = new Float64Array(ends.length).fill(Number.POSITIVE_INFINITY);
  const from = new Int32Array(ends.length);
  const whole = (end: number): SearchPart[] => [
    { device: devices[0] as number, from: 0, to: geometry.rows(end), key: 0 },
  ];
  const partsOf = (e: number, start: number): readonly SearchPart[] => {
    const end = ends[e] as number;
    return geometry.divisible(start, end) ? (tiles[e] as SearchPart[]) : whole(end);
  };
  for (let e = 0; e < ends.length; e++) {
    let worse = 0;
    for (let s = e; s >= 0; s--) {
      if (s < e && required.has(ends[s] as number)) break;
      const start = s === 0 ? 0 : (ends[s - 1] as number) + 1;
      const end = ends[e] as number;
      const parts = partsOf(e, start);
      let compute = 0;
      let exchange = 0;
      for (const part of parts) {
        compute = Math.max(compute, geometry.ms(part.device, start, end, part.from, part.to));
        if (s === 0) continue;
        const before = tiles[s - 1]?.find((own) => own.device === part.device);
        const needs = geometry.needs(start, end, part.from, part.to);
        let bytes = 0;
        const rows = geometry.rows(ends[s - 1] as number);
        for (let at = 0; at < needs.length; at += 3) {
          const tensor = needs[at] as number;
          if (tensor < workload.inputs) continue;
          const a = needs[at + 1] as number;
          const b = needs[at + 2] as number;
          const x = before === undefined ? 0 : geometry.share(tensor, before.from, rows);
          const y = before === undefined ? 0 : geometry.share(tensor, before.to, rows);
          const have = Math.max(0, Math.min(b, y) - Math.max(a, x));
          bytes += (b - a - have) * (workload.tensors[tensor]?.bytesPerRow ?? 0);
        }
        const link = network.devices[part.device];
        if (bytes > 0)
          exchange = Math.max(exchange, bytes / ((link?.mbps ?? 1) * BYTES_PER_MS) + (link?.latencyMs ?? 0));
      }
      const cost = compute + exchange;
      const total = (s === 0 ? 0 : (least[s - 1] as number)) + cost;
      if (total < (least[e] as number)) {
        least[e] = total;
        from[e] = s;
        worse = 0;
      } else if (++worse > 12) break;
    }
  }
  const volumes: SearchVolume[] = [];
  for (let e = ends.length - 1; e >= 0; e = (from[e] as number) - 1) {
    const s = from[e] as number;
    const start = s === 0 ? 0 : (ends[s - 1] as number) + 1;
    volumes.unshift({ start, end: ends[e] as number, parts: partsOf(e, start) });
  }
  return volumes;
}

/** Cuts every part into chunks, more of them in early volumes, in a schedule that goes deep first. */
function chunked(volumes: readonly SearchVolume[], geometry: Geometry, chunks: number): SearchVolume[] {
  return depthFirst(
    volumes.map((volume) => {
      if (!geometry.divisible(volume.start, volume.end)) return volume;
      const share = 1 - volume.end / geometry.workload.ops.length;
      const count = Math.max(1, Math.round(1 + (chunks - 1) * share));
      const parts = volume.parts.flatMap((part) => {
        const n = Math.min(count, Math.max(1, Math.floor((part.to - part.from) / 2)));
        const cuts = Array.from({ length: n + 1 }, (_, i) => part.from + Math.round(((part.to - part.from) * i) / n));
        return cuts.slice(1).map((to, i): SearchPart => ({ ...part, from: cuts[i] as number, to }));
      });
      return { ...volume, parts };
    }),
  );
}

/** How many devices to try: few, and then ever more. */
function counts(devices: number): number[] {
  const found = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64].filter((n) => n <= devices);
  if (found.at(-1) !== devices) found.push(devices);
  return found;
}

/** Time of the whole network on each device, with the transfer of the input. */
export function withInput(geometry: Geometry, alone: readonly number[]): number[] {
  const { network, workload } = geometry.task;
  let bytes = 0;
  for (const { rows, bytesPerRow } of workload.tensors.slice(0, workload.inputs)) bytes += rows * bytesPerRow;
  return alone.map((ms, device) => {
    const mbps = Math.min(network.requester.mbps, network.devices[device]?.mbps ?? 0);
    return ms + bytes / (mbps * BYTES_PER_MS);
  });
}

/** All devices, the more often the faster they are: what moves draw from. */
export function byUse(geometry: Geometry): number[] {
  const alone = geometry.task.costs.map((_, device) => aloneMs(geometry, device));
  const ms = withInput(geometry, alone);
  const least = Math.min(...ms);
  return ms.flatMap((own, device) => new Array<number>(Math.max(1, Math.round((8 * least) / own))).fill(device));
}

/** A plan to start from, with what tells kinds of plans apart: of each the best is worth a try. */
export interface Start {
  readonly state: PlanState;
  readonly family: string;
}

/** Starts for all numbers of devices and several partitions into volumes, the best single devices first. */
export function* starts(geometry: Geometry, form: PlanForm): Generator<Start> {
  const { costs, workload } = geometry.task;
  const alone = costs.map((_, device) => aloneMs(geometry, device));
  const withLink = withInput(geometry, alone);
  const all = costs
    .map((_, device) => device)
    .sort((a, b) => (withLink[a] as number) - (withLink[b] as number) || a - b);
  for (const device of all.slice(0, 4)) yield { state: singleDevice(geometry, device), family: 'one device' };
  const ends = narrowEnds(geometry);
  const decisions = Math.min(DECISIONS.most, Math.ceil(DECISIONS.parts / all.length));
  const partitions = lcPssSweep(geometry.task, { decisions }).map((partition) => partition.ends);
  const first = all[0] as number;
  const head = workload.head === undefined ? undefined : first;
  for (const n of counts(all.length)) {
    const devices = all.slice(0, n).sort((a, b) => a - b);
    const cut: number | readonly PlanPart[] | undefined =
      workload.head?.cut === undefined || n === 1 || form.classical
        ? head
        : balancedHead(all.slice(0, n), costs, [0, ...new Array<number>(n).fill(1)]);
    for (const speed of n === 1 ? [alone] : [alone, withLink]) {
      const weights = devices.map((device) => 1 / (speed[device] as number));
      const layouts = [volumesFor(geometry, ends, devices, weights)];
      if (n > 1) for (const partition of partitions) layouts.push(volumesOf(geometry, partition, devices, weights));
      for (const volumes of layouts) {
        const family = volumes.map(({ end }) => end).join();
        const heads = head === undefined ? [undefined] : all.slice(0, Math.min(n, HEADS));
        for (const one of heads) {
          yield {
            state: { volumes: volumeByVolume(volumes), order: undefined, head: one },
            family: `${family}, head on ${one}`,
          };
        }
        if (form.classical) continue;
        for (const chunks of [2, 4]) {
          const state = { volumes: chunked(volumes, geometry, chunks), order: undefined, head: cut };
          yield { state, family: `${family} in chunks` };
        }
      }
    }
    if (n === 1 && !form.classical) yield* fused(geometry, ends, first);
  }
}

/** One device, volumes of a few ops each: an early chunk then goes deep while the input still arrives. */
function* fused(geometry: Geometry, ends: readonly number[], device: number): Generator<Start> {
  for (const per of [3, 5]) {
    const some = ends.filter((end, i) => (i + 1) % per === 0 || geometry.required.includes(end));
    const volumes = volumesOf(geometry, some, [device], [1]);
    for (const chunks of [3, 5]) {
      const head = geometry.workload.head === undefined ? undefined : device;
      yield { state: { volumes: chunked(volumes, geometry, chunks), order: undefined, head }, family: 'one, fused' };
    }
  }
}

/** Volumes with these ends, rows in proportion to the weights; what cannot be divided is the first device's. */
function volumesOf(
  geometry: Geometry,
  ends: readonly number[],
  devices: readonly number[],
  weights: readonly number[],
): SearchVolume[] {
  let start = 0;
  return ends.map((end): SearchVolume => {
    const rows = geometry.rows(end);
    const whole: SearchPart[] = [{ device: devices[0] as number, from: 0, to: rows, key: 0 }];
    const volume = { start, end, parts: geometry.divisible(start, end) ? tile(devices, weights, rows) : whole };
    start = end + 1;
    return volume;
  });
}

/** For images that follow each other: a stage of consecutive ops on every device, stages in proportion to its speed. */
export function* pipelines(geometry: Geometry): Generator<Start> {
  const { costs, workload } = geometry.task;
  const alone = costs.map((_, device) => aloneMs(geometry, device));
  const all = costs.map((_, device) => device).sort((a, b) => (alone[a] as number) - (alone[b] as number) || a - b);
  const ends = narrowEnds(geometry);
  for (const n of counts(all.length).slice(1)) {
    const devices = all.slice(0, n);
    const speed = devices.reduce((sum, device) => sum + 1 / (alone[device] as number), 0);
    const volumes: SearchVolume[] = [];
    let at = 0;
    let spent = 0;
    let start = 0;
    for (const end of ends) {
      const device = devices[at] as number;
      const ms = geometry.ms(device, start, end, 0, geometry.rows(end));
      const full = spent + ms >= 1 / speed && at + 1 < n;
      if (!full && !geometry.required.includes(end)) continue;
      volumes.push({ start, end, parts: [{ device, from: 0, to: geometry.rows(end), key: 0 }] });
      start = end + 1;
      spent = full ? 0 : spent + ms;
      if (full) at++;
    }
    const head = workload.head === undefined ? undefined : devices[at];
    yield { state: { volumes: volumeByVolume(volumes), order: undefined, head }, family: 'pipeline' };
  }
}
