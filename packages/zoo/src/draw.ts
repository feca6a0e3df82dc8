/** Drawing on a picture, in place: just what an annotated result needs. Coordinates as for RgbImage's plane. */
import type { RgbImage } from './image.js';
import type { LineSegment } from './segments.js';

/** A colour as bytes 0..255. */
export type Color = readonly [red: number, green: number, blue: number];

/** A range of a picture's height, in fractions 0..1 from the top, and its colour. */
export interface RowBand {
  readonly color: Color;
  readonly from: number;
  readonly to: number;
}

/** Colours that people with colour vision deficiency can tell apart: Okabe and Ito, "Color Universal Design" (2008). */
export const PALETTE: readonly Color[] = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
];

/** The colour of the device with this number, from 0; the palette repeats. */
export function deviceColor(index: number): Color {
  return PALETTE[index % PALETTE.length] ?? [0, 0, 0];
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);

/** Mixes a colour into one pixel; weight 0 leaves the pixel as it is, 1 replaces it. */
function mix(image: RgbImage, x: number, y: number, color: Color, weight: number): void {
  const at = 3 * (y * image.width + x);
  for (const [channel, value] of color.entries()) {
    const before = image.data[at + channel] ?? 0;
    image.data[at + channel] = Math.round(before + (value - before) * weight);
  }
}

/** Fills a rectangle; its edges are rounded to whole pixels, and what lies outside of the picture is left out. */
export function fillRect(
  image: RgbImage,
  rect: { readonly x: number; readonly y: number; readonly width: number; readonly height: number },
  color: Color,
  opacity = 1,
): void {
  const cut = (at: number, side: number): number => clamp(Math.round(at), 0, side);
  const [left, right] = [cut(rect.x, image.width), cut(rect.x + rect.width, image.width)];
  const [top, bottom] = [cut(rect.y, image.height), cut(rect.y + rect.height, image.height)];
  for (let y = top; y < bottom; y += 1) {
    for (let x = left; x < right; x += 1) mix(image, x, y, color, opacity);
  }
}

/**
 * Draws a line with round ends, `thickness` pixels wide, anti-aliased: a pixel is covered by
 * `thickness / 2 + ½ − distance` of its centre from the segment, cut to 0..1. The parts outside of the picture
 * are left out; a line with a coordinate that is not finite is not drawn.
 */
export function drawLine(
  image: RgbImage,
  line: Pick<LineSegment, 'x1' | 'y1' | 'x2' | 'y2'>,
  color: Color,
  thickness = 2,
  opacity = 1,
): void {
  const { x1, y1, x2, y2 } = line;
  if (![x1, y1, x2, y2].every(Number.isFinite)) return;
  const reach = thickness / 2 + 0.5;
  const [dx, dy] = [x2 - x1, y2 - y1];
  const squared = dx * dx + dy * dy;
  const lastRow = Math.min(image.height - 1, Math.floor(Math.max(y1, y2) + reach));
  for (let y = Math.max(0, Math.floor(Math.min(y1, y2) - reach)); y <= lastRow; y += 1) {
    // The part of the segment within reach of this row bounds the columns worth a look.
    const [t1, t2] = dy === 0 ? [0, 1] : [(y - reach - y1) / dy, (y + 1 + reach - y1) / dy];
    const [from, to] = [x1 + clamp(t1, 0, 1) * dx, x1 + clamp(t2, 0, 1) * dx];
    const lastColumn = Math.min(image.width - 1, Math.floor(Math.max(from, to) + reach));
    for (let x = Math.max(0, Math.floor(Math.min(from, to) - reach)); x <= lastColumn; x += 1) {
      const [px, py] = [x + 0.5 - x1, y + 0.5 - y1];
      const along = squared === 0 ? 0 : clamp((px * dx + py * dy) / squared, 0, 1);
      const coverage = clamp(reach - Math.hypot(px - along * dx, py - along * dy), 0, 1);
      if (coverage > 0) mix(image, x, y, color, coverage * opacity);
    }
  }
}

/**
 * Draws coloured bands at the picture's left edge, `width` pixels wide: which part computed which rows. Both
 * ends of a band are rounded to whole rows, so bands that share an end have neither a gap nor an overlap.
 */
export function drawRowBands(image: RgbImage, bands: readonly RowBand[], width = 10, opacity = 1): void {
  for (const { color, from, to } of bands) {
    const [top, bottom] = [Math.round(from * image.height), Math.round(to * image.height)];
    fillRect(image, { x: 0, y: top, width, height: bottom - top }, color, opacity);
  }
}

/** Draws one square per colour, left to right from (x, y), each in a black frame of one pixel: a legend without text. */
export function drawLegend(
  image: RgbImage,
  colors: readonly Color[],
  place: { readonly x: number; readonly y: number; readonly size?: number; readonly gap?: number },
): void {
  const { x, y, size = 16, gap = 6 } = place;
  for (const [index, color] of colors.entries()) {
    const left = x + index * (size + gap);
    fillRect(image, { x: left, y, width: size, height: size }, [0, 0, 0]);
    fillRect(image, { x: left + 1, y: y + 1, width: size - 2, height: size - 2 }, color);
  }
}
