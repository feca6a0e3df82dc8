import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MESSAGE_VERSION as version } from './messages.js';
import { pairsToMeasure, starOf, UNMEASURED } from './network.js';
import { apply, EMPTY_REGISTRY, linkKey } from './registry.js';
import { CONTROLLER } from './topics.js';

describe('a star from measured pairs', () => {
  it('gives every measured pair of a star back', () => {
    const end = fc.record({ mbps: fc.integer({ min: 1, max: 1000 }), latencyMs: fc.integer({ min: 0, max: 50 }) });
    fc.assert(
      fc.property(fc.array(end, { minLength: 2, maxLength: 6 }), (ends) => {
        const ids = ends.slice(1).map((_, index) => `d${index}`);
        const all = new Map([CONTROLLER, ...ids].map((id, index) => [id, ends[index] ?? UNMEASURED]));
        const between = (a: string, b: string) => {
          const [one = UNMEASURED, other = UNMEASURED] = [all.get(a), all.get(b)];
          return { mbps: Math.min(one.mbps, other.mbps), latencyMs: Math.max(one.latencyMs, other.latencyMs) };
        };
        const registry = pairsToMeasure(ids).reduce(
          (state, [from, to]) =>
            apply(state, { kind: 'linked', report: { version, from, to, at: 1, ...between(from, to) } }),
          EMPTY_REGISTRY,
        );
        const star = starOf(ids, registry.links);
        const told = new Map(
          [CONTROLLER, ...ids].map((id, index) => [id, [star.requester, ...star.devices][index] ?? UNMEASURED]),
        );
        for (const [from, to] of pairsToMeasure(ids)) {
          const [one = UNMEASURED, other = UNMEASURED] = [told.get(from), told.get(to)];
          expect({ mbps: Math.min(one.mbps, other.mbps), latencyMs: Math.max(one.latencyMs, other.latencyMs) }).toEqual(
            between(from, to),
          );
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it('takes an end that nobody measured for a plain one', () => {
    expect(starOf(['a'], new Map())).toEqual({ requester: UNMEASURED, devices: [UNMEASURED] });
  });

  it.each([0, 1, 2, 3, 7])('measures each pair of %d devices once, and every device', (count) => {
    const ids = Array.from({ length: count }, (_, index) => `d${index}`);
    const keys = pairsToMeasure(ids).map(([a, b]) => linkKey(a, b));
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.length).toBe(count + (count < 2 ? 0 : count === 2 ? 1 : count));
    for (const id of ids) expect(keys).toContain(linkKey(CONTROLLER, id));
  });
});
