import type { SimulatedRun, Workload, WorkPlan } from '@distredge/core';
import { describe, expect, test } from 'vitest';
import { planPage, planPicture } from './plan-picture.js';
import { ticks } from './svg.js';

const ROWS = 8;
const read = (tensor: number): { tensor: number; from: Int32Array; to: Int32Array } => ({
  tensor,
  from: Int32Array.from({ length: ROWS }, (_, row) => row),
  to: Int32Array.from({ length: ROWS }, (_, row) => row + 1),
});
const op = (name: string, tensor: number): Workload['ops'][number] => ({
  name,
  type: 'Conv',
  outputs: [tensor],
  reads: [read(tensor - 1)],
  rows: ROWS,
  weightBytes: 4,
  whole: false,
  multiplyAdds: 1,
  width: 1,
  channels: 1,
});
const workload: Workload = {
  model: 'small',
  tensors: ['x', 'a<b', 'y'].map((name) => ({ name, rows: ROWS, bytesPerRow: 4 })),
  inputs: 1,
  ops: [op('first', 1), op('second', 2)],
  forced: [],
  outputs: [2],
  head: undefined,
};
const plan: WorkPlan = {
  volumes: [
    {
      end: 0,
      parts: [
        { device: 0, from: 0, to: 3 },
        { device: 2, from: 3, to: 8 },
      ],
    },
    { gather: 2 },
    { end: 1, parts: [{ device: 2, from: 0, to: 8 }] },
  ],
};
const compute = (
  device: number,
  volume: number,
  part: number,
  start: number,
  end: number,
): SimulatedRun['events'][number] => ({
  kind: 'compute',
  device,
  volume,
  part,
  ready: start - 1,
  start,
  end,
});
const message = (from: number, to: number, volume: number, start: number): SimulatedRun['events'][number] => ({
  kind: 'message',
  from,
  to,
  volume,
  bytes: 2000,
  issued: start,
  start,
  sent: start + 1,
  arrived: start + 2,
});
const run: SimulatedRun = {
  latencyMs: 24,
  memoryBytes: [0, 0, 0],
  events: [
    message(-1, 0, 0, 0),
    message(-1, 2, 0, 1),
    compute(0, 0, 0, 3, 9),
    compute(2, 0, 1, 4, 10),
    message(0, 2, 1, 9),
    compute(2, 2, 0, 12, 21),
    message(2, -1, 4, 22),
  ],
};
const picture = {
  title: 'small & <bold>',
  subtitle: 'as "told"',
  workload,
  plan,
  run,
  devices: ['fast', 'idle', 'slow'],
};

/** Tags, without what stands between them. */
function tags(svg: string): string[] {
  return [...svg.matchAll(/<\/?([a-z]+)[^>]*>/g)].map(([tag]) => tag);
}

describe('the picture', () => {
  const svg = planPicture(picture);

  test('is well-formed: what opens closes, and no text opens anything', () => {
    const open: string[] = [];
    for (const tag of tags(svg)) {
      const [, name = ''] = /^<\/?([a-z]+)/.exec(tag) ?? [];
      if (tag.startsWith('</')) expect(open.pop()).toBe(name);
      else if (!tag.endsWith('/>')) open.push(name);
    }
    expect(open).toEqual([]);
    expect(svg).toContain('small &amp; &lt;bold&gt;');
    expect(svg).toContain('as &quot;told&quot;');
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('says in tooltips who computes which rows, and when', () => {
    expect(svg).toContain("<title>volume 1, to 'a&lt;b'\nfast, rows 0–2 of 8\n3.00–9.00 ms</title>");
    expect(svg).toContain("<title>volume 1, to 'a&lt;b'\nslow, rows 3–7 of 8\n4.00–10.00 ms</title>");
    expect(svg).toContain('step 2: gathered\nslow');
    expect(svg).toContain('fast → slow: 2.00 kB for volume 2\n9.00–10.00 ms, arrives at 11.00 ms');
    expect(svg).toContain('slow → requester: 2.00 kB results');
  });

  test('draws heights and times to scale', () => {
    const boxOf = (title: string): Record<string, number> => {
      const [, attributes = ''] = new RegExp(`<rect ([^>]*)><title>${title}`).exec(svg) ?? [];
      return Object.fromEntries(
        [...attributes.matchAll(/(?<!-)\b(\w+)="([\d.]+)"/g)].map(([, key, value]) => [key, Number(value)]),
      );
    };
    const upper = boxOf("volume 1, to 'a&lt;b'\nfast");
    const lower = boxOf("volume 1, to 'a&lt;b'\nslow");
    expect((lower['height'] ?? 0) / (upper['height'] ?? 0)).toBeCloseTo(5 / 3, 2);
    expect(lower['y']).toBeCloseTo((upper['y'] ?? 0) + (upper['height'] ?? 0), 1);
    const first = boxOf('fast: volume 1');
    const last = boxOf('slow: volume 3');
    expect((last['width'] ?? 0) / (first['width'] ?? 0)).toBeCloseTo(9 / 6, 2);
  });

  test('has a lane for every device with work, and names those without', () => {
    expect(svg.match(/>sends</g)).toHaveLength(3);
    expect(svg).toContain('without work: idle');
    expect(svg).toContain('result after 24.0 ms');
  });

  test('stands in a page of its own without anything from elsewhere', () => {
    const page = planPage(picture);
    expect(page.startsWith('<!doctype html>')).toBe(true);
    expect(page).toContain(svg);
    expect(page).not.toMatch(/(href|src)=/);
  });

  test('of many volumes stays as wide', () => {
    const volumes = Array.from({ length: 200 }, () => ({ end: 0, parts: [{ device: 0, from: 0, to: 8 }] }));
    const many = planPicture({ ...picture, plan: { volumes } });
    const rights = [...many.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g)].map(
      ([, x, width]) => Number(x) + Number(width),
    );
    expect(Math.max(...rights)).toBeLessThanOrEqual(1200);
  });
});

test('ticks are round numbers', () => {
  expect(ticks(24, 12)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]);
  expect(ticks(0.37, 5)).toEqual([0, 0.1, 0.2, 0.3]);
  expect(ticks(0, 5)).toEqual([0]);
});
