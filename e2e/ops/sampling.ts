/** Which ranges and tilings of rows a test tries: all of few, a seeded sample of many. */
import type { Range } from '../../packages/core/src/ops/op.js';

/** Up to this many output rows every range is tried. */
const ALL_RANGES = 8;
const SAMPLED_RANGES = 24;
const TILINGS = 6;

/** All ranges of few rows; of many, the ends, single rows and a seeded sample. */
export function ranges(rows: number, seed: string): Range[] {
  const all: Range[] = [];
  if (rows <= ALL_RANGES) {
    for (let from = 0; from < rows; from++) for (let to = from + 1; to <= rows; to++) all.push({ from, to });
    return all;
  }
  const next = random(seed);
  all.push(
    { from: 0, to: rows },
    { from: 0, to: 1 },
    { from: rows - 1, to: rows },
    { from: 0, to: rows - 1 },
    { from: 1, to: rows },
  );
  while (all.length < SAMPLED_RANGES) {
    const from = Math.floor(next() * rows);
    all.push({ from, to: from + 1 + Math.floor(next() * (rows - from)) });
  }
  return all;
}

/** Ways to divide rows among parts: all in one, one each, and a seeded sample. */
export function tilings(rows: number, seed: string): Range[][] {
  const next = random(seed);
  const tile = (cuts: readonly number[]): Range[] => {
    const bounds = [...new Set([0, ...cuts, rows])].sort((a, b) => a - b);
    return bounds.slice(1).map((to, index) => ({ from: bounds[index] as number, to }));
  };
  const each = tile(Array.from({ length: rows }, (_, row) => row));
  const sampled = Array.from({ length: TILINGS }, () =>
    tile(Array.from({ length: 3 }, () => Math.floor(next() * rows))),
  );
  return [tile([]), each, ...sampled];
}

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function random(seed: string): () => number {
  let state = 0x9e3779b9;
  for (const char of seed) state = Math.imul(state ^ (char.codePointAt(0) ?? 0), 0x85ebca6b);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
