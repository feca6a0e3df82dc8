/** What people see: colours and progress on a terminal only, tables, and errors as sentences. */
import { DistrEdgeError } from '@distredge/core';

const colourful = (stream: NodeJS.WriteStream): boolean =>
  process.env['NO_COLOR'] === undefined && (process.env['FORCE_COLOR'] !== undefined || stream.isTTY === true);

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow';
const CODES: Record<Style, number> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

/** Text in a style, where standard output is a terminal. */
export function styled(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return colourful(stream) ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}

/** Text on a coloured ground, where standard output is a terminal; `otherwise` where it is not. */
export function painted(rgb: readonly [number, number, number], text: string, otherwise: string): string {
  return colourful(process.stdout) ? `\u001b[48;2;${rgb.join(';')}m${text}\u001b[0m` : otherwise;
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

let answered = false;

/** The one JSON object of a command with `--json`; whatever comes after the first is dropped. */
export function printJson(value: unknown): void {
  if (!answered) print(JSON.stringify(value));
  answered = true;
}

/** Text from a file or another process, with what could steer a terminal made visible. */
export function plain(text: string): string {
  return text.replaceAll(/\p{Cc}|\p{Cf}/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A number as the commands write it: with a point, an exponent or a unit. Digits alone may be a name. */
const WRITTEN_NUMBER = /^-?[\d,]+(\.\d*(e[+-]\d+)?|e[+-]\d+|(\.\d+)? ?(ms|%|[kMGT]?(B|FLOP)|×))$/;

/** Rows as aligned columns; numbers to the right. The first row is the head. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map((row) => row.map((cell) => plain(String(cell))));
  const columns = (cells[0] ?? []).map((_, column) => column);
  const widths = columns.map((column) => Math.max(...cells.map((row) => (row[column] ?? '').length)));
  const isNumber = (cell: string | number | undefined): boolean =>
    typeof cell === 'number' || cell === '-' || WRITTEN_NUMBER.test(cell ?? '');
  const right = columns.map((column) => rows.slice(1).every((row) => isNumber(row[column])));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => (right[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  return [styled('bold', lines[0] ?? ''), ...lines.slice(1)].join('\n');
}

const STEPS = ['', 'k', 'M', 'G', 'T'];

/** A count with a unit prefix: 30.7 GFLOP, 553 MB. */
export function amount(value: number, unit: string): string {
  let step = 0;
  let scaled = value;
  while (scaled >= 999.5 && step < STEPS.length - 1) {
    scaled /= 1000;
    step += 1;
  }
  return `${scaled >= 99.95 || step === 0 ? scaled.toFixed(0) : scaled.toPrecision(3)} ${STEPS[step]}${unit}`;
}

export function ms(value: number): string {
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ms`;
}

/** A line that is rewritten in place while something takes long; nothing where standard error is not a terminal. */
export class Progress {
  readonly #shown = process.stderr.isTTY === true;
  #last = 0;

  update(text: string): void {
    const time = Date.now();
    if (!this.#shown || time - this.#last < 50) return;
    this.#last = time;
    process.stderr.write(`\r\u001b[K${plain(text).slice(0, (process.stderr.columns || 80) - 1)}`);
  }

  done(): void {
    if (this.#shown) process.stderr.write('\r\u001b[K');
  }
}

/** Says what goes on while it does. */
export async function shown<T>(text: string, action: () => Promise<T>): Promise<T> {
  const progress = new Progress();
  progress.update(`${text} …`);
  try {
    return await action();
  } finally {
    progress.done();
  }
}

/** A fact of several lines, indented under its label. */
function lines(text: string): string {
  return text
    .split('\n')
    .map(plain)
    .join(`\n${' '.repeat(12)}`);
}

/** An error as lines for people. */
export function describeError(error: unknown): string {
  if (!(error instanceof DistrEdgeError)) {
    const text = error instanceof Error ? error.message : String(error);
    return `${styled('red', 'error INTERNAL', process.stderr)}: ${plain(text)}\n  to do:    this is a defect of distredge; please report it with the command you ran (DISTREDGE_DEBUG=1 shows more)`;
  }
  const facts: [string, string | undefined][] = [
    ['where', error.where],
    ['expected', error.expected],
    ['got', error.got],
    ['to do', error.hint],
  ];
  const told = facts.flatMap(([label, text]) =>
    text === undefined ? [] : [`  ${`${label}:`.padEnd(10)}${lines(text)}`],
  );
  return [`${styled('red', `error ${error.code}`, process.stderr)}: ${plain(error.message)}`, ...told].join('\n');
}
