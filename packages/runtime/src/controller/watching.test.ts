/** What is done about an image that takes longer than usual, before it ends. */
import type { Program, SimulatedRun } from '@distredge/core';
import { expect, it } from 'vitest';
import { until } from '../fixtures.js';
import type { RunProgress } from '../run-timeline.js';
import type { Context } from './context.js';
import type { Generation } from './generation.js';
import type { LinkSurvey } from './link-survey.js';
import { Watching } from './watching.js';

const IDS = ['a', 'b'];

/** Watches an image of a plan on two devices, of which only these tell how far it is; as many links as said are slower than known. */
function watch(tell: readonly string[], slower: number) {
  const looks: string[][] = [];
  const needs: unknown[][] = [];
  let [measured, asked] = [0, 0];
  const context = {
    options: {},
    closed: false,
    registry: { devices: new Map(), links: new Map() },
    directory: { tell: () => undefined },
    tell: () => undefined,
  } as unknown as Context;
  const links = {
    glance: async (ends: ReadonlySet<string>) => {
      looks.push([...ends]);
      return slower;
    },
    measure: async () => ({ measured: measured++, failed: 0 }),
  } as unknown as LinkSurvey;
  const watching = new Watching(context, links, {
    need: (...need) => needs.push(need),
    settled: async () => undefined,
    busy: () => false,
  });
  const progress = async (): Promise<RunProgress> => {
    asked++;
    const at = new Map(tell.map((id) => [IDS.indexOf(id), 20] as const));
    return { steps: [], messages: [], arriving: [], at, elapsedMs: 20 };
  };
  const generation = {
    facts: { ids: IDS, number: 1, cluster: { program: { messages: [], steps: [] } as unknown as Program } },
    devices: IDS,
    inFlight: 0,
    pace: { lateAfter: 12, expected: 10 },
    progress,
  } as unknown as Generation;
  watching.from(generation, { events: [], latencyMs: 10 } as unknown as SimulatedRun, IDS);
  const ended = watching.begun(generation);
  return { looks, needs, ended, asked: () => asked, measured: () => measured };
}

it('a device that does not tell of an image again and again is looked at, and planned for where its link is slower', async () => {
  const { looks, needs, ended, measured } = watch(['a'], 1);
  await until(() => measured() > 0);
  ended();
  expect(looks).toEqual([['b']]);
  expect(needs[0]).toEqual(['drift', true]);
});

it('nothing is planned for where its link is what it was', async () => {
  const { looks, needs, ended, measured } = watch(['b'], 0);
  await until(() => looks.length > 0);
  ended();
  expect(looks).toEqual([['a']]);
  expect([needs, measured()]).toEqual([[], 0]);
});

it('no device is looked at where all of them tell, and none of their rows is late', async () => {
  const { looks, ended, asked } = watch(IDS, 1);
  await until(() => asked() > 4);
  ended();
  expect(looks).toEqual([]);
});
