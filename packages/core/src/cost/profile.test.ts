import { describe, expect, it } from 'vitest';
import { interpolate, type Profile, parseProfile, profileCosts } from './profile.js';
import type { Workload } from './workload.js';

const PROFILE: Profile = {
  version: 1,
  device: { id: 'd', engine: 'fake 1', threads: 1, cpu: 'c' },
  model: { name: 'm', hash: '0123456789abcdef' },
  memory_mb: 100,
  part_ms: 0.5,
  input_edge_ms_per_mb: 2,
  fusion: 0.9,
  ops: [
    { end: 'a', rows: [1, 4, 5, 8], ms: [1, 1, 2, 2], edge_ms_per_mb: 3 },
    { end: 'b', rows: [2, 4], ms: [3, 5], edge_ms_per_mb: 0 },
  ],
  head: { before_ms: 1, cut: { channels: [1, 10], ms: [0, 9] }, after_ms: 2 },
};

const shape = { multiplyAdds: 1, width: 1, channels: 1, weightBytes: 0 };
const read = (tensor: number, rows: number, step: number) => ({
  tensor,
  from: Int32Array.from({ length: rows }, (_, row) => row * step),
  to: Int32Array.from({ length: rows }, (_, row) => (row + 1) * step),
});
const op = (name: string, output: number, rows: number, tensor: number, step: number) => ({
  ...shape,
  name,
  type: 'Conv',
  outputs: [output],
  reads: [read(tensor, rows, step)],
  rows,
  whole: false,
});
const headOp = { ...shape, type: 'Gemm', rows: 1, fullyConnected: true, movedBytes: 4 };
const WORKLOAD: Workload = {
  model: 'm',
  tensors: [
    { name: 'x', rows: 8, bytesPerRow: 10 },
    { name: 'a', rows: 8, bytesPerRow: 10 },
    { name: 'b', rows: 4, bytesPerRow: 10 },
  ],
  inputs: 1,
  ops: [op('first', 1, 8, 0, 1), op('second', 2, 4, 1, 2)],
  forced: [],
  outputs: [],
  head: { reads: [2], before: [], cut: { ...headOp, name: 'fc', channels: 10 }, after: [], resultBytes: 40 },
};

/** The profile with one place changed. */
function changed(path: readonly (string | number)[], value: unknown): unknown {
  const copy = structuredClone(PROFILE) as unknown;
  let at = copy as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>;
  at[path.at(-1) as string | number] = value;
  return copy;
}

describe('parseProfile', () => {
  it('takes what it was given, through JSON too', () => {
    expect(parseProfile(JSON.parse(JSON.stringify(PROFILE)))).toEqual(PROFILE);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a list', []],
    ['another version', changed(['version'], 2)],
    ['a field that it does not know', changed(['speed'], 1)],
    ['a field of an op that it does not know', changed(['ops', 0, 'speed'], 1)],
    ['a negative time', changed(['ops', 0, 'ms', 1], -1)],
    ['a time that is no number', changed(['ops', 0, 'ms', 1], Number.NaN)],
    ['an endless time', changed(['ops', 0, 'ms', 1], Number.POSITIVE_INFINITY)],
    ['a time that JSON made null', changed(['ops', 0, 'ms', 1], null)],
    ['a longer time than anything takes', changed(['part_ms'], 1e9)],
    ['rows that fall', changed(['ops', 0, 'rows'], [1, 5, 4, 8])],
    ['rows that stand still', changed(['ops', 0, 'rows'], [1, 5, 5, 8])],
    ['zero rows', changed(['ops', 0, 'rows'], [0, 4, 5, 8])],
    ['half a row', changed(['ops', 0, 'rows'], [1, 4.5, 5, 8])],
    ['more rows than any tensor has', changed(['ops', 0, 'rows', 3], 2 ** 40)],
    ['a row without a time', changed(['ops', 0, 'ms'], [1, 1, 2])],
    ['an op without points', changed(['ops', 0], { end: 'a', rows: [], ms: [], edge_ms_per_mb: 0 })],
    ['too many points', changed(['ops', 0, 'rows'], new Array(5000).fill(1))],
    ['an op measured twice', changed(['ops', 1, 'end'], 'a')],
    ['no threads', changed(['device', 'threads'], 0)],
    ['no memory', changed(['memory_mb'], 0)],
    ['a hash that is none', changed(['model', 'hash'], '../../etc')],
    ['channels that fall', changed(['head', 'cut', 'channels'], [10, 1])],
    ['a link without a rate', changed(['link'], { mbps: 0, latency_ms: 1 })],
  ])('refuses %s', (_, value) => {
    expect(() => parseProfile(value)).toThrow(expect.objectContaining({ code: 'PROFILE_INVALID' }));
  });

  it('names the op whose points are wrong', () => {
    expect(() => parseProfile(changed(['ops', 1, 'rows'], [4, 2]))).toThrow(
      expect.objectContaining({ where: "profile.ops.1 ('b')", expected: 'more than 4', got: '2' }),
    );
  });
});

describe('interpolate', () => {
  it('keeps a staircase where it was measured', () => {
    expect([...interpolate([1, 4, 5, 8], [1, 1, 2, 2])]).toEqual([0, 1, 1, 1, 1, 2, 2, 2, 2]);
  });

  it('goes on below the first point along the first line, never below zero nor above that point', () => {
    expect([...interpolate([3, 5], [4, 6])]).toEqual([0, 2, 3, 4, 5, 6]);
    expect([...interpolate([3, 4], [1, 5])]).toEqual([0, 0, 0, 1, 5]);
    expect([...interpolate([3, 4], [5, 1])]).toEqual([0, 5, 5, 5, 1]);
  });

  it('takes one point as what any count costs', () => {
    expect([...interpolate([3], [4])]).toEqual([0, 4, 4, 4]);
  });
});

describe('profileCosts', () => {
  it('reads tables, edges, head and memory', () => {
    const costs = profileCosts(WORKLOAD, PROFILE, 'box');
    expect(costs.id).toBe('box');
    expect(costs.memoryBytes).toBe(100e6);
    expect(costs.opMs.map((table) => [...table])).toEqual([
      [0, 1, 1, 1, 1, 2, 2, 2, 2],
      [0, 2, 3, 4, 5],
    ]);
    expect([...(costs.edgeMsPerByte ?? [])]).toEqual([2e-6, 3e-6, 0]);
    expect([costs.partMs, costs.headBeforeMs, costs.headAfterMs]).toEqual([0.5, 1, 2]);
    expect([...costs.headCutMs]).toEqual([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it.each<[string, unknown, string]>([
    ['an op without a time', changed(['ops'], [PROFILE.ops[0]]), 'm, second'],
    ['an op under another name', changed(['ops', 1, 'end'], 'c'), 'm, second'],
    ['an op of another height', changed(['ops', 0, 'rows', 3], 9), 'm, first'],
    ['an op too many', changed(['ops', 2], { end: 'c', rows: [1], ms: [1], edge_ms_per_mb: 0 }), "m, 'c'"],
    ['no head', changed(['head'], undefined), 'm, the head'],
    ['a head that cannot be cut', changed(['head', 'cut'], undefined), 'm, the head'],
    ['a head of another width', changed(['head', 'cut', 'channels', 1], 20), 'm, the head'],
  ])('refuses a profile with %s', (_, value, where) => {
    expect(() => profileCosts(WORKLOAD, parseProfile(value), 'box')).toThrow(
      expect.objectContaining({ code: 'PROFILE_INVALID', where }),
    );
  });
});
