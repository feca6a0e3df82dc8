/**
 * Random general plans for an analysed model: volumes that end anywhere, parts of any size in any order of devices, gathers
 * between volumes, a head anywhere or cut by channels, and schedules. As with graphs, the fast-check value is plain numbers
 * that fit any model, read as choices among what that model allows.
 */
import {
  type Analysis,
  compile,
  isChannels,
  isGather,
  type Plan,
  type PlanChannels,
  type PlanPart,
  type PlanVolume,
  partsOf,
  rowsOf,
  weightedParts,
} from '@distredge/core';
import fc from 'fast-check';
import { seeded } from '../../bench/_seeded.js';
import { typeOf } from '../../packages/core/src/graph/graph.js';
import { channelChain, firstFullyConnected } from '../../packages/core/src/rows/dependence.js';

interface PartRecipe {
  readonly device: number;
  /** Share of the rows; 0 makes an empty part. */
  readonly weight: number;
  /** Parts are listed in this order, not from top to bottom. */
  readonly place: number;
}

export interface PlanRecipe {
  readonly devices: number;
  readonly volumes: readonly {
    readonly end: number;
    readonly parts: readonly PartRecipe[];
    readonly gather: number | undefined;
    /** Cut by output channels where the volume can be. */
    readonly channels: boolean;
  }[];
  /** One part per device, in the devices' order. */
  readonly classical: boolean;
  readonly head: number | readonly PartRecipe[] | undefined;
  readonly order: number | undefined;
  readonly schedule: number | undefined;
}

const MAX_DEVICES = 5;
const device = fc.nat({ max: MAX_DEVICES - 1 });
const part: fc.Arbitrary<PartRecipe> = fc.record({
  device,
  weight: fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) },
    { weight: 1, arbitrary: fc.constant<number>(0) },
  ),
  place: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 9 }) }),
});
const volume = fc.record({
  end: fc.nat({ max: 99 }),
  parts: fc.array(part, { minLength: 1, maxLength: 7, size: 'max' }),
  gather: fc.option(device, { nil: undefined, freq: 6 }),
  channels: fc.boolean(),
});

export const planRecipe: fc.Arbitrary<PlanRecipe> = fc.record({
  devices: fc.integer({ min: 1, max: MAX_DEVICES }),
  volumes: fc.array(volume, { minLength: 1, maxLength: 9, size: 'max' }),
  classical: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  head: fc.option(fc.oneof(device, fc.array(part, { minLength: 1, maxLength: 4 })), { nil: undefined }),
  order: fc.option(fc.nat({ max: 999 }), { nil: undefined }),
  schedule: fc.option(fc.nat({ max: 9999 }), { nil: undefined }),
});

/** The plan that a recipe describes, for this model. */
export function buildPlan(analysis: Analysis, recipe: PlanRecipe): Plan {
  const { devices } = recipe;
  const ends = analysis.sequence.map(({ node }) => node.outputs.filter((name) => analysis.axes.has(name)));
  const places = [...ends.keys()].filter((index) => (ends[index] as string[]).length > 0);
  const chosen = recipe.volumes
    .flatMap((item) => (places.length === 0 ? [] : [{ item, at: places[item.end % places.length] as number }]))
    .sort((a, b) => a.at - b.at)
    .filter(({ at }, index, all) => all[index - 1]?.at !== at);
  const volumes = chosen.flatMap(({ item, at }, index): Plan['volumes'][number][] => {
    const names = ends[at] as string[];
    const end = names[item.end % names.length] as string;
    const channels = item.channels ? channelsBehind(analysis, (chosen[index - 1]?.at ?? -1) + 1, at, end) : undefined;
    const tiled: PlanVolume | PlanChannels =
      channels === undefined
        ? { end, parts: tiling(item.parts, rowsOf(analysis, end), devices, recipe.classical) }
        : { end, channels: oncePerDevice(tiling(item.parts, channels, devices, false)) };
    return item.gather === undefined ? [tiled] : [tiled, { gather: item.gather % devices }];
  });
  const turns = recipe.order === undefined ? [] : shuffled([...Array(devices).keys()], seeded(recipe.order));
  const plan: Plan = {
    version: 1,
    devices,
    volumes,
    ...headOf(analysis, recipe),
    ...(recipe.order === undefined ? {} : { order: turns.slice(recipe.order % 2) }),
  };
  return recipe.schedule === undefined ? plan : { ...plan, schedule: randomSchedule(analysis, plan, recipe.schedule) };
}

/** How many channels a volume from one position to another can be cut into; undefined where it cannot be cut so. */
function channelsBehind(analysis: Analysis, from: number, to: number, end: string): number | undefined {
  const chain = channelChain(analysis, analysis.sequence.slice(from, to + 1), end);
  return chain === undefined ? undefined : typeOf(analysis.graph, end).shape?.[1];
}

/** The same tiling with the parts of a device that has several given to its first: what is left still tiles. */
function oncePerDevice(parts: readonly PlanPart[]): PlanPart[] {
  const sorted = [...parts].sort((a, b) => a.from - b.from);
  const seen = new Set<number>();
  const kept = sorted.filter(({ device: on }) => !seen.has(on) && seen.add(on));
  return kept.map((part, index) => ({
    ...part,
    from: index === 0 ? 0 : part.from,
    to: kept[index + 1]?.from ?? Math.max(...parts.map(({ to }) => to)),
  }));
}

function tiling(parts: readonly PartRecipe[], rows: number, devices: number, classical: boolean): PlanPart[] {
  const weights = parts.map(({ weight }) => weight);
  if (!weights.some((weight) => weight > 0)) weights[0] = 1;
  if (classical) {
    const each: number[] = Array.from({ length: devices }, (_, index) => weights[index] ?? 0);
    return weightedParts(each.some((weight) => weight > 0) ? each : each.map(() => 1), rows);
  }
  return weightedParts(weights, rows)
    .map(({ from, to }, index) => ({
      device: (parts[index] as PartRecipe).device % devices,
      from,
      to,
      place: parts[index]?.place ?? 0,
    }))
    .sort((a, b) => a.place - b.place)
    .map(({ device: on, from, to }) => ({ device: on, from, to }));
}

function headOf(analysis: Analysis, { head, devices }: PlanRecipe): Pick<Plan, 'head'> {
  if (head === undefined) return {};
  if (typeof head === 'number') return { head: head % devices };
  const cut = firstFullyConnected(analysis);
  const channels = cut && typeOf(analysis.graph, cut.placed.node.outputs[0] ?? '').shape?.at(-1);
  if (channels === undefined) return { head: (head[0] as PartRecipe).device % devices };
  return { head: tiling(head, channels, devices, false) };
}

/** Every part of a plan as its schedule names it. */
export function allParts({ volumes }: Plan): [number, number][] {
  return volumes.flatMap((item, index): [number, number][] =>
    isGather(item) ? [[index, 0]] : partsOf(item).map((_, at): [number, number] => [index, at]),
  );
}

/** What the compiler calls the parts of a plan whose volumes that are cut by channels become one for each part. */
function compiledNames({ volumes }: Plan): Map<string, string> {
  const names = new Map<string, string>();
  let next = 0;
  volumes.forEach((item, index) => {
    if (isGather(item) || !isChannels(item)) {
      for (const at of isGather(item) ? [0] : item.parts.keys()) names.set(`${next} ${at}`, `${index} ${at}`);
      next += 1;
      return;
    }
    const parts = [...item.channels.entries()].filter(([, { from, to }]) => to > from);
    for (const [at] of parts.sort(([, a], [, b]) => a.from - b.from)) names.set(`${next++} 0`, `${index} ${at}`);
  });
  return names;
}

/** A random order of all parts in which each comes after every part that owns rows it needs. */
function randomSchedule(analysis: Analysis, plan: Plan, seed: number): [number, number][] {
  const { lowered } = compile(analysis.graph, plan, analysis);
  const names = compiledNames(plan);
  const keyOf = (step: (typeof lowered.steps)[number]): string => {
    const key = `${lowered.stages[step.stage]?.volume} ${step.part.index}`;
    return names.get(key) ?? key;
  };
  const after = new Map<string, Set<string>>();
  for (const step of lowered.steps) {
    const volume = lowered.stages[step.stage]?.volume;
    for (const before of lowered.steps) {
      if (before.stage >= step.stage || lowered.stages[before.stage]?.volume === volume) continue;
      const gives = before.products.some(({ value, owned }) => {
        const need = step.needs.get(value);
        return need !== undefined && owned.from < need.to && need.from < owned.to;
      });
      if (gives) after.set(keyOf(step), (after.get(keyOf(step)) ?? new Set()).add(keyOf(before)));
    }
  }
  const random = seeded(seed);
  const waiting = shuffled(allParts(plan), random);
  const done = new Set<string>();
  const schedule: [number, number][] = [];
  while (waiting.length > 0) {
    const at = waiting.findIndex((entry) => [...(after.get(entry.join(' ')) ?? [])].every((key) => done.has(key)));
    const [entry] = waiting.splice(at, 1);
    if (at < 0 || entry === undefined) throw new Error('the parts of a plan wait for each other');
    done.add(entry.join(' '));
    schedule.push(entry);
  }
  return schedule;
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}
