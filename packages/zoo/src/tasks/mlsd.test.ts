import { floats, floatTensor, type Tensor } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { mlsdInput, mlsdSegments } from './mlsd.js';

interface Cell {
  readonly column: number;
  readonly row: number;
  readonly score: number;
  readonly steps: readonly [dx1: number, dy1: number, dx2: number, dy2: number];
}

/** The model's outputs over a grid of 8 rows and 10 columns, with these cells and zeros elsewhere. */
function outputs(cells: readonly Cell[]): [offsets: Tensor, scores: Tensor] {
  const [rows, columns] = [8, 10];
  const scores = new Float32Array(rows * columns);
  const offsets = new Float32Array(rows * columns * 4);
  for (const { column, row, score, steps } of cells) {
    scores[row * columns + column] = score;
    offsets.set(steps, (row * columns + column) * 4);
  }
  return [floatTensor(offsets, [1, rows, columns, 4]), floatTensor(scores, [1, rows, columns, 1])];
}

describe('mlsdInput', () => {
  it('keeps bytes as they are, channels last, the fourth one', () => {
    const data = new Uint8Array(320 * 320 * 3);
    data.set([7, 8, 9], (2 * 320 + 5) * 3);
    const tensor = mlsdInput({ width: 320, height: 320, data });
    expect(tensor.shape).toEqual([1, 320, 320, 4]);
    const at = (2 * 320 + 5) * 4;
    expect([...floats(tensor).slice(at - 4, at + 4)]).toEqual([0, 0, 0, 1, 7, 8, 9, 1]);
  });

  it.each([
    [320, 512],
    [256, 256],
  ])('refuses a picture of %i × %i', (width, height) => {
    const image = { width, height, data: new Uint8Array(width * height * 3) };
    expect(() => mlsdInput(image)).toThrowError(expect.objectContaining({ code: 'IMAGE_INVALID' }));
  });
});

describe('mlsdSegments', () => {
  it('adds the steps to the cell and doubles: x from columns, y from rows', () => {
    const [offsets, scores] = outputs([{ column: 4, row: 6, score: 0.5, steps: [-3, -5.5, 5, 1] }]);
    expect(mlsdSegments(offsets, scores, { minLength: 0 })).toEqual([{ x1: 2, y1: 1, x2: 18, y2: 14, score: 0.5 }]);
  });

  it('orders by score, and equal scores by row, then column', () => {
    const steps = [-5, 0, 5, 0] as const;
    const [offsets, scores] = outputs([
      { column: 1, row: 0, score: 0.5, steps },
      { column: 9, row: 0, score: 0.75, steps },
      { column: 0, row: 1, score: 0.5, steps },
      { column: 3, row: 7, score: 0.875, steps },
    ]);
    const centres = mlsdSegments(offsets, scores, {}).map(({ x1, x2, y1 }) => [(x1 + x2) / 4, y1 / 2]);
    expect(centres).toEqual([
      [3, 7],
      [9, 0],
      [1, 0],
      [0, 1],
    ]);
    expect(mlsdSegments(offsets, scores, { maxSegments: 2 }).map((segment) => segment.score)).toEqual([0.875, 0.75]);
  });

  it('keeps what is exactly at a threshold, drops what is below, and never keeps a NaN', () => {
    const [offsets, scores] = outputs([
      { column: 0, row: 0, score: 0.25, steps: [0, 0, 6, 8] },
      { column: 1, row: 0, score: 0.249, steps: [0, 0, 6, 8] },
      { column: 2, row: 0, score: 0.9, steps: [0, 0, 6, 7.9] },
      { column: 3, row: 0, score: Number.NaN, steps: [0, 0, 6, 8] },
      { column: 4, row: 0, score: 0.9, steps: [0, 0, Number.NaN, 8] },
    ]);
    const kept = mlsdSegments(offsets, scores, { minScore: 0.25, minLength: 20 });
    expect(kept).toEqual([{ x1: 0, y1: 0, x2: 12, y2: 16, score: 0.25 }]);
  });

  it('says which tensor is not an M-LSD output', () => {
    const [offsets, scores] = outputs([]);
    const refuse = (where: string): unknown => expect.objectContaining({ code: 'SHAPE_MISMATCH', where });
    expect(() => mlsdSegments(scores, scores)).toThrowError(refuse("output 'offsets'"));
    expect(() => mlsdSegments(offsets, offsets)).toThrowError(refuse("output 'scores'"));
    const bytes: Tensor = { dtype: 'uint8', shape: [1, 8, 10, 1], data: new Uint8Array(80) };
    expect(() => mlsdSegments(offsets, bytes)).toThrowError(refuse("output 'scores'"));
  });
});
