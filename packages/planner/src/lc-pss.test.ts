import { describe, expect, it } from 'vitest';
import { Net, randomTask, taskOn } from './baselines/fixtures.js';
import { lcPss, lcPssSweep, partitionScore, partitionScores } from './lc-pss.js';
import { Random } from './search/random.js';

const TWO = [{ rate: 1000 }, { rate: 1000 }];
const FOUR = [...TWO, ...TWO];

/** Windows of three rows, one after another. */
function chain(layers: number, rows = 40): ReturnType<Net['workload']> {
  const net = new Net(rows);
  for (let count = 0; count < layers; count++) net.layer();
  return net.workload([layers]);
}

/** Every partition of so many ops. */
function partitions(ops: number): number[][] {
  return Array.from({ length: 2 ** (ops - 1) }, (_, bits) =>
    Array.from({ length: ops }, (_, op) => op).filter((op) => op === ops - 1 || (bits >> op) % 2 === 1),
  );
}

describe('LC-PSS', () => {
  it('scores two layers on two providers as one does by hand', () => {
    const scores = partitionScores(taskOn(chain(2), TWO), { decisions: 1, seed: 4 });
    const fraction = new Random(4).next();
    const cut = Math.floor(40 * fraction + 0.5);
    expect(cut).toBeGreaterThan(2);
    expect(cut).toBeLessThan(38);
    // Rows of 120 bytes go in, rows of 160 bytes lie between. Apart: one row of each to either side.
    const apart = 2 * 120 + 2 * 160;
    expect(partitionScore(scores, [0, 1], 1)).toBeCloseTo(1, 12);
    // Together: two rows of the input to either side.
    expect(partitionScore(scores, [1], 1)).toBeCloseTo((4 * 120) / apart, 12);
    // 80 rows of work, and what a provider makes beyond its share: by rounding, and together a row of the first layer twice.
    const rows = (above: number, below: number): number =>
      80 + Math.max(0, above - 80 * fraction) + Math.max(0, below - 80 * (1 - fraction));
    const together = rows(2 * cut + 1, 2 * (40 - cut) + 1);
    expect(partitionScore(scores, [1], 0)).toBeCloseTo(1, 12);
    expect(partitionScore(scores, [0, 1], 0)).toBeCloseTo(rows(2 * cut, 2 * (40 - cut)) / together, 12);
    expect(partitionScore(scores, [1], 0.25)).toBeCloseTo(
      0.25 * partitionScore(scores, [1], 1) + 0.75 * partitionScore(scores, [1], 0),
      12,
    );
  });

  it('ends every volume where operations alone count, and few where transmission alone does', () => {
    const task = taskOn(chain(6), FOUR);
    expect(lcPss(task, { alpha: 0 })).toEqual([0, 1, 2, 3, 4, 5]);
    expect(lcPss(task, { alpha: 1 }).length).toBeLessThan(3);
    const counts = lcPssSweep(task).map(({ ends }) => ends.length);
    expect(counts).toEqual([...counts].sort((a, b) => b - a));
  });

  it('is the same for the same seed, and close to the best of all partitions', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const task = randomTask(seed);
      const { ops, forced } = task.workload;
      for (const alpha of [0.1, 0.25, 0.75]) {
        const found = lcPss(task, { alpha, seed });
        expect(lcPss(task, { alpha, seed })).toEqual(found);
        const scores = partitionScores(task, { seed });
        const allowed = partitions(ops.length).filter((ends) =>
          forced.every((op) => op === 0 || ends.includes(op - 1)),
        );
        const best = Math.min(...allowed.map((ends) => partitionScore(scores, ends, alpha)));
        expect(best).toBeGreaterThan(0);
        expect(partitionScore(scores, found, alpha)).toBeLessThanOrEqual(1.02 * best);
      }
    }
  });

  it('ends a volume before every op that needs an exchange, and with the last', () => {
    const net = new Net(20);
    net.layer({ kernel: 1 });
    net.layer({ kernel: 1 });
    net.exchange();
    const last = net.layer({ kernel: 1 });
    expect(lcPss(taskOn(net.workload([last]), TWO), { alpha: 0.9 })).toEqual([1, 2]);
  });

  it('gives what cannot be divided a volume of its own', () => {
    const net = new Net(20);
    net.layer();
    net.layer({ whole: true });
    const last = net.layer();
    const ends = lcPss(taskOn(net.workload([last]), FOUR), { alpha: 0.1 });
    expect(ends).toEqual([0, 1, 2]);
  });

  it('does not end a volume of many rows with an output of few', () => {
    const net = new Net(64);
    const wide = net.layer();
    const few = net.layer({ reads: [wide], kernel: 32, stride: 32 });
    const side = net.layer({ reads: [wide], kernel: 1 });
    const narrow = net.layer({ reads: [few], kernel: 1 });
    const ends = lcPss(taskOn(net.workload([side, narrow]), FOUR), { alpha: 0.25 });
    expect(ends).toContain(2);
  });

  it('counts all live tensors', () => {
    // A skip connection over one layer: cutting inside it moves halo of both tensors.
    const net = new Net(40);
    const first = net.layer({ kernel: 1 });
    net.layer();
    const last = net.layer({ reads: [2, first], kernel: 3 });
    const scores = partitionScores(taskOn(net.workload([last]), TWO), { decisions: 5 });
    const bytes = (start: number, end: number): number => scores.transmitted[start * 3 + end] as number;
    expect(bytes(2, 2) / bytes(1, 1)).toBeCloseTo(2, 9);
  });
});
