/**
 * A plan as a picture of its own (SVG, 1200 px wide): above, every volume as a column from the top of the image to its bottom,
 * in the colours of the devices; below, its simulated run, with lanes for what each device computes, sends and receives.
 * Everything says more in a tooltip.
 */
import { isGather, type SimulatedEvent, type SimulatedRun, type Workload, type WorkPlan } from '@distredge/core';
import { PALETTE } from '@distredge/zoo';
import { amount, ms } from './output.js';
import { deviceFill, escapeXml, line, rect, text, ticks } from './svg.js';

export interface PlanPicture {
  /** Two lines on top. */
  readonly title: string;
  readonly subtitle: string;
  readonly workload: Workload;
  readonly plan: WorkPlan;
  readonly run: SimulatedRun;
  /** Name of every device of the cluster. */
  readonly devices: readonly string[];
}

type Compute = Extract<SimulatedEvent, { kind: 'compute' }>;
type Message = Extract<SimulatedEvent, { kind: 'message' }>;

const WIDTH = 1200;
const LEFT = 136;
const RIGHT = 1112;
const REQUESTER = { fill: '#6b7280', ink: '#ffffff' };
const [DARK, SOFT, PALE] = ['#1f2937', '#6b7280', '#e5e7eb'];
const GATHER = 'url(#gather)';

/** A picture's facts, with what is found once for all of it. */
interface Drawing extends PlanPicture {
  /** Devices that compute, send or receive anything. */
  readonly used: readonly number[];
  /** By device; -1 is the requester. */
  readonly fills: ReadonlyMap<number, { readonly fill: string; readonly ink: string }>;
}

function drawingOf(picture: PlanPicture): Drawing {
  const { run, devices } = picture;
  const active = new Set(
    run.events.flatMap((event) => (event.kind === 'compute' ? event.device : [event.from, event.to])),
  );
  const used = devices.flatMap((_, device) => (active.has(device) ? [device] : []));
  // Of a large cluster, only the devices with work get colours, so that these differ as long as they can.
  const few = devices.length <= PALETTE.length;
  const fills = new Map(used.map((device, rank) => [device, deviceFill(few ? device : rank)]));
  return { ...picture, used, fills: fills.set(-1, REQUESTER) };
}

const fillOf = ({ fills }: Drawing, device: number): { readonly fill: string; readonly ink: string } =>
  fills.get(device) ?? REQUESTER;
const nameOf = (devices: readonly string[], device: number): string =>
  device < 0 ? 'requester' : (devices[device] ?? `device ${device}`);
const short = (name: string, length: number): string => (name.length > length ? `…${name.slice(1 - length)}` : name);
/** From the first to the last, the last included. */
const ends = ({ from, to }: { readonly from: number; readonly to: number }): string =>
  to - from === 1 ? `${from}` : `${from}–${to - 1}`;
const span = (from: number, to: number): string => `${from.toFixed(2)}–${to.toFixed(2)} ms`;

/** Separates neighbours of one colour, where there is room for it. */
const edgeFor = (size: number): string => (size > 3 ? 'stroke="#ffffff" stroke-width="0.8"' : '');

/** The SVG, from `<svg` to `</svg>`; needs nothing else to be shown. */
export function planPicture(facts: PlanPicture): string {
  const picture = drawingOf(facts);
  const legend = legendOf(picture, 74);
  const cuts = cutsOf(picture, legend.bottom + 34);
  const timeline = timelineOf(picture, cuts.bottom + 40);
  const height = timeline.bottom + 16;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif">`,
    `<title>${escapeXml(picture.title)}</title>`,
    `<defs><pattern id="gather" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#ffffff"/><rect width="3" height="6" fill="${SOFT}" fill-opacity="0.55"/></pattern></defs>`,
    rect({ x: 0, y: 0, width: WIDTH, height }, '#ffffff'),
    text(24, 36, picture.title, { size: 20, bold: true }),
    text(24, 58, picture.subtitle, { size: 13, fill: SOFT }),
    ...legend.parts,
    ...cuts.parts,
    ...timeline.parts,
    '</svg>',
  ].join('\n');
}

/** The picture in a page of its own. */
export function planPage(picture: PlanPicture): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escapeXml(picture.title)}</title>
<style>body { margin: 0; background: #ffffff } svg { display: block; margin: 0 auto; max-width: 100%; height: auto } rect:has(> title):hover { opacity: 0.7 }</style></head>
<body>
${planPicture(picture)}
</body>
</html>
`;
}

interface Block {
  readonly parts: readonly string[];
  readonly bottom: number;
}

function legendOf(picture: Drawing, top: number): Block {
  const { devices, used } = picture;
  const idle = devices.filter((_, device) => !used.includes(device));
  const parts: string[] = [];
  let [x, y] = [24, top];
  const item = (width: number, draw: (x: number, y: number) => string[]): void => {
    if (x + width > WIDTH - 24) [x, y] = [24, y + 22];
    parts.push(...draw(x, y));
    x += width;
  };
  for (const device of [...used, -1]) {
    const name = short(nameOf(devices, device), 24);
    item(36 + 7.2 * name.length, (at, line) => [
      rect({ x: at, y: line, width: 14, height: 14 }, fillOf(picture, device).fill, undefined, 'rx="3"'),
      text(at + 20, line + 12, name, { size: 13 }),
    ]);
  }
  if (picture.plan.volumes.some(isGather)) {
    item(180, (at, line) => [
      rect({ x: at, y: line, width: 14, height: 14 }, GATHER, undefined, `stroke="${SOFT}" rx="3"`),
      text(at + 20, line + 12, 'gathered on one device', { size: 13 }),
    ]);
  }
  if (idle.length > 0) {
    const names = idle.join(', ');
    const told = `without work: ${names.length > 110 ? `${names.slice(0, 109)}…` : names}`;
    item(10 + 6.6 * told.length, (at, line) => [text(at, line + 12, told, { size: 13, fill: SOFT })]);
  }
  return { parts, bottom: y + 14 };
}

interface Column {
  readonly label: string;
  /** What its parts divide, for tooltips. */
  readonly what: string;
  readonly unit: 'rows' | 'channels';
  readonly size: number;
  readonly parts: readonly {
    readonly device: number;
    readonly from: number;
    readonly to: number;
    readonly index: number;
  }[];
  readonly gather: boolean;
}

function columnsOf({ plan, workload, run }: PlanPicture): Column[] {
  const columns = plan.volumes.map((volume, index): Column => {
    const label = `${index + 1}`;
    if (isGather(volume)) {
      const parts = [{ device: volume.gather, from: 0, to: 1, index: 0 }];
      return { label, what: `step ${label}: gathered`, unit: 'rows', size: 1, parts, gather: true };
    }
    const tensor = workload.tensors[workload.ops[volume.end]?.outputs[0] ?? -1];
    const parts = volume.parts.flatMap((part, at) => (part.to > part.from ? [{ ...part, index: at }] : []));
    const what = `volume ${label}, to '${tensor?.name ?? ''}'`;
    return { label, what, unit: 'rows', size: tensor?.rows ?? 1, parts, gather: false };
  });
  if (workload.head === undefined) return columns;
  const { head } = plan;
  const last = { label: 'head', what: 'head', unit: 'channels', gather: false } as const;
  if (typeof head === 'object') {
    const parts = head.flatMap((part, index) => (part.to > part.from ? [{ ...part, index }] : []));
    return [...columns, { ...last, size: Math.max(1, ...head.map(({ to }) => to)), parts }];
  }
  // Where the plan leaves the device open, the run says which it was.
  const ran = run.events.find((event) => event.kind === 'compute' && event.volume === plan.volumes.length);
  const device = head ?? (ran?.kind === 'compute' ? ran.device : undefined);
  return device === undefined
    ? columns
    : [...columns, { ...last, size: 1, parts: [{ device, from: 0, to: 1, index: 0 }] }];
}

function cutsOf(picture: Drawing, top: number): Block {
  const columns = columnsOf(picture);
  const computed = new Map<string, Compute>();
  for (const event of picture.run.events) {
    if (event.kind === 'compute') computed.set(`${event.volume} ${event.part}`, event);
  }
  const height = 220;
  const y = top + 44;
  const slot = Math.min(96, (RIGHT - LEFT) / Math.max(1, columns.length));
  const gap = slot >= 24 ? 6 : slot >= 10 ? 2 : 0.5;
  const every = Math.ceil(26 / slot);
  const parts = [
    text(24, top, 'Who computes which rows', { size: 15, bold: true }),
    text(LEFT, top + 20, 'volumes in order, from left to right; the image from top to bottom', { fill: SOFT }),
    text(LEFT - 10, y + 10, 'top row', { anchor: 'end', fill: SOFT }),
    text(LEFT - 10, y + height, 'bottom row', { anchor: 'end', fill: SOFT }),
  ];
  columns.forEach((column, index) => {
    const x = LEFT + index * slot;
    const width = slot - gap;
    for (const part of column.parts) {
      const from = y + (part.from / column.size) * height;
      const tall = ((part.to - part.from) / column.size) * height;
      const { fill, ink } = fillOf(picture, part.device);
      const box = { x, y: from, width, height: tall };
      const event = computed.get(`${index} ${part.index}`);
      const rows = column.gather || column.size === 1 ? '' : `, ${column.unit} ${ends(part)} of ${column.size}`;
      const when = event === undefined ? '' : `\n${span(event.start, event.end)}`;
      const title = `${column.what}\n${nameOf(picture.devices, part.device)}${rows}${when}`;
      const edge = edgeFor(tall);
      parts.push(rect(box, fill, title, edge));
      if (column.gather) parts.push(rect(box, GATHER, title, 'fill-opacity="0.8"'));
      else if (tall >= 14 && column.size > 1) {
        const told = ends(part);
        if (told.length * 6.2 + 4 <= width)
          parts.push(text(x + width / 2, from + tall / 2 + 4, told, { anchor: 'middle', size: 11, fill: ink }));
      }
    }
    const isHead = column.label === 'head';
    if (isHead || (index % every === 0 && columns[index + 1]?.label !== 'head') || slot >= 34)
      parts.push(text(x + width / 2, y - 6, column.label, { anchor: 'middle', size: 11, fill: DARK }));
    if (slot >= 52 && column.size > 1)
      parts.push(
        text(x + width / 2, y + height + 15, `of ${column.size}${isHead ? ' ch.' : ''}`, {
          anchor: 'middle',
          size: 11,
          fill: SOFT,
        }),
      );
  });
  return { parts, bottom: y + height + (slot >= 52 ? 22 : 8) };
}

const [COMPUTE_HEIGHT, LINK_HEIGHT, LANE_GAP] = [20, 7, 12];

function timelineOf(picture: Drawing, top: number): Block {
  const { run, devices, plan } = picture;
  const messages = run.events.filter((event) => event.kind === 'message');
  const computes = run.events.filter((event) => event.kind === 'compute');
  const end = Math.max(
    run.events.reduce((most, event) => Math.max(most, timeOf(event)), 0),
    1e-6,
  );
  const scale = (RIGHT - LEFT) / end;
  const at = (time: number): number => LEFT + time * scale;
  const y0 = top + 44;
  const lanes: string[] = [];
  let y = y0 + 8;
  for (const device of [-1, ...picture.used]) {
    const own = computes.filter((event) => event.device === device);
    const first = y;
    if (device >= 0) {
      lanes.push(rect({ x: LEFT, y, width: RIGHT - LEFT, height: COMPUTE_HEIGHT }, '#f3f4f6'));
      lanes.push(...own.flatMap((event) => computeBar(event, at, y, plan.volumes.length, picture)));
      y += COMPUTE_HEIGHT + 2;
    }
    const links: readonly (readonly [string, (message: Message) => boolean, 'from' | 'to'])[] = [
      ['sends', (message) => message.from === device, 'to'],
      ['receives', (message) => message.to === device, 'from'],
    ];
    for (const [label, mine, other] of links) {
      lanes.push(rect({ x: LEFT, y, width: RIGHT - LEFT, height: LINK_HEIGHT }, '#f9fafb'));
      lanes.push(text(LEFT - 8, y + 7, label, { anchor: 'end', size: 9, fill: SOFT }));
      for (const message of messages.filter(mine)) {
        const width = Math.max(0.7, (message.sent - message.start) * scale);
        const box = { x: at(message.start), y, width, height: LINK_HEIGHT };
        lanes.push(
          rect(
            box,
            fillOf(picture, message[other]).fill,
            messageTitle(message, devices, plan.volumes.length),
            edgeFor(width),
          ),
        );
      }
      y += LINK_HEIGHT + 2;
    }
    const name = short(nameOf(devices, device), 13);
    lanes.push(
      device < 0
        ? text(LEFT - 56, first + 13, name, { anchor: 'end', size: 11, bold: true })
        : text(LEFT - 8, first + 15, name, { anchor: 'end', size: 12, bold: true }),
    );
    if (device >= 0) {
      const busy = own.reduce((sum, event) => sum + event.end - event.start, 0);
      lanes.push(text(RIGHT + 8, first + 15, `busy ${((100 * busy) / end).toFixed(0)} %`, { size: 11, fill: SOFT }));
    }
    y += LANE_GAP;
  }
  const bottom = y - LANE_GAP + 4;
  const marks = ticks(end, 12);
  const digits = Math.max(0, -Math.floor(Math.log10(marks[1] ?? 1) + 1e-9));
  const grid = marks.flatMap((time) => [
    line(at(time), y0, at(time), bottom, PALE),
    text(at(time), bottom + 15, time.toFixed(digits), { anchor: 'middle', size: 11, fill: SOFT }),
  ]);
  const last = [
    line(at(end), y0 - 6, at(end), bottom, '#dc2626', 'stroke-width="1.5" stroke-dasharray="4 3"'),
    text(at(end), y0 - 10, `result after ${ms(end)}`, { anchor: 'end', size: 12, fill: '#dc2626', bold: true }),
  ];
  const parts = [
    text(24, top, 'When: the simulated run of one image', { size: 15, bold: true }),
    text(
      LEFT,
      top + 20,
      'numbers are volumes; what is sent has the colour of its receiver, what is received that of its sender',
      {
        fill: SOFT,
      },
    ),
    ...grid,
    ...lanes,
    ...last,
    text(RIGHT + 8, bottom + 15, 'ms', { size: 11, fill: SOFT }),
  ];
  return { parts, bottom: bottom + 24 };
}

const timeOf = (event: SimulatedEvent): number => (event.kind === 'compute' ? event.end : event.arrived);

function computeBar(
  event: Compute,
  at: (time: number) => number,
  y: number,
  volumes: number,
  picture: Drawing,
): string[] {
  const { devices, plan } = picture;
  const { fill, ink } = fillOf(picture, event.device);
  const width = Math.max(0.7, at(event.end) - at(event.start));
  const volume = plan.volumes[event.volume];
  const part = volume === undefined || isGather(volume) ? undefined : volume.parts[event.part];
  const label = event.volume >= volumes ? 'head' : `${event.volume + 1}`;
  const rows = part === undefined ? '' : `, rows ${ends(part)}`;
  const what = `${nameOf(devices, event.device)}: ${event.volume >= volumes ? 'head' : `volume ${label}${rows}`}`;
  const waited = event.start - event.ready > 0.005 ? `\nits rows were there at ${event.ready.toFixed(2)} ms` : '';
  const box = { x: at(event.start), y, width, height: COMPUTE_HEIGHT };
  const edge = edgeFor(width);
  const bar = rect(box, fill, `${what}\n${span(event.start, event.end)}${waited}`, edge);
  if (label.length * 7 + 3 > width) return [bar];
  return [bar, text(box.x + width / 2, y + 14, label, { anchor: 'middle', size: 11, fill: ink })];
}

function messageTitle(message: Message, devices: readonly string[], volumes: number): string {
  const { volume } = message;
  const why = volume > volumes ? 'results' : volume === volumes ? 'for the head' : `for volume ${volume + 1}`;
  const latency = message.arrived > message.sent + 0.005 ? `, arrives at ${message.arrived.toFixed(2)} ms` : '';
  return `${nameOf(devices, message.from)} → ${nameOf(devices, message.to)}: ${amount(message.bytes, 'B')} ${why}\n${span(message.start, message.sent)}${latency}`;
}
