/** What the pictures are drawn with: SVG elements as text, escaped, rounded to hundredths of a pixel. */
import { type Color, deviceColor, PALETTE } from '@distredge/zoo';

export function escapeXml(text: string): string {
  return text
    .replaceAll(/(?!\n)[\p{Cc}\p{Cf}]/gu, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

const px = (value: number): string => `${Math.round(value * 100) / 100}`;

export function rect(
  { x, y, width, height }: { x: number; y: number; width: number; height: number },
  fill: string,
  title?: string,
  attributes = '',
): string {
  const box = `<rect x="${px(x)}" y="${px(y)}" width="${px(width)}" height="${px(height)}" fill="${fill}"${attributes === '' ? '' : ` ${attributes}`}`;
  return title === undefined ? `${box}/>` : `${box}><title>${escapeXml(title)}</title></rect>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, stroke: string, attributes = ''): string {
  return `<line x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}" stroke="${stroke}"${attributes === '' ? '' : ` ${attributes}`}/>`;
}

export interface TextStyle {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly size?: number;
  readonly fill?: string;
  readonly bold?: boolean;
  /** Degrees around its own place. */
  readonly turned?: number;
}

export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { anchor = 'start', size = 12, fill = '#1f2937', bold = false, turned } = style;
  const facts = [
    `x="${px(x)}" y="${px(y)}" font-size="${size}" fill="${fill}"`,
    anchor === 'start' ? '' : `text-anchor="${anchor}"`,
    bold ? 'font-weight="600"' : '',
    turned === undefined ? '' : `transform="rotate(${turned} ${px(x)} ${px(y)})"`,
  ];
  return `<text ${facts.filter((fact) => fact !== '').join(' ')}>${escapeXml(content)}</text>`;
}

function hex(color: readonly number[]): string {
  return `#${color.map((value) => Math.round(value).toString(16).padStart(2, '0')).join('')}`;
}

/** The colour of a device, and one for text on it. Where the palette begins again, the colours are lighter, then darker. */
export function deviceFill(device: number): { readonly fill: string; readonly ink: string } {
  const round = Math.floor(device / PALETTE.length) % 3;
  const ground = round === 1 ? 255 : 0;
  const share = [0, 0.5, 0.4][round] ?? 0;
  const color = deviceColor(device).map((value) => value + (ground - value) * share) as unknown as Color;
  const [r, g, b] = color;
  return { fill: hex(color), ink: 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#111827' : '#ffffff' };
}

/** Round numbers from 0 to `end` with at most about `count` steps. */
export function ticks(end: number, count: number): number[] {
  if (!(end > 0) || !Number.isFinite(end)) return [0];
  const raw = end / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= raw * (1 - 1e-9)) ?? 10) * power;
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, index) =>
    Number((index * step).toPrecision(12)),
  );
}
