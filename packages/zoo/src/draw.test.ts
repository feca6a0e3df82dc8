import { describe, expect, it } from 'vitest';
import { type Color, deviceColor, drawLegend, drawLine, drawRowBands, fillRect } from './draw.js';
import type { RgbImage } from './image.js';

const WHITE: Color = [255, 255, 255];
const RED: Color = [255, 0, 0];
const BLUE: Color = [0, 0, 255];

function black(width: number, height: number): RgbImage {
  return { width, height, data: new Uint8Array(width * height * 3) };
}

function pixel(image: RgbImage, x: number, y: number): number[] {
  const at = 3 * (y * image.width + x);
  return [...image.data.slice(at, at + 3)];
}

/** The red channel as rows of numbers. */
function reds(image: RgbImage): number[][] {
  return Array.from({ length: image.height }, (_, y) =>
    Array.from({ length: image.width }, (_, x) => pixel(image, x, y)[0] ?? -1),
  );
}

describe('drawLine', () => {
  it('covers whole pixels fully where the edges fall between them', () => {
    const image = black(5, 6);
    drawLine(image, { x1: -9, y1: 3, x2: 20, y2: 3 }, WHITE, 2);
    expect(reds(image).map((row) => new Set(row))).toEqual([0, 0, 255, 255, 0, 0].map((value) => new Set([value])));
  });

  it('covers pixels in part where an edge crosses them', () => {
    const image = black(3, 5);
    drawLine(image, { x1: -9, y1: 2.75, x2: 20, y2: 2.75 }, WHITE, 1);
    expect(reds(image).map((row) => row[1])).toEqual([0, 0, 191, 64, 0]);
  });

  it('draws the same picture for a line and for its reverse, and transposed for a transposed line', () => {
    const [there, back, turned] = [black(40, 40), black(40, 40), black(40, 40)];
    drawLine(there, { x1: 3.2, y1: 35.1, x2: 37.7, y2: 12.4 }, WHITE, 3);
    drawLine(back, { x1: 37.7, y1: 12.4, x2: 3.2, y2: 35.1 }, WHITE, 3);
    drawLine(turned, { x1: 35.1, y1: 3.2, x2: 12.4, y2: 37.7 }, WHITE, 3);
    expect(reds(back)).toEqual(reds(there));
    expect(reds(turned)[0]?.map((_, x) => reds(turned).map((row) => row[x]))).toEqual(reds(there));
  });

  it('lays down ink for length × thickness and the round ends', () => {
    const image = black(100, 100);
    drawLine(image, { x1: 20, y1: 30, x2: 80, y2: 70 }, WHITE, 4);
    const ink = image.data.reduce((sum, value) => sum + value, 0) / (3 * 255);
    expect(Math.abs(ink / (Math.hypot(60, 40) * 4 + Math.PI * 4) - 1)).toBeLessThan(0.02);
  });

  it('mixes with what is below by the opacity', () => {
    const image = black(4, 4);
    fillRect(image, { x: 0, y: 0, width: 4, height: 4 }, BLUE);
    drawLine(image, { x1: 0, y1: 2, x2: 4, y2: 2 }, RED, 2, 0.5);
    expect(pixel(image, 2, 2)).toEqual([128, 0, 128]);
  });

  it('draws a point as a dot, and nothing for lines outside of the picture or without a place', () => {
    const dot = black(5, 5);
    drawLine(dot, { x1: 2.5, y1: 2.5, x2: 2.5, y2: 2.5 }, WHITE, 1);
    expect(reds(dot)).toEqual([0, 0, 255, 0, 0].map((middle) => [0, 0, middle, 0, 0]));
    const empty = black(5, 5);
    drawLine(empty, { x1: -1e9, y1: -1e9, x2: -10, y2: 1e9 }, WHITE);
    drawLine(empty, { x1: 0, y1: Number.NaN, x2: 5, y2: 5 }, WHITE);
    drawLine(empty, { x1: 0, y1: 0, x2: Number.POSITIVE_INFINITY, y2: 5 }, WHITE);
    expect(empty.data.every((value) => value === 0)).toBe(true);
  });
});

describe('drawRowBands', () => {
  it('gives every row to exactly one of the bands that share ends', () => {
    const image = black(4, 10);
    const ends = [0, 1 / 3, 0.55, 1];
    const bands = [0, 1, 2].map((n) => ({ color: deviceColor(n), from: ends[n] ?? 0, to: ends[n + 1] ?? 0 }));
    drawRowBands(image, bands, 2);
    const owners = Array.from({ length: 10 }, (_, y) =>
      bands.findIndex((band) => `${band.color}` === `${pixel(image, 1, y)}`),
    );
    expect(owners).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2, 2]);
    expect(pixel(image, 2, 5)).toEqual([0, 0, 0]);
  });

  it('leaves out what lies outside of the picture', () => {
    const image = black(2, 4);
    drawRowBands(image, [{ color: RED, from: -1, to: 0.5 }], 50);
    expect(reds(image)).toEqual([
      [255, 255],
      [255, 255],
      [0, 0],
      [0, 0],
    ]);
  });
});

describe('drawLegend', () => {
  it('draws one framed square per colour, in order', () => {
    const image = black(20, 8);
    fillRect(image, { x: 0, y: 0, width: 20, height: 8 }, WHITE);
    drawLegend(image, [RED, BLUE], { x: 2, y: 1, size: 5, gap: 3 });
    expect(reds(image)[3]).toEqual([
      ...[255, 255],
      ...[0, 255, 255, 255, 0],
      ...[255, 255, 255],
      ...[0, 0, 0, 0, 0],
      ...[255, 255, 255, 255, 255],
    ]);
    expect(pixel(image, 12, 3)).toEqual([0, 0, 255]);
    expect(pixel(image, 3, 1)).toEqual([0, 0, 0]);
    expect(pixel(image, 3, 0)).toEqual([255, 255, 255]);
  });
});

describe('deviceColor', () => {
  it('repeats after seven different colours', () => {
    expect(new Set([0, 1, 2, 3, 4, 5, 6].map((n) => deviceColor(n).join())).size).toBe(7);
    expect(deviceColor(7)).toEqual(deviceColor(0));
  });
});
