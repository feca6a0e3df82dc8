/**
 * What holds for every plan before anything runs: who has which rows when, what travels, which schedules are refused, and
 * that a device's part survives the network.
 */
import {
  type Analysis,
  analyse,
  compile,
  DistrEdgeError,
  deviceProgram,
  loadGraph,
  type Plan,
  type Program,
  parseDeviceProgram,
  parsePlan,
  planByRule,
  type Range,
  REQUESTER,
  withChannels,
} from '@distredge/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seeded } from '../../bench/_seeded.js';
import { intersect, isEmpty, subtract } from '../../packages/core/src/rows/range.js';
import { check, TIMEOUT_MS } from './check.js';
import { buildGraph, graphRecipe } from './random-graph.js';
import { allParts, buildPlan, planRecipe, shuffled } from './random-plan.js';

const cases = fc.record({ graph: graphRecipe(), plan: planRecipe, seed: fc.nat({ max: 9999 }) });

/** Checks a property of a random model and plan; an error tells both. */
function holds(runs: number, property: (analysis: Analysis, plan: Plan, seed: number) => void): Promise<void> {
  return check(runs, cases, ({ graph, plan: recipe, seed }) => {
    const model = buildGraph(graph);
    const analysis = analyse(loadGraph(model.bytes));
    const plan = buildPlan(analysis, recipe);
    try {
      property(analysis, plan, seed);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${message}\n${model.text}\n${JSON.stringify(plan)}`, { cause: error });
    }
  });
}

type Step = Program['steps'][number];
type Draft = Program['lowered']['steps'][number];

function draftOf({ lowered }: Program, step: Step): Draft {
  return lowered.steps.find(({ stage, part }) => stage === step.stage && part.index === step.part) as Draft;
}

function show(value: string, { from, to }: Range): string {
  return `rows ${from} to ${to} of ${value}`;
}

function isStrict({ lowered }: Pick<Program, 'lowered'>): boolean {
  return new Set(lowered.stages.map(({ volume }) => volume)).size === lowered.stages.length;
}

test(
  'every part has the rows it needs, and exactly those it lacks are sent to it',
  () =>
    holds(500, (analysis, plan) => {
      const program = compile(analysis.graph, plan, analysis);
      const has = new Map<string, Range[]>();
      const had = (device: number, value: string): Range[] => {
        const key = `${device} ${value}`;
        const list = has.get(key) ?? [];
        has.set(key, list);
        return list;
      };
      const read = new Set<string>();
      program.steps.forEach((step, at) => {
        const draft = draftOf(program, step);
        const arrived = new Map<string, Range[]>();
        const given = new Map<string, Range[]>();
        for (const { source } of step.inputs) {
          const [value, range] = sourceOf(program, step, at, source);
          given.set(value, [...(given.get(value) ?? []), range]);
          if (!('message' in source) || read.has(`${source.message} ${source.piece}`)) continue;
          read.add(`${source.message} ${source.piece}`);
          arrived.set(value, [...(arrived.get(value) ?? []), range]);
        }
        for (const [value, need] of draft.needs) {
          const lacking = subtract(need, given.get(value) ?? []);
          if (lacking[0] !== undefined) throw new Error(`step ${at} is not given ${show(value, lacking[0])}`);
          const known = had(step.device, value);
          for (const range of arrived.get(value) ?? []) {
            const wasted = [...known.map((other) => intersect(range, other)), ...subtract(range, [need])];
            const waste = wasted.find((rows) => !isEmpty(rows));
            if (waste !== undefined) throw new Error(`step ${at} is sent ${show(value, waste)} for nothing`);
            known.push(range);
          }
        }
        for (const value of [...given.keys()]) {
          if (!draft.needs.has(value)) throw new Error(`step ${at} is given ${value}, which it does not need`);
        }
        for (const { value, held } of draft.products) had(step.device, value).push(held);
      });
      program.messages.forEach(({ to, pieces }, message) => {
        pieces.forEach((_, piece) => {
          if (to !== REQUESTER && !read.has(`${message} ${piece}`)) throw new Error(`message ${message} is not read`);
        });
      });
    }),
  TIMEOUT_MS,
);

/** What an input of a step is, if it is there by then. */
function sourceOf(program: Program, step: Step, at: number, source: Step['inputs'][number]['source']): [string, Range] {
  if ('message' in source) {
    const message = program.messages[source.message];
    const piece = message?.pieces[source.piece];
    if (message === undefined || piece === undefined || message.to !== step.device || message.after >= at) {
      throw new Error(`step ${at} reads message ${source.message}, which it does not have then`);
    }
    return [piece.value, piece.range];
  }
  const before = program.steps[source.step];
  const output = before?.outputs.find(({ port }) => port === source.port);
  if (before?.device !== step.device || source.step >= at || output?.kept !== true) {
    throw new Error(`step ${at} reads port ${source.port} of step ${source.step}, which its device does not keep`);
  }
  return [output.value, output.range];
}

test(
  'the owners of a tensor tile it, and only they send its rows',
  () =>
    holds(500, (analysis, plan) => {
      const program = compile(analysis.graph, plan, analysis);
      const { lowered, steps, messages, values, graph } = program;
      const owned = new Map<string, Range[]>();
      for (const { stage, products } of lowered.steps) {
        for (const { value, held, owned: own } of products) {
          if (isEmpty(own)) continue;
          expect(subtract(own, [held]), `owned but not held: ${value}`).toEqual([]);
          owned.set(`${stage} ${value}`, [...(owned.get(`${stage} ${value}`) ?? []), own]);
        }
      }
      for (const [key, ranges] of owned) expectTiles(ranges, values.get(key.slice(key.indexOf(' ') + 1))?.rows, key);
      const received = new Map<string, Range[]>();
      for (const { after, from, to, pieces, bytes } of messages) {
        let free = 0;
        for (const { value, range, offset } of pieces) {
          const key = `${to} ${value}`;
          for (const other of received.get(key) ?? []) {
            expect(isEmpty(intersect(other, range)), `sent twice: ${value} to ${to}`).toBe(true);
          }
          received.set(key, [...(received.get(key) ?? []), range]);
          expect(offset % 8 === 0 && offset >= free && offset < bytes).toBe(true);
          free = offset + 1;
          if (after < 0) continue;
          const sender = steps[after] as Step;
          expect([from, sender.sends.length > 0]).toEqual([sender.device, true]);
          const own = draftOf(program, sender).products.find((product) => product.value === value)?.owned;
          expect(own && subtract(range, [own]), `sent by another than its owner: ${value}`).toEqual([]);
        }
        expect(to).not.toBe(from);
      }
      for (const name of graph.outputs) {
        if (graph.inputs.includes(name)) continue;
        expectTiles(received.get(`${REQUESTER} ${name}`) ?? [], values.get(name)?.rows, `output ${name}`);
      }
    }),
  TIMEOUT_MS,
);

function expectTiles(ranges: readonly Range[], rows: number | undefined, what: string): void {
  let next = 0;
  for (const { from, to } of [...ranges].sort((a, b) => a.from - b.from)) {
    expect(from, what).toBe(next);
    next = to;
  }
  expect(next, what).toBe(rows);
}

test(
  'parts run in the order of the schedule, and send to near volumes and early receivers first',
  () =>
    holds(300, (model, given) => {
      const program = compile(model.graph, given, model);
      // Its plan is cut by rows alone: volumes that were cut by channels are one for each part.
      const { steps, messages, lowered, plan } = program;
      if (plan.schedule !== undefined && isStrict(program)) {
        const place = (step: Step): number =>
          plan.schedule?.findIndex(([volume, part]) => volume === step.volume && part === step.part) ?? -1;
        const places = steps.filter(({ stage }) => lowered.stages[stage]?.volume !== plan.volumes.length).map(place);
        expect(places).toEqual([...places].sort((a, b) => a - b));
      }
      if (plan.schedule === undefined && isStrict(program)) {
        const places = steps.flatMap(({ stage, range }) =>
          lowered.stages[stage]?.volume === plan.volumes.length ? [] : [[stage, range.from] as const],
        );
        expect(places).toEqual([...places].sort(([a, from], [b, other]) => a - b || from - other));
      }
      const readBy = new Map<number, number>();
      for (const { inputs, stage } of steps) {
        for (const { source } of inputs) {
          if ('message' in source && !readBy.has(source.message)) readBy.set(source.message, stage);
        }
      }
      const order = plan.order ?? [];
      const turn = (to: number): number =>
        to === REQUESTER ? 1e6 : order.includes(to) ? order.indexOf(to) : order.length + to;
      for (const { sends } of steps) {
        const keys = sends.map((message) => [readBy.get(message) ?? 1e6, turn(messages[message]?.to ?? 0)]);
        expect(keys).toEqual(
          [...keys].sort((a, b) => (a[0] as number) - (b[0] as number) || (a[1] as number) - (b[1] as number)),
        );
      }
    }),
  TIMEOUT_MS,
);

test(
  'a schedule is refused if and only if it runs a part before its inputs exist',
  () =>
    holds(300, (model, given, seed) => {
      const { lowered, plan, analysis } = compile(model.graph, given, model);
      if (!isStrict({ lowered })) return;
      const schedule = shuffled(allParts(plan), seeded(seed));
      const sound = isSound(analysis, lowered, schedule);
      let refused: unknown;
      try {
        compile(analysis.graph, { ...plan, schedule }, analysis);
      } catch (error) {
        refused = error;
      }
      if (sound) expect(refused).toBeUndefined();
      else expect(refused).toMatchObject({ code: 'PLAN_INVALID' });
    }),
  TIMEOUT_MS,
);

/** Whether every part's rows are owned, or were made by the device itself, by the time it runs; head parts come last. */
function isSound(
  analysis: Analysis,
  lowered: Program['lowered'],
  schedule: readonly (readonly [number, number])[],
): boolean {
  const owned = new Map<string, Range[]>();
  const has = new Map<string, Range[]>();
  for (const name of analysis.graph.inputs) owned.set(name, [{ from: 0, to: Number.POSITIVE_INFINITY }]);
  const stageOf = (step: Draft): Program['lowered']['stages'][number] =>
    lowered.stages[step.stage] as Program['lowered']['stages'][number];
  const order = schedule.flatMap(([volume, part]) =>
    lowered.steps.filter((step) => stageOf(step).volume === volume && step.part.index === part),
  );
  for (const step of order) {
    const own = (value: string): string => `${step.part.device} ${value}`;
    for (const [value, need] of step.needs) {
      if (subtract(need, [...(has.get(own(value)) ?? []), ...(owned.get(value) ?? [])]).length > 0) return false;
    }
    for (const { value, held, owned: rows } of step.products) {
      has.set(own(value), [...(has.get(own(value)) ?? []), held]);
      owned.set(value, stageOf(step).kind === 'gather' ? [rows] : [...(owned.get(value) ?? []), rows]);
    }
    // What is brought stays there; all of it is owned by someone, so it changes nothing for anyone else.
    for (const [value, need] of step.needs) has.set(own(value), [...(has.get(own(value)) ?? []), need]);
  }
  return true;
}

test(
  "a device's part survives the network, and so does a plan",
  () =>
    holds(200, (analysis, plan) => {
      expect(parsePlan(JSON.parse(JSON.stringify(plan)))).toEqual(plan);
      const program = compile(analysis.graph, plan, analysis);
      for (const device of new Set(program.steps.map((step) => step.device))) {
        const { program: part } = deviceProgram(program, device);
        expect(parseDeviceProgram(JSON.parse(JSON.stringify(part)))).toEqual(part);
      }
    }),
  TIMEOUT_MS,
);

const JUNK = [-1, 0, 1, 7, 0.5, 1e9, 2 ** 53, 1e300, '', 'x', null, true, [], {}, [[]], undefined];

test(
  'a damaged part is refused with PROTOCOL or read as another part, never a crash',
  () =>
    holds(400, (analysis, plan, seed) => {
      const program = compile(analysis.graph, plan, analysis);
      const random = seeded(seed);
      const devices = [...new Set(program.steps.map(({ device }) => device))];
      for (const device of devices) {
        for (let times = 0; times < 8; times++) {
          const part: unknown = JSON.parse(JSON.stringify(deviceProgram(program, device).program));
          for (let damages = 1 + Math.floor(random() * 3); damages > 0; damages--) damage(part, random);
          try {
            parseDeviceProgram(part);
          } catch (error) {
            if (!(error instanceof DistrEdgeError) || error.code !== 'PROTOCOL') throw error;
          }
        }
      }
    }),
  TIMEOUT_MS,
);

/** Replaces, doubles or takes away something at a random place. */
function damage(root: unknown, random: () => number): void {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  let at = root;
  for (;;) {
    if (typeof at !== 'object' || at === null) return;
    const keys = Object.keys(at);
    if (keys.length === 0) return;
    const holder = at as Record<string, unknown>;
    const key = pick(keys);
    const inside = holder[key];
    if (typeof inside === 'object' && inside !== null && random() < 0.85) {
      at = inside;
      continue;
    }
    const kind = pick(['replace', 'replace', 'replace', 'drop', 'double']);
    if (kind === 'drop') delete holder[key];
    else if (kind === 'double' && Array.isArray(at)) at.push(inside);
    else holder[key] = typeof inside === 'number' && random() < 0.5 ? inside + pick([-1, 1, 8, -8]) : pick(JUNK);
    return;
  }
}

test(
  'plans by rule fit every model',
  () =>
    holds(300, (analysis, _, seed) => {
      const random = seeded(seed);
      const weights = Array.from({ length: 1 + Math.floor(random() * 5) }, () => Math.floor(random() * 4));
      if (!weights.some((weight) => weight > 0)) weights[0] = 1;
      for (const volumes of ['blocks', 'layers', 1, 3] as const) {
        const rows = planByRule(analysis, { volumes, weights });
        // Small layers, too, and whether or not it pays.
        const limits = { filters: 0, together: 0, rows: Math.floor(random() * 9) };
        for (const plan of [rows, withChannels(analysis, rows, weights, limits)]) {
          expect(parsePlan(JSON.parse(JSON.stringify(plan)))).toEqual(plan);
          expect(compile(analysis.graph, plan, analysis).steps.length).toBeGreaterThan(0);
        }
      }
    }),
  TIMEOUT_MS,
);
