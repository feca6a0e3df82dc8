/** Charts as plain SVG text: panels of horizontal bars, and lines over an axis. */

export interface Bar {
  readonly name: string;
  /** Undefined: shown as missing. */
  readonly value: number | undefined;
  readonly color: string;
}

export interface Panel {
  readonly title: string;
  readonly bars: readonly Bar[];
}

export interface Series {
  readonly name: string;
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly width?: number;
  /** SVG dash pattern. */
  readonly dash?: string;
}

export interface LineChart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly series: readonly Series[];
  /** Lowest value of the y axis; by default 0. `fit`: a little below the lowest point. */
  readonly from?: number | 'fit';
}

const INK = '#1f2937';
const FAINT = '#6b7280';
const GRID = '#e5e7eb';

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const px = (value: number): string => `${Math.round(10 * value) / 10}`;

interface TextStyle {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly size?: number;
  readonly fill?: string;
  readonly bold?: boolean;
  readonly turned?: boolean;
}

function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { anchor = 'start', size = 12, fill = INK, bold = false, turned = false } = style;
  const turn = turned ? ` transform="rotate(-90 ${px(x)} ${px(y)})"` : '';
  return `<text x="${px(x)}" y="${px(y)}" text-anchor="${anchor}" font-size="${size}" fill="${fill}"${bold ? ' font-weight="600"' : ''}${turn}>${escaped(content)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, stroke: string): string {
  return `<line x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}" stroke="${stroke}"/>`;
}

function svg(width: number, height: number, title: string, body: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(20, 28, title, { size: 16, bold: true }),
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

/** Three digits that count. */
export function short(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value >= 0.1 ? value.toFixed(2) : value.toPrecision(3);
}

/** Multiples of 1, 2 or 5 times a power of ten, about so many, that cover a range. */
function ticks(from: number, to: number, count: number): number[] {
  const raw = (to - from || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) ?? 10) * power;
  const first = Math.floor(from / step + 1e-9);
  const last = Math.ceil(to / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** A panel for every group, each with its own scale; the names of the bars stand left of every row of panels. */
export function barPanels(title: string, unit: string, panels: readonly Panel[], columns: number): string {
  const [left, gap, width, bar, pitch, top] = [112, 22, 210, 13, 18, 66];
  const rowHeight = (panels[0]?.bars.length ?? 0) * pitch + 58;
  const body: string[] = [text(20, 46, unit, { fill: FAINT })];
  panels.forEach((panel, index) => {
    const x = left + (index % columns) * (width + gap);
    const y = top + Math.floor(index / columns) * rowHeight;
    const most = Math.max(...panel.bars.map(({ value = 0 }) => value), 1e-9);
    body.push(
      text(x, y + 12, panel.title, { bold: true }),
      line(x, y + 20, x, y + 24 + panel.bars.length * pitch, FAINT),
    );
    const best = Math.max(...panel.bars.map(({ value = 0 }) => value));
    panel.bars.forEach(({ name, value, color }, i) => {
      const at = y + 24 + i * pitch;
      if (index % columns === 0) body.push(text(x - 8, at + 11, name, { anchor: 'end' }));
      if (value === undefined) {
        body.push(text(x + 5, at + 11, 'no plan', { fill: FAINT, size: 11 }));
        return;
      }
      const length = (value / most) * (width - 40);
      body.push(
        `<rect x="${px(x)}" y="${px(at)}" width="${px(length)}" height="${bar}" fill="${color}"><title>${escaped(`${panel.title}, ${name}: ${short(value)}`)}</title></rect>`,
        text(x + length + 5, at + 11, short(value), { size: 11, bold: value === best }),
      );
    });
  });
  const rows = Math.ceil(panels.length / columns);
  return svg(left + Math.min(columns, panels.length) * (width + gap), top + rows * rowHeight - 12, title, body);
}

/** Lines with a legend at the right, in the order in which they end. */
export function lineChart({ title, x: xName, y: yName, series, from = 0 }: LineChart): string {
  const [width, height, left, right, top, bottom] = [980, 470, 72, 190, 52, 56];
  const xs = series.flatMap(({ points }) => points.map(([x]) => x));
  const ys = series.flatMap(({ points }) => points.map(([, y]) => y));
  const [least, most] = [Math.min(...ys), Math.max(...ys)];
  const yTicks = ticks(from === 'fit' ? least - 0.1 * (most - least) : from, most, 6);
  const xTicks = ticks(Math.min(...xs), Math.max(...xs), 8).filter((x) => x <= Math.max(...xs));
  const [x0, x1] = [Math.min(...xs, xTicks[0] ?? 0), Math.max(...xs)];
  const [y0, y1] = [yTicks[0] as number, yTicks.at(-1) as number];
  const px0 = (x: number): number => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - right);
  const py0 = (y: number): number => height - bottom - ((y - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const body = [
    ...yTicks.flatMap((y) => [
      line(left, py0(y), width - right, py0(y), GRID),
      text(left - 8, py0(y) + 4, `${y}`, { anchor: 'end', fill: FAINT }),
    ]),
    ...xTicks.flatMap((x) => [
      line(px0(x), height - bottom, px0(x), height - bottom + 5, FAINT),
      text(px0(x), height - bottom + 19, `${x}`, { anchor: 'middle', fill: FAINT }),
    ]),
    line(left, height - bottom, width - right, height - bottom, FAINT),
    ...(y0 === 0 ? [] : [text(left, height - 14, `the y axis begins at ${y0}`, { fill: FAINT, size: 11 })]),
    text((left + width - right) / 2, height - 14, xName, { anchor: 'middle' }),
    text(20, (top + height - bottom) / 2, yName, { anchor: 'middle', turned: true }),
  ];
  for (const { name, color, points, width: stroke = 1.8, dash } of series) {
    const path = points.map(([x, y]) => `${px(px0(x))},${px(py0(y))}`).join(' ');
    body.push(
      `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="${stroke}" stroke-linejoin="round"${dash === undefined ? '' : ` stroke-dasharray="${dash}"`}><title>${escaped(name)}</title></polyline>`,
    );
    if (points.length <= 12) {
      for (const [x, y] of points)
        body.push(`<circle cx="${px(px0(x))}" cy="${px(py0(y))}" r="${stroke + 0.8}" fill="${color}"/>`);
    }
  }
  const byEnd = [...series].sort((a, b) => (b.points.at(-1)?.[1] ?? 0) - (a.points.at(-1)?.[1] ?? 0));
  byEnd.forEach(({ name, color, width: stroke = 1.8, dash }, i) => {
    const [x, y] = [width - right + 16, top + 10 + i * 21];
    body.push(
      `<line x1="${x}" y1="${y}" x2="${x + 24}" y2="${y}" stroke="${color}" stroke-width="${stroke}"${dash === undefined ? '' : ` stroke-dasharray="${dash}"`}/>`,
      text(x + 31, y + 4, name),
    );
  });
  return svg(width, height, title, body);
}
