/** A run as a picture in text: one line for each device, time from left to right. */
import { type Program, REQUESTER, type RowPlan } from '@distredge/core';
import type { RunTrace } from '@distredge/runtime';
import { deviceColor } from '@distredge/zoo';
import { ms, painted } from './output.js';

const WIDTH = 64;

/** `█` computes, `·` waits; where colours are shown, a device's own. */
export function timeline(program: Program, trace: RunTrace): string {
  const column = (time: number): number => Math.min(WIDTH, Math.max(0, Math.round((time / trace.totalMs) * WIDTH)));
  const devices = [...new Set(program.steps.map(({ device }) => device))].sort((a, b) => a - b);
  const lines = devices.map((device) => {
    const busy = new Array<boolean>(WIDTH).fill(false);
    let computing = 0;
    for (const { step, start, end } of trace.steps) {
      if (program.steps[step]?.device !== device) continue;
      computing += end - start;
      for (let at = column(start); at < Math.max(column(end), column(start) + 1); at++) busy[at] = true;
    }
    const bar = busy.map((on) => (on ? painted(deviceColor(device), ' ', '█') : '·')).join('');
    return `device ${device} ${bar} computes ${ms(computing)}`;
  });
  const scale = `${' '.repeat(9)}0${ms(trace.totalMs).padStart(WIDTH - 1)}`;
  return [...lines, scale].join('\n');
}

/** For each volume, which device computes which rows of its end tensor; only of the devices named, by index. */
export function rowTable(plan: RowPlan, names: readonly string[]): (string | number)[][] {
  const devices = names.flatMap((_, device) => (names[device] === '' ? [] : [device]));
  const rows: (string | number)[][] = [['volume', 'ends at', 'rows', ...devices.map((device) => names[device] ?? '')]];
  plan.volumes.forEach((volume, index) => {
    if (!('parts' in volume)) {
      rows.push([index + 1, 'gathered', '-', ...devices.map((device) => (device === volume.gather ? 'all' : '-'))]);
      return;
    }
    const height = Math.max(...volume.parts.map(({ to }) => to));
    const cells = devices.map((device) => {
      const own = volume.parts.filter((part) => part.device === device && part.to > part.from);
      return own.length === 0
        ? '-'
        : own.map(({ from, to }) => (to - from === 1 ? `${from}` : `${from}–${to - 1}`)).join(' ');
    });
    rows.push([index + 1, volume.end.length > 40 ? `…${volume.end.slice(-39)}` : volume.end, height, ...cells]);
  });
  return rows;
}

/** What devices without names are called. */
export function deviceNames(count: number): string[] {
  return Array.from({ length: count }, (_, device) => `device ${device}`);
}

/** Bytes that devices exchanged among themselves, and with the requester. */
export function traffic(program: Program): { between: number; requester: number } {
  let [between, requester] = [0, 0];
  for (const { from, to, bytes } of program.messages) {
    if (from === REQUESTER || to === REQUESTER) requester += bytes;
    else between += bytes;
  }
  return { between, requester };
}

/**
 * For every step that was fed by another device: from the moment that its last row was made to the moment that it began, in
 * ms, and the bytes that device sent. Clocks of several machines may differ; on one machine this is what an exchange costs.
 */
export function exchangeGaps(program: Program, trace: RunTrace): { readonly ms: number; readonly bytes: number }[] {
  const times = new Map(trace.steps.map((item) => [item.step, item]));
  const before = new Map<number, number>();
  return program.steps.flatMap((step, index) => {
    const own = times.get(before.get(step.device) ?? -1)?.end ?? 0;
    before.set(step.device, index);
    const messages = step.inputs.flatMap(({ source }) =>
      'message' in source ? [program.messages[source.message]] : [],
    );
    const fed = messages.flatMap((message) => (message === undefined || message.from === REQUESTER ? [] : [message]));
    const start = times.get(index)?.start;
    if (fed.length === 0 || start === undefined) return [];
    const made = fed.map(({ after, bytes }) => ({ at: times.get(after)?.end ?? 0, bytes }));
    const last = made.reduce((a, b) => (b.at > a.at ? b : a));
    return [{ ms: start - Math.max(own, last.at), bytes: last.bytes }];
  });
}
