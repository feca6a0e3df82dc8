/**
 * Plans to start from: the best devices of a few numbers of them, rows in proportion to how fast they are, volumes by LC-PSS and as
 * the devices' team finds them, whole, in chunks that run depth first, and with branches that take turns.
 */
import { lcPssSweep } from '../lc-pss.js';
import { BYTES_PER_MS } from '../units.js';
import { cutAtBranches, cutAtResults, takingTurns, withBranches } from './branches.js';
import type { Geometry } from './geometry.js';
import { balancedHead } from './head.js';
import { inChunks, type SearchVolume } from './parts.js';
import type { PlanForm, PlanState } from './plan-state.js';
import { depthFirst, volumeByVolume } from './schedule.js';
import { Team } from './team.js';

/** Devices that the head is tried on: moving it later takes a change of all cuts with it. */
const HEADS = 3;
/** Random split decisions of LC-PSS: enough for partitions to start from; fewer where they have more parts together. */
const DECISIONS = { most: 12, parts: 192 };
/** Chunks for which a team is asked for its volumes: while the inputs arrive, and after that. */
const STREAMED: readonly (readonly [number, number])[] = [
  [2, 1],
  [3, 1],
  [12, 1],
];
/** Devices to make many starts with: so many choices of them, before all others. */
const PROMISING = 3;
/** Chunks that the parts of any volumes are cut into: of the first volume and of the last one. */
const CHUNKS: readonly (readonly [number, number])[] = [
  [2, 2],
  [4, 4],
  [6, 1],
  [12, 1],
];
/** The same where results branch off. */
const RETURNING: readonly (readonly [number, number])[] = [
  [2, 3],
  [3, 4],
  [4, 6],
];
/** Up to so many ops, volumes may end after any of them; in longer networks at narrow places. */
const ANY_END = 256;
/** So many of those at most. */
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

/** Cuts every part into chunks, in a schedule that goes deep first. */
function chunked(
  volumes: readonly SearchVolume[],
  geometry: Geometry,
  [first, last]: readonly [number, number],
): SearchVolume[] {
  return depthFirst(
    volumes.map((volume) => {
      const { start, end, parts } = volume;
      if (!geometry.divisible(start, end)) return volume;
      const chunks = first + ((last - first) * end) / geometry.workload.ops.length;
      return { start, end, parts: inChunks(parts, Math.round(chunks)) };
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
  /** Whether it is this search, of several side by side, that goes on from it. */
  readonly own: boolean;
}

/** A start made here, of which it is not said yet whose it is. */
type Made = Omit<Start, 'own'>;

/** Which of several searches side by side. */
export interface Side {
  readonly index: number;
  readonly count: number;
}

/** A partition, and the least that a plan with it has cost so far. */
interface Tried {
  readonly ends: readonly number[];
  least: number;
}

/** Devices to make starts with. */
interface Choice {
  readonly team: Team;
  readonly size: number;
  /** Devices for the head, the best one first. */
  readonly heads: readonly (number | undefined)[];
  /** The head cut by channels where that is possible. */
  readonly cutHead: PlanState['head'];
  least: number;
}

/**
 * Starts for all numbers of devices and several partitions into volumes, the best single devices first. Is told what each costs, if
 * anybody knows, since there is seldom time for all: a plan or a few for every number of devices, then more with those that did best, the
 * partitions that did best first. Of searches side by side each sees which devices do well, and has partitions of its own.
 */
export function* starts(
  geometry: Geometry,
  form: PlanForm,
  { index, count }: Side,
): Generator<Start, void, number | undefined> {
  const { costs } = geometry.task;
  const alone = costs.map((_, device) => aloneMs(geometry, device));
  const withLink = withInput(geometry, alone);
  const all = costs
    .map((_, device) => device)
    .sort((a, b) => (withLink[a] as number) - (withLink[b] as number) || a - b);
  let turn = 0;
  const shared = (made: Made): Start => ({ ...made, own: turn++ % count === index });
  for (const device of all.slice(0, 4)) yield shared({ state: singleDevice(geometry, device), family: 'one device' });

  const ends = geometry.ends.length <= ANY_END ? geometry.ends : narrowEnds(geometry);
  const choices: Choice[] = [];
  for (const n of counts(all.length)) {
    const choice = choiceOf(geometry, form, ends, all.slice(0, n), alone);
    const probes: Made[] = [{ state: stateOf(choice.team.best(), choice), family: `${n} devices` }];
    if (!form.classical) probes.push(...returning(geometry, choice));
    for (const made of probes) choice.least = Math.min(choice.least, (yield shared(made)) ?? choice.least);
    choices.push(choice);
  }
  choices.sort(byLeast);
  const alike = ({ size }: Choice): Choice => choiceOf(geometry, form, ends, all.slice(0, size), withLink);
  const withAlike = (some: readonly Choice[]): Choice[] => [...some, ...some.filter(({ size }) => size > 1).map(alike)];

  if (!form.classical) for (const made of fused(geometry, ends, all[0] as number)) yield shared(made);
  const decisions = Math.min(DECISIONS.most, Math.ceil(DECISIONS.parts / all.length));
  const partitions = withBranches(lcPssSweep(geometry.task, { decisions }), geometry)
    .filter((_, i) => i % count === index)
    .map(({ ends: some }): Tried => ({ ends: some, least: Number.POSITIVE_INFINITY }));
  for (const some of [choices.slice(0, PROMISING), choices.slice(PROMISING)].map(withAlike)) {
    for (const choice of some) {
      for (const partition of partitions.sort(byLeast)) {
        for (const made of variants(geometry, form, choice, choice.team.volumes(partition.ends))) {
          partition.least = Math.min(partition.least, (yield { ...made, own: true }) ?? partition.least);
        }
      }
      if (!form.classical) for (const made of streamed(choice)) yield shared(made);
      for (const made of variants(geometry, form, choice, choice.team.best())) yield shared(made);
    }
  }
}

function byLeast(a: { readonly least: number }, b: { readonly least: number }): number {
  return a.least === b.least ? 0 : a.least - b.least;
}

/**
 * From top to bottom, the fastest links in the middle: a part at an edge exchanges rows with one neighbour, not two. In the order given
 * where all links are as fast.
 */
function slowLinksOutside(geometry: Geometry, devices: readonly number[]): number[] {
  const links = geometry.task.network.devices;
  const mbps = (device: number): number => links[device]?.mbps ?? 0;
  if (devices.every((device) => mbps(device) === mbps(devices[0] as number))) return [...devices];
  const sorted = [...devices].sort((a, b) => mbps(a) - mbps(b) || a - b);
  const above = sorted.filter((_, i) => i % 2 === 0);
  const below = sorted.filter((_, i) => i % 2 === 1);
  return [...above, ...below.reverse()];
}

/**
 * @param best devices, the best one first
 * @param ms time of the whole network, per device: shares of the rows follow from it
 */
function choiceOf(
  geometry: Geometry,
  form: PlanForm,
  ends: readonly number[],
  best: readonly number[],
  ms: readonly number[],
): Choice {
  const { head } = geometry.workload;
  const ascending = [...best].sort((a, b) => a - b);
  const devices = form.classical ? ascending : slowLinksOutside(geometry, ascending);
  const weights = devices.map((device) => 1 / (ms[device] as number));
  const heads = head === undefined ? [undefined] : best.slice(0, HEADS);
  const whole = head?.cut === undefined || best.length === 1 || form.classical;
  const later = [0, ...new Array<number>(best.length - 1).fill(1)];
  return {
    team: new Team(geometry, devices, weights, best[0] as number, ends),
    size: best.length,
    heads,
    cutHead: whole ? heads[0] : balancedHead(best, geometry.task.costs, later),
    least: Number.POSITIVE_INFINITY,
  };
}

function stateOf(volumes: readonly SearchVolume[], { heads }: Choice): PlanState {
  return { volumes: volumeByVolume(volumes), order: undefined, head: heads[0] };
}

/** Volumes whose early parts compute in chunks while the inputs arrive. */
function* streamed({ team, cutHead }: Choice): Generator<Made> {
  for (const chunks of STREAMED) {
    const volumes = depthFirst(team.best(chunks));
    const family = `${volumes.map(({ end }) => end).join()} in chunks`;
    yield { state: { volumes, order: undefined, head: cutHead }, family };
  }
}

/** These volumes whole, with the head on each of some devices, and in chunks; the same where volumes end with branches. */
function* variants(
  geometry: Geometry,
  form: PlanForm,
  { heads, cutHead }: Choice,
  volumes: readonly SearchVolume[],
): Generator<Made> {
  const family = volumes.map(({ end }) => end).join();
  for (const head of heads) {
    yield { state: { volumes: volumeByVolume(volumes), order: undefined, head }, family: `${family}, head on ${head}` };
  }
  if (form.classical) return;
  const apart = cutAtBranches(volumes, geometry);
  for (const some of apart === volumes ? [volumes] : [volumes, apart]) {
    const own = some === volumes ? family : some.map(({ end }) => end).join();
    const inTurns = takingTurns(some, geometry);
    if (inTurns !== some) {
      yield { state: { volumes: inTurns, order: undefined, head: cutHead }, family: `${own} in turns` };
    }
    for (const chunks of CHUNKS) {
      const state = { volumes: chunked(some, geometry, chunks), order: undefined, head: cutHead };
      yield { state, family: `${own} in chunks` };
    }
  }
}

/** Few volumes, cut only where results branch off, in chunks of which the first results leave early; none where no result does. */
function* returning(geometry: Geometry, { team, cutHead }: Choice): Generator<Made> {
  const whole = team.volumes(geometry.required);
  const volumes = cutAtResults(whole, geometry);
  if (volumes === whole) return;
  for (const chunks of RETURNING) {
    const state = { volumes: chunked(volumes, geometry, chunks), order: undefined, head: cutHead };
    yield { state, family: 'results early' };
  }
}

/** One device, volumes of a few ops each: an early chunk then goes deep while the input still arrives. */
function* fused(geometry: Geometry, ends: readonly number[], device: number): Generator<Made> {
  for (const per of [3, 5]) {
    const some = ends.filter((end, i) => (i + 1) % per === 0 || geometry.required.includes(end));
    const volumes = some.map((end, i): SearchVolume => {
      const start = i === 0 ? 0 : (some[i - 1] as number) + 1;
      return { start, end, parts: [{ device, from: 0, to: geometry.rows(end), key: 0 }] };
    });
    for (const chunks of [3, 5]) {
      const head = geometry.workload.head === undefined ? undefined : device;
      yield {
        state: { volumes: chunked(volumes, geometry, [chunks, 1]), order: undefined, head },
        family: 'one, fused',
      };
    }
  }
}

/** For images that follow each other: a stage of consecutive ops on every device, stages in proportion to its speed. */
export function* pipelines(geometry: Geometry): Generator<Start, void, number | undefined> {
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
    yield { state: { volumes: volumeByVolume(volumes), order: undefined, head }, family: 'pipeline', own: true };
  }
}
