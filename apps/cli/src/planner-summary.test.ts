import { describe, expect, test } from 'vitest';
import { type FailedRow, type PlannerRow, ratiosOf, summarise } from './planner-summary.js';

const row = (scenario: string, planner: string, latencyMs: number, lowerBoundMs: number | null = 10): PlannerRow => ({
  scenario,
  planner,
  latencyMs,
  ips: 1000 / latencyMs,
  planMs: latencyMs / 10,
  devicesUsed: 1,
  lowerBoundMs,
});
const failed = (scenario: string, planner: string): FailedRow => ({
  scenario,
  planner,
  error: { code: 'PLAN_INVALID' },
});

describe('ratiosOf', () => {
  test('takes the geometric mean, and says where the smallest and the largest are', () => {
    const ratios = ratiosOf([
      { scenario: 'a', ratio: 2 },
      { scenario: 'b', ratio: 0.5 },
      { scenario: 'c', ratio: 8 },
    ]);
    expect(ratios).toEqual({
      scenarios: 3,
      geometricMean: expect.closeTo(2, 12),
      smallest: { scenario: 'b', ratio: 0.5 },
      largest: { scenario: 'c', ratio: 8 },
    });
  });

  test('of nothing is nothing', () => expect(ratiosOf([])).toBeNull());
});

describe('summarise', () => {
  const rows = [
    row('a', 'auto', 20),
    row('a', 'offload', 40),
    row('a', 'aofl', 30),
    row('b', 'auto', 40, null),
    row('b', 'offload', 40),
    failed('b', 'aofl'),
    failed('c', 'auto'),
    row('c', 'offload', 7),
  ];
  const summary = summarise(rows, 'auto', ['offload', 'coedge', 'aofl']);

  test('holds each planner against the reference, where both have a plan', () => {
    expect(summary.against['offload']).toEqual({
      scenarios: 2,
      geometricMean: expect.closeTo(Math.SQRT2, 12),
      smallest: { scenario: 'b', ratio: 1 },
      largest: { scenario: 'a', ratio: 2 },
    });
    expect(summary.against['aofl']).toMatchObject({ scenarios: 1, geometricMean: expect.closeTo(1.5, 12) });
    expect(Object.keys(summary.against)).toEqual(['offload', 'aofl']);
  });

  test('takes the best of the baselines that were run in every scenario', () => {
    expect(summary.againstBestBaseline).toMatchObject({
      baselines: ['offload', 'aofl'],
      scenarios: 2,
      geometricMean: expect.closeTo(Math.sqrt(1.5), 12),
      largest: { scenario: 'a', ratio: 1.5 },
    });
  });

  test('counts scenarios, failures, the distance to the bound and planning times', () => {
    expect(summary).toMatchObject({ reference: 'auto', scenarios: 3, failed: 2 });
    expect(summary.overLowerBound).toMatchObject({ scenarios: 1, geometricMean: expect.closeTo(2, 12) });
    expect(summary.planMs).toEqual({ mean: 3, largest: 4 });
  });

  test('says so where the reference was not run', () => {
    const without = summarise([row('a', 'offload', 40)], 'auto', ['offload']);
    expect(without).toMatchObject({ against: {}, againstBestBaseline: null, overLowerBound: null, planMs: null });
  });
});
