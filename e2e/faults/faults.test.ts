/**
 * Streams over three providers of their own processes, which are killed, frozen and cut off at random moments: every image
 * comes back right and in order, and nothing is left behind. `npm run bench -- faults` does the same some hundred times.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runFaults } from '../../bench/_fault-run.js';

/** Processes that this one has started and that still run, as far as the system tells. */
function children(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
          return Number(parent) === process.pid && state !== 'Z' && state !== 'X';
        } catch {
          return false;
        }
      });
  } catch {
    return [];
  }
}

describe('a stream while providers fail', () => {
  it.each([
    ['killed', ['kill'], 2, 11],
    ['frozen', ['freeze'], 1, 12],
    ['cut off', ['cut'], 1, 13],
  ] as const)('loses no image when they are %s', { timeout: 240_000 }, async (_, kinds, faults, seed) => {
    const before = children();
    const report = await runFaults({ providers: 3, faults, seed, inFlight: 3, kinds });
    expect(report.faults).toHaveLength(faults);
    expect(report.images).toBeGreaterThan(faults);
    expect(report).toMatchObject({ wrong: 0, outOfOrder: 0 });
    expect(children().filter((pid) => !before.includes(pid))).toEqual([]);
  });
});
